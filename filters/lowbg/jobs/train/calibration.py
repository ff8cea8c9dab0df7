"""What a score means: scores of human text by models that never saw its collection.

The combined log-odds x of a human document of n words (500 at most) spreads about a mean m with
variance τ² + σ²/n; z = (x − m) / √(τ² + σ²/n) is then comparable across lengths. Thresholds are
quantiles of z over human collections, each scored by a fit without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import FPR_GRID, Calibration, in_words
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.log_odds import MIN_COLLECTION
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.style import alike

MANY_COLLECTIONS = 10
"""Collections of human text below which a rate is held the lower the fewer they are: of the kinds
that aren't there nothing is known."""


def calibrate(
    material: Material, held: Held, config: TrainConfig
) -> tuple[Calibration, tuple[float, float], dict[str, Any]]:
    """The calibration, the factors of both log-odds, and the human collections' quantiles.

    x = (a × nb + b × lr) / 2, with a = 2 × `naive_bayes_share`, and b such that both spread alike
    in human text at equal shares.
    """
    rows = [material.rows[i] for i in held.document]
    is_ai = np.array([row.is_ai for row in rows])
    names = np.array([row.dataset for row in rows])
    judged = held.words >= config.min_words
    human, ai = ~is_ai & judged, is_ai & judged & np.array([not row.attack for row in rows])
    size = Counter(names[human].tolist())
    equal = np.zeros(len(names))
    equal[human] = alike(names[human])
    parts = [
        fit_spread(x[human], held.words[human], equal[human])
        for x in (held.naive_bayes, held.logistic)
    ]
    scale = [part.deviation(250) for part in parts]
    share = config.odds.naive_bayes_share
    factors = (2 * share, 2 * (1 - share) * scale[0] / scale[1])
    x = (factors[0] * held.naive_bayes + factors[1] * held.logistic) / 2
    spread = fit_spread(x[human], held.words[human], equal[human])
    average = float(equal[human] @ held.log_perplexity[human] / equal[human].sum())
    variance = float(
        equal[human] @ (held.log_perplexity[human] - average) ** 2 / equal[human].sum()
    )
    slope_of_perplexity = config.perplexity_weight / max(np.sqrt(variance), 1e-6)
    own_style = fit_spread(held.style[human], held.words[human], equal[human])
    result = Calibration(
        mean=spread.mean,
        between=spread.between,
        within=spread.within,
        thresholds=(),
        intercept=0.0,
        slope=1.0,
        min_words=config.min_words,
        perplexity_mean=average,
        perplexity_slope=float(slope_of_perplexity),
        style_mean=own_style.mean,
        style_between=own_style.between,
        style_within=own_style.within,
        style_weight=config.style_weight,
    )
    z = result.standardise(x, held.words, np.exp(held.log_perplexity), held.style)
    evidence = _collections(z, names, human)
    limits = thresholds(evidence)
    slope, intercept = 1.0, -limits[FPR_GRID.index(0.01)]
    if ai.any():
        chosen = np.flatnonzero(human | ai)
        ai_size = Counter(names[ai].tolist())
        balanced = np.where(
            ai, [1.0 / max(ai_size[name], 1) / len(ai_size) for name in names], equal / len(size)
        )
        slope, intercept = _logistic_line(z[chosen], ai[chosen], balanced[chosen])
    result = replace(result, thresholds=tuple(limits), intercept=intercept, slope=slope)
    return result, factors, evidence


