"""One shard through all stages: read, judge, route, write, count.

A shard is processed by one worker, batch by batch, in the order of its records. What cannot be
read goes to quarantine with its place and its bytes; at the end the records in must equal the
records out, or `ConservationError` is raised and nothing is put under a final name.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from lowbg.config import OUTCOMES, VERDICTS, SourceVerdict, Verdict
from lowbg.errors import (
    CheckpointError,
    ConservationError,
    FormatError,
    InputError,
    NoTextError,
    OutputError,
    StoppedError,
)
from lowbg.formats.base import Reader
from lowbg.records import Batch, Position
from lowbg.report.examples import FEW, KEPT, Candidates
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics, StatisticsBatch
from lowbg.runs.cascade import SENT_NAMES, LookedAgain
from lowbg.runs.checkpoints import Checkpoint, Journal, Tally
from lowbg.runs.engine import Judge, Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.overlap import Step
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.sampling import document_keys, named
from lowbg.runs.shards import Piece
from lowbg.runs.sinks import Outputs, Place
from lowbg.stopping import STOP
from lowbg.storage.files import Pending, WrittenFile, deferring

_log = logging.getLogger(__name__)

_EXAMPLES_SEED = 0
_SMALL = 1 << 20


class ShardTask(ABC):
    """What a command makes of a shard's records."""

    @property
    @abstractmethod
    def judge(self) -> Judge:
        """What says of documents what they are."""

    @abstractmethod
    def source(self, shard: Shard) -> Source:
        """How the shard is read."""

    @abstractmethod
    def open_outputs(self, place: Place, reader: Reader) -> Outputs:
        """Opens where the shard's records go, at the point where a checkpoint left them."""


def run_shard(
    shard: Shard,
    task: ShardTask,
    on_progress: OnProgress | None = None,
    journal: Journal | None = None,
    run: Callable[..., ShardRun] | None = None,
) -> ShardResult:
    """Processes one shard and says what became of it; problems of its data don't raise.

    With a `journal` it goes on from the shard's checkpoint, makes new ones, and ends at a batch's
    end when `stopping.STOP` is asked: then it raises `StoppedError`. `ConfigError`,
    `ConservationError` and `BrokenPipeError` are raised, too. `run` makes the pass, a `ShardRun`.
    """
    run = run or ShardRun
    if journal is None:
        return run(shard, task, on_progress).run()
    with STOP.watched():
        checkpoint = journal.load()
        if checkpoint is not None:
            try:
                return run(shard, task, on_progress, journal, checkpoint).run()
            except CheckpointError as error:
                _log.warning("%s; the shard starts over", error)
        journal.discard()
        return run(shard, task, on_progress, journal).run()


