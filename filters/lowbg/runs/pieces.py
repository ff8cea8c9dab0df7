"""Large shards in pieces, so that none keeps a run waiting for the worker that has it.

A worker reads, judges and routes a piece into logs in `.lowbg/parts/`. What hands the pieces out
puts them together in their order, while the others are read: it writes the shard's outputs from the
logs, so that they are, byte for byte, those of one pass. Where anything is odd (damage, quarantine
beyond its bounds, a piece that its worker gave up) the shard is read in one pass after all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Final

import msgspec

from lowbg.config import RunConfig
from lowbg.errors import InputError, LowbgError, StoppedError
from lowbg.formats import piece_starts
from lowbg.formats.base import SplitFormat
from lowbg.records import Position
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import Journal
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import Ended, Task, Workers, map_shards
from lowbg.runs.progress import Observer, OnProgress, Progress
from lowbg.runs.shard import ShardRun, ShardTask, check_conservation, check_outputs, run_shard
from lowbg.runs.shards import Piece
from lowbg.runs.sinks import Outputs, ShardFiles
from lowbg.storage.files import WrittenFile, is_as_noted, unsynced

_log = logging.getLogger(__name__)

FetchLogs = Callable[[Sequence[WrittenFile]], None]

_SHARES: Final = 4
"""A shard is split that is larger than such a part of what each worker has to do."""

_STEPS: Final = 4
"""Pieces that each core has still to do, at least, when one is handed out, but for the last."""

_FINER: Final = 8
"""The smallest pieces have such a part of the largest ones."""


def pieces_of(
    shards: Sequence[Shard], config: RunConfig, workers: Workers, size: int
) -> dict[str, list[Piece]]:
    """The pieces of those shards that would keep a run waiting, by their names.

    Each has about `size` stored bytes, the last ones less. JSONL is read once for that, and in a
    store it is not.
    """
    cores = workers.cores()
    total = sum(shard.size for shard in shards)
    found = {}
    for shard in shards if cores > 1 else ():
        if shard.size >= 2 * size and shard.size * cores * _SHARES > total and shard.resumable:
            pieces = _split(shard, config, size, cores)
            if len(pieces) > 1:
                found[shard.name] = pieces
    return found


def _split(shard: Shard, config: RunConfig, size: int, cores: int) -> list[Piece]:
    try:
        starts = piece_starts(shard.path, config, shard.name, max(1, size // _FINER))
    except (LowbgError, OSError) as error:  # It is met again by who reads it.
        _log.debug("%s: isn't split (%s)", shard.name, error)
        return []
    starts = _spread(starts, shard.size, size, cores)
    begins = [0, *(start.frame[0] for start in starts), shard.size]
    return [
        Piece(
            *(shard.path, shard.name, begins[i + 1] - begins[i], shard),
            number=i,
            count=len(starts) + 1,
            begin=begins[i],
            start=starts[i - 1] if i else None,
            stop=starts[i] if i < len(starts) else None,
        )
        for i in range(len(starts) + 1)
    ]


def _spread(starts: Sequence[Position], total: int, size: int, cores: int) -> list[Position]:
    """Those of the places where a piece may begin at which one does.

    A piece is a quarter of what each core has still to do, and no larger than `size`: so all cores
    end at about the same time, and little is left to be put together then.
    """
    chosen = []
    end = min(size, total // (_STEPS * cores))
    for start in starts:
        at = start.frame[0]
        if at >= end:
            chosen.append(start)
            end = at + min(size, (total - at) // (_STEPS * cores))
    return chosen


def run_piece(
    piece: Piece, task: ShardTask, on_progress: OnProgress | None, journal: Journal
) -> ShardResult:
    """Reads a piece of a shard; `outputs` of the result are its logs. Otherwise as `run_shard`."""
    done = journal.whole_piece()
    if done is not None and all(is_as_noted(journal.root / log.path, log) for log in done.outputs):
        if on_progress is not None:
            on_progress(Progress(piece.label, piece.size, done.records, 0, earlier=piece.size))
        return done
    return run_shard(piece, task, on_progress, journal, PieceRun)


class PieceRun(ShardRun):
    """One pass over a piece of a shard; what it leaves are logs and a note that they are whole."""

    def _put_in_place(self, outputs: Outputs) -> Generator[None, None, ShardResult]:
        piece, journal = self._shard, self._journal
        assert isinstance(piece, Piece)
        assert journal is not None
        check_conservation(piece.name, self._tally, self._statistics)
        end, stop = self.reading.opened.position(), piece.stop
        if stop is not None and (end.record, end.line, end.offset) != (
            *(stop.record, stop.line, stop.offset),
        ):
            raise InputError(f"{piece.label}: ends elsewhere than where the next one begins")
        # Their digests tell, should the machine go down before the system has stored them.
        with unsynced():
            files = outputs.end_shard()
            check_outputs(piece.name, self._tally, files.values())
            # Not shortened: that is a matter of the whole shard.
            result = msgspec.structs.replace(
                self.reading.result([*files.values()]), statistics=self._statistics
            )
            if result.complete:
                journal.note_piece(result)
                self._kept = True
        yield
        return result


class JoiningRun(ShardRun):
    """Puts a shard's pieces together as they come: `put` each once, in any order, or give up.

    `fetch` is called with a piece's logs before they are read.
    """

    def __init__(
        self, pieces: Sequence[Piece], task: ShardTask, journal: Journal, fetch: FetchLogs
    ) -> None:
        super().__init__(journal.shard, task, None, journal)
        self._fetch = fetch
        self._came: SimpleQueue[tuple[int, ShardResult] | None] = SimpleQueue()
        self._pieces = pieces
        self._first: ShardResult | None = None
        self._own = [0.0, 0.0]

    def judge(self) -> None:
        """Nobody: the pieces have been judged."""

    def put(self, piece: Piece, result: ShardResult) -> None:
        """Takes a piece that was read to its end."""
        self._came.put((piece.number, result))

    def give_up(self) -> None:
        """Ends it without the pieces that are missing; those that are there stay."""
        self._came.put(None)

    def _read(self, outputs: Outputs) -> None:
        """Appends every piece's logs, in their order."""
        assert isinstance(outputs, ShardFiles)
        form = self.reading.opened.format
        assert isinstance(form, SplitFormat)
        started = time.thread_time()
        held: dict[int, ShardResult] = {}
        for number in range(len(self._pieces)):
            while number not in held:
                came = self._came.get()
                if came is None:
                    self._kept = True
                    raise StoppedError(f"{self._shard.name}: stopped at piece {number}")
                held[came[0]] = came[1]
            result = held.pop(number)
            self._fetch(result.outputs)
            outputs.append_logs(form, result.outputs)
            self._add(number, result)
        self._own[1] += time.thread_time() - started
        self.reading.refuse_changed()
        if self.reading.broken is not None:
            raise self.reading.broken

    def _add(self, number: int, result: ShardResult) -> None:
        tally = self._tally
        quarantined = result.statistics.documents()["quarantined"]
        tally.records += result.records
        tally.quarantined += quarantined
        tally.routed += result.records - quarantined
        tally.text_bytes += result.text_bytes
        tally.lenient += result.lenient
        tally.blank += result.blank
        tally.lm_seconds += result.lm_seconds
        # Lines are read a little beyond a piece's end.
        read = tally.consumed + result.read_bytes - self._pieces[number].begin
        tally.consumed = min(read, self._shard.size)
        for problem in result.problems:
            tally.add_problem(problem.kind, problem.message, problem.count)
        self._statistics.follow(result.statistics)
        self._first = self._first or result
        self._own[0] += result.seconds
        self._own[1] += result.cpu_seconds

    def result(self, files: Sequence[WrittenFile]) -> ShardResult:
        """What became of the shard; its times are those of all pieces and of joining them."""
        result = super().result(files)
        assert self._first is not None
        return msgspec.structs.replace(
            result,
            seen_fields=self._first.seen_fields,
            seconds=self._own[0],
            cpu_seconds=self._own[1],
        )


