"""One shard through all stages: read, judge, route, write, count.

A shard is processed by one worker, batch by batch, in the order of its records. What cannot be
read goes to quarantine with its place and its bytes; at the end the records in must equal the
records out, or `ConservationError` is raised and nothing is put under a final name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lowbg.engine import Engine, Judged
from lowbg.errors import ConservationError, InputError, OutputError
from lowbg.readers.base import Reader
from lowbg.records import Batch, Rejected
from lowbg.results import Problem, ShardResult
from lowbg.routing import VERDICT_AI
from lowbg.statistics import Statistics, StatisticsBatch
from lowbg.writers.base import WrittenFile


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is: stored bytes read so far, and records seen by verdict."""

    shard: str
    consumed: int
    records: int
    ai: int
    done: bool = False


OnProgress = Callable[[Progress], None]


class Sinks(Protocol):
    """Where a shard's records go; made per shard, or once for a whole stream."""

    def write(self, batch: Batch, judged: Judged) -> int:
        """Appends the batch's documents where their verdicts say; returns how many it took."""
        ...

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        """Appends records that could not be read."""
        ...

    def end_shard(self) -> tuple[WrittenFile, ...]:
        """Puts what a shard wrote under its final names, where a shard has files of its own."""
        ...

    def abort(self) -> None:
        """Removes what is not finished."""
        ...


@dataclass(slots=True)
class _Tally:
    """What a shard's loop counts beside the statistics."""

    records: int = 0
    text_bytes: int = 0
    consumed: int = 0
    lenient: int = 0
    blank: int = 0
    routed: int = 0
    ai: int = 0
    quarantined: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)

    def add_problem(self, kind: str, message: str, count: int) -> None:
        """Counts a problem; the first message of a kind is kept."""
        known = self.problems.get(kind)
        if known is None:
            self.problems[kind] = Problem(kind, message, count)
        else:
            self.problems[kind] = Problem(kind, known.message, known.count + count)


def run_shard(
    name: str,
    source: str,
    open_reader: Callable[[], Reader],
    open_sinks: Callable[[Reader], Sinks],
    engine: Engine,
    on_progress: OnProgress | None = None,
) -> ShardResult:
    """Processes one shard and says what became of it; problems of its data don't raise.

    `ConfigError`, `ConservationError` and `BrokenPipeError` do.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    tally = _Tally()
    statistics = Statistics()
    outputs: tuple[WrittenFile, ...] = ()
    complete = True
    reader: Reader | None = None
    sinks: Sinks | None = None
    try:
        reader = open_reader()
        sinks = open_sinks(reader)
        try:
            for batch in reader:
                _run_batch(name, batch, sinks, engine, statistics, tally)
                if on_progress is not None:
                    on_progress(Progress(name, tally.consumed, tally.records, tally.ai))
        except InputError as error:
            complete = False
            tally.add_problem(_kind(error), str(error), 0)
        _check_conservation(name, tally, statistics)
        outputs = sinks.end_shard()
        _check_outputs(name, tally, outputs)
    except (InputError, OutputError) as error:
        complete = False
        tally.add_problem(_kind(error), str(error), 0)
    finally:
        if sinks is not None:
            sinks.abort()
        if reader is not None:
            reader.close()
    if on_progress is not None:
        on_progress(Progress(name, tally.consumed, tally.records, tally.ai, done=True))
    return ShardResult(
        shard=name,
        source=source,
        format=reader.format if reader is not None else "unknown",
        compression=reader.compression if reader is not None else "unknown",
        records=tally.records,
        complete=complete,
        statistics=statistics,
        outputs=outputs,
        problems=tuple(tally.problems.values()),
        read_bytes=tally.consumed,
        text_bytes=tally.text_bytes,
        lenient=tally.lenient,
        blank=tally.blank,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        seen_fields=tuple(sorted(reader.seen_fields)) if reader is not None else (),
    )


def _run_batch(
    name: str,
    batch: Batch,
    sinks: Sinks,
    engine: Engine,
    statistics: Statistics,
    tally: _Tally,
) -> None:
    tally.consumed = batch.consumed
    tally.lenient += batch.lenient
    tally.blank += batch.blank
    for rejected in batch.rejected:
        tally.records += rejected.count
        tally.quarantined += rejected.count
        tally.text_bytes += len(rejected.raw)
        tally.add_problem(rejected.reason.value, rejected.message, rejected.count)
        statistics.add_quarantined(rejected.reason.value, rejected.count, len(rejected.raw))
    if batch.rejected:
        sinks.quarantine(name, batch.rejected)
    if not len(batch):
        return
    judged = engine.judge(batch.text, batch.metadata)
    tally.routed += sinks.write(batch, judged)
    tally.records += len(batch)
    tally.text_bytes += int(batch.sizes.sum())
    tally.ai += int((judged.decisions.verdicts == VERDICT_AI).sum())
    statistics.add(statistics_batch(batch, judged))


def statistics_batch(batch: Batch, judged: Judged) -> StatisticsBatch:
    """What the statistics count of a judged batch."""
    decisions = judged.decisions
    return StatisticsBatch(
        verdicts=decisions.verdicts,
        words=judged.documents.tokens.words_per_document,
        sizes=batch.sizes,
        languages=judged.documents.languages,
        codes=judged.documents.language_codes,
        dates=batch.metadata.date,
        urls=batch.metadata.url,
        trusted=judged.trusted,
        called_ai=decisions.called_ai,
        columns={**judged.columns, "ai_score": decisions.score},
        unscored_codes=decisions.unscored_codes,
        unscored_names=decisions.unscored_names,
    )


def _kind(error: Exception) -> str:
    return type(error).__name__.removesuffix("Error").lower()


def _check_conservation(name: str, tally: _Tally, statistics: Statistics) -> None:
    counted: Mapping[str, int] = statistics.documents()
    out = sum(counted[verdict] for verdict in ("human", "ai", "unscored", "quarantined"))
    if tally.records != out or tally.records != tally.routed + tally.quarantined:
        raise ConservationError(
            f"{name}: {tally.records} records in, {tally.routed} routed, {tally.quarantined} "
            f"quarantined, {out} counted. This is a defect of lowbg; nothing was put in place."
        )


def _check_outputs(name: str, tally: _Tally, outputs: Sequence[WrittenFile]) -> None:
    """The files' own counts, where a shard has files of its own, must add up as well."""
    if not outputs:
        return
    written = sum(file.records for file in outputs)
    if written != tally.records:
        raise ConservationError(
            f"{name}: {tally.records} records in, {written} in the files written. "
            "This is a defect of lowbg."
        )