class ShardRun:
    """One pass over a shard, from its beginning or from a checkpoint.

    What it writes is durable at once; between `steps`, where `pending` is set.
    """

    def __init__(
        self,
        shard: Shard,
        task: ShardTask,
        on_progress: OnProgress | None,
        journal: Journal | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._shard = shard
        self._task = task
        self._journal = journal
        self._checkpoint = checkpoint
        self.pending: Pending | None = None
        self.reading = ShardReading(
            task.source(shard), self.judge(), on_progress, checkpoint=checkpoint
        )
        self._tally, self._statistics = self.reading.tally, self.reading.statistics
        self._turn = checkpoint.turn if checkpoint else 0
        self._kept = checkpoint is not None
        self._stopped: StoppedError | None = None

    def judge(self) -> Judge | None:
        """What judges its documents; null where that was done before."""
        return self._task.judge

    def run(self) -> ShardResult:
        """Reads, judges and writes to the end; see `run_shard`."""
        steps = self.steps()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: ShardResult = end.value
                return result

    def steps(self) -> Generator[None, None, ShardResult]:
        """The same, with a pause wherever `pending` has to be durable before it goes on.

        An `OutputError` that is thrown in there is the shard's own.
        """
        with self.reading:
            outputs: Outputs | None = None
            try:
                outputs = self._open()
                self._read(outputs)
                return (yield from self._put_in_place(outputs))
            except (InputError, OutputError) as error:
                self.reading.fail(error)
                return self.reading.result()
            except CheckpointError:
                self._kept = False
                raise
            finally:
                if outputs is not None:
                    outputs.abort()
                if self._journal is not None and not self._kept:
                    self._journal.discard()

    def _open(self) -> Outputs:
        reader = self.reading.reader
        if reader is None:
            assert self.reading.broken is not None
            raise self.reading.broken
        shard = self._shard
        place = Place(
            *(shard.name, self._journal, self._checkpoint),
            again=shard.resumable,
            is_piece=isinstance(shard, Piece),
        )
        try:
            return self._task.open_outputs(place, reader)
        except (FormatError, OutputError) as error:
            if self._checkpoint is None:
                raise
            raise CheckpointError(str(error)) from error

    def _read(self, outputs: Outputs) -> None:
        """Every batch; an input that breaks off is noted, and what came before it stays.

        Raises `InputError` where reading failed, of an input that can be read again.
        """
        behind: Position | None = None
        for step in self._until_stopped():
            if self._gives_up:
                continue
            self._take(step, outputs)
            behind = step.position
            # Before the next batch is made, this one has to be gone.
            del step
            if self._journal is not None:
                stop = STOP.asked  # Once: what is asked for later is noticed after the next batch.
                if stop or self._journal.due(self._tally.text_bytes):
                    self._save(self._journal, behind, outputs)
                if stop:
                    raise StoppedError(f"{self._shard.name}: stopped after {self._tally.records}")
        if self._stopped is not None:
            if self._journal is not None and behind is not None:
                self._save(self._journal, behind, outputs)
            raise self._stopped
        broken = self.reading.broken
        if broken is not None and self._gives_up:
            self.reading.forget()
            raise broken
        if broken is None or self._journal is None or broken.problem.lasting:
            return
        # Another run may read on from here: nothing of this one gets a name.
        if behind is not None:
            self._save(self._journal, behind, outputs)
        raise broken

    def _until_stopped(self) -> Iterator[Step]:
        """Every batch; a stop within one ends them, and that batch is as if it weren't read."""
        try:
            yield from self.reading
        except StoppedError as error:
            self._stopped = error

    @property
    def _gives_up(self) -> bool:
        """Whether the shard has no text: then nothing of it gets a name. A stream can't be undone,
        and what it was given is counted."""
        return isinstance(self.reading.broken, NoTextError) and self._journal is not None

    def _take(self, step: Step, outputs: Outputs) -> None:
        batch, judged = step.batch, step.judged
        if judged is not None:
            counted = statistics_batch(batch, judged)
            if self.reading.source.config.examples:
                counted = replace(counted, candidates=self._candidates(batch, judged))
            self._statistics.add(counted)
        if batch.rejected:
            outputs.quarantine(self._shard.name, batch.rejected)
        if judged is not None:
            self._tally.routed += outputs.write(batch, judged)
        else:
            outputs.pass_on(batch.payload)
        if batch.ends_frame:
            outputs.end_frames()

    def _candidates(self, batch: Batch, judged: Judged) -> Candidates:
        """What the report's examples are chosen from."""
        decisions, name = judged.decisions, self._shard.name
        start = hashlib.sha256(named(_EXAMPLES_SEED, name)).digest()
        return Candidates(
            shard=name,
            records=batch.records,
            text=batch.text,
            ids=batch.metadata.id,
            draws=document_keys(start, batch.records) / float(1 << 64),
            margins=decisions.margin,
            reasons=decisions.reasons,
            most=FEW if 0 < self._shard.whole.size <= _SMALL else KEPT,
        )

    def _put_in_place(self, outputs: Outputs) -> Generator[None, None, ShardResult]:
        """Finishes the outputs, notes the result, and gives the outputs their names."""
        name = self._shard.name
        check_conservation(name, self._tally, self._statistics)
        with deferring(self.pending):
            files = outputs.end_shard()
        check_outputs(name, self._tally, files.values())
        result = self.result([*files.values()])
        result = msgspec.structs.replace(result, notes=(*result.notes, *outputs.notes(name)))
        yield
        if self._journal is not None:
            paths = {part: file.path for part, file in files.items()}
            with deferring(self.pending):
                result = self._journal.seal(result, paths)
            self._kept = True  # Should a name be refused: a later run can give it.
            yield
        with deferring(self.pending):
            outputs.publish()
        yield
        self._kept = False
        return result

    def result(self, files: Sequence[WrittenFile]) -> ShardResult:
        """What became of the shard, with its outputs."""
        return self.reading.result(files)

    def _save(self, journal: Journal, position: Position, outputs: Outputs) -> None:
        self._turn += 1
        seconds, cpu_seconds = self.reading.seconds
        journal.save(
            Checkpoint(
                shard=journal.shard.name,
                input=journal.input,
                turn=self._turn,
                position=position,
                tally=self._tally,
                statistics=self._statistics,
                parts=outputs.checkpoint(self._turn),
                seconds=seconds,
                cpu_seconds=cpu_seconds,
            )
        )
        self._kept = True


def statistics_batch(batch: Batch, judged: Judged) -> StatisticsBatch:
    """What the statistics count of a judged batch."""
    decisions = judged.decisions
    return StatisticsBatch(
        verdicts=decisions.verdicts,
        words=judged.documents.tokens.words_per_document,
        sizes=batch.sizes,
        languages=judged.documents.languages,
        codes=judged.documents.language_codes,
        dates=judged.dates,
        urls=batch.metadata.url,
        trusted=judged.known.trusted,
        called_ai=decisions.called_ai,
        columns={**judged.columns, "ai_score": decisions.score},
        unscored_codes=decisions.unscored_codes,
        unscored_names=decisions.unscored_names,
        second_look=second_look_counts(judged),
        sources=source_counts(judged),
        origin=judged.known,
        counted=judged.counted,
        bins=judged.declared.bins,
    )


def source_counts(judged: Judged) -> dict[str, int]:
    """What evidence of sources did with a batch, as `Statistics.sources` counts it."""
    decisions = judged.decisions
    if decisions.source_verdicts is None or decisions.alone is None:
        return {}
    names = [verdict.value for verdict in SourceVerdict]
    known = judged.known.trusted | judged.known.denied
    called = decisions.called_ai & ~decisions.alone & ~known
    spared = ~decisions.called_ai & decisions.alone & ~known
    counts: dict[str, int] = {}
    for code in np.unique(decisions.source_verdicts).tolist():
        own = decisions.source_verdicts == code
        name = names[code] if code >= 0 else "(no evidence)"
        for verdict, what in enumerate(VERDICTS):
            counts[f"{name}/{what}"] = int((own & (decisions.verdicts == verdict)).sum())
        counts[f"{name}/called"] = int((own & called).sum())
        counts[f"{name}/spared"] = int((own & spared).sum())
    return {name: count for name, count in counts.items() if count}


def second_look_counts(judged: Judged) -> dict[str, int]:
    """What slow scorers did with a batch, as `Statistics.second_look` counts it."""
    second = judged.second
    if second is None:
        return {}
    counts = {
        f"sent_{name}": int((second.sent == code).sum()) for code, name in enumerate(SENT_NAMES)
    }
    counts["tokens"] = int(second.tokens.sum())
    counts["without_say"] = int(((second.sent >= 0) & ~second.has_say).sum())
    counts |= _drawn_counts(second, judged.decisions.verdicts)
    after = judged.decisions.verdicts
    for i in np.flatnonzero(second.before != after).tolist():
        change = f"{VERDICTS[second.before[i]]}_to_{VERDICTS[after[i]]}"
        counts[change] = counts.get(change, 0) + 1
    return {name: count for name, count in counts.items() if count}


def _drawn_counts(second: LookedAgain, after: NDArray[np.int8]) -> dict[str, int]:
    """Of each kind that a share is drawn from: documents, those read, those that came to be AI.

    Under "kind/share", as the share is what a read one stands for.
    """
    if second.selection is None:
        return {}
    counts = {}
    became_ai = (after == Verdict.AI.code) & (second.before != Verdict.AI.code)
    drawn = second.drawn_from >= 0
    kinds = {*zip(second.drawn_from[drawn].tolist(), second.shares[drawn].tolist(), strict=True)}
    for code, share in sorted(kinds):
        own = (second.drawn_from == code) & (second.shares == share)
        read = own & (second.sent >= 0)
        for name, which in (("documents", own), ("read", read), ("found", read & became_ai)):
            counts[f"{SENT_NAMES[code]}/{share:g}/{name}"] = int(which.sum())
    return counts


def check_conservation(name: str, tally: Tally, statistics: Statistics) -> None:
    """Raises `ConservationError` where records in aren't records out."""
    counted: Mapping[str, int] = statistics.documents()
    out = sum(counted[verdict] for verdict in OUTCOMES)
    if tally.records != out or tally.records != tally.routed + tally.quarantined:
        raise ConservationError(
            f"{name}: {tally.records} records in, {tally.routed} routed, {tally.quarantined} "
            f"quarantined, {out} counted. This is a defect of lowbg; nothing was put in place."
        )


def check_outputs(name: str, tally: Tally, outputs: Collection[WrittenFile]) -> None:
    """The files' own counts, where a shard has files of its own, must add up as well."""
    if not outputs:
        return
    written = sum(file.records for file in outputs)
    if written != tally.records:
        raise ConservationError(
            f"{name}: {tally.records} records in, {written} in the files written. "
            "This is a defect of lowbg."
        )
