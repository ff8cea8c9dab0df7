"""Documents and tables in; one table of sources out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

import lowbg
from lowbg.config import ExecutorName, Policy, RunConfig
from lowbg.decision.source_evidence import Header, read_header
from lowbg.decision.source_tables import refuse_incomplete
from lowbg.errors import ConfigError, InputError, OutputError, cause
from lowbg.jobs.sources.cells import Cells, cells_of
from lowbg.jobs.sources.in_ranges import worth_sharing, write_in_ranges
from lowbg.jobs.sources.pages import (
    PageJudge,
    PagesToRead,
    ProbePages,
    Reading,
    changes,
    read_pages,
    unsure,
)
from lowbg.jobs.sources.ranges import Footer, each_once, range_cells, ranges
from lowbg.jobs.sources.rows import RowFolder, row_cells
from lowbg.jobs.sources.runs import Spill, merged, merged_runs
from lowbg.jobs.sources.table import write_table
from lowbg.jobs.sources.table_cells import check_alike, read_cells
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import key_of
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.executors.base import Finished
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import Workers, failed_shard, map_shards
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.splitting import Split
from lowbg.runs.together import finished, read_together
from lowbg.storage.files import naming, sync_directory
from lowbg.storage.left_out import LeftOut
from lowbg.text.sources import SourceBy, suffix_list_version


@dataclass(frozen=True, slots=True)
class SourcesJob:
    """What one run of `lowbg sources` is to do: the documents of `shards`, `tables` made before,
    and `rows` of finished runs of `score`, into the table `output`.

    `split` is which range of the sources is written, where `tables` alone are added up.
    """

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    tables: tuple[Path, ...] = ()
    rows: tuple[RowFolder, ...] = ()
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    stdin: BinaryIO | None = None
    left_out: tuple[LeftOut, ...] = ()
    pages: PagesToRead | None = None
    split: Split | None = None

    @property
    def crew(self) -> Workers:
        """Who does it."""
        return Workers(self.workers, self.executor)


@dataclass(frozen=True, slots=True)
class SourcesOutcome:
    """What came of it: what the table says of itself, every shard's result in their order, what a
    causal LM read, if there was one, and tables that were named more than once, with the one that
    each is the same as; they count once."""

    header: Header
    shards: tuple[ShardResult, ...]
    read: Reading | None = None
    repeated: tuple[tuple[Path, Path], ...] = ()


def header_of(policy: Policy, models: dict[str, str]) -> Header:
    """What a table of sources that is made under `policy` says of itself, before it is made."""
    before, sources = policy.trust_before, policy.sources
    return Header(
        version=lowbg.__version__,
        by=SourceBy.parse(sources.by).spelled,
        before=None if before is None else before.isoformat(),
        min_documents=sources.min_documents,
        bound=sources.bound,
        models=models,
        suffixes=suffix_list_version(),
    )


def find_sources(
    job: SourcesJob, observer: Observer = NOBODY, judge: PageJudge | None = None
) -> SourcesOutcome:
    """Makes the table; it is on disk when this returns.

    `judge` reads the pages that the job wants read, else its own model does. Raises `ConfigError`
    where tables that are to be added up count different things, or where the model can't be used.
    A shard that breaks off doesn't stop the others: what was read of it counts, and it is in the
    outcome. Raises `InputError` where nothing was read of any; a table that is there stays.
    """
    policy = replace(job.config.policy, sources=replace(job.config.policy.sources, table=None))
    job = replace(job, config=replace(job.config, policy=policy))
    engine = Engine(policy)
    model = engine.source_model()
    if job.pages is not None and judge is None:
        judge = ProbePages(job.pages.lm)
    header = header_of(job.config.policy, engine.model_digests())
    if judge is not None:
        header = msgspec.structs.replace(header, lm={**judge.models})
    footers, repeated = each_once([Footer.read(path) for path in job.tables])
    job = replace(job, tables=tuple(footer.path for footer in footers))
    headers = {path: found for path in job.tables if (found := read_header(path)) is not None}
    header = _with_probe(header, headers)
    check_alike(headers, header)
    refuse_incomplete(headers)
    read: Reading | None = None
    with _folder_beside(job.output) as folder:
        counted = [*_count(job, folder, engine, observer)]
        from_rows = [_count_rows(job, each, folder, i) for i, each in enumerate(job.rows)]
        for rows in job.rows:
            _check_models(rows, header)
        runs = [run for each in counted for run in each.runs]
        runs += [run for rows_of_one in from_rows for run in rows_of_one.runs]
        streams = [read_cells(path) for path in job.tables]
        if job.split is not None:
            header, streams = _ranged(header, footers, job.split)
        header = _with_documents(header, [*headers.values(), *from_rows], counted)
        results = tuple(each.result for each in counted)
        problems = [problem for result in results for problem in result.problems]
        if problems and not header.documents:  # A table of nothing would be taken for one.
            raise InputError(f"no record could be read: {problems[0].message}")
        table = folder / "table.parquet"
        if job.split is None and not runs and worth_sharing(footers, job.crew):
            header = write_in_ranges(table, footers, policy, job.crew, header)
        else:
            header = write_table(table, _together(runs, streams, folder), model, header)
        if job.pages is not None and judge is not None:
            wanted = unsure(table, every=job.pages.every)
            crew, config = job.crew, reading(job.config)
            pages, read = read_pages(wanted, job.shards, config, crew, judge, job.pages.pages)
            with_pages = folder / "with-pages.parquet"
            header = write_table(
                with_pages, merged([read_cells(table), iter([pages])]), model, header
            )
            read.changed = changes(table, with_pages, pages)
            table = with_pages
        _put(table, job.output)
    return SourcesOutcome(header, results, read, tuple(repeated))


def _ranged(
    header: Header, footers: Sequence[Footer], split: Split
) -> tuple[Header, list[Iterator[Cells]]]:
    """What a table of a range says of itself, and the cells that are read for it."""
    part = ranges(footers, header, split.count)[split.index]
    ranged = msgspec.structs.replace(header, range=part)
    return ranged, [range_cells(footer, part) for footer in footers]


def _with_probe(header: Header, tables: Mapping[Path, Header]) -> Header:
    """With the probe that read the pages which tables hold, where this run has none."""
    lm = header.lm or next((found.lm for found in tables.values() if found.lm), {})
    return msgspec.structs.replace(header, lm=lm)


def _check_models(rows: RowFolder, header: Header) -> None:
    """Raises `ConfigError` where other tables gave the scores."""
    odd = sorted(name for name, value in header.models.items() if rows.models.get(name) != value)
    if odd:
        raise ConfigError(
            f"{rows.path}: scored with other tables ({odd[0]}) than these; score it again"
        )


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The rows of a finished run, counted."""

    runs: list[Path]
    documents: int
    without_source: int


