"""One shard through all stages: read, judge, route, write, count.

A shard is processed by one worker, batch by batch, in the order of its records. What cannot be
read goes to quarantine with its place and its bytes; at the end the records in must equal the
records out, or `ConservationError` is raised and nothing is put under a final name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lowbg.config import OUTCOMES, VERDICTS, Verdict
from lowbg.errors import (
    CheckpointError,
    ConservationError,
    FormatError,
    InputError,
    LowbgError,
    OutputError,
    StoppedError,
)
from lowbg.formats.base import Reader
from lowbg.records import Batch, Payload, Position, Rejected
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics, StatisticsBatch
from lowbg.runs.cascade import SENT_NAMES
from lowbg.runs.checkpoints import Checkpoint, Journal, Tally, is_lasting
from lowbg.runs.engine import Judge, Judged
from lowbg.runs.overlap import Step, judged_in_order
from lowbg.runs.stopping import STOP
from lowbg.storage.files import PartState, WrittenFile

_log = logging.getLogger(__name__)


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

    def end_shard(self) -> dict[str, WrittenFile]:
        """Makes a shard's own files whole and durable, by output; `publish` gives them names."""
        ...

    def publish(self) -> None:
        """Puts what `end_shard` finished under its final names."""
        ...

    def abort(self) -> None:
        """Lets go of what is not finished."""
        ...


@runtime_checkable
class ResumableSinks(Sinks, Protocol):
    """Sinks that a later run can go on with: files of a shard's own, not a stream."""

    def checkpoint(self, turn: int) -> dict[str, PartState]:
        """Makes what was written durable, and says by output how far it is."""
        ...


@runtime_checkable
class CopyingSinks(Sinks, Protocol):
    """Sinks that write records as they are stored, in the input's own format."""

    def pass_on(self, payload: Payload) -> None:
        """Writes what a batch without documents holds for every output."""
        ...


OpenSinks = Callable[[Reader, Checkpoint | None], Sinks]
"""Opens where a shard's records go, at the point where a checkpoint left them."""


def run_shard(
    name: str,
    source: str,
    open_reader: Callable[[], Reader],
    open_sinks: OpenSinks,
    engine: Judge,
    on_progress: OnProgress | None = None,
    journal: Journal | None = None,
    threads: int = 1,
) -> ShardResult:
    """Processes one shard and says what became of it; problems of its data don't raise.

    With more `threads` batches are judged while others are written; that never changes a result.
    With a `journal` it goes on from the shard's checkpoint, makes new ones, and ends at a batch's
    end when `stopping.STOP` is asked: then it raises `StoppedError`. `ConfigError`,
    `ConservationError` and `BrokenPipeError` are raised, too.
    """
    if journal is None:
        run = _ShardRun(name, source, engine, threads, on_progress, None)
        return run.run(open_reader, open_sinks)
    with STOP.watched():
        checkpoint = journal.load()
        if checkpoint is not None:
            try:
                resumed = _ShardRun(name, source, engine, threads, on_progress, journal, checkpoint)
                return resumed.run(open_reader, open_sinks)
            except CheckpointError as error:
                _log.warning("%s; the shard starts over", error)
        journal.discard()
        fresh = _ShardRun(name, source, engine, threads, on_progress, journal)
        return fresh.run(open_reader, open_sinks)


