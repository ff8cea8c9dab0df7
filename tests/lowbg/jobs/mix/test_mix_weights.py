"""How many draws a unit of weight is worth, under the cap of repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.jobs.mix.weights import ONE, rate, repeats

WEIGHTS = st.lists(st.integers(0, ONE), min_size=1, max_size=40)


@given(WEIGHTS, st.integers(1, 100), st.integers(1, 5), st.integers(1, 7))
def test_all_draws_are_given_out_as_far_as_the_cap_allows(
    weights: list[int], draws: int, cap: int, part: int
) -> None:
    weighed = np.array(weights, np.int64)

    def parts() -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
        return [weighed[i : i + part] for i in range(0, len(weighed), part)]

    found = rate(parts, draws, cap)
    expected = np.minimum(weighed * found, cap)
    most = cap * int((weighed > 0).sum())
    assert expected.sum() == pytest.approx(min(draws, most), rel=1e-9)
    assert rate(lambda: [weighed], draws, cap) == found


def test_what_the_cap_cuts_off_goes_to_the_others_by_weight() -> None:
    weighed = np.array([8, 2, 1, 1, 0], np.int64)
    # 12 draws: one a unit at first; then 8 is cut to 4, and the other 8 are two a unit.
    found = rate(lambda: [weighed], 12, 4)
    assert np.minimum(weighed * found, 4).tolist() == [4.0, 4.0, 2.0, 2.0, 0.0]


def test_repeats_keep_the_cap_and_every_human_document() -> None:
    weighed = np.array([0, 1, 100], np.int64)
    keys = np.zeros(3, np.uint64)
    assert repeats(weighed, 0.25, keys, 3, human=False).tolist() == [0, 1, 3]
    high = np.full(3, 2**64 - 1, np.uint64)
    assert repeats(weighed, 0.25, high, 3, human=False).tolist() == [0, 0, 3]
    assert repeats(weighed, 0.25, high, 3, human=True).tolist() == [1, 1, 3]
