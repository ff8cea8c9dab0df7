"""Learned n-gram weights, AI against human: Naive Bayes and logistic regression, and their table.

Windows are weighted so that every kind of text (a collection's documents of one label) weighs the
same, however large, and both labels do: what carries over to other kinds is what many kinds share.
An n-gram counts once a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.windows import Vocabulary
from lowbg.kernels.tables import build

STEPS = 127
"""A weight is stored as a whole number of steps from −127 to 127, plus 128."""


@dataclass(frozen=True, slots=True)
class OddsConfig:
    """How the n-gram weights are fitted and stored.

    `order`: longest n-gram. `min_windows`: n-grams in fewer windows are dropped. `l2`: ridge of
    the logistic regression. `smoothing`: pseudo-windows of Naive Bayes. `attack_weight` scales
    rewritten AI text. `naive_bayes_share`: what Naive Bayes adds to a document's log-odds, 0 … 1,
    the regression adding the rest. `slots`: size of the table, a power of two.
    """

    order: int = 3
    min_windows: int = 10
    l2: float = 3e-6
    smoothing: float = 2.0
    attack_weight: float = 0.5
    naive_bayes_share: float = 0.5
    min_words: int = 25
    max_windows: int = 4
    slots: int = 1 << 18
    iterations: int = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """What the fit knows of each window: label, collection, document, weight before balancing.

    `genre` is empty where it isn't known.
    """

    is_ai: NDArray[np.bool_]
    collection: NDArray[np.str_]
    document: NDArray[np.int64]
    base: Floats
    genre: NDArray[np.str_]

    def rows(self, chosen: NDArray[np.int64]) -> Sample:
        """Some of the windows."""
        return Sample(*(getattr(self, name)[chosen] for name in Sample.__slots__))


MIN_COLLECTION = 50
"""A collection with fewer documents counts less, in the fit and in the thresholds."""


def balance(sample: Sample) -> Floats:
    """The weight of every window: kinds weigh alike inside their label, and both labels do.

    In a genre that has both labels each first gets the geometric mean of what the two weigh: what
    then separates them there is who wrote, not what about.
    """
    weights = sample.base.copy()
    for label in (False, True):
        own = sample.is_ai == label
        for collection in np.unique(sample.collection[own]):
            kind = own & (sample.collection == collection)
            documents = len(np.unique(sample.document[kind]))
            weights[kind] *= min(1.0, documents / MIN_COLLECTION) / sample.base[kind].sum()
    for genre in np.unique(sample.genre[sample.genre != ""]):
        both = [(sample.genre == genre) & (sample.is_ai == label) for label in (False, True)]
        masses = [weights[own].sum() for own in both]
        if min(masses):
            for own, mass in zip(both, masses, strict=True):
                weights[own] *= np.sqrt(masses[0] * masses[1]) / mass
    for label in (False, True):
        own = sample.is_ai == label
        weights[own] /= weights[own].sum()
    return weights


def naive_bayes(
    matrix: Sparse, is_ai: NDArray[np.bool_], weights: Floats, smoothing: float
) -> Floats:
    """log P(n-gram in a window | AI) − log P(… | human), both with `smoothing` pseudo-windows.

    A class's weights are scaled to one a window, and its pseudo-windows hold the n-gram at the
    mean rate of both classes plus one half.
    """
    unscaled = Sparse(matrix.starts, matrix.columns, np.ones(len(matrix)), matrix.width)
    rates, counts, sizes = [], [], []
    for label in (True, False):
        chosen = is_ai == label
        scaled = np.where(chosen, weights, 0.0)
        scaled *= chosen.sum() / scaled.sum()
        count = unscaled.transposed_times(scaled)
        counts.append(count)
        sizes.append(float(chosen.sum()))
        rates.append(count / sizes[-1])
    prior = (rates[0] + rates[1]) / 2 + 0.5
    ai, human = (
        np.log((count + smoothing * prior) / (size + smoothing))
        for count, size in zip(counts, sizes, strict=True)
    )
    return np.asarray(ai - human)


@dataclass(frozen=True, slots=True)
class Weights:
    """What was fitted: Naive-Bayes log-odds and regression weights of every n-gram."""

    naive_bayes: Floats
    logistic: Floats


def fit(matrix: Sparse, sample: Sample, config: OddsConfig) -> Weights:
    """Both sets of weights, from the windows of `matrix`."""
    weights = balance(sample)
    logistic, _ = fit_logistic(matrix, sample.is_ai, weights, config.l2, config.iterations)
    return Weights(
        naive_bayes(matrix, sample.is_ai, weights, config.smoothing),
        logistic,
    )


def quantise(weights: Weights) -> tuple[NDArray[np.uint16], tuple[float, float]]:
    """Both weights of every n-gram in one payload, and the scales that read them back.

    With s from −127 to 127, Naive Bayes is s × scale and the regression s·|s| × scale
    (`scorers/phrases/odds.py`); the largest weight has s = ±127.
    """
    top = [
        max(float(np.abs(w).max(initial=0.0)), 1e-9)
        for w in (weights.naive_bayes, weights.logistic)
    ]
    linear = np.rint(weights.naive_bayes / top[0] * STEPS)
    root = np.rint(np.sign(weights.logistic) * np.sqrt(np.abs(weights.logistic) / top[1]) * STEPS)
    payload = ((linear.astype(np.int64) + 128) << 8) | (root.astype(np.int64) + 128)
    return payload.astype(np.uint16), (top[0] / STEPS, top[1] / STEPS**2)


def top_ngrams(vocabulary: Vocabulary, weights: Weights) -> NDArray[np.int64]:
    """All n-grams, those first that move scores most: |weight| × √windows.

    Each weight counts over its standard deviation.
    """
    spread = [max(float(w.std()), 1e-12) for w in (weights.naive_bayes, weights.logistic)]
    size = np.abs(weights.naive_bayes) / spread[0] + np.abs(weights.logistic) / spread[1]
    return np.argsort(-size * np.sqrt(vocabulary.frequency), kind="stable")


def make_table(
    vocabulary: Vocabulary, weights: Weights, slots: int
) -> tuple[NDArray[np.uint32], tuple[float, float], int]:
    """The table, the scales of its payload bytes, and the n-grams that found no place.

    Places go to `top_ngrams` first; no more are offered than four for three places.
    """
    payload, scales = quantise(weights)
    order = top_ngrams(vocabulary, weights)[: slots + slots // 3]
    table, lost = build(vocabulary.hashes[order], payload[order], slots)
    return table, scales, lost