class Joining:
    """A shard that is put together in a thread of its own."""

    def __init__(
        self, pieces: Sequence[Piece], task: ShardTask, journal: Journal, fetch: FetchLogs
    ) -> None:
        self.pieces = pieces
        self.shard = journal.shard
        self._run = JoiningRun(pieces, task, journal, fetch)
        self._missing = {piece.number for piece in pieces}
        self._result: ShardResult | None = None
        self._thread = Thread(target=self._join, name="lowbg-join", daemon=True)
        self._thread.start()

    def _join(self) -> None:
        try:
            self._result = self._run.run()
        except Exception as error:  # It is read in one pass then, and what is wrong met again.
            _log.debug("%s: can't be put together (%s)", self.shard.name, error)

    @property
    def is_at_work(self) -> bool:
        """Whether `end` would have to wait."""
        return self._thread.is_alive()

    def take(self, piece: Piece, result: ShardResult | None) -> bool:
        """Takes a piece's end, if it is whole; whether that was the last one."""
        if result is None or not result.complete or piece.number not in self._missing:
            return False
        self._missing.remove(piece.number)
        self._run.put(piece, result)
        return not self._missing

    def end(self) -> ShardResult | None:
        """The shard's result; null where it has to be read in one pass."""
        if self._missing:
            self._run.give_up()
        self._thread.join()
        return self._result if self._result is not None and self._result.complete else None


def map_pieces(
    task: Task[ShardResult],
    shards: Sequence[Shard],
    joining: Sequence[Joining],
    workers: Workers,
    observer: Observer,
    engine: Engine,
) -> Iterator[Ended[ShardResult]]:
    """Every shard's end as `map_shards` gives it, those in pieces when they are put together."""
    apart = {each.shard.name: each for each in joining}
    waiting = [shard for shard in shards if shard.name not in apart]
    ready: list[Joining] = []
    try:
        pieces = [piece for each in joining for piece in each.pieces]
        for ended in map_shards(task, [*waiting, *pieces], workers, observer, engine):
            piece = ended.shard
            if not isinstance(piece, Piece):
                yield ended
            elif apart[piece.name].take(piece, ended.result):
                ready.append(apart[piece.name])
            while ready and not ready[0].is_at_work:
                yield from _joined(ready.pop(0), apart, observer)
        for each in [*apart.values()]:
            yield from _joined(each, apart, observer)
    finally:
        for each in apart.values():
            each.end()
    whole = [each.shard for each in joining if each.shard.name in apart]
    if whole:
        yield from map_shards(task, whole, workers, observer, engine)


def _joined(
    joining: Joining, apart: dict[str, Joining], observer: Observer
) -> Iterator[Ended[ShardResult]]:
    """The end of a shard that was in pieces; it leaves `apart`, unless it has to be read whole."""
    result = joining.end()
    if result is not None:
        del apart[joining.shard.name]
        yield Ended(joining.shard, result, None)
    if observer.progress is not None:
        for piece in joining.pieces if result is None else ():
            observer.progress(Progress(piece.label, 0, 0, 0))
        if result is not None:
            observer.progress(Progress(joining.shard.name, 0, 0, 0, done=True))
