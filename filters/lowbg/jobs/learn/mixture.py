"""How much of the new text is AI's, and which of it probably is: two samples of scores compared.

Scores of human text have density h, those of the new text (1 − π) h + π a. Where scores are low
hardly any is of AI text, so that the new text has 1 − π times the human share there: π is at least
1 − F_new(c) / F_human(c) for every c (Blanchard, Lee & Scott 2010, "Semi-supervised novelty
detection"; Garg et al. 2021, "Mixture proportion estimation and PU learning").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.regression import Floats

CUTS = np.linspace(0.6, 0.95, 8)
"""The shares of human text below the scores c that are tried."""

RESAMPLES = 200
BINS = 100


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of documents, and the number of the group (the source) that each is of."""

    z: Floats
    group: NDArray[np.int64]

    @property
    def sizes(self) -> Floats:
        """The documents of each group that has some."""
        return np.asarray(np.unique(self.group, return_counts=True)[1], np.float64)

    def counts(self, edges: Floats) -> Floats:
        """The documents of each group between edges, and beyond both ends."""
        groups, of = np.unique(self.group, return_inverse=True)
        bins = len(edges) + 1
        place = of * bins + np.searchsorted(edges, self.z, side="right")
        counts = np.bincount(place, minlength=len(groups) * bins)
        return np.asarray(counts.reshape(len(groups), bins), np.float64)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval, over groups drawn again."""

    estimate: float
    low: float
    high: float

    @property
    def as_json(self) -> dict[str, float]:
        """Its numbers, rounded."""
        names = ("estimate", "low", "high")
        return {name: round(float(getattr(self, name)), 4) for name in names}


def share_of_ai(human: Scores, new: Scores, seed: int) -> Interval:
    """The share π of AI text in the new text, from its scores and those of human text.

    Of the cuts that one serves at which the ratio, with two standard errors on top, is lowest.
    """
    sides = (human, new)
    cuts = np.quantile(human.z, CUTS)
    below = [np.cumsum(own.counts(cuts), axis=1)[:, :-1] for own in sides]

    def ratios(draws: Sequence[Floats]) -> Floats:
        rates = [
            w @ b / (w @ own.sizes)[:, None] for w, b, own in zip(draws, below, sides, strict=True)
        ]
        return np.asarray(rates[1] / np.maximum(rates[0], 1e-12))

    (whole,), again = ratios(_as_they_are(sides)), ratios(_drawn_again(sides, seed))
    best = int(np.argmin(whole + 2 * again.std(axis=0)))
    return _interval(1.0 - whole[best], 1.0 - again[:, best])


def auroc(low: Scores, high: Scores, seed: int) -> Interval:
    """The chance that a score of `high` is above one of `low`."""
    sides = (low, high)
    steps = np.linspace(0.0, 1.0, 2 * BINS + 1)[1:-1]
    edges = np.quantile(np.concatenate([low.z, high.z]), steps)
    counts = [own.counts(edges) for own in sides]

    def areas(draws: Sequence[Floats]) -> Floats:
        a, b = (
            w @ c / (w @ own.sizes)[:, None] for w, c, own in zip(draws, counts, sides, strict=True)
        )
        return np.asarray(((np.cumsum(a, axis=1) - a / 2) * b).sum(axis=1))

    (whole,), again = areas(_as_they_are(sides)), areas(_drawn_again(sides, seed))
    return _interval(whole, again)


def _interval(whole: float, again: Floats) -> Interval:
    low, high = np.quantile(again, (0.025, 0.975)).tolist()
    limits = np.clip([whole, min(low, whole), max(high, whole)], 0.0, 1.0)
    return Interval(*limits.tolist())


def _as_they_are(sides: Sequence[Scores]) -> list[Floats]:
    return [np.ones((1, len(own.sizes))) for own in sides]


def _drawn_again(sides: Sequence[Scores], seed: int) -> list[Floats]:
    """How often each group of a side is drawn, `RESAMPLES` times."""
    generator = np.random.default_rng(seed)
    number = [len(own.sizes) for own in sides]
    return [generator.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float) for n in number]


def posterior(z: Floats, human: NDArray[np.bool_], new: NDArray[np.bool_], share: float) -> Floats:
    """The probability that each document is AI's if it is of the new text: 1 − (1 − π) h / f.

    h and f are the densities of z in human and in new text; f / h is fitted to rise with z.
    """
    edges = np.unique(np.quantile(z[human | new], np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    at = np.searchsorted(edges, z)
    counts = [np.bincount(at[own], minlength=len(edges) + 1) for own in (human, new)]
    shares = [c / max(c.sum(), 1) for c in counts]
    total = shares[0] + shares[1]
    rising = _isotonic(shares[1] / np.maximum(total, 1e-12), total)
    ratio = rising / np.maximum(1.0 - rising, 1e-6)
    return np.asarray(np.clip(1.0 - (1.0 - share) / np.maximum(ratio, 1e-6), 0.0, 1.0)[at])


def _isotonic(values: Floats, weights: Floats) -> Floats:
    """The rising sequence that is nearest to `values` by weighted squares."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), np.maximum(weights, 1e-12).tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, v, m), (b, w, n) = blocks[-2:]
            blocks[-2:] = [((a * v + b * w) / (v + w), v + w, m + n)]
    return np.repeat([value for value, _, _ in blocks], [n for _, _, n in blocks])
