from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from lowbg.report.estimate import ShareEstimator, wilson
from lowbg.report.mixture import CHOSEN
from lowbg.report.statistics import SCORE_BINS, Statistics
from lowbg.storage.typed import to_plain

Scores = NDArray[np.float32]
THRESHOLD = 0.5


def human_scores(n: int, seed: int) -> Scores:
    """Scores of human text: log-odds about −4.5."""
    return logistic(np.random.default_rng([1, seed]).normal(-4.5, 1.8, n))


def ai_scores(n: int, seed: int, mean: float = -1.26, spread: float = 1.8) -> Scores:
    """Scores of AI text; by default calibrated: ln(ai / human) rises by 1 a unit of log-odds."""
    return logistic(np.random.default_rng([2, seed]).normal(mean, spread, n))


def logistic(x: NDArray[np.float64]) -> Scores:
    return (1.0 / (1.0 + np.exp(-x))).astype(np.float32)


def counted(*cells: tuple[str, Scores, Scores], statistics: Statistics | None = None) -> Statistics:
    """What a run counts of cells: "language/year", trusted scores, the others' scores."""
    statistics = statistics or Statistics()
    for name, trusted, others in cells:
        row = [len(trusted), len(trusted), (trusted > THRESHOLD).sum(),
               len(others), (others > THRESHOLD).sum()]  # fmt: skip
        groups = np.repeat(np.array([0, 1], np.int64), [len(trusted), len(others)])
        bins = SCORE_BINS.count(np.concatenate([trusted, others]), groups, 2)
        statistics.trust.add([name], np.array([row], np.int64))
        statistics.trust_scores.add([name], bins.reshape(1, -1))
    return statistics


NONE = np.zeros(0, np.float32)


def mixture(n: int, share: float, seed: int, mean: float = -1.26, spread: float = 1.8) -> Scores:
    ai = ai_scores(round(n * share), seed, mean, spread)
    return np.concatenate([human_scores(n - len(ai), 1_000 + seed), ai])


def test_finds_the_share_and_the_recall_of_the_language() -> None:
    trusted, others = human_scores(2_000, 0), mixture(2_000, 0.3, 0)
    estimator = ShareEstimator(counted(("en/2020", trusted, NONE), ("en/2024", NONE, others)))
    year = to_plain(estimator.year("2024"))
    assert year["estimate"] == pytest.approx(0.3, abs=0.05)
    assert year["low"] < 0.3 < year["high"]
    # The verdicts alone find less than half of it.
    assert year["raw"] < 0.12
    basis = year["basis"]["en"]
    assert basis["trusted_documents"] == 2_000
    assert basis["false_positive_rate"] == basis["called_ai"] / 2_000
    recall = (ai_scores(600, 0) > THRESHOLD).mean()
    assert basis["recall"] == pytest.approx(recall, abs=0.06)
    assert recall < 0.5
    # The trusted half is human.
    assert estimator.language("en").estimate == pytest.approx(year["estimate"] / 2)
    assert estimator.overall() == estimator.language("en")


def test_is_the_same_whatever_the_order() -> None:
    cells = [
        ("en/2020", human_scores(400, 1), NONE),
        ("de/2020", human_scores(500, 2), NONE),
        ("de/2024", NONE, mixture(70, 0.3, 3)),
        ("en/2024", NONE, mixture(90, 0.3, 4)),
    ]
    forwards, backwards = counted(*cells), counted(*reversed(cells))
    assert ShareEstimator(forwards).overall() == ShareEstimator(backwards).overall()


@pytest.mark.parametrize(("trusted", "known"), [(298, False), (299, True)])
def test_needs_299_scored_trusted_documents(trusted: int, known: bool) -> None:
    others = mixture(100, 0.2, 0)
    statistics = counted(("en/2020", human_scores(trusted, 0), NONE), ("en/2024", NONE, others))
    got = to_plain(ShareEstimator(statistics).overall())
    assert (got["estimate"] is not None) == known
    if not known:
        assert "299" in got["reason"]
        assert got["raw"] == (others > THRESHOLD).sum() / (100 + trusted)


def test_a_language_without_trusted_documents_has_the_pooled_ones_in_sums_only() -> None:
    statistics = counted(
        ("en/2020", human_scores(400, 0), NONE), ("ja/2024", NONE, mixture(100, 0.5, 0))
    )
    estimator = ShareEstimator(statistics)
    assert estimator.language("ja").estimate is None
    assert list(estimator.overall().basis or ()) == ["(pooled)"]


def test_fewer_alarms_than_among_trusted_ones_is_zero_not_less() -> None:
    others = np.sort(human_scores(420, 5))[:400]
    statistics = counted(("en/2020", human_scores(400, 0), NONE), ("en/2024", NONE, others))
    got = to_plain(ShareEstimator(statistics).year("2024"))
    assert (got["estimate"], got["low"]) == (0.0, 0.0)
    assert got["high"] < 0.3
    assert got["basis"]["en"]["recall"] is None


