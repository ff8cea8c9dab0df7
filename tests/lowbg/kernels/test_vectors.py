"""Plain memory and bits in compiled loops, against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.kernels.compiler import part
from lowbg.kernels.vectors import load, lowest, ones, pointer, prefetch, store


@part
def _looked_up(table: NDArray[np.uint32], data: NDArray[np.uint8], at: int) -> int:
    return int(load(table, load(data, at)))


@part
def _stored(array: NDArray[np.int32], at: int, value: int) -> None:
    prefetch(array, at)
    store(array, at, value)


@part
def _pointed(array: NDArray[np.int32], at: int) -> tuple[Any, Any]:
    first = pointer(array)
    first[at] += 1
    return first[at], load(first, at)


@part
def _bits(bits: np.uint64) -> tuple[Any, Any, Any, Any]:
    half = np.uint32(bits) | np.uint32(1 << 31)
    return lowest(bits), ones(bits), lowest(half), ones(half)


def test_loads_count_from_the_start_whatever_the_type_of_the_index() -> None:
    table = np.arange(256, dtype=np.uint32) * 3
    data = np.arange(256, dtype=np.uint8)
    assert [_looked_up(table, data, at) for at in range(256)] == table.tolist()
    array = np.zeros(5, np.int32)
    _stored(array, 3, -7)
    assert array.tolist() == [0, 0, 0, -7, 0]


def test_a_pointer_reads_and_writes_the_array() -> None:
    array = np.arange(5, dtype=np.int32)
    assert _pointed(array, 3) == (4, 4)
    assert _pointed(array[1:], -1) == (1, 1)  # Before its begin, not from its end.
    assert array.tolist() == [1, 1, 2, 4, 4]


@given(st.integers(1, 2**64 - 1))
@settings(deadline=None)
def test_bits(bits: int) -> None:
    half = bits & (2**32 - 1) | 1 << 31
    places = [(b & -b).bit_length() - 1 for b in (bits, half)]
    assert _bits(np.uint64(bits)) == (places[0], bits.bit_count(), places[1], half.bit_count())
