"""The share of AI text in documents of which only the scores are known.

Trusted documents show how human text scores. The scores of the others are a mixture: a share π of
AI text, whose density differs from the human one by an exponential tilt, ln(ai / human) = α + β s,
where s is the log-odds of `ai_score`: that is what a logistic calibration says, with β = 1. The
recall is thereby fitted to the corpus instead of assumed. Anderson 1979, "Multivariate logistic
compounds"; Qin 1999, "Empirical likelihood ratio based confidence intervals for mixture
proportions"; likelihood, with n trusted and m other documents in all and w = 1 − π + π exp(α + βs):

    Σ_others ln w − Σ_all ln(n + m w) − (ln β / spread)² / 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.report.statistics import SCORE_BINS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Constants:
    """What the fit assumes; `benchmarks.quality.share --choose` chose `CHOSEN` on training text.

    `spread`: standard deviation of ln β about 0, how far the calibration's slope may be off in a
    corpus. `max_weight`: as many documents of each kind count as evidence; beyond, the error is in
    the form of the tilt (AI text is many kinds of text), which more documents don't make smaller.
    `drop`: the interval holds the shares whose ln-likelihood is at most this far below the best
    (1.92 is half the 95 % quantile of χ² with a degree of freedom), times how much worse the tilt
    fits than chance explains (Pearson's X² per degree of freedom, if above 1): McCullagh & Nelder
    1989, 4.5. `hidden`: the share of the AI text that may be of kinds that the score can't tell
    from human text (base models, rewrites of human text), for the upper end of an interval.
    """

    spread: float
    max_weight: int
    drop: float
    hidden: float


CHOSEN: Final = Constants(spread=0.3, max_weight=4_000, drop=1.92, hidden=0.1)

_EDGES = np.log(np.asarray(SCORE_BINS.edges)) - np.log1p(-np.asarray(SCORE_BINS.edges))
_PLACES: Floats = np.concatenate(
    [[_EDGES[0] - 0.25], (_EDGES[1:] + _EDGES[:-1]) / 2, [_EDGES[-1] + 0.25]]
)
_STARTS = (-8.0, -5.0, -2.0)
_MAX_LOG_SLOPE = 1.2
_STEPS = 25
_GRID, _ROUNDS = 41, 3


class ShareFit(Struct, frozen=True):
    """A share of AI text with its 95 % interval."""

    share: float
    low: float
    high: float


def fit_share(human: Floats, mixed: Floats, constants: Constants = CHOSEN) -> ShareFit:
    """The AI share of the `mixed` documents, where the `human` ones are of the same kind.

    Both are counts by `SCORE_BINS`, what is below and above with them; neither may be empty.
    """
    h = human * min(1.0, constants.max_weight / human.sum())
    m = mixed * min(1.0, constants.max_weight / mixed.sum())
    used = (h + m) > 0
    counts = _Counts(h[used], m[used], _PLACES[used], constants.spread)
    shares = np.linspace(0.0, 1.0, _GRID) ** 2
    starts = [np.full(_GRID, start) for start in _STARTS]
    slopes = [np.zeros(_GRID) for _ in _STARTS]
    for _ in range(_ROUNDS):
        climbed = [counts.climb(shares, *start) for start in zip(starts, slopes, strict=True)]
        which = np.argmax([peak.likelihood for peak in climbed], axis=0)
        peak = _Peak(*(np.choose(which, parts) for parts in zip(*climbed, strict=True)))
        best = int(np.argmax(peak.likelihood))
        drop = constants.drop * max(1.0, float(peak.misfit[best]))
        inside = np.flatnonzero(peak.likelihood >= peak.likelihood[best] - drop)
        low, high = int(inside[0]), int(inside[-1])
        result = ShareFit(float(shares[best]), float(shares[low]), float(shares[high]))
        # Again, finer, from the last share left out below to the first one above.
        start, end = shares[max(low - 1, 0)], shares[min(high + 1, len(shares) - 1)]
        finer = np.linspace(np.sqrt(start), np.sqrt(end), _GRID) ** 2
        starts = [np.interp(finer, shares, peak.alpha)]
        slopes = [np.interp(finer, shares, peak.log_slope)]
        shares = finer
    return result


class _Peak(NamedTuple):
    """Of each share the greatest ln-likelihood over α and β, Pearson's X² per degree of freedom
    there, and the place."""

    likelihood: Floats
    misfit: Floats
    alpha: Floats
    log_slope: Floats


class _Counts(Struct, frozen=True):
    """Trusted documents `h` and others `m` by bin, the bins' places, and the slope's spread."""

    h: Floats
    m: Floats
    place: Floats
    spread: float

    def climb(self, shares: Floats, alpha: Floats, log_slope: Floats) -> _Peak:
        """Where Fisher scoring from `alpha` and `log_slope` gets at every share."""
        share, alpha, log_slope = shares[:, None], alpha[:, None], log_slope[:, None]
        m, place = self.m, self.place
        both, n_h, n_m, precision = self.h + m, self.h.sum(), m.sum(), self.spread**-2
        damping = np.full_like(share, 1e-2)

        def tilted(a: Floats, b: Floats) -> tuple[Floats, Floats]:
            part = share * np.exp(np.clip(a + np.exp(b) * place, -40.0, 40.0))
            return part, np.maximum(1.0 - share + part, 1e-30)

        def value(w: Floats, b: Floats) -> Floats:
            fit = np.log(w) @ m - np.log(n_h + n_m * w) @ both
            return np.asarray(fit[:, None] - precision * b**2 / 2)

        part, w = tilted(alpha, log_slope)
        now = value(w, log_slope)
        for _ in range(_STEPS):
            rate = n_m * w / (n_h + n_m * w)
            first = part / w
            second = first * np.exp(log_slope) * place
            residual, weight = m - both * rate, both * rate * (1.0 - rate)
            g1 = _rows(residual, first)
            g2 = _rows(residual, second) - precision * log_slope
            a11 = _rows(weight * first, first) * (1.0 + damping) + 1e-9
            a12 = _rows(weight * first, second)
            a22 = (_rows(weight * second, second) + precision) * (1.0 + damping)
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
            alpha = np.where(better, trial[0], alpha)
            log_slope = np.where(better, trial[1], log_slope)
            part, w = np.where(better, new_part, part), np.where(better, new_w, w)
            now = np.where(better, then, now)
            damping = np.where(better, damping / 4.0, damping * 4.0)
            if max(np.abs(step1).max(), np.abs(step2).max()) < 1e-3:
                break
        rate = n_m * w / (n_h + n_m * w)
        # Bins with next to nothing expected would make X² of a single document.
        expected = np.maximum(both * rate * (1.0 - rate), 0.5)
        misfit = ((m - both * rate) ** 2 / expected).sum(axis=1) / max(1, len(both) - 3)
        return _Peak(now[:, 0], misfit, alpha[:, 0], log_slope[:, 0])


def _rows(x: Floats, y: Floats) -> Floats:
    """The sum of products of each row, as a column."""
    return np.asarray(np.einsum("ij,ij->i", x, y)[:, None])
