"""Shards → evidence: scores every document and writes no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lowbg.arrays import encoded, to_numpy
from lowbg.config import VERDICTS, ExecutorName, Gate, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import NO_SOURCE, Evidence, Example, Part, Scanned
from lowbg.records import Batch, Rejected
from lowbg.report.counting import CountTable
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.executors import server
from lowbg.runs.executors.base import Worker
from lowbg.runs.inputs import Shard
from lowbg.runs.run import choose_executor, closing, failed_shard, own_streams, reader_opener
from lowbg.runs.shard import OnProgress, run_shard
from lowbg.storage.files import WrittenFile

EXAMPLES_A_CATEGORY: Final = 5
MAX_SOURCES: Final = 10_000
"""Distinct sources that are kept apart in a shard; more are no kinds of source."""


@dataclass(frozen=True, slots=True)
class GateJob:
    """What to judge, and how; `subject` names it in messages.

    `left_out` are files among the inputs that are no shards.
    """

    shards: tuple[Shard, ...]
    config: RunConfig
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    subject: str = "data set"
    left_out: tuple[str, ...] = ()

    @property
    def gate(self) -> Gate:
        """The limits."""
        return self.config.policy.gate

    @property
    def reading(self) -> RunConfig:
        """How the shards are read: a source field takes the place of the id, which isn't needed."""
        if self.gate.source_field is None:
            return self.config
        fields = replace(self.config.fields, id=self.gate.source_field)
        return replace(self.config, fields=fields)


def scan(job: GateJob, on_progress: OnProgress | None = None) -> Evidence:
    """Judges every document; nothing is written.

    Raises `ConfigError` where no record has the source field. A shard that breaks off doesn't stop
    the others: it is in `Evidence.broken`.
    """
    engine = Engine(job.config.policy)
    engine.prepare()
    workers = choose_executor(job.executor, job.workers, len(job.shards))[1]
    if workers > 1 and not own_streams(job.shards) and not server.is_started():
        engine.warm_up()
    scanned = dict(map_shards(job, _ScanSetup(job.reading), on_progress))
    return gather(job, [scanned[index] for index in range(len(job.shards))])


def map_shards(
    job: GateJob, setup: Callable[[], Worker[Shard, Scanned]], on_progress: OnProgress | None
) -> Iterator[tuple[int, Scanned]]:
    """Every shard's place among the shards and its counts, as they end."""
    name = ExecutorName.SERIAL if own_streams(job.shards) else job.executor
    executor, _ = choose_executor(name, job.workers, len(job.shards))
    with closing(executor.run(setup, job.shards, on_progress)) as ends:
        for end in ends:
            failed = failed_shard(job.shards[end.index], end.error)
            yield end.index, end.result or Scanned(failed, None, (), 0, 0)


def gather(job: GateJob, scanned: Sequence[Scanned]) -> Evidence:
    """The sum over all shards."""
    statistics = Statistics()
    sources = CountTable(3)
    examples: list[Example] = []
    for each in scanned:
        statistics.merge(each.result.statistics)
        sources.update({name: list(counts) for name, counts in (each.sources or {}).items()})
        examples += each.examples
    if job.gate.source_field is not None and sources.names == [NO_SOURCE]:
        seen = sorted({field for each in scanned for field in each.result.seen_fields})
        raise ConfigError(
            f"no record has the source field {job.gate.source_field!r}; the fields there are: "
            f"{', '.join(seen[:20]) or 'none'}"
        )
    return Evidence(
        subject=job.subject,
        statistics=statistics,
        records=sum(each.result.records for each in scanned),
        shards=tuple(_shard_part(each.result) for each in scanned),
        sources=None
        if job.gate.source_field is None
        else tuple(Part(name, row[0], row[1]) for name, row in sources.to_dict().items()),
        examples=tuple(_first(examples)),
        squared_words=sum(each.squared_words for each in scanned),
        broken=tuple(_broken(each.result) for each in scanned if not each.result.complete),
        unreadable=tuple(_shard_part(each.result) for each in scanned if _is_unreadable(each)),
        left_out=job.left_out,
        results=tuple(each.result for each in scanned),
    )


