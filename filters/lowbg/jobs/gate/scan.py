"""Shards → evidence: scores every document and writes no record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lowbg.arrays import encoded, to_numpy
from lowbg.config import VERDICTS, ExecutorName, Gate, RunConfig, Verdict
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import NO_SOURCE, Evidence, Example, Part, Scanned
from lowbg.records import Batch
from lowbg.report.counting import CountTable
from lowbg.report.results import ShardResult, fields_of
from lowbg.report.statistics import Statistics
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.executors.base import Finished
from lowbg.runs.inputs import Shard
from lowbg.runs.lm_selection import learn_selection, with_selection
from lowbg.runs.mapping import Ended, Workers, failed_shard, map_shards
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.shard import statistics_batch
from lowbg.runs.together import finished, read_together
from lowbg.storage.left_out import LeftOut

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
    left_out: tuple[LeftOut, ...] = ()

    @property
    def crew(self) -> Workers:
        """Who does it."""
        return Workers(self.workers, self.executor)

    @property
    def gate(self) -> Gate:
        """The limits."""
        return self.config.policy.gate

    def selecting(self, engine: Engine) -> GateJob:
        """The job with what its LM reads within a budget; `engine` as `learn_selection` has it."""
        selection = learn_selection(self.shards, self.config, engine, self.crew)
        return replace(self, config=with_selection(self.config, selection))

    @property
    def reading(self) -> RunConfig:
        """How the shards are read: with the source field, where there is one."""
        source = self.gate.source_field
        if source is None:
            return self.config
        fields = self.config.fields
        return replace(self.config, fields=replace(fields, others=(*fields.others, source)))


def scan(job: GateJob, observer: Observer = NOBODY) -> Evidence:
    """Judges every document; nothing is written.

    Raises `ConfigError` where no record has the source field. A shard that breaks off doesn't stop
    the others: it is in `Evidence.broken`.
    """
    engine = Engine(job.config.policy, job.config.extras)
    engine.prepare()
    job = job.selecting(engine)
    ends = map_shards(ScanTask(job.reading), job.shards, job.crew, observer, engine)
    found = {ended.shard: scanned_of(ended) for ended in ends}
    return gather(job, [found[shard] for shard in job.shards], engine)


def scanned_of(ended: Ended[Scanned]) -> Scanned:
    """What was found in a shard; of one whose worker failed, that."""
    if ended.result is not None:
        return ended.result
    return Scanned(failed_shard(ended.shard, ended.error), None, (), 0, 0)


def gather(job: GateJob, scanned: Sequence[Scanned], engine: Engine) -> Evidence:
    """The sum over all shards."""
    statistics = Statistics()
    sources = CountTable(3)
    examples: list[Example] = []
    for each in scanned:
        statistics.merge(each.result.statistics)
        sources.update({name: list(counts) for name, counts in (each.sources or {}).items()})
        examples += each.examples
    if job.gate.source_field is not None and sources.names == [NO_SOURCE]:
        seen = fields_of(each.result for each in scanned)
        raise ConfigError(
            f"no record has the source field {job.gate.source_field!r}; text is in: "
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
        models=engine.model_digests(),
        notes=tuple(note for note in (engine.why_silent(),) if note is not None),
        results=tuple(each.result for each in scanned),
    )


def _shard_part(result: ShardResult) -> Part:
    ai = result.statistics.documents()["ai"]
    return Part(result.shard, int(result.statistics.scored()[0]) - ai, ai, result.source)


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
class ScanTask:
    """Judges a shard; `loaded` is what a worker judges with."""

    config: RunConfig
    loaded: Engine | None = None

    def start(self) -> ScanTask:
        """The task in a worker."""
        return replace(self, loaded=Engine(self.config.policy, self.config.extras).setup())

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> Scanned:
        """Every document of the shard, judged and counted."""
        return self._scanned(ShardReading(Source(shard, self.config), self.loaded, on_progress))

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[Scanned]]:
        """The same with small shards."""
        assert self.loaded is not None
        sources = [Source(shard, self.config) for shard in shards]
        readings = [ShardReading(source, self.loaded, on_progress) for source in sources]
        for places in read_together(readings, self.loaded):
            for i in places:
                yield finished(i, partial(self._scanned, readings[i]))

    def _scanned(self, reading: ShardReading) -> Scanned:
        counts = Counts(reading.source.shard, self.config.policy.gate)
        with reading:
            for step in reading:
                if step.judged is not None:
                    reading.statistics.add(statistics_batch(step.batch, step.judged))
                    counts.add(step.batch, step.judged)
                # Before the next batch is made, this one has to be gone.
                del step
        return counts.scanned(reading.result())


class Counts:
    """What a gate needs of a shard's judged batches beside the statistics."""

    def __init__(self, shard: Shard, gate: Gate) -> None:
        self._shard = shard
        self._field = gate.source_field
        self._sources = CountTable(3, MAX_SOURCES)
        self._wanted = dict.fromkeys(gate.max_phrase_hits, EXAMPLES_A_CATEGORY)
        self._examples: list[Example] = []
        self._squared_words = 0
        self._documents = 0

    def scanned(self, result: ShardResult, documents: int | None = None) -> Scanned:
        """What was taken, with the shard's result; `documents` where there are more than that."""
        return Scanned(
            result,
            self._sources.to_dict() if self._field is not None else None,
            tuple(self._examples),
            self._squared_words,
            self._documents if documents is None else documents,
        )

    def add(self, batch: Batch, judged: Judged) -> None:
        """Counts a batch."""
        words = judged.documents.tokens.words_per_document.astype(np.int64)
        self._squared_words += int((words * words).sum())
        self._documents += len(batch)
        if self._field is not None:
            self._add_sources(batch, judged)
        if any(self._wanted.values()):
            self._add_examples(batch, judged.columns)

    def _add_sources(self, batch: Batch, judged: Judged) -> None:
        assert self._field is not None
        codes, values = encoded(batch.metadata.others[self._field])
        names = [NO_SOURCE if name is None else name for name in values]
        decisions = judged.decisions
        verdicts = np.where(decisions.scored, decisions.verdicts, Verdict.UNSCORED.code)
        keys = codes * len(VERDICTS) + verdicts.astype(np.int64)
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