def _count_rows(job: SourcesJob, rows: RowFolder, folder: Path, number: int) -> CountedRows:
    policy = job.config.policy
    by = SourceBy.parse(policy.sources.by)
    spill = Spill(folder, f"rows-{number}")
    documents = without = 0
    for n, cells in row_cells(rows, job.config.fields, by, policy.trust_before):
        spill.add(cells)
        documents += n
        without += n - int(cells.counts[:, 0].sum())
    return CountedRows(spill.end(), documents, without)


def _with_documents(
    header: Header, tables: Sequence[Header | CountedRows], counted: Sequence[CountedShard]
) -> Header:
    """With the documents of all that is added up."""
    return msgspec.structs.replace(
        header,
        documents=sum(t.documents for t in tables) + sum(c.documents for c in counted),
        without_source=sum(t.without_source for t in tables)
        + sum(c.without_source for c in counted),
    )


def _together(
    runs: Sequence[Path], streams: Sequence[Iterator[Cells]], folder: Path
) -> Iterator[Cells]:
    if not streams:
        return merged_runs(runs, folder)
    return merged([merged_runs(runs, folder), *streams])


class _FolderBeside:
    """A folder of its own beside the output, for what doesn't fit into memory."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def __enter__(self) -> Path:
        with naming(self._output):
            self._folder = Path(
                tempfile.mkdtemp(prefix=f".{self._output.name[:100]}.", dir=self._output.parent)
            )
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _folder_beside(output: Path) -> _FolderBeside:
    return _FolderBeside(output)


def _put(table: Path, output: Path) -> None:
    try:
        with table.open("rb") as file:
            os.fsync(file.fileno())
        table.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({cause(error)})") from error
    sync_directory(output.parent)


def _count(
    job: SourcesJob, folder: Path, engine: Engine, observer: Observer
) -> Iterator[CountedShard]:
    if not job.shards:
        return
    engine.prepare()
    task = CountTask(job.config, folder, job.stdin)
    ends = map_shards(task, job.shards, job.crew, observer, engine)
    found = {ended.shard: ended for ended in ends}
    for shard in job.shards:
        ended = found[shard]
        if ended.result is not None:
            yield ended.result
        else:
            yield CountedShard(failed_shard(shard, ended.error), [], 0, 0)


@dataclass(frozen=True, slots=True)
class CountedShard:
    """A shard's documents, counted: where the runs of their cells lie."""

    result: ShardResult
    runs: list[Path]
    documents: int
    without_source: int


