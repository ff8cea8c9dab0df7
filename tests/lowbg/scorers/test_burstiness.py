"""Burstiness against its definition."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.scorers.burstiness import goh_barabasi

LENGTHS = st.lists(st.integers(1, 1 << 20), max_size=30)


def values(*documents: list[int]) -> list[float]:
    flat = np.array([length for lengths in documents for length in lengths], np.int32)
    starts = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    result = goh_barabasi(flat, starts)
    assert result.dtype == np.float32
    return [float(value) for value in result]


@pytest.mark.slow
@given(st.lists(LENGTHS, max_size=5))
@settings(deadline=None)
def test_is_the_definition(documents: list[list[int]]) -> None:
    for lengths, value in zip(documents, values(*documents), strict=True):
        if len(lengths) < 2:
            assert value == 0.0
            continue
        mean = statistics.fmean(lengths)
        sigma = math.sqrt(statistics.fmean((x - mean) ** 2 for x in lengths))
        assert value == pytest.approx((sigma - mean) / (sigma + mean), abs=1e-4)
        assert -1.0 <= value <= 1.0


@pytest.mark.parametrize("length", [1, 7, 1 << 20])
def test_equal_lengths_are_perfectly_regular(length: int) -> None:
    assert values([length] * 2, [length] * 1000) == [-1.0, -1.0]


def test_rises_with_unevenness() -> None:
    regular, uneven, bursty = values([10, 10, 11], [3, 10, 20], [1] * 50 + [500])
    assert regular < uneven < bursty
    assert bursty > 0


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=30))
@settings(deadline=None)
def test_order_of_sentences_is_immaterial(lengths: list[int]) -> None:
    assert values(lengths) == values(sorted(lengths)) == values(lengths[::-1])


def test_the_longest_sentences_do_not_overflow() -> None:
    assert values([55_223_105, 2**31 - 1, 2**31 - 1]) == [pytest.approx(-0.19033, abs=1e-3)]


def test_no_documents() -> None:
    assert values() == []
    assert values([], [5], []) == [0.0, 0.0, 0.0]
