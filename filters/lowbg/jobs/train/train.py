"""Makes a language's model file from human and AI text: the code behind `lowbg train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import Calibration
from lowbg.jobs.train.calibration import calibrate
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.fit import fit_odds, fit_style
from lowbg.jobs.train.fit_lm import fit_lm
from lowbg.jobs.train.gather import Material, gather, sources
from lowbg.jobs.train.held_out import Held
from lowbg.models import FORMAT, save_arrays
from lowbg.runs.progress import NOBODY, Observer


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What rows got by fits that never saw their collection, and what makes a score of that.

    `held` says which of `rows`, all that were read; `factors` weigh its two log-odds.
    """

    rows: Sequence[Row]
    held: Held
    factors: tuple[float, float]
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Trained:
    """The model file that was written, what it was made from, and what it says of text left out."""

    path: Path
    material: Material
    left_out: LeftOut

    def called_ai(self, label: str, target_fpr: float = 0.01) -> float:
        """The share of left-out documents of this label that the threshold calls AI."""
        out = self.left_out
        first, second = out.factors
        log_odds = (first * out.held.naive_bayes + second * out.held.logistic) / 2
        perplexity = np.exp(out.held.log_perplexity)
        z = out.calibration.standardise(log_odds, out.held.words, perplexity, out.held.style)
        of_label = np.array([out.rows[i].label == label for i in out.held.document])
        own = z[of_label & (out.held.words >= out.calibration.min_words)]
        return float(np.mean(own >= out.calibration.threshold(target_fpr)))


def train(config: TrainConfig, observer: Observer = NOBODY) -> Trained:
    """Writes the model file that `config` describes; equal input gives equal bytes.

    Raises as `gather` does.
    """
    material = gather(config, observer)
    lm = fit_lm(material, config)
    style_log_odds, style_metadata = fit_style(material, config)
    odds = fit_odds(material, config, style_log_odds)
    result, factors, evidence = calibrate(material, odds.held, config)
    scales = [a * b for a, b in zip(odds.metadata["scales"], factors, strict=True)]
    metadata: dict[str, Any] = {
        "format": FORMAT,
        "language": config.language,
        "date": config.date.isoformat(),
        "seed": config.seed,
        "sources": sources(material),
        "lm": lm.metadata,
        "odds": {**odds.metadata, "scales": scales},
        "style": style_metadata,
        "calibration": asdict(result),
        "human_collections": evidence,
    }
    arrays: dict[str, NDArray[Any]] = {"lm_slots": lm.slots, "odds_slots": odds.table}
    save_arrays(config.output, arrays, metadata)
    left_out = LeftOut(material.rows, odds.held, factors, result)
    return Trained(config.output, material, left_out)
