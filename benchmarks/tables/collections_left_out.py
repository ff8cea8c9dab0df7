"""Scores of the training rows by fits that never saw their collection, kept for choices.

What is chosen after training (the constants of the share estimate) is chosen on these, so that
development data stays for measuring. One `LANGUAGE.npz` a language, without any text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.train import LeftOut


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The rows of one language that are long enough, one entry each.

    `score` is what `ai_score` would be; `called_ai` says whether it reaches the threshold of a
    target of 1 %. `collection` is the dataset; `attack` is empty where text is as generated.
    """

    is_ai: NDArray[np.bool_]
    score: NDArray[np.float32]
    called_ai: NDArray[np.bool_]
    collection: NDArray[np.str_]
    attack: NDArray[np.str_]

    def save(self, path: Path) -> None:
        """Writes everything to an .npz file; its folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{name: getattr(self, name) for name in HeldOut.__slots__})

    @classmethod
    def load(cls, path: Path) -> HeldOut:
        """What `save` wrote. Raises `KeyError` where a column is missing."""
        with np.load(path, allow_pickle=False) as columns:
            return cls(*(columns[name] for name in HeldOut.__slots__))


def held_out(left_out: LeftOut) -> HeldOut:
    """The scores that the calibration gives to held-out log-odds."""
    held, calibration = left_out.held, left_out.calibration
    first, second = left_out.factors
    log_odds = (first * held.naive_bayes + second * held.logistic) / 2
    z = calibration.standardise(log_odds, held.words, np.exp(held.log_perplexity), held.style)
    judged = held.words >= calibration.min_words
    own = [left_out.rows[i] for i in held.document[judged]]
    return HeldOut(
        is_ai=np.array([row.is_ai for row in own], np.bool_),
        score=calibration.score(z[judged]).astype(np.float32),
        called_ai=z[judged] >= calibration.threshold(0.01),
        collection=np.array([row.dataset for row in own], np.str_),
        attack=np.array([row.attack for row in own], np.str_),
    )
