"""What is taken under a floor and caps: exact at any size, and independent of order and blocks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.jobs.mix import selection
from lowbg.jobs.mix.selection import (
    UNLIMITED,
    Chunk,
    allowance,
    floor_holds,
    record_keys,
    select,
    shard_key,
)
from lowbg.kernels import selection as kernels

FLOORS = st.fractions(0, 1, max_denominator=1_000)
UNITS = st.integers(-1, 20) | st.integers(1_000, 10**12)


@dataclass(frozen=True)
class Listed:
    """Candidates from lists."""

    ranks: list[int]
    units: list[int]
    sources: list[int]
    wanted: list[int]

    def __len__(self) -> int:
        return len(self.units)

    def chunk(self, start: int, stop: int) -> Chunk:
        part = slice(start, stop)
        return Chunk(
            np.array(self.ranks[part], np.uint64),
            np.array(self.units[part], np.int64),
            np.array(self.sources[part], np.int64),
            np.array(self.wanted[part], np.int64),
        )


@st.composite
def shards(draw: st.DrawFn) -> list[Listed]:
    rows = st.lists(
        st.tuples(st.integers(0, 2**64 - 1), UNITS, st.integers(0, 2), st.integers(0, 3)),
        max_size=12,
    )
    return [
        Listed(*(list(column) for column in zip(*part, strict=True)))
        if part
        else Listed([], [], [], [])
        for part in draw(st.lists(rows, min_size=1, max_size=4))
    ]


def empty(parts: list[Listed]) -> list[NDArray[np.uint8]]:
    return [np.zeros(len(part), np.uint8) for part in parts]


@given(st.integers(0, 10**15), FLOORS)
def test_the_allowance_is_the_most_that_the_floor_allows(human: int, floor: Fraction) -> None:
    most = allowance(human, floor)
    if floor == 0:
        assert most == UNLIMITED
        return
    assert floor_holds(human, most, floor)
    assert most == UNLIMITED or not floor_holds(human, most + 1, floor)


@pytest.mark.parametrize(
    ("human", "floor", "most"),
    [(10, "1/2", 10), (10, "0.3", 23), (10, "1", 0), (0, "0.5", 0), (3, "2/3", 1), (7, "0.7", 3)],
)
def test_allowances(human: int, floor: str, most: int) -> None:
    assert allowance(human, Fraction(floor)) == most


@settings(deadline=None)  # The first call compiles.
@given(shards(), st.integers(0, 10**12), st.integers(0, 10**6))
def test_what_is_taken_is_what_a_plain_loop_takes(parts: list[Listed], left: int, cap: int) -> None:
    taken, caps = empty(parts), np.full(3, cap, np.int64)
    rest = select(parts, taken, left, caps)
    expected = empty(parts)
    budget, by_source = left, [cap] * 3
    order = sorted((p.ranks[i], s, i) for s, p in enumerate(parts) for i in range(len(p)))
    for _, s, i in order:
        units, source = parts[s].units[i], parts[s].sources[i]
        if units > 0:
            times = min(parts[s].wanted[i], budget // units, by_source[source] // units)
            expected[s][i] = times
            budget -= times * units
            by_source[source] -= times * units
    assert [t.tolist() for t in taken] == [e.tolist() for e in expected]
    assert (rest, caps.tolist()) == (budget, by_source)
    assert rest >= 0


@settings(deadline=None)  # The first call compiles.
@given(shards(), st.integers(0, 10**12), st.integers(1, 8))
def test_blocks_and_chunks_change_nothing(parts: list[Listed], left: int, block: int) -> None:
    whole, small = empty(parts), empty(parts)
    select(parts, whole, left, np.full(3, UNLIMITED, np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "CHUNK", 3)
        select(parts, small, left, np.full(3, UNLIMITED, np.int64), block)
    assert [t.tolist() for t in whole] == [t.tolist() for t in small]


def test_keys_depend_on_seed_shard_and_record() -> None:
    records = np.arange(1_000, dtype=np.int64)
    keys = record_keys(1, "a", records)
    assert len(np.unique(keys)) == 1_000
    assert (record_keys(1, "a", records[500:]) == keys[500:]).all()
    assert (record_keys(2, "a", records) != keys).all()
    assert (record_keys(1, "b", records) != keys).all()
    # Draws of years to come must be today's.
    assert shard_key(0, "synthetic/a.jsonl") == 13093344316305078414


def test_documents_that_cannot_be_taken_are_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be any number of them, with one rank: more than a block of memory."""
    many = Listed([2**64 - 1] * 1_000 + [5], [0] * 1_000 + [3], [0] * 1_001, [1] * 1_001)
    sorted_at_once: list[int] = []
    original = kernels.take

    def counting(order: NDArray[np.int64], *rest: Any) -> int:
        sorted_at_once.append(len(order))
        return int(original(order, *rest))

    monkeypatch.setattr(kernels, "take", counting)
    taken = empty([many])
    assert select([many], taken, 10, np.full(1, UNLIMITED, np.int64)) == 7
    assert sorted_at_once == [1]
    assert int(taken[0].sum()) == 1
