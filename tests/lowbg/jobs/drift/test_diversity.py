from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.jobs.drift.diversity import (
    distinct_share,
    entropy_bits,
    grams,
    hapax_share,
    js_divergence,
    zipf_slope,
)

documents = st.lists(st.lists(st.integers(0, 5), max_size=12), min_size=1, max_size=6)


@given(documents, st.integers(1, 3))
def test_grams_are_counted_as_by_hand(texts: list[list[int]], n: int) -> None:
    words = np.array([word for text in texts for word in text], np.uint64)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    weights = np.arange(len(texts), dtype=np.float64)  # the first document isn't drawn
    expected = Counter(
        tuple(text[k : k + n])
        for i, text in enumerate(texts)
        for k in range(len(text) - n + 1)
        for _ in range(i)
    )
    counts = grams(words, owners, n).counts(weights)
    assert sorted(counts[counts > 0].tolist()) == sorted(expected.values())


def test_figures_of_known_counts() -> None:
    counts = np.array([4.0, 2.0, 1.0, 1.0, 0.0])
    assert distinct_share(counts) == 0.5
    assert entropy_bits(counts) == pytest.approx(1.75)
    assert hapax_share(counts) == 0.5


@pytest.mark.parametrize("slope", [-0.8, -1.0, -1.3])
def test_zipf_slope_is_that_of_a_power_law(slope: float) -> None:
    counts = 1e6 * np.arange(1, 3_001.0) ** slope
    assert zipf_slope(np.random.default_rng(0).permutation(counts)) == pytest.approx(slope)


def test_zipf_slope_of_one_word_is_flat() -> None:
    assert zipf_slope(np.array([7.0])) == 0.0


def test_divergence_is_bounded_and_counts_bits() -> None:
    p, q = np.array([3.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0])
    m = [0.5, 0.25, 0.25]
    expected = 0.5 * (0.75 * math.log2(0.75 / m[0]) + 0.25 * math.log2(0.25 / m[1])) + 0.5 * (
        0.25 * math.log2(0.25 / m[0]) + 0.25 * math.log2(0.25 / m[1]) + 0.5 * math.log2(0.5 / m[2])
    )
    assert float(js_divergence(p, q)) == pytest.approx(expected)
    assert float(js_divergence(q, p)) == pytest.approx(expected)
    assert float(js_divergence(p, 5 * p)) == 0.0
    assert float(js_divergence(np.array([1.0, 0.0]), np.array([0.0, 9.0]))) == 1.0