@dataclass(frozen=True, slots=True)
class CountTask:
    """Judges a shard's documents and counts them by source; `loaded` is what judges."""

    config: RunConfig
    folder: Path
    stdin: BinaryIO | None = None
    loaded: Engine | None = None

    def start(self) -> CountTask:
        """The task in a worker."""
        return replace(self, loaded=Engine(self.config.policy).setup())

    def _source(self, shard: Shard) -> Source:
        return Source(shard, reading(self.config), self.stdin)

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> CountedShard:
        """The shard's documents, counted."""
        return self._counted(ShardReading(self._source(shard), self.loaded, on_progress))

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[CountedShard]]:
        """The same with small shards."""
        assert self.loaded is not None
        readings = [ShardReading(self._source(shard), self.loaded, on_progress) for shard in shards]
        for places in read_together(readings, self.loaded):
            for i in places:
                yield finished(i, partial(self._counted, readings[i]))

    def _counted(self, pass_over: ShardReading) -> CountedShard:
        counter = Counter(self.config.policy, self.folder, key_of(pass_over.source.shard.name))
        with pass_over:
            for step in pass_over:
                if step.judged is not None:
                    counter.add(step.batch, step.judged)
                # Before the next batch is made, this one has to be gone.
                del step
        return counter.end(pass_over.result())


class Counter:
    """Counts judged batches by source, and keeps what doesn't fit into memory in `folder`."""

    def __init__(self, policy: Policy, folder: Path, name: str) -> None:
        self._by = SourceBy.parse(policy.sources.by)
        self._before = policy.trust_before
        self._spill = Spill(folder, name)
        self._documents = self._without = 0

    def add(self, batch: Batch, judged: Judged) -> None:
        """Counts a batch's documents."""
        before = np.zeros(len(batch), np.bool_)
        if self._before is not None:
            before = judged.dates.before(self._before)
        cells = cells_of(batch, judged, self._by, before)
        self._spill.add(cells)
        self._documents += len(batch)
        self._without += len(batch) - int(cells.counts[:, 0].sum())

    def end(self, result: ShardResult) -> CountedShard:
        """All that was counted."""
        return CountedShard(result, self._spill.end(), self._documents, self._without)


def reading(config: RunConfig) -> RunConfig:
    """How shards are read: with the field that says what their documents' source is."""
    by = SourceBy.parse(config.policy.sources.by)
    others = tuple(dict.fromkeys((*config.fields.others, *by.fields)))
    return replace(config, fields=replace(config.fields, others=others))
