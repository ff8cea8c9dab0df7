"""How much each document counts, and which n-grams: so that what is learned is who wrote, not what
about.

Dumps differ in much else than AI text: sources come and go, and with them topics, names and
phrases. Sources that are in both dumps get the same weight in both; others don't serve the first
fit. N-grams of few sources are left out, and those by which human text of two times differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, Dumps
from lowbg.jobs.train.regression import Floats, Sparse

MIN_GROUPS = 4
"""An n-gram of fewer sources is left out."""

MAX_SHARE = 0.5
"""An n-gram is left out that has more of its new documents from one source."""

MAX_DRIFT = 2.5
"""Standard errors by which an n-gram's rates in old and held-out human text may differ."""

LEAST_MASS = 5.0
"""A source of less text than so many full documents counts less."""


def paired(source: NDArray[np.str_], human: Floats, new: Floats) -> tuple[Floats, Floats]:
    """The weights of both sides, so scaled that every source weighs the same in both.

    `human` and `new` are one weight a document, 0 where it isn't of that side. A source counts as
    much as the lighter of its sides, and not at all where it has only one. Documents of no known
    source are as one.
    """
    _, of = np.unique(source, return_inverse=True)
    masses = [np.bincount(of, side) for side in (human, new)]
    lighter = np.minimum(*masses)
    return (
        human * (lighter / np.maximum(masses[0], 1e-12))[of],
        new * (lighter / np.maximum(masses[1], 1e-12))[of],
    )


def evened(group: NDArray[np.int64], weights: Floats) -> Floats:
    """The weights so scaled that sources count alike; light ones (`LEAST_MASS`) count less."""
    mass = np.bincount(group, weights)
    return np.asarray(weights / np.maximum(mass, LEAST_MASS)[group])


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Which documents have which n-grams, each pair once."""

    document: NDArray[np.int64]
    ngram: NDArray[np.int64]
    width: int

    @classmethod
    def of(cls, matrix: Sparse, document: NDArray[np.int64]) -> Occurrences:
        """Those of a matrix whose row i is of `document[i]`."""
        rows = np.repeat(document, np.diff(matrix.starts))
        pairs = np.unique(rows * matrix.width + matrix.columns)
        return cls(pairs // matrix.width, pairs % matrix.width, matrix.width)

    def sums(self, weights: Floats) -> Floats:
        """The weight of the documents that have each n-gram."""
        sums = np.bincount(self.ngram, weights[self.document], self.width)
        return np.asarray(sums, np.float64)


def widespread(found: Occurrences, dumps: Dumps) -> NDArray[np.bool_]:
    """Which n-grams are of enough sources, and of no source above all."""
    groups = int(dumps.group.max()) + 1
    own = dumps.group[found.document]
    number = np.bincount(
        np.unique(own * found.width + found.ngram) % found.width, minlength=found.width
    )
    new = dumps.part[found.document] == NEW
    pairs, counts = np.unique(found.ngram[new] * groups + own[new], return_counts=True)
    most = np.zeros(found.width, np.int64)
    np.maximum.at(most, pairs // groups, counts)
    total = np.bincount(found.ngram[new], minlength=found.width)
    return np.asarray((number >= MIN_GROUPS) & (most <= np.maximum(MAX_SHARE * total, 1)))


def steady(
    found: Occurrences, dumps: Dumps, fold: NDArray[np.int64], left_out: int
) -> NDArray[np.bool_]:
    """Which n-grams human text of both times has alike, as far as folds but `left_out` show.

    The difference of the two rates, sources counting alike, over its standard error is at most
    `MAX_DRIFT`. All are, where one time is in that fold alone.
    """
    rates, variances = [], []
    for part in (OLD, BETWEEN):
        own = ((dumps.part == part) & (fold != left_out)).astype(np.float64)
        if not own.any():
            return np.ones(found.width, np.bool_)
        weights = evened(dumps.group, own)
        share = weights / weights.sum()
        rate = found.sums(share)
        rates.append(rate)
        # Of a weighted mean of zeros and ones, with one document more that might have it.
        variances.append(found.sums(share**2) + np.max(share) ** 2)
    drift = np.abs(rates[0] - rates[1]) / np.sqrt(variances[0] + variances[1])
    return np.asarray(drift <= MAX_DRIFT)