def _shard_part(result: ShardResult) -> Part:
    documents = result.statistics.documents()
    return Part(result.shard, documents["human"], documents["ai"], result.source)


def _is_unreadable(scanned: Scanned) -> bool:
    records = scanned.result.records
    return 0 < records == scanned.result.statistics.documents()["quarantined"]


def _broken(result: ShardResult) -> str:
    messages = [problem.message for problem in result.problems if not problem.count]
    return "; ".join(messages) or f"{result.shard}: not read whole"


def _first(examples: Sequence[Example]) -> list[Example]:
    """The first few of each category, in their order."""
    taken: dict[str, int] = {}
    kept = []
    for example in examples:
        taken[example.category] = taken.get(example.category, 0) + 1
        if taken[example.category] <= EXAMPLES_A_CATEGORY:
            kept.append(example)
    return kept


@dataclass(frozen=True, slots=True)
class _ScanSetup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    config: RunConfig

    def __call__(self) -> _ScanWorker:
        return _ScanWorker(Engine(self.config.policy).setup(), self.config)


class _ScanWorker:
    def __init__(self, engine: Engine, config: RunConfig) -> None:
        self._engine = engine
        self._config = config

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> Scanned:
        counted = CountingSinks(task, self._config.policy.gate)
        result = run_shard(
            task.name,
            task.path,
            reader_opener(task, None, self._config),
            lambda reader, checkpoint: counted,
            self._engine,
            on_progress,
        )
        return counted.scanned(result)


class CountingSinks:
    """Takes a shard's judged batches and keeps only what a gate needs beside the statistics."""

    def __init__(self, shard: Shard, gate: Gate) -> None:
        self._shard = shard
        self._by_source = gate.source_field is not None
        self._sources = CountTable(3, MAX_SOURCES)
        self._wanted = dict.fromkeys(gate.max_phrase_hits, EXAMPLES_A_CATEGORY)
        self._examples: list[Example] = []
        self._squared_words = 0
        self._documents = 0

    def scanned(self, result: ShardResult, documents: int | None = None) -> Scanned:
        """What was taken, with the shard's result; `documents` where there are more than that."""
        return Scanned(
            result,
            self._sources.to_dict() if self._by_source else None,
            tuple(self._examples),
            self._squared_words,
            self._documents if documents is None else documents,
        )

    def write(self, batch: Batch, judged: Judged) -> int:
        """Counts a batch; the records go nowhere."""
        words = judged.documents.tokens.words_per_document.astype(np.int64)
        self._squared_words += int((words * words).sum())
        self._documents += len(batch)
        if self._by_source:
            self._add_sources(batch, judged)
        if any(self._wanted.values()):
            self._add_examples(batch, judged.columns)
        return len(batch)

    def _add_sources(self, batch: Batch, judged: Judged) -> None:
        # The reader gives the source in the place of the id; see `GateJob.reading`.
        codes, values = encoded(batch.metadata.id)
        names = [NO_SOURCE if name is None else name for name in values]
        keys = codes * len(VERDICTS) + judged.decisions.verdicts.astype(np.int64)
        counts = np.bincount(keys, minlength=len(VERDICTS) * len(names)).reshape(-1, len(VERDICTS))
        self._sources.add(names, counts)

    def _add_examples(self, batch: Batch, columns: Mapping[str, pa.Array]) -> None:
        phrases = columns["phrases"]
        flat = phrases.flatten()
        if not len(flat):
            return
        parents = to_numpy(pc.list_parent_indices(phrases)).tolist()
        labels = flat.to_pylist()
        seen: set[tuple[int, str]] = set()
        for parent, label in zip(parents, labels, strict=True):
            category = label.partition(":")[0]
            if self._wanted.get(category, 0) and (parent, category) not in seen:
                seen.add((parent, category))
                self._wanted[category] -= 1
                record = int(batch.records[parent])
                self._examples.append(Example(self._shard.name, self._shard.path, record, label))

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Nothing: they are counted, and go nowhere."""

    def end_shard(self) -> dict[str, WrittenFile]:
        """No file was made."""
        return {}

    def publish(self) -> None:
        """Nothing to publish."""

    def abort(self) -> None:
        """Nothing to let go of."""
