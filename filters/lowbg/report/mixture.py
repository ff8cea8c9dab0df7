"""The share of AI text in documents of which only the scores are known.

Trusted documents show how human text scores. The scores of the others are a mixture: a share π of
AI text, whose density differs from the human one by an exponential tilt, ln(ai / human) = α + β s,
where s is the log-odds of `ai_score`: that is what a logistic calibration says, with β = 1. The
recall is thereby fitted to the corpus instead of assumed. Anderson 1979, "Multivariate logistic
compounds"; Qin 1999, "Empirical likelihood ratio based confidence intervals for mixture
proportions"; likelihood, with n trusted and m other documents in all and w = 1 − π + π exp(α + βs):

    Σ_others ln w − Σ_all ln(n + m w) − (ln β / SPREAD)² / 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.statistics import SCORE_BINS

Floats = NDArray[np.float64]

SPREAD: Final = 0.3
"""Standard deviation of ln β about 0: how far the calibration's slope may be off in a corpus."""

MAX_WEIGHT: Final = 2_000
"""As many documents of each kind count as evidence. Beyond, the error is in the form of the tilt
(AI text is many kinds of text), which more documents don't make smaller."""

DROP: Final = 1.92
"""The interval holds the shares whose ln-likelihood is at most this far below the best: half the
95 % quantile of χ² with a degree of freedom. It is multiplied by how much worse the tilt fits than
chance explains (Pearson's X² per degree of freedom, if above 1): McCullagh & Nelder 1989, 4.5."""

_EDGES = np.log(np.asarray(SCORE_BINS.edges)) - np.log1p(-np.asarray(SCORE_BINS.edges))
_PLACES: Floats = np.concatenate(
    [[_EDGES[0] - 0.25], (_EDGES[1:] + _EDGES[:-1]) / 2, [_EDGES[-1] + 0.25]]
)
_STARTS = (-8.0, -5.0, -2.0)
_MAX_LOG_SLOPE = 1.2
_STEPS = 25


@dataclass(frozen=True, slots=True)
class ShareFit:
    """A share of AI text with its 95 % interval."""

    share: float
    low: float
    high: float


def fit_share(human: Floats, mixed: Floats) -> ShareFit:
    """The AI share of the `mixed` documents, where the `human` ones are of the same kind.

    Both are counts by `SCORE_BINS`, what is below and above with them; neither may be empty.
    """
    h = human * min(1.0, MAX_WEIGHT / human.sum())
    m = mixed * min(1.0, MAX_WEIGHT / mixed.sum())
    shares = np.linspace(0.0, 1.0, 61) ** 2
    for _ in range(3):
        likelihood, misfit = _profile(shares, h, m)
        best = int(np.argmax(likelihood))
        drop = DROP * max(1.0, float(misfit[best]))
        inside = np.flatnonzero(likelihood >= likelihood[best] - drop)
        low, high = int(inside[0]), int(inside[-1])
        result = ShareFit(float(shares[best]), float(shares[low]), float(shares[high]))
        # Again, finer, from the last share left out below to the first one above.
        start, end = shares[max(low - 1, 0)], shares[min(high + 1, len(shares) - 1)]
        shares = np.linspace(np.sqrt(start), np.sqrt(end), 61) ** 2
    return result


def _profile(shares: Floats, h: Floats, m: Floats) -> tuple[Floats, Floats]:
    """The greatest ln-likelihood of each share over α and β, and the misfit there."""
    used = (h + m) > 0
    parts = (shares[:, None], h[used], m[used], _PLACES[used])
    climbed = np.stack([_climb(start, *parts) for start in _STARTS])
    best = np.argmax(climbed[:, 0], axis=0)
    at = np.arange(len(shares))
    return climbed[best, 0, at], climbed[best, 1, at]


def _climb(start: float, share: Floats, h: Floats, m: Floats, place: Floats) -> Floats:
    """Where Fisher scoring from α = `start`, β = 1 gets at every share.

    The ln-likelihood, and Pearson's X² per degree of freedom; shape (2, shares).
    """
    both, n_h, n_m = h + m, h.sum(), m.sum()
    alpha = np.full_like(share, start)
    log_slope = np.zeros_like(share)
    damping = np.full_like(share, 1e-2)

    def tilted(a: Floats, b: Floats) -> tuple[Floats, Floats]:
        part = share * np.exp(np.clip(a + np.exp(b) * place, -40.0, 40.0))
        return part, 1.0 - share + part

    def value(w: Floats, b: Floats) -> Floats:
        w = np.maximum(w, 1e-30)
        fit = (np.log(w) * m - np.log(n_h + n_m * w) * both).sum(axis=1, keepdims=True)
        return np.asarray(fit - (b / SPREAD) ** 2 / 2)

    part, w = tilted(alpha, log_slope)
    now = value(w, log_slope)
    for _ in range(_STEPS):
        rate = n_m * w / (n_h + n_m * w)
        first = part / np.maximum(w, 1e-30)
        second = first * np.exp(log_slope) * place
        residual, weight = m - both * rate, both * rate * (1.0 - rate)
        g1 = (residual * first).sum(axis=1, keepdims=True)
        g2 = (residual * second).sum(axis=1, keepdims=True) - log_slope / SPREAD**2
        a11 = (weight * first**2).sum(axis=1, keepdims=True) * (1.0 + damping) + 1e-9
        a12 = (weight * first * second).sum(axis=1, keepdims=True)
        a22 = (weight * second**2).sum(axis=1, keepdims=True) + 1.0 / SPREAD**2
        a22 = a22 * (1.0 + damping)
        determinant = np.maximum(a11 * a22 - a12**2, 1e-12)
        step1 = np.clip((a22 * g1 - a12 * g2) / determinant, -2.0, 2.0)
        step2 = np.clip((a11 * g2 - a12 * g1) / determinant, -0.5, 0.5)
        trial = (
            np.clip(alpha + step1, -30.0, 10.0),
            np.clip(log_slope + step2, -_MAX_LOG_SLOPE, _MAX_LOG_SLOPE),
        )
        new_part, new_w = tilted(*trial)
        then = value(new_w, trial[1])
        better = then > now
        alpha, log_slope = np.where(better, trial[0], alpha), np.where(better, trial[1], log_slope)
        part, w = np.where(better, new_part, part), np.where(better, new_w, w)
        now = np.where(better, then, now)
        damping = np.where(better, damping / 4.0, damping * 4.0)
        if max(np.abs(step1).max(), np.abs(step2).max()) < 1e-3:
            break
    rate = n_m * w / (n_h + n_m * w)
    # Bins with next to nothing expected would make X² of a single document.
    expected = np.maximum(both * rate * (1.0 - rate), 0.5)
    misfit = ((m - both * rate) ** 2 / expected).sum(axis=1) / max(1, len(both) - 3)
    return np.stack([now[:, 0], misfit])
