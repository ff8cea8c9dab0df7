"""What learned log-odds come to: thresholds on the text held out, and figures of what they do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.jobs.calibrate.calibrate import order_statistic
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, Dumps
from lowbg.jobs.learn.mixture import Interval, Scores, auroc, share_of_ai
from lowbg.jobs.train import calibration
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.log_odds import MIN_COLLECTION
from lowbg.jobs.train.regression import Floats
from lowbg.report.estimate import wilson

LIKELY = 0.9
"""The probability from which a new document stands for AI text when the score's slope is fitted."""

MAX_DRIFT = 0.6
"""The AUROC of held-out human text against old text beyond which drift alone separates."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What learned tables say of text that they were not fitted on.

    `share`: of AI text among the new documents. `drift`: the chance that a held-out human document
    is more AI-like than an old one; one half without drift. `told_apart`: the chance that a fit of
    held-out text against old text ranks a held-out document above an old one. `old_called` and
    `held_called`: the shares of old and of held-out text that are called AI at the target, each
    source's by a fit, and at a threshold, without it. `new_called` is the same of the new text.
    """

    share: Interval
    drift: Interval
    told_apart: Interval
    old_called: Interval
    held_called: Interval
    new_called: Interval

    @property
    def as_json(self) -> dict[str, dict[str, float]]:
        """All of them, rounded."""
        return {name: getattr(self, name).as_json for name in Figures.__slots__}

    def refusals(
        self, target_fpr: float, *, by_source: bool = True, taught: bool = False
    ) -> list[str]:
        """Why the tables aren't to be used; empty where nothing speaks against them.

        Of tables that a teacher `taught` drift is no reason: it read new human text as well.
        """
        held, drift, new = self.held_called, self.drift, self.new_called
        reasons = []
        if not taught and drift.estimate > MAX_DRIFT and drift.low > 0.5:
            reasons.append(
                f"drift alone separates: held-out human text is more AI-like than old text with an "
                f"AUROC of {drift.estimate:.2f} ({drift.low:.2f}–{drift.high:.2f}; one half is no "
                f"drift, {MAX_DRIFT} the bound). Compare dumps of the same sources, or name "
                "the field that says what a source is"
            )
        apart = self.told_apart
        if not taught and not by_source and apart.low > 0.5:
            reasons.append(
                "drift alone separates: no sources are known to compare with themselves, and "
                f"held-out human text is told from old text with an AUROC of {apart.estimate:.2f} "
                f"({apart.low:.2f}–{apart.high:.2f}; one half is chance). Name the field that "
                "holds the URL, or the one that says what a source is"
            )
        if held.low > target_fpr:
            reasons.append(
                f"the rate doesn't hold: {100 * held.estimate:.1f} % ({100 * held.low:.1f}–"
                f"{100 * held.high:.1f}) of held-out human text is called AI, not "
                f"{100 * target_fpr:g} %"
            )
        if new.low <= max(target_fpr, held.high):
            reasons.append(
                f"no AI text shows: {100 * new.estimate:.1f} % ({100 * new.low:.1f}–"
                f"{100 * new.high:.1f}) of the new text is called AI, no more than may be of human "
                "text"
            )
        return reasons


def calibrate(
    dumps: Dumps, held: Held, likely: NDArray[np.bool_], config: LearnConfig
) -> tuple[Calibration, tuple[float, float], dict[str, Any]]:
    """As `train.calibration.calibrate`, on the text held out, `likely` standing for AI text.

    The threshold of a rate is never below what old and held-out text together vouch for at 95 %
    confidence.
    """
    names = _collections(dumps)
    used = (dumps.part == BETWEEN)[held.document] | likely[held.document]
    rows = [
        replace(row, dataset=name, label="ai" if new else "human")
        for row, name, new in zip(dumps.rows, names, dumps.part == NEW, strict=True)
    ]
    own = Held(*(getattr(held, name)[used] for name in Held.__slots__))
    material = Material(rows, dumps.tokens, dumps.known, dumps.known, dumps.files)
    settings = TrainConfig(
        language=config.language,
        output=config.output,
        human=(),
        min_words=config.min_words,
        perplexity_weight=config.perplexity_weight,
        style_weight=config.style_weight,
        odds=config.odds,
    )
    result, factors, evidence = calibration.calibrate(material, own, settings)
    z = standardised(result, factors, held)
    known = z[dumps.known[held.document] & (held.words >= config.min_words)]
    limits = tuple(
        max(limit, vouched(known, fpr))
        for limit, fpr in zip(result.thresholds, FPR_GRID, strict=True)
    )
    return replace(result, thresholds=limits), factors, evidence


