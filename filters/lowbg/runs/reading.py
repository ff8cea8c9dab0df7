"""The records of one shard, batch by batch: how every command reads.

One rule for what can't be read holds everywhere. A record goes to quarantine and is counted. Where
the shard itself breaks off, what came before the damage counts, the problem is noted, and the
other shards go on: `ShardReading` doesn't raise, its result has the problem and is not complete.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np

from lowbg.config import RunConfig, Verdict
from lowbg.errors import FormatError, InputError, LowbgError, NoTextError, ProblemKind, StoppedError
from lowbg.formats import open_reader, recognise_file
from lowbg.formats.base import Reader, SplitReader
from lowbg.records import Batch, Rejections
from lowbg.report.results import Problem, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.checkpoints import Checkpoint, Tally
from lowbg.runs.engine import Judge, Judged
from lowbg.runs.inputs import STDIN, STDIN_NAME, InputState, Shard
from lowbg.runs.overlap import Step, judged_in_order
from lowbg.runs.progress import OnProgress, Progress
from lowbg.runs.shards import Piece
from lowbg.stopping import STOP
from lowbg.storage.files import WrittenFile

TRIED_RECORDS: Final = 10_000
"""Records without a text that end a shard, where none before has one."""

_TEXTLESS: Final = (
    ProblemKind.MISSING_TEXT, ProblemKind.NULL_TEXT, ProblemKind.TEXT_NOT_STRING,
)  # fmt: skip
_PATHS_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Source:
    """A shard and how it is read.

    `stdin` is what "-" reads, by default this process's own; `label` what progress calls a pass
    where a shard is read more than once.
    """

    shard: Shard
    config: RunConfig
    stdin: BinaryIO | None = None
    label: str = ""

    def open(self) -> Reader:
        """The shard's reader. Raises `InputError` where there is nothing to read."""
        shard = self.shard
        if shard.path != STDIN:
            return open_reader(shard.path, self.config, shard.name)
        return open_reader(self.stdin or sys.stdin.buffer, self.config, STDIN_NAME)


def refuse_broken(results: Sequence[ShardResult]) -> None:
    """Raises `InputError` where a shard wasn't read whole, for who found nothing in them."""
    for problem in (problem for result in results for problem in result.problems):
        if not problem.count:
            raise InputError(problem.message)


def refuse_foreign(shards: Sequence[Shard]) -> None:
    """Raises `FormatError` where every shard is a file of no format that lowbg reads.

    So nothing is written for them. The first one that can be read ends the search; what comes by
    a pipe or a network is not looked at.
    """
    refused: list[FormatError] = []
    for shard in shards:
        if not shard.resumable or "://" in shard.path:
            return
        try:
            recognise_file(shard.path)
            return
        except FormatError as error:
            refused.append(error)
        except InputError:
            return
    if refused:
        many = f"none of the {len(refused):,} files can be read; " if len(refused) > 1 else ""
        raise FormatError(f"{many}{refused[0]}")