def _logistic_line(z: Floats, is_ai: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of the label on z."""
    n = len(z)
    # The sparse solver knows only ones: each row's scale carries its z.
    matrix = Sparse(np.arange(n + 1, dtype=np.int64), np.zeros(n, np.int32), z, 1)
    slope, intercept = fit_logistic(matrix, is_ai, weights, l2=1e-6, iterations=100)
    return max(float(slope[0]), 1e-3), intercept


def _collections(
    z: Floats, names: NDArray[np.str_], human: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Of each judged human collection its documents and the z that each rate of them exceeds."""
    table = {}
    for name in sorted(set(names[human].tolist())):
        own = z[human & (names == name)]
        table[str(name)] = {"documents": len(own), "z": quantiles(own)}
    return table


LEAST_SQUARE = 1e-12
"""Of a deviation: text that is all alike has some spread, too."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean m, and the parts τ² and σ² of the variance τ² + σ²/n, of human text."""

    mean: float
    between: float
    within: float

    def standardise(self, x: Floats, words: NDArray[np.int64]) -> Floats:
        """z of documents with score `x`."""
        return (x - self.mean) / np.sqrt(self.between + self.within / in_words(words))

    def deviation(self, words: int) -> float:
        """The standard deviation of documents of so many words."""
        return float(np.sqrt(self.between + self.within / words))


def fit_spread(x: Floats, words: NDArray[np.int64], weights: Floats) -> Spread:
    """Weighted mean and least-squares variance parts; both parts stay above 0."""
    share = weights / weights.sum()
    mean = float(share @ x)
    inverse = 1.0 / in_words(words)
    squares = np.maximum((x - mean) ** 2, LEAST_SQUARE)
    # Relative errors of squares are alike at all lengths: weigh by the inverse variance squared.
    between, within = (
        float(share @ squares) / 2,
        float(share @ squares) / (2 * float(share @ inverse)),
    )
    for _ in range(20):
        importance = share / (between + within * inverse) ** 2
        a = np.array(
            [
                [importance.sum(), importance @ inverse],
                [importance @ inverse, importance @ inverse**2],
            ]
        )
        b = np.array([importance @ squares, importance @ (squares * inverse)])
        solution = np.linalg.lstsq(a, b)[0]
        total = between + within * float(share @ inverse)
        between = max(float(solution[0]), 0.02 * total)
        within = max(float(solution[1]), 0.02 * total)
    return Spread(mean, between, within)


def quantiles(z: Floats) -> list[float]:
    """The z that a share of `FPR_GRID` of human documents exceeds, one a share."""
    return [round(float(np.quantile(z, 1.0 - fpr)), 4) for fpr in FPR_GRID]


def thresholds(collections: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """The z that each rate of `FPR_GRID` of human text exceeds.

    `collections` holds `documents` and `z` (see `quantiles`) of each. The rate is the mean of the
    collections' own, each counting alike however large (less below `MIN_COLLECTION` documents):
    what is to be expected of a new collection. With fewer than `MANY_COLLECTIONS` it is lower in
    proportion. Between stored quantiles ln(rate) is interpolated; above the highest no document is
    expected.
    """
    grid = np.linspace(-10.0, 20.0, 30_001)
    total = np.zeros_like(grid)
    weights = 0.0
    for entry in collections.values():
        weight = min(1.0, entry["documents"] / MIN_COLLECTION)
        rising = np.asarray(entry["z"], np.float64)[::-1]
        rate = np.exp(np.interp(grid, rising, np.log(FPR_GRID[::-1])))
        total += weight * np.where(grid > rising[-1], 0.0, rate)
        weights += weight
    mean = total / weights / min(1.0, weights / MANY_COLLECTIONS)
    return [round(float(grid[np.argmax(mean <= fpr - 1e-12)]), 4) for fpr in FPR_GRID]


SURE = 0.5
"""Standard errors of the mean over collections that a rate is held low by. Of kinds left out of
everything 0.7 % are called AI at 1 % by a probe alone, 1.0 % together with tables; 0.8 and 1.2 %
without this (`benchmarks/neural/joining_trials.py`)."""


def document_thresholds(z: Floats, names: NDArray[np.str_], sure: float = SURE) -> list[float]:
    """The same from every document's z, and the collection that it is of; for small collections.

    Between the quantiles of a collection of 40 documents lies most of its tail, and what is read
    between them is too low a rate: at 1 % they let 1.4 % of those very documents through. The mean
    rate is held by `sure` of its standard errors, too.
    """
    grid = np.round(np.arange(-10_000, 20_001) / 1_000, 3)
    collections, sizes = np.unique(names, return_counts=True)
    weights = np.minimum(1.0, sizes / MIN_COLLECTION)
    share = weights / weights.sum()
    mean, square = np.zeros_like(grid), np.zeros_like(grid)
    for name, own, size in zip(collections, share, sizes, strict=True):
        at_or_above = size - np.searchsorted(np.sort(z[names == name]), grid, side="left")
        mean += own * at_or_above / size
        square += own * (at_or_above / size) ** 2
    error = np.sqrt(np.maximum(square - mean**2, 0.0) * (share**2).sum())
    held = (mean + sure * error) / min(1.0, float(weights.sum()) / MANY_COLLECTIONS)
    # From the last place on where too many are called AI.
    places = [np.flatnonzero(held > fpr + 1e-12) for fpr in FPR_GRID]
    return [float(grid[min(own[-1] + 1, len(grid) - 1)]) if len(own) else -10.0 for own in places]
