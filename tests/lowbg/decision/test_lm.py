"""How an LM's evidence joins the tables' score, and how a policy states it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import LmCalibration, LmSpread, LmSurprise, Policy
from lowbg.decision.lm import by_surprise, evidence, heed, join, standardise
from lowbg.decision.policy import parse_policy
from lowbg.decision.policy_text import policy_text
from lowbg.errors import ConfigError

SPREAD = LmSpread(mean=0.5, between=0.01, within=4.0, correlation=0.28, min_words=25)
CALIBRATION = LmCalibration("ab" * 32, "lm_curvature", {"en": SPREAD}, {"en": 0.75})


def test_evidence_of_each_feature() -> None:
    words = np.array([100, 25, 0])
    columns = {
        "lm_curvature": pa.array([3.0, None, 1.0], pa.float32()),
        "binoculars": pa.array([0.5, 1.25, None], pa.float32()),
        "lm_probe_log_odds": pa.array([2.5, -1.0, None], pa.float32()),
    }
    np.testing.assert_array_equal(evidence(columns, "lm_curvature", words), [0.3, np.nan, 1.0])
    np.testing.assert_array_equal(evidence(columns, "binoculars", words), [-0.5, -1.25, np.nan])
    np.testing.assert_array_equal(evidence(columns, "lm_probe_log_odds", words), [2.5, -1, np.nan])
    assert np.isnan(evidence({}, "lm_curvature", words)).all()


def test_standardised_by_length_and_not_below_the_least_words() -> None:
    x, words = np.array([0.9, 0.9, 0.9]), np.array([100, 400, 24])
    z = standardise(SPREAD, x, words)
    # Longer text is no surer: its kind doesn't average out (`calibration.MAX_WORDS`).
    long = standardise(SPREAD, x[:2], np.array([500, 5_000]))
    assert long[0] == long[1] > z[1]
    assert z[0] == pytest.approx(0.4 / math.sqrt(0.05))
    assert z[1] == pytest.approx(0.4 / math.sqrt(0.02))
    assert np.isnan(z[2])


def test_joined_where_both_speak() -> None:
    nothing = np.nan
    z = join(np.array([1.0, 1.0, nothing, nothing]), np.array([2.0, nothing, 2.0, nothing]), 0.28)
    np.testing.assert_allclose(z, [3.0 / 1.6, 1.0, 2.0, nothing])


def test_a_joint_z_of_human_text_spreads_like_one_of_its_parts() -> None:
    own = np.random.default_rng(1)
    pair = own.multivariate_normal([0, 0], [[1, 0.28], [0.28, 1]], 20_000)
    assert join(pair[:, 0], pair[:, 1], 0.28).std() == pytest.approx(1.0, abs=0.02)


def test_the_higher_of_both_is_heeded_where_there_is_a_joint_one() -> None:
    spread = LmSurprise(mean=0.5, between=0.0625, within=10.0)
    words = np.array([100, 50, 100, 100])
    column = pa.array([1.5, 1.5, None, 1.5], pa.float32())
    z = by_surprise(spread, {"lm_evenness": column}, words)
    wanted = [1.0 / math.sqrt(0.1625), 1.0 / math.sqrt(0.2625), np.nan, 1.0 / math.sqrt(0.1625)]
    np.testing.assert_allclose(z, wanted, rtol=1e-6)
    found = heed(np.array([1.0, 3.0, 1.0, np.nan]), z)
    np.testing.assert_allclose(found, [wanted[0], 3.0, 1.0, np.nan], rtol=1e-6)
    assert np.isnan(by_surprise(spread, {}, words)).all()


SCORES = {"en": 0.75, "zh": 0.5}


def test_a_policy_s_text_is_read_back() -> None:
    lm = LmCalibration("ab" * 32, "binoculars", {"en": SPREAD, "zh": SPREAD}, SCORES)
    policy = Policy(min_ai_scores={"en": 0.5}, lm=lm)
    assert parse_policy(policy_text(policy)) == policy
    surprise = {"en": LmSurprise(0.01, 0.5, 70.0)}
    policy = replace(policy, lm=replace(lm, feature="lm_probe_log_odds", surprise=surprise))
    text = policy_text(policy)
    assert parse_policy(text) == policy
    with pytest.raises(ConfigError, match=r"has 'fr' in surprise, and not in languages"):
        parse_policy(text.replace("[calibration.lm.surprise.en]", "[calibration.lm.surprise.fr]"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model =", "modle =", r"unknown key 'modle'.*'model'"),
        (
            'feature = "lm_curvature"',
            'feature = "lm_entropy"',
            "must be one of lm_probe",
        ),
        ('feature = "lm_curvature"', "", r"\[calibration.lm\] lacks feature"),
        (
            'feature = "lm_curvature"',
            'feature = "lm_curvature"\nband = [0.2, 0.9]',
            r"\[calibration.lm\] band: policies have no band any more.*Calibrate anew",
        ),
        ("within = 4.0", "within = -4.0", r"languages\.en\.within is -4\.0; .* 0 or more"),
        ("between = 0.01", "between = 0.0", r"between is 0\.0; .* a number above 0"),
        ("within = 4.0", "", r"\[calibration\.lm\.languages\.en\] lacks within"),
        ("min_words = 25", "min_words = 2.5", "whole number"),
        ("en = 0.75", "en = 7.5", "between 0 and 1"),
        ("en = 0.75", "", "same languages in min_ai_scores and languages; see 'en'"),
        ("en = 0.75", "en = 0.75\nde = 0.5", "same languages .* see 'de'"),
    ],
)
def test_a_wrong_value_is_named(old: str, new: str, message: str) -> None:
    text = policy_text(Policy(lm=CALIBRATION))
    assert old in text
    with pytest.raises(ConfigError, match=message):
        parse_policy(text.replace(old, new))


def test_a_language_is_needed() -> None:
    text = policy_text(Policy(lm=CALIBRATION)).split("[calibration.lm.languages.en]")[0]
    with pytest.raises(ConfigError, match="lacks languages"):
        parse_policy(text)