def test_nothing_to_judge_but_trusted_documents_is_zero() -> None:
    got = to_plain(ShareEstimator(counted(("en/2020", human_scores(400, 0), NONE))).overall())
    assert (got["estimate"], got["low"], got["high"]) == (0.0, 0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize(("mean", "spread"), [(-1.26, 1.8), (-0.6, 1.5), (0.0, 2.0)])
def test_interval_covers_the_truth(share: float, mean: float, spread: float) -> None:
    covered, errors = 0, []
    for seed in range(40):
        statistics = counted(
            ("en/2020", human_scores(800, seed), NONE),
            ("en/2024", NONE, mixture(1_000, share, seed, mean, spread)),
        )
        got = to_plain(ShareEstimator(statistics).year("2024"))
        covered += got["low"] <= share <= got["high"]
        errors.append(abs(got["estimate"] - share))
    assert covered >= 36
    assert np.mean(errors) <= 0.035


def test_more_documents_narrow_the_interval_to_a_bound() -> None:
    def width(n: int, times: int = 1) -> float:
        trusted, others = human_scores(n, 0), mixture(n, 0.2, 0)
        statistics = counted(
            ("en/2020", np.tile(trusted, times), NONE), ("en/2024", NONE, np.tile(others, times))
        )
        got = to_plain(ShareEstimator(statistics).year("2024"))
        return float(got["high"] - got["low"])

    assert width(400) > 1.2 * width(2_000)
    # Beyond `max_weight` the form of the fit is what errs.
    most = CHOSEN.max_weight
    assert width(most, times=20) == pytest.approx(width(most))


def test_the_upper_end_allows_for_text_that_the_score_cannot_tell() -> None:
    trusted = human_scores(4_000, 0)
    seen, hidden = ai_scores(850, 0, mean=0.0), human_scores(150, 9)
    others = np.concatenate([human_scores(3_000, 7), seen, hidden])
    statistics = counted(("en/2020", trusted, NONE), ("en/2024", NONE, others))
    got = to_plain(ShareEstimator(statistics).year("2024"))
    assert got["estimate"] < 0.25 < got["high"]
    without = to_plain(
        ShareEstimator(statistics, dataclasses.replace(CHOSEN, hidden=0.0)).year("2024")
    )
    assert (got["estimate"], got["low"]) == (without["estimate"], without["low"])
    assert got["high"] == pytest.approx(without["high"] / (1.0 - CHOSEN.hidden))


def test_languages_weigh_by_their_documents() -> None:
    one = counted(("en/2020", human_scores(900, 0), NONE), ("en/2024", NONE, mixture(900, 0.4, 1)))
    both = counted(
        ("de/2020", human_scores(900, 3), NONE), ("de/2024", NONE, human_scores(2_700, 4)),
        statistics=one,
    )  # fmt: skip
    estimator = ShareEstimator(both)
    got = to_plain(estimator.year("2024"))
    assert got["estimate"] == pytest.approx(0.1, abs=0.03)
    assert list(got["basis"]) == ["de", "en"]
    assert got["low"] <= got["estimate"] <= got["high"]


def with_host(statistics: Statistics, name: str, others: Scores, trusted: int = 0) -> Statistics:
    """The same with a host's documents counted too; `name` is "language/host"."""
    row = [trusted, trusted, 0, len(others), (others > THRESHOLD).sum()]
    bins = SCORE_BINS.count(others, np.zeros(len(others), np.int64), 1)[0]
    statistics.host_languages.add([name], np.concatenate([row, bins])[None].astype(np.int64))
    return statistics


def test_a_host_is_compared_with_trusted_documents_of_its_language_on_all_hosts() -> None:
    mostly_ai, mostly_human = mixture(400, 0.8, 1), mixture(400, 0.05, 2)
    statistics = counted(
        ("en/2020", human_scores(2_000, 0), NONE),
        ("en/2024", NONE, np.concatenate([mostly_ai, mostly_human])),
    )
    with_host(statistics, "en/ai.org", mostly_ai)
    with_host(statistics, "en/human.org", mostly_human, trusted=400)
    estimator = ShareEstimator(statistics)
    assert estimator.host("ai.org").estimate == pytest.approx(0.8, abs=0.12)
    human = to_plain(estimator.host("human.org"))
    # Half of the host's documents are human by their date.
    assert human["estimate"] == pytest.approx(0.025, abs=0.03)
    assert human["basis"]["en"]["trusted_documents"] == 2_000


@pytest.mark.parametrize(("documents", "known"), [(99, False), (100, True)])
def test_a_host_of_few_documents_says_so(documents: int, known: bool) -> None:
    statistics = counted(("en/2020", human_scores(400, 0), NONE))
    got = to_plain(
        ShareEstimator(with_host(statistics, "en/a.org", human_scores(documents, 1))).host("a.org")
    )
    assert (got["estimate"] is not None) == known
    if not known:
        assert got["reason"] == "99 scored documents not human by date, 100 are needed"
    nothing = to_plain(ShareEstimator(statistics).host("b.org"))
    assert (nothing["estimate"], nothing["raw"]) == (None, None)


def test_a_host_without_trusted_documents_has_no_estimate() -> None:
    statistics = counted(("en/2024", NONE, mixture(400, 0.5, 1)))
    got = to_plain(
        ShareEstimator(with_host(statistics, "en/a.org", mixture(400, 0.5, 1))).host("a.org")
    )
    assert got["estimate"] is None
    assert "299" in got["reason"]


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 0) is None
    low, high = wilson(0, 10) or (9, 9)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-3)
    low, high = wilson(10, 10) or (9, 9)
    assert high == 1.0
    assert low == pytest.approx(0.7225, abs=1e-3)
