"""How a causal LM is surprised by a document's first tokens: five figures, from those a token.

A probe on hidden states tells what a model represents of a text, and of text by models that never
learned to chat that is nothing odd. What they write is seldom as unlikely as what people do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.scorers.lm.figures import ENTROPY, LOG_RANK, SURPRISAL, VARIANCE

SURPRISE = ("surprisal", "surprisal_deviation", "log_rank", "entropy", "curvature")
"""Of tokens 2 … n, each given those before it: mean surprisal −ln p and its standard deviation,
mean ln rank and mean entropy in nats, and Fast-DetectGPT's analytic curvature of a token,
Σ(ln p(x) − E) / √(n ΣV), which doesn't grow with their number (Bao et al. 2024)."""

NAMES = ("surprise_mean", "surprise_scale", "surprise_weights")
"""The arrays of a probe's file that hold `SurpriseWeights`."""

MIN_TOKENS = 8
"""Fewer judged tokens say nothing."""


def sum_up(figures: NDArray[np.floating]) -> NDArray[np.float64]:
    """`SURPRISE` of a document from its judged tokens' figures (tokens × `figures.FIGURES`).

    NaN below `MIN_TOKENS`, and where a figure is no number.
    """
    own = figures.astype(np.float64)
    if len(own) < MIN_TOKENS or not np.isfinite(own[:, : VARIANCE + 1]).all():
        return np.full(len(SURPRISE), np.nan)
    surprisal, entropy = own[:, SURPRISAL], own[:, ENTROPY]
    spread = np.sqrt(len(own) * max(float(own[:, VARIANCE].sum()), 1e-9))
    return np.array(
        [
            surprisal.mean(),
            surprisal.std(),
            own[:, LOG_RANK].mean(),
            entropy.mean(),
            (entropy - surprisal).sum() / spread,
        ]
    )


@dataclass(frozen=True, slots=True)
class SurpriseWeights:
    """What a probe makes of the figures of `SURPRISE`: three arrays with an entry each.

    `mean` and `scale` are those of human text.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]

    def evenness(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """How little documents × `SURPRISE` surprise, in deviations; NaN where a figure is."""
        return np.asarray(((figures - self.mean) / self.scale * self.weights).sum(axis=1))


EVEN = (0.0, -1.0, -1.0, 0.0, 1.0)
"""The weights by which `SURPRISE` says that a text surprises little, but for a common factor.

They are no fit: training text holds nothing by models that never learned to chat, and newer AI text
surprises more than people's. What they come to is compared in `benchmarks/neural`.
"""


def weigh(figures: NDArray[np.float64], weights: NDArray[np.float64]) -> SurpriseWeights:
    """By the `figures` (documents × `SURPRISE`) of human text, each document with its weight."""
    share = weights / weights.sum()
    mean = share @ figures
    scale = np.sqrt(share @ (figures - mean) ** 2) + 1e-6
    sums = (figures - mean) / scale @ np.array(EVEN)
    own = np.array(EVEN) / max(float(np.sqrt(share @ sums**2)), 1e-6)
    parts = (mean, scale, own)
    return SurpriseWeights(*(part.astype(np.float32) for part in parts))