class _ShardRun:
    """One pass over a shard, from its beginning or from a checkpoint."""

    def __init__(
        self,
        name: str,
        source: str,
        engine: Judge,
        threads: int,
        on_progress: OnProgress | None,
        journal: Journal | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._engine = engine
        self._threads = threads
        self._on_progress = on_progress
        self._journal = journal
        self._checkpoint = checkpoint
        self._tally = checkpoint.tally if checkpoint else Tally()
        self._statistics = checkpoint.statistics if checkpoint else Statistics()
        self._earlier = self._tally.records, self._tally.text_bytes
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        if checkpoint is not None:
            self._started -= checkpoint.seconds
            self._cpu_started -= checkpoint.cpu_seconds
        self._turn = checkpoint.turn if checkpoint else 0
        self._kept = checkpoint is not None
        self._complete = True
        self._outputs: dict[str, WrittenFile] = {}

    def run(self, open_reader: Callable[[], Reader], open_sinks: OpenSinks) -> ShardResult:
        """Reads, judges and writes to the end; see `run_shard`."""
        reader: Reader | None = None
        sinks: Sinks | None = None
        try:
            try:
                reader = open_reader()
                sinks = self._open(reader, open_sinks)
                self._read(reader, sinks)
                _check_conservation(self._name, self._tally, self._statistics)
                self._outputs = sinks.end_shard()
                _check_outputs(self._name, self._tally, self._outputs.values())
                result = self._result(reader)
                if self._journal is not None:
                    paths = {part: file.path for part, file in self._outputs.items()}
                    result = self._journal.seal(result, paths)
                    self._kept = True  # Should a name be refused: a later run can give it.
                sinks.publish()
                self._kept = False
            except (InputError, OutputError) as error:
                self._fail(error)
                self._outputs = {}
                result = self._result(reader)
        except CheckpointError:
            self._kept = False
            raise
        finally:
            if sinks is not None:
                sinks.abort()
            if reader is not None:
                reader.close()
            if self._journal is not None and not self._kept:
                self._journal.discard()
        self._report(done=True)
        return result

    def _open(self, reader: Reader, open_sinks: OpenSinks) -> Sinks:
        if self._checkpoint is None:
            return open_sinks(reader, None)
        reader.start_at(self._checkpoint.position)
        try:
            return open_sinks(reader, self._checkpoint)
        except (FormatError, OutputError) as error:
            raise CheckpointError(str(error)) from error

    def _read(self, reader: Reader, sinks: Sinks) -> None:
        """Every batch; an input that breaks off is noted, and what came before it stays.

        Raises `InputError` where reading failed, of an input that can be read again.
        """
        behind: Position | None = None
        try:
            with closing(judged_in_order(reader, self._engine, self._threads)) as steps:
                for step in steps:
                    _run_batch(self._name, step, sinks, self._statistics, self._tally)
                    self._report(done=False)
                    behind = step.position
                    # Before the next batch is made, this one has to be gone.
                    del step
                    if self._journal is not None and isinstance(sinks, ResumableSinks):
                        if STOP.asked or self._journal.due(self._tally.text_bytes):
                            self._save(self._journal, behind, sinks)
                        if STOP.asked:
                            raise StoppedError(f"{self._name}: stopped after {self._tally.records}")
        except InputError as error:
            if self._journal is None or is_lasting(_kind(error)):
                self._fail(error)
                return
            # Another run may read on from here: nothing of this one gets a name.
            if behind is not None and isinstance(sinks, ResumableSinks):
                self._save(self._journal, behind, sinks)
            raise

    def _save(self, journal: Journal, position: Position, sinks: ResumableSinks) -> None:
        self._turn += 1
        journal.save(
            Checkpoint(
                turn=self._turn,
                position=position,
                tally=self._tally,
                statistics=self._statistics,
                parts=sinks.checkpoint(self._turn),
                seconds=time.perf_counter() - self._started,
                cpu_seconds=time.process_time() - self._cpu_started,
            )
        )
        self._kept = True

    def _fail(self, error: LowbgError) -> None:
        self._complete = False
        self._tally.add_problem(_kind(error), str(error), 0)

    def _report(self, *, done: bool) -> None:
        if self._on_progress is not None:
            tally = self._tally
            self._on_progress(
                Progress(self._name, tally.consumed, tally.records, tally.ai, done=done)
            )

    def _result(self, reader: Reader | None) -> ShardResult:
        tally = self._tally
        earlier_records, earlier_text_bytes = self._earlier
        return ShardResult(
            shard=self._name,
            source=self._source,
            format=reader.format.name if reader is not None else "unknown",
            compression=reader.compression if reader is not None else "unknown",
            records=tally.records,
            complete=self._complete,
            statistics=self._statistics.shortened(),
            outputs=tuple(self._outputs.values()),
            problems=tuple(tally.problems.values()),
            read_bytes=tally.consumed,
            text_bytes=tally.text_bytes,
            lenient=tally.lenient,
            blank=tally.blank,
            seconds=time.perf_counter() - self._started,
            cpu_seconds=time.process_time() - self._cpu_started,
            seen_fields=tuple(sorted(reader.seen_fields)) if reader is not None else (),
            lm_seconds=tally.lm_seconds,
            earlier_records=earlier_records,
            earlier_text_bytes=earlier_text_bytes,
        )


def _run_batch(
    name: str,
    step: Step,
    sinks: Sinks,
    statistics: Statistics,
    tally: Tally,
) -> None:
    batch, judged = step.batch, step.judged
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
    if judged is None:
        if isinstance(sinks, CopyingSinks):
            sinks.pass_on(batch.payload)
        return
    tally.routed += sinks.write(batch, judged)
    tally.records += len(batch)
    tally.text_bytes += int(batch.sizes.sum())
    tally.ai += int((judged.decisions.verdicts == Verdict.AI.code).sum())
    if judged.second is not None:
        tally.lm_seconds += judged.second.seconds
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
        trusted=judged.known.trusted,
        called_ai=decisions.called_ai,
        columns={**judged.columns, "ai_score": decisions.score},
        unscored_codes=decisions.unscored_codes,
        unscored_names=decisions.unscored_names,
        second_look=second_look_counts(judged),
        origin=judged.known,
        counted=judged.counted,
    )


def second_look_counts(judged: Judged) -> dict[str, int]:
    """What a causal LM did with a batch, as `Statistics.second_look` counts it."""
    second = judged.second
    if second is None:
        return {}
    counts = {
        f"sent_{name}": int((second.sent == code).sum()) for code, name in enumerate(SENT_NAMES)
    }
    counts["tokens"] = int(second.tokens.sum())
    counts["without_say"] = int(((second.sent >= 0) & ~second.has_say).sum())
    after = judged.decisions.verdicts
    for i in np.flatnonzero(second.before != after).tolist():
        change = f"{VERDICTS[second.before[i]]}_to_{VERDICTS[after[i]]}"
        counts[change] = counts.get(change, 0) + 1
    return {name: count for name, count in counts.items() if count}


def _kind(error: Exception) -> str:
    return type(error).__name__.removesuffix("Error").lower()


def _check_conservation(name: str, tally: Tally, statistics: Statistics) -> None:
    counted: Mapping[str, int] = statistics.documents()
    out = sum(counted[verdict] for verdict in OUTCOMES)
    if tally.records != out or tally.records != tally.routed + tally.quarantined:
        raise ConservationError(
            f"{name}: {tally.records} records in, {tally.routed} routed, {tally.quarantined} "
            f"quarantined, {out} counted. This is a defect of lowbg; nothing was put in place."
        )


def _check_outputs(name: str, tally: Tally, outputs: Collection[WrittenFile]) -> None:
    """The files' own counts, where a shard has files of its own, must add up as well."""
    if not outputs:
        return
    written = sum(file.records for file in outputs)
    if written != tally.records:
        raise ConservationError(
            f"{name}: {tally.records} records in, {written} in the files written. "
            "This is a defect of lowbg."
        )
