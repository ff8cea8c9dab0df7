"""The calibrated score."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lowbg.decision.calibrations import CALIBRATION

from lowbg.decision.calibration import FPR_GRID, at_rate, highest, squash, unsquash


def test_z_is_comparable_across_lengths() -> None:
    words = np.array([100, 500, 100_000])
    x = CALIBRATION.mean + 2 * np.sqrt(0.04 + 9.0 / np.array([100, 500, 500]))
    assert CALIBRATION.standardise(x, words) == pytest.approx([2.0, 2.0, 2.0])


def test_unusual_text_needs_more() -> None:
    sensitive = replace(CALIBRATION, perplexity_mean=6.0, perplexity_slope=0.5)
    x, words = np.full(4, 0.2), np.full(4, 300)
    z = sensitive.standardise(x, words, np.exp([5.0, 6.0, 8.0, np.nan]))
    assert z - z[1] == pytest.approx([0.5, 0.0, -1.0, 0.0])
    assert sensitive.standardise(x, words) == pytest.approx(z[1])


def test_style_adds_its_deviations_up_to_three() -> None:
    styled = replace(
        CALIBRATION, style_mean=-1.0, style_between=0.5, style_within=50.0, style_weight=0.5
    )
    x, words = np.full(4, 0.2), np.array([100, 400, 400, 400])
    z = styled.standardise(x, words, style=np.array([0.0, np.sqrt(0.625) - 1.0, 99.0, np.nan]))
    plain = CALIBRATION.standardise(x, words)
    assert z - plain == pytest.approx([0.5, 0.5, 1.5, 0.0])
    assert styled.standardise(x, words) == pytest.approx(plain)


def test_thresholds_fall_with_the_rate_and_hit_the_grid() -> None:
    assert [CALIBRATION.threshold(fpr) for fpr in FPR_GRID] == pytest.approx(
        list(CALIBRATION.thresholds)
    )
    between = CALIBRATION.threshold(0.007)
    assert 2.5 < between < 3.0
    assert CALIBRATION.threshold(1e-6) == 4.0


@given(st.floats(-20, 20), st.floats(0.05, 5))
def test_score_rises_strictly_and_has_no_ties_at_the_ends(z: float, step: float) -> None:
    low, high = CALIBRATION.score(np.array([z, z + step])).astype(np.float32)
    assert 0.0 < low < high < 1.0


@given(st.floats(0.0001, 0.9999))
def test_z_of_score_inverts_score(score: float) -> None:
    assert CALIBRATION.score(np.array([CALIBRATION.z_of_score(score)]))[0] == pytest.approx(score)


@given(st.floats(-25, 25))
def test_unsquash_inverts_squash(logit: float) -> None:
    assert unsquash(squash(np.array([logit])))[0] == pytest.approx(logit, abs=1e-6)


COLLECTIONS = {
    "news": {"documents": 300, "z": [3.0, 2.8, 2.5, 2.0, 1.8, 1.5, 1.2, 0.8, 0.0]},
    "stories": {"documents": 50, "z": [3.9, 3.1, 2.4, 2.3, 1.7, 1.6, 1.2, 0.9, 0.1]},
    "tiny": {"documents": 49, "z": [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]},
}


def test_the_bound_on_every_collection_is_the_highest_of_those_that_can_vouch() -> None:
    assert highest(COLLECTIONS) == (3.9, 3.1, 2.5, 2.3, 1.8, 1.6, 1.2, 0.9, 0.1)
    assert highest({"tiny": COLLECTIONS["tiny"]}) == ()
    assert at_rate(highest(COLLECTIONS), 0.01) == 2.3
    assert 2.3 < at_rate(highest(COLLECTIONS), 0.007) < 2.5
