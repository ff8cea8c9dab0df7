"""What a few pages of a source, read by a causal LM's probe, say of how much of it is AI.

The probe's z of a source's human pages scatter about a level c, those of its AI pages about a
level d, as the tables' scores do (`sources.py`):

    c ~ N(0, `HUMAN_SPREAD`²), with heavy tails        d ~ N(`AI_LEVEL`, `AI_SPREAD`²)

Both are integrated out for every way to divide the pages in human and AI ones, and a share π of AI
text weighs the ways: so three pages that agree say more than one, and less than three sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HUMAN_SPREAD: Final = 0.65
WITHIN_HUMAN: Final = 0.7
"""How human sources differ in z, and the pages of one. Of the 36 kinds of English human text that
the shipped probe was calibrated on, each left out: .60 and .65; of the 21 English human sites of
`sites/train` .55 and .64 (`benchmarks/sources/read_pages.py`)."""

AI_LEVEL: Final = 2.5
AI_SPREAD: Final = 1.1
WITHIN_AI: Final = 0.7
"""The same of sources that are AI: the 16 English ones of `sites/train` have level 2.8, spread .68,
and .63 within; they are of the kinds that are easily found, so this is lower and wider."""

WIDE: Final = 2.0
WIDE_LEVELS: Final = 0.15
"""A share of human levels is spread so many times as wide."""

WEIGHT: Final = 0.65
"""What the pages' evidence counts for: the probe and the tables err on the same human text, with a
correlation of .37 between their z."""

MOST: Final = 7.0
"""Nats by which pages speak for one share against another, at most."""


def share_evidence(z: Floats, shares: Sequence[float]) -> Floats:
    """Log-likelihoods (sources × shares, the best of each source 0) of `z` (sources × pages).

    All sources have as many pages.
    """
    n = z.shape[1]
    ways = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    ai = ways.astype(np.float64)
    of_ai = _pooled(z, ai, AI_LEVEL, AI_SPREAD, WITHIN_AI)
    of_human = np.logaddexp(
        np.log1p(-WIDE_LEVELS) + _pooled(z, 1.0 - ai, 0.0, HUMAN_SPREAD, WITHIN_HUMAN),
        np.log(WIDE_LEVELS) + _pooled(z, 1.0 - ai, 0.0, WIDE * HUMAN_SPREAD, WITHIN_HUMAN),
    )
    k = ai.sum(axis=1)
    found = np.empty((len(z), len(shares)))
    for column, share in enumerate(np.clip(shares, 0.005, 0.995).tolist()):
        found[:, column] = np.logaddexp.reduce(
            of_ai + of_human + k * np.log(share) + (n - k) * np.log1p(-share), axis=1
        )
    found -= found.max(axis=1, keepdims=True)
    return np.maximum(WEIGHT * found, -MOST)


def _pooled(z: Floats, chosen: Floats, mean: float, spread: float, within: float) -> Floats:
    """Log-density (sources × ways) of the pages that each way chooses, their level integrated out.

    0 where a way chooses none.
    """
    k = chosen.sum(axis=1)
    total, squares = z @ chosen.T, (z * z) @ chosen.T
    average = total / np.maximum(k, 1.0)
    apart = np.maximum(squares - k * average**2, 0.0)
    variance = within**2 + k * spread**2
    return np.asarray(
        -0.5 * k * np.log(2.0 * np.pi * within**2)
        - 0.5 * apart / within**2
        + 0.5 * np.log(within**2 / variance)
        - 0.5 * k * (average - mean) ** 2 / variance
    )
