"""What a score means: scores of human text by models that never saw its collection.

The combined log-odds x of a human document of n words (500 at most) spreads about a mean m with
variance τ² + σ²/n; z = (x − m) / √(τ² + σ²/n) is then comparable across lengths. Thresholds are
quantiles of z over human collections, each scored by a fit without it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import FPR_GRID, in_words
from lowbg.jobs.train.log_odds import MIN_COLLECTION, OddsConfig, Sample, fit, top_ngrams
from lowbg.jobs.train.regression import Floats, Sparse
from lowbg.jobs.train.windows import Vocabulary, Windows

MANY_COLLECTIONS = 10
"""Collections of human text below which a rate is held the lower the fewer they are: of the kinds
that aren't there nothing is known."""

AI_FOLDS = 3
"""Folds of the collections that hold AI text alone."""

MAX_COLLECTION = 200
"""Documents beyond which a collection is no more work to leave out."""


@dataclass(frozen=True, slots=True)
class Held:
    """Out-of-collection scores of documents: means of both log-odds, and of log-perplexity, and
    the log-odds of the style.
    """

    document: NDArray[np.int64]
    words: NDArray[np.int64]
    naive_bayes: Floats
    logistic: Floats
    log_perplexity: Floats
    style: Floats


def folds(collections: Sequence[str], is_ai: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """The fold in which each document is held out, with its whole collection.

    Collections with human text are spread over `count` folds, those of AI text alone over
    `AI_FOLDS` after them: human text is scored by fits that know all other AI text, as the final
    one does.
    """
    names = np.asarray(collections)
    human = set(names[~is_ai].tolist())
    result = np.zeros(len(names), np.int64)
    sizes = Counter(names.tolist())
    load = [0] * (count + AI_FOLDS)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        own = range(count) if name in human else range(count, count + AI_FOLDS)
        fold = min(own, key=load.__getitem__)
        load[fold] += min(sizes[name], MAX_COLLECTION)
        result[names == name] = fold
    return result


def scatter(
    fold: NDArray[np.int64],
    own: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    texts: Sequence[str],
    folds: range,
    least: int,
) -> bool:
    """Spreads a label's documents (`own`) over `folds` by text, where it must; whether so.

    It must where, with one of the folds left out, fewer than `least` documents of the label that
    are `usable` would be left to fit: all are of one collection, say. `fold` is changed in place.
    """
    sizes = np.bincount(fold[own & usable])
    if len(sizes) and sizes.sum() - sizes.max() >= least:
        return False
    for i in np.flatnonzero(own).tolist():
        crc = zlib.crc32(texts[i].encode("utf-8", "surrogatepass"))
        fold[i] = folds[crc % len(folds)]
    return True


def hold_out(
    matrix: Sparse,
    vocabulary: Vocabulary,
    windows: Windows,
    sample: Sample,
    fold: NDArray[np.int64],
    config: OddsConfig,
    capacity: int,
    log_perplexity: Floats,
    style: Floats,
) -> Held:
    """Scores of every document by the fit of the other folds, with `capacity` n-grams kept.

    `fold` has one entry a window, the same for all windows of a document; `log_perplexity` and
    `style` have one a document. Windows of no weight are scored, and never fitted.
    """
    nb = np.zeros(len(windows))
    lr = np.zeros(len(windows))
    for k in np.unique(fold):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        usable = outside[sample.base[outside] > 0]
        weights = fit(matrix.rows(usable), sample.rows(usable), config)
        dropped = top_ngrams(vocabulary, weights)[capacity:]
        weights.naive_bayes[dropped] = 0.0
        weights.logistic[dropped] = 0.0
        held = matrix.rows(inside)
        nb[inside] = held.times(weights.naive_bayes) / held.scale
        lr[inside] = held.times(weights.logistic) / held.scale
    document, at = np.unique(windows.document, return_inverse=True)
    words = np.bincount(at, windows.words)
    return Held(
        document,
        words.astype(np.int64),
        np.bincount(at, nb) / words,
        np.bincount(at, lr) / words,
        log_perplexity[document],
        style[document],
    )


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