def vouched(z: Floats, fpr: float) -> float:
    """The z that the rate `fpr` of human text doesn't exceed, at 95 % confidence; beyond all of `z`
    where these are too few to tell.
    """
    k = order_statistic(len(z), fpr)
    return round(float(np.sort(z)[(k or len(z)) - 1]) + 1e-3, 4)


def standardised(result: Calibration, factors: tuple[float, float], held: Held) -> Floats:
    """z of every document."""
    log_odds = (factors[0] * held.naive_bayes + factors[1] * held.logistic) / 2
    return result.standardise(log_odds, held.words, np.exp(held.log_perplexity), held.style)


def figures(
    dumps: Dumps,
    held: Held,
    fold: NDArray[np.int64],
    result: Calibration,
    factors: tuple[float, float],
    change: Floats,
    config: LearnConfig,
) -> Figures:
    """What the tables do, by scores that never saw a document's source.

    `change` is each document's score by a fit of held-out text against old text.
    """
    z = standardised(result, factors, held)
    part, group = dumps.part[held.document], dumps.group[held.document]
    own = fold[held.document]

    def scores(chosen: NDArray[np.bool_]) -> Scores:
        return Scores(z[chosen], group[chosen])

    called = z >= result.threshold(config.target_fpr)
    crossed = np.zeros(len(z), np.bool_)
    for k in np.unique(own):
        others = z[(part != NEW) & (own != k)]
        between = z[(part == BETWEEN) & (own != k)]
        limit = max(
            vouched(others, config.target_fpr), float(np.quantile(between, 1 - config.target_fpr))
        )
        crossed[own == k] = z[own == k] >= limit
    return Figures(
        share=share_of_ai(scores(part != NEW), scores(part == NEW), config.seed),
        drift=auroc(scores(part == OLD), scores(part == BETWEEN), config.seed),
        told_apart=auroc(
            Scores(change[dumps.part == OLD], dumps.group[dumps.part == OLD]),
            Scores(change[dumps.part == BETWEEN], dumps.group[dumps.part == BETWEEN]),
            config.seed,
        ),
        old_called=_rate(crossed[part == OLD]),
        held_called=_rate(crossed[part == BETWEEN]),
        new_called=_rate(called[part == NEW]),
    )


def _rate(called: NDArray[np.bool_]) -> Interval:
    low, high = wilson(int(called.sum()), len(called)) or (0.0, 1.0)
    return Interval(float(called.mean()), low, high)


def _collections(dumps: Dumps) -> list[str]:
    """A name for each document's source; small ones are put together, up to `MIN_COLLECTION`."""
    names, of = np.unique(dumps.source, return_inverse=True)
    inside = np.bincount(of, dumps.part == BETWEEN, len(names))
    result: list[str] = [""] * len(names)
    number, filled = 1, 0.0
    for i in np.argsort(-inside, kind="stable").tolist():
        if inside[i] >= MIN_COLLECTION or len(names) == 1:
            result[i] = str(names[i]) or "of no known source"
            continue
        if filled >= MIN_COLLECTION:
            number, filled = number + 1, 0.0
        result[i] = f"small sources, {number}"
        filled += inside[i]
    return [result[i] for i in of.tolist()]
