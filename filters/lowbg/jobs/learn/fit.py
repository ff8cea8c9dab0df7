"""Fits n-gram weights to human and new text, and scores every document by a fit without its source.

A document of the new text counts as AI's by the probability that it is, and as human by the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.learn.balance import Occurrences, steady, widespread
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.gather import Dumps
from lowbg.jobs.train.log_odds import Weights, naive_bayes, top_ngrams
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.windows import Vocabulary, count_ngrams, cut


@dataclass(frozen=True, slots=True)
class Sides:
    """How much each document counts as human text, and how much as AI's."""

    human: Floats
    ai: Floats


class Ngrams:
    """The n-grams of the dumps that may be learned from, and fits of their weights.

    `fold` says in which fold each document is left out, with its source. `offered` counts the
    n-grams before any was left out.
    """

    def __init__(self, dumps: Dumps, config: LearnConfig) -> None:
        odds = config.odds
        self._dumps, self._odds = dumps, odds
        self.windows = cut(dumps.tokens.word_starts, odds.min_words, odds.max_windows)
        vocabulary, matrix = count_ngrams(
            dumps.tokens.words, self.windows, odds.order, odds.min_windows
        )
        self.offered = matrix.width
        found = Occurrences.of(matrix, self.windows.document)
        self.vocabulary, self.matrix = _only(vocabulary, matrix, widespread(found, dumps))
        self.fold = _folds(dumps.group, config)
        self._count = config.folds

    def __len__(self) -> int:
        return self.matrix.width

    @cached_property
    def base(self) -> Floats:
        """A weight for each window; a document's windows share the root of their number."""
        windows = self.windows
        pieces = np.bincount(windows.document, minlength=len(self._dumps.rows))
        return np.asarray(np.sqrt(np.minimum(1.0, windows.words / 100) / pieces[windows.document]))

    @cached_property
    def mass(self) -> Floats:
        """What the windows of each document weigh together."""
        sums = np.bincount(self.windows.document, self.base, len(self._dumps.rows))
        return np.asarray(sums, np.float64)

    @cached_property
    def steady(self) -> tuple[NDArray[np.bool_], ...]:
        """The n-grams that human text of both times has alike: without each fold, then of all."""
        found = Occurrences.of(self.matrix, self.windows.document)
        return tuple(steady(found, self._dumps, self.fold, k) for k in (*range(self._count), -1))

    def weights(self, sides: Sides, left_out: int = -1, *, steady: bool = True) -> Weights:
        """The weights of every n-gram, from all folds but one; 0 for what isn't steady, if
        it has to be.

        All are 0 where all text of a side is in that fold.
        """
        document = self.windows.document
        there = self.fold[document] != left_out
        of_side = [
            np.flatnonzero(there & (weights[document] > 0)) for weights in (sides.human, sides.ai)
        ]
        if not all(map(len, of_side)):
            return Weights(np.zeros(len(self)), np.zeros(len(self)))
        chosen = np.concatenate(of_side)
        is_ai = np.repeat([False, True], [len(own) for own in of_side])
        own = np.concatenate(
            [
                self.base[at] * weights[document[at]]
                for at, weights in zip(of_side, (sides.human, sides.ai), strict=True)
            ]
        )
        for label in (False, True):
            own[is_ai == label] /= own[is_ai == label].sum()
        matrix = self.matrix.rows(chosen)
        odds = self._odds
        logistic, _ = fit_logistic(matrix, is_ai, own, odds.l2, odds.iterations)
        kept = self.steady[left_out] if steady else np.ones(len(self), np.bool_)
        return Weights(naive_bayes(matrix, is_ai, own, odds.smoothing) * kept, logistic * kept)

    def hold_out(
        self, sides: Sides, capacity: int | None = None, *, steady: bool = True
    ) -> tuple[Floats, Floats]:
        """Both log-odds a word of every document by the fit without its fold.

        Of the weights the `capacity` that move scores most are kept, by default all.
        """
        nb, lr = np.zeros(len(self.windows)), np.zeros(len(self.windows))
        for k in range(self._count):
            inside = np.flatnonzero(self.fold[self.windows.document] == k)
            weights = self.weights(sides, k, steady=steady)
            if capacity is not None:
                lost = top_ngrams(self.vocabulary, weights)[capacity:]
                weights.naive_bayes[lost] = 0.0
                weights.logistic[lost] = 0.0
            held = self.matrix.rows(inside)
            nb[inside] = held.times(weights.naive_bayes) / held.scale
            lr[inside] = held.times(weights.logistic) / held.scale
        return self.a_word(nb), self.a_word(lr)

    def a_word(self, sums: Floats) -> Floats:
        """The mean a word of every document, from the sums of its windows."""
        documents = len(self._dumps.rows)
        words = np.bincount(self.windows.document, self.windows.words, documents)
        return np.bincount(self.windows.document, sums, documents) / np.maximum(words, 1)


def _only(
    vocabulary: Vocabulary, matrix: Sparse, kept: NDArray[np.bool_]
) -> tuple[Vocabulary, Sparse]:
    """Some of the n-grams, and their columns."""
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    column = place[matrix.columns]
    row = np.repeat(np.arange(len(matrix)), np.diff(matrix.starts))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row[column >= 0], minlength=len(matrix)))])
    own = Vocabulary(vocabulary.hashes[kept], vocabulary.orders[kept], vocabulary.frequency[kept])
    columns = column[column >= 0].astype(np.int32)
    return own, Sparse(starts.astype(np.int64), columns, matrix.scale, int(kept.sum()))


def _folds(group: NDArray[np.int64], config: LearnConfig) -> NDArray[np.int64]:
    """The fold in which each document is left out; folds get sources at random."""
    generator = np.random.default_rng(config.seed)
    number = int(group.max()) + 1
    return np.asarray(generator.permutation(number)[group] % config.folds)
