from __future__ import annotations

import numpy as np
import pytest

from lowbg.report.estimate import ShareEstimator, wilson

# trusted, of them scored, of them called AI; not trusted: scored, AI


def test_adjusts_by_the_rate_of_the_language() -> None:
    trust = {"en/2020": [1000, 1000, 50, 0, 0], "en/2024": [0, 0, 0, 1000, 240]}
    got = ShareEstimator(trust).language("en")
    adjusted = (0.24 - 0.05) / (1 - 0.05)
    assert got["estimate"] == pytest.approx(adjusted / 2)
    assert got["raw"] == 0.12
    assert got["low"] < got["estimate"] < got["high"]
    assert got["basis"] == {
        "en": {"trusted_documents": 1000, "called_ai": 50, "false_positive_rate": 0.05}
    }
    year = ShareEstimator(trust).year("2024")
    assert year["estimate"] == pytest.approx(adjusted)


def test_is_the_same_whatever_the_order() -> None:
    trust = {"en/2020": [400, 400, 4, 0, 0], "de/2020": [500, 500, 9, 0, 0],
             "de/2024": [0, 0, 0, 70, 20], "en/2024": [0, 0, 0, 90, 30]}  # fmt: skip
    backwards = dict(reversed(trust.items()))
    assert ShareEstimator(trust).overall() == ShareEstimator(backwards).overall()


@pytest.mark.parametrize(("trusted", "known"), [(298, False), (299, True)])
def test_needs_299_scored_trusted_documents(trusted: int, known: bool) -> None:
    trust = {"en/2020": [900, trusted, 0, 0, 0], "en/2024": [0, 0, 0, 100, 10]}
    got = ShareEstimator(trust).overall()
    assert (got["estimate"] is not None) == known
    if not known:
        assert "299" in got["reason"]
        assert got["raw"] == 10 / (100 + trusted)


def test_a_language_without_trusted_documents_has_the_pooled_rate_in_sums_only() -> None:
    trust = {"en/2020": [400, 400, 40, 0, 0], "ja/2024": [0, 0, 0, 100, 50]}
    estimator = ShareEstimator(trust)
    assert estimator.language("ja")["estimate"] is None
    assert list(estimator.overall()["basis"]) == ["(pooled)"]


def test_more_alarms_than_verdicts_is_zero_not_less() -> None:
    trust = {"en/2020": [400, 400, 40, 0, 0], "en/2024": [0, 0, 0, 100, 1]}
    got = ShareEstimator(trust).overall()
    assert (got["estimate"], got["low"]) == (0.0, 0.0)


def test_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        called, ai = generator.binomial(2000, 0.02), generator.binomial(1000, 0.1)
        positives = ai + generator.binomial(1000 - ai, 0.02)
        trust = {"en/2020": [2000, 2000, called, 0, 0], "en/2024": [0, 0, 0, 1000, positives]}
        got = ShareEstimator(trust).year("2024")
        covered += got["low"] <= 0.1 <= got["high"]
    assert covered >= 180


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 0) is None
    low, high = wilson(0, 10) or (9, 9)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-3)
    low, high = wilson(10, 10) or (9, 9)
    assert high == 1.0
    assert low == pytest.approx(0.7225, abs=1e-3)