class _Clock:
    """Wall-clock time and this process's CPU time that something took, in seconds."""

    def __init__(self) -> None:
        self._total = [0.0, 0.0]
        self._started: tuple[float, float] | None = None

    def add(self, seconds: float, cpu_seconds: float) -> None:
        """Adds what was spent elsewhere."""
        self._total[0] += seconds
        self._total[1] += cpu_seconds

    def start(self) -> None:
        """Counts from now on."""
        self._started = time.perf_counter(), time.process_time()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what happens within."""
        self.start()
        try:
            yield
        finally:
            self.add(*self._since())
            self._started = None

    @property
    def seconds(self) -> tuple[float, float]:
        """Both, so far."""
        since = self._since()
        return self._total[0] + since[0], self._total[1] + since[1]

    def _since(self) -> tuple[float, float]:
        if self._started is None:
            return 0.0, 0.0
        wall, cpu = self._started
        return time.perf_counter() - wall, time.process_time() - cpu


class ShardReading:
    """One pass over a shard: `with ShardReading(source) as reading: for step in reading: …`.

    With a `judge` every batch comes judged, in `config.threads` threads; that
    never changes a result. `tally` counts what was read, and `statistics` what is in quarantine: to
    count what was judged is left to the caller. With a `checkpoint` the pass goes on from there.
    With `stoppable` it ends between two batches when `stopping.STOP` is asked: it raises
    `StoppedError`. `reader` is null where the shard could not be opened; `broken` is why it broke
    off, null where it was read to its end.
    """

    def __init__(
        self,
        source: Source,
        judge: Judge | None = None,
        on_progress: OnProgress | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        stoppable: bool = False,
    ) -> None:
        self.source = source
        self.reader: Reader | None = None
        self.broken: InputError | None = None
        self.tally = checkpoint.tally if checkpoint else Tally()
        self.statistics = checkpoint.statistics if checkpoint else Statistics()
        self._failures: dict[ProblemKind, Problem] = {}
        self._judge = judge
        self._partition = source.shard.partition
        self._on_progress = on_progress
        self._stoppable = stoppable
        self._piece = source.shard if isinstance(source.shard, Piece) else None
        self._start = self._piece.start if self._piece is not None else None
        if checkpoint is not None:
            self._start = checkpoint.position
        self._state = InputState.of(source.shard) if source.shard.resumable else None
        self._earlier = self.tally.records, self.tally.text_bytes
        self._earlier_bytes = self.tally.consumed
        self._scored = int(self.statistics.scored()[0])
        self._tokens = 0
        self._ahead: list[Step] | None = None
        self._clock = _Clock()
        if checkpoint is not None:
            self._clock.add(checkpoint.seconds, checkpoint.cpu_seconds)

    def read_ahead(self, max_bytes: int) -> list[Batch] | None:
        """Reads a shard that is a single batch of at most `max_bytes` of text, before `with`.

        What can be judged is returned for `add_judged`. Null where it is larger or anything is
        wrong: then nothing is read yet.
        """
        with self._clock.running():
            try:
                reader = self.source.open()
            except Exception:  # It is met again, where it is handled.
                return None
            try:
                batches = iter(reader)
                first = [self._complete(batch) for batch in itertools.islice(batches, 1)]
                position = reader.position()
                is_whole = next(batches, None) is None
            except Exception:
                is_whole = False
            if not is_whole or sum(batch.text.nbytes for batch in first) > max_bytes:
                reader.close()
                return None
            self.reader = reader
            self._ahead = [Step(batch, None, position) for batch in first]
            return [batch for batch in first if len(batch)]

    def read_again(self) -> None:
        """Forgets what was read ahead."""
        self.close()
        self.reader = self._ahead = None

    def add_judged(self, judged: Judged, seconds: float, cpu_seconds: float) -> None:
        """What was judged of the batch that was read ahead, and what that took."""
        assert self._ahead is not None
        self._ahead = [replace(step, judged=judged) for step in self._ahead]
        self._clock.add(seconds, cpu_seconds)

    def __enter__(self) -> Self:
        self._clock.start()
        if self._ahead is not None:
            return self
        try:
            self.reader = self.source.open()
            if self._start is not None:
                self.reader.start_at(self._start)
                self._report(done=False)
            if self._piece is not None and self._piece.stop is not None:
                assert isinstance(self.reader, SplitReader)
                self.reader.stop_at(self._piece.stop)
        except InputError as error:
            self._break_off(error)
        except BaseException:
            self.close()
            raise
        return self

    def __iter__(self) -> Iterator[Step]:
        if self.reader is None:
            return
        try:
            with closing(self._steps(self.reader)) as steps:
                for step in steps:
                    textless = self._up_to_textless(step.batch)
                    if textless is not None:
                        self._count(textless, None)
                        self._break_off(self._no_text())
                        yield replace(step, batch=textless, judged=None)
                        return
                    self._count(step.batch, step.judged)
                    self._report(done=False)
                    held = [step]
                    # Before the next batch is made, this one has to be gone.
                    del step
                    yield held.pop()
                    if self._stoppable and STOP.asked:
                        name, records = self.source.shard.name, self.tally.records
                        raise StoppedError(f"{name}: stopped after {records}")
        except InputError as error:
            self._break_off(error)
        self.refuse_changed()

    def _steps(self, reader: Reader) -> Generator[Step, None, None]:
        if self._ahead is None:
            threads = self.source.config.threads
            yield from judged_in_order(reader, self._judge, threads, self._complete)
        else:
            while self._ahead:
                yield self._ahead.pop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None:
            self._report(done=True)

    def close(self) -> None:
        """Releases the shard; `with` does it."""
        if self.reader is not None:
            self.reader.close()

    @property
    def opened(self) -> Reader:
        """The shard's reader, once a batch came from it."""
        assert self.reader is not None
        return self.reader

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall-clock time and this process's CPU time so far, those before the checkpoint too."""
        return self._clock.seconds

    def result(self, outputs: Sequence[WrittenFile] = ()) -> ShardResult:
        """What became of the shard; it is complete where nothing is wrong with it as a whole."""
        tally, reader = self.tally, self.reader
        problems = (*tally.problems.values(), *self._failures.values())
        seconds, cpu_seconds = self.seconds
        earlier_records, earlier_text_bytes = self._earlier
        return ShardResult(
            shard=self.source.shard.name,
            source=self.source.shard.path,
            format=reader.format.name if reader is not None else "unknown",
            compression=reader.compression if reader is not None else "unknown",
            records=tally.records,
            complete=all(problem.count for problem in problems),
            statistics=self.statistics.shortened(),
            outputs=tuple(outputs),
            problems=problems,
            read_bytes=tally.consumed,
            text_bytes=tally.text_bytes,
            lenient=tally.lenient,
            blank=tally.blank,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            seen_fields=_longest_first(reader.seen_fields) if reader is not None else (),
            lm_seconds=tally.lm_seconds,
            earlier_records=earlier_records,
            earlier_text_bytes=earlier_text_bytes,
            notes=reader.notes if reader is not None else (),
        )

    def fail(self, error: LowbgError) -> None:
        """Notes what is wrong with the shard as a whole; the first of a kind is kept."""
        # Not in the tally: a later run may go on from there without it.
        self._failures.setdefault(error.problem, Problem(error.problem, str(error), 0))

    def _complete(self, batch: Batch) -> Batch:
        """The batch with what the shard's path says of its records."""
        if not self._partition:
            return batch
        fields = self.source.config.read_fields
        return replace(batch, metadata=batch.metadata.completed(fields, self._partition))

    def refuse_changed(self) -> None:
        """A file that another process wrote to meanwhile counts as not read whole.

        What was read may be of either state, or of both.
        """
        shard = self.source.shard
        before, now = self._state, InputState.of(shard)
        if before is not None and now != before:
            how = f"{before.size:,} bytes, now {now.size:,}" if now.size != before.size else "time"
            self._break_off(
                InputError(f"{shard.path}: changed while it was read ({how}). Run it again.")
            )

    def _up_to_textless(self, batch: Batch) -> Batch | None:
        """The batch up to its record that is the last of `TRIED_RECORDS` without a text.

        Null where reading goes on: where there haven't been that many, or one with a text before.
        """
        tally = self.tally
        if self.source.config.force or tally.records > tally.quarantined:
            return None
        left = TRIED_RECORDS - sum(
            problem.count for kind, problem in tally.problems.items() if kind in _TEXTLESS
        )
        if len(batch.rejected) < left:
            return None
        rejected = Rejections.of(batch.rejected)
        end = int(np.searchsorted(np.cumsum(rejected.are_of(_TEXTLESS)), left)) + 1
        if end > len(rejected) or (len(batch) and rejected.records[end - 1] > batch.records[0]):
            return None
        none = batch.filtered(np.zeros(len(batch), np.bool_))
        return replace(none, rejected=rejected[:end], lenient=0, blank=0)

    def _no_text(self) -> NoTextError:
        paths = _longest_first(self.opened.seen_fields)
        more = ", …" if len(paths) > _PATHS_NAMED else ""
        named = ", ".join(paths[:_PATHS_NAMED]) + more
        return NoTextError(
            f"{self.source.shard.name}: none of its first {self.tally.records:,} records has a "
            f"text in {self.source.config.fields.text!r}; text is in: {named or 'no field'}. Name "
            "the field with `fields.text`, or go on with `force`"
        )

    def forget(self) -> None:
        """Takes what was read of the shard out of the counts: nothing came of it."""
        self.tally.forget()
        self.statistics = Statistics()

    def _break_off(self, error: InputError) -> None:
        self.broken = error
        self.fail(error)

    def _count(self, batch: Batch, judged: Judged | None) -> None:
        tally = self.tally
        tally.consumed = batch.consumed
        tally.lenient += batch.lenient
        tally.blank += batch.blank
        for reason, records, bytes, message in Rejections.of(batch.rejected).by_reason():
            tally.records += records
            tally.quarantined += records
            tally.text_bytes += bytes
            tally.add_problem(reason, message, records)
            self.statistics.add_quarantined(reason, records, bytes)
        tally.records += len(batch)
        tally.text_bytes += int(batch.sizes.sum())
        if judged is not None:
            self._scored += int(judged.decisions.scored.sum())
            tally.ai += int((judged.decisions.verdicts == Verdict.AI.code).sum())
            if judged.second is not None:
                tally.lm_seconds += judged.second.seconds
                self._tokens += int(judged.second.tokens.sum())

    def _report(self, *, done: bool) -> None:
        if self._on_progress is not None:
            tally, piece = self.tally, self._piece
            name = self.source.label or self.source.shard.name
            consumed, earlier = tally.consumed, self._earlier_bytes
            if piece is not None:  # The shard is done when all are put together.
                name, done = piece.label, False
                consumed, earlier = (
                    max(0, min(each - piece.begin, piece.size)) for each in (consumed, earlier)
                )
            self._on_progress(
                Progress(
                    name, consumed, tally.records, tally.ai, self._scored, earlier, done,
                    tally.quarantined, self._tokens,
                )
            )  # fmt: skip


def _longest_first(seen: Counter[str]) -> tuple[str, ...]:
    """The fields that hold text, those with most of it first."""
    return tuple(path for path, _ in seen.most_common())
