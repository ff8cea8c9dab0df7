"""Reading, judging and writing of one shard at the same time, in the order of its records.

With one thread the stages follow each other. With more, the caller writes, all but one judge a
batch each, and one beside them reads ahead, which takes little time: decompression, kernels and
compression leave the interpreter lock. More judges than cores would only take each other's tables
out of the cache. What comes out is the same at any number.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from lowbg.formats.base import Reader
from lowbg.records import Batch, Position
from lowbg.runs.engine import Judge, Judged

LEAVE_S = 1.0
"""How long an abandoned reader is waited for: it may hang in a pipe that nobody writes to."""


@dataclass(frozen=True, slots=True)
class Step:
    """A batch, what is known of its documents, and the place behind it.

    `judged` is null where the batch has no documents, or nothing judges. `position` is where a
    later run goes on once this batch is written.
    """

    batch: Batch
    judged: Judged | None
    position: Position


Complete: TypeAlias = Callable[[Batch], Batch]
"""Adds to a batch what is known of it beside what it says."""


def judged_in_order(
    reader: Reader, engine: Judge | None, threads: int, complete: Complete = lambda batch: batch
) -> Generator[Step, None, None]:
    """Every batch of the shard with what was judged of it, if anything; close it before the reader.

    Raises what reading or judging raises, after the batches before it.
    """
    if threads <= 1:
        for batch in map(complete, reader):
            step = [Step(batch, _judge(engine, batch), reader.position())]
            # While the caller has it, and while the next one is read, nothing here holds it.
            del batch
            yield step.pop()
    else:
        yield from _overlapping(reader, engine, threads, complete)


def _judge(engine: Judge | None, batch: Batch) -> Judged | None:
    if engine is None or not len(batch):
        return None
    return engine.judge_batches([batch])[0]


_Ahead: TypeAlias = tuple[Batch, "Future[Judged | None]", Position]


def _overlapping(
    reader: Reader, engine: Judge | None, threads: int, complete: Complete
) -> Generator[Step, None, None]:
    # Those that are judged at once, one with the reader and one with the caller are under way; the
    # bound keeps memory flat.
    ahead: queue.Queue[_Ahead | BaseException | None] = queue.Queue(threads - 1)
    stopped = threading.Event()
    pool = ThreadPoolExecutor(threads - 1, "lowbg-judge")

    def put(item: _Ahead | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ahead.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for batch in map(complete, reader):
                put((batch, pool.submit(_judge, engine, batch), reader.position()))
                if stopped.is_set():
                    return
        except BaseException as error:  # the caller's to handle, in its place
            put(error)
        else:
            put(None)

    thread = threading.Thread(target=read, name="lowbg-read", daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            batch, judged, position = item
            step = [Step(batch, judged.result(), position)]
            del item, batch, judged
            yield step.pop()
    finally:
        stopped.set()
        thread.join(LEAVE_S)
        pool.shutdown(cancel_futures=True)
