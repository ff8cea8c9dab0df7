"""However many batches are judged at once, they come out in order, and faults in their place."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import RunConfig
from lowbg.errors import CutStreamError
from lowbg.records import Batch, BytesPayload, Metadata, Position
from lowbg.runs.overlap import Step, judged_in_order


def batch(number: int, records: int = 1) -> Batch:
    nothing = pa.nulls(records, pa.string())
    return Batch(
        records=np.full(records, number),
        text=pa.array([str(number)] * records, pa.large_string()),
        metadata=Metadata(nothing, nothing, nothing, nothing),
        sizes=np.ones(records, np.int64),
        payload=BytesPayload(b"", np.zeros(records, np.int64), np.zeros(records, np.int64)),
        rejected=[],
        consumed=0,
    )


class Numbered:
    """A reader of `count` batches that says how many it has read, and may end in a fault."""

    format, compression, name, seen_fields = "jsonl", "none", "n", Counter[str]()

    def __init__(self, count: int, fault: Exception | None = None, empty: int = -1) -> None:
        self.count, self.fault, self.empty = count, fault, empty
        self.read = 0

    def __iter__(self) -> Iterator[Batch]:
        for number in range(self.count):
            self.read = number + 1
            yield batch(number, 0 if number == self.empty else 1)
        if self.fault is not None:
            raise self.fault

    def position(self) -> Position:
        return Position(self.read)


class Uneven:
    """Judges early batches slowest; remembers the threads it ran in and how many at once."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.threads: set[int] = set()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def judge_batches(self, batches: Sequence[Batch]) -> Any:
        return [self.judge(batch.text, batch.metadata) for batch in batches]

    def judge(self, text: pa.LargeStringArray, metadata: Metadata) -> Any:
        number = int(text[0].as_py())
        with self._lock:
            self.threads.add(threading.get_ident())
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        with self._lock:
            self.running -= 1
        if number == self.fails_at:
            raise ZeroDivisionError
        return number


def steps(reader: Any, engine: Any, threads: int) -> list[Step]:
    with closing(judged_in_order(reader, engine, threads)) as found:
        return list(found)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_batch_in_order_with_its_own_judgement_and_position(threads: int) -> None:
    engine: Any = Uneven()
    found = steps(Numbered(20, empty=7), engine, threads)
    assert [step.position.record for step in found] == list(range(1, 21))
    judged: list[Any] = [step.judged for step in found]
    assert judged == [None if i == 7 else i for i in range(20)]
    assert engine.most <= max(1, threads - 1)
    assert (threading.get_ident() in engine.threads) == (threads == 1)


def test_batches_are_judged_at_once() -> None:
    engine: Any = Uneven()
    steps(Numbered(20), engine, 4)
    assert engine.most > 1


def judged_until(fault: type[Exception], reader: Any, engine: Any, threads: int) -> list[Any]:
    """What came before the fault, which must come."""
    seen: list[Any] = []
    with closing(judged_in_order(reader, engine, threads)) as found:
        try:
            for step in found:
                seen.append(step.judged)
        except fault:
            return seen
    raise AssertionError(f"no {fault.__name__} after {seen}")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_of_the_reader_comes_after_what_it_read(threads: int) -> None:
    reader = Numbered(5, CutStreamError("cut"))
    assert judged_until(CutStreamError, reader, Uneven(), threads) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_of_the_engine_comes_in_its_place(threads: int) -> None:
    engine = Uneven(fails_at=4)
    assert judged_until(ZeroDivisionError, Numbered(9), engine, threads) == [0, 1, 2, 3]


def test_reading_stays_a_bounded_way_ahead_and_ends_with_the_caller() -> None:
    reader, engine = Numbered(1000), Uneven()
    before = threading.active_count()
    with closing(judged_in_order(reader, engine, 2)) as found:  # type: ignore[arg-type]
        for _ in range(3):
            next(found)
        time.sleep(0.1)
        # Three given out, two in the queue, one more waiting to get in.
        assert reader.read <= 7
    assert threading.active_count() == before


def test_threads_share_the_bytes_of_a_batch() -> None:
    assert RunConfig(batch_bytes=3_000).block_bytes == 3_000
    assert RunConfig(batch_bytes=3_000, threads=2).block_bytes == 3_000
    assert RunConfig(batch_bytes=3_000, threads=4).block_bytes == 1_500
    assert RunConfig(batch_bytes=1, threads=4).block_bytes == 1


def test_no_batch_is_held_while_the_next_one_is_made() -> None:
    alive: list[weakref.ref[Any]] = []

    class Watched(Numbered):
        def __iter__(self) -> Iterator[Batch]:
            for number in range(self.count):
                assert all(array() is None for array in alive)
                yield batch(number)

    reader: Any = Watched(5)
    engine: Any = Uneven()
    for step in judged_in_order(reader, engine, 1):
        alive.append(weakref.ref(step.batch.sizes))
        del step
    assert len(alive) == 5
