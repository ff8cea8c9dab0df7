"""From features to a calibrated score: z, the threshold for a target, and `ai_score`.

z says how many standard deviations a document lies above human text of its language and length.
A model file holds, for each human collection, the z that given shares of its documents exceed
when they are scored by a model that never saw the collection (`training/calibration.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ModelError
from lowbg.models import ModelFile

FPR_GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False-positive rates that thresholds are stored for; between them ln(rate) is interpolated."""

MIN_STRATUM = 50
"""A human collection with fewer judged documents does not bind the threshold for every one."""

MAX_WORDS = 500
"""A longer document is no surer evidence: what sets kinds of text apart doesn't average out, and an
n-gram that a text repeats counts in each of its windows."""

MAX_STYLE = 3.0
"""Beyond so many deviations a style says no more: it alone convicts nobody."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How one language's log-odds become a score.

    With n words, `MAX_WORDS` at most, z = (x − `mean`) / √(`between` + `within` / n) −
    `perplexity_slope` × (ln perplexity − `perplexity_mean`) + `style_weight` × s. Human text that a
    model of human text finds unusual reaches high log-odds more often; the second term makes up for
    it. s are the log-odds of the style, standardised like x by `style_mean`, `style_between` and
    `style_within`, at most ±`MAX_STYLE`. `thresholds` holds the z of each rate of `FPR_GRID`;
    `ai_score` is the logistic function of `intercept` + `slope` × z. Documents of fewer than
    `min_words` words are not judged.
    """

    mean: float
    between: float
    within: float
    thresholds: tuple[float, ...]
    intercept: float
    slope: float
    min_words: int
    perplexity_mean: float = 0.0
    perplexity_slope: float = 0.0
    style_mean: float = 0.0
    style_between: float = 1.0
    style_within: float = 0.0
    style_weight: float = 0.0

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that a model file's metadata holds."""
        return cls(
            mean=float(values["mean"]),
            between=float(values["between"]),
            within=float(values["within"]),
            thresholds=tuple(float(v) for v in values["thresholds"]),
            intercept=float(values["intercept"]),
            slope=float(values["slope"]),
            min_words=int(values["min_words"]),
            perplexity_mean=float(values.get("perplexity_mean", 0.0)),
            perplexity_slope=float(values.get("perplexity_slope", 0.0)),
            style_mean=float(values.get("style_mean", 0.0)),
            style_between=float(values.get("style_between", 1.0)),
            style_within=float(values.get("style_within", 0.0)),
            style_weight=float(values.get("style_weight", 0.0)),
        )

    @classmethod
    def of(cls, model: ModelFile) -> Calibration:
        """The calibration of a language's tables. Raises `ModelError` where theirs is none."""
        try:
            found = cls.from_metadata(model.metadata["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{model.path}: its calibration is none ({error!r})") from error
        rising = all(high >= low for high, low in pairwise(found.thresholds))
        if len(found.thresholds) != len(FPR_GRID) or not rising or not found.slope > 0:
            raise ModelError(
                f"{model.path}: its calibration is none (thresholds {found.thresholds}, slope "
                f"{found.slope})"
            )
        return found

    def standardise(
        self,
        log_odds: Floats,
        words: NDArray[np.int64],
        perplexity: Floats | None = None,
        style: Floats | None = None,
    ) -> Floats:
        """z of documents whose mean log-odds a word is `log_odds`, and of their style `style`.

        Without a perplexity or a style (None, or NaN for a document) the average one is assumed.
        """
        z = (log_odds - self.mean) / np.sqrt(self.between + self.within / in_words(words))
        if perplexity is not None and self.perplexity_slope:
            excess = np.log(perplexity) - self.perplexity_mean
            z = z - self.perplexity_slope * np.nan_to_num(excess)
        if style is not None and self.style_weight:
            z = z + self.style_weight * np.nan_to_num(self.standardise_style(style, words))
        return np.asarray(z)

    def parts(
        self, log_odds: float, words: int, perplexity: float | None, style: float | None
    ) -> dict[str, float]:
        """What each feature of a document adds to the logistic function's argument.

        Together with `intercept` they come to it: `score` of the document's z.
        """
        n = np.array([words], np.int64)
        spread = float(np.sqrt(self.between + self.within / in_words(n))[0])
        parts = {"phrase_log_odds": self.slope * (log_odds - self.mean) / spread}
        if perplexity is not None and self.perplexity_slope:
            excess = float(np.log(perplexity)) - self.perplexity_mean
            parts["perplexity"] = -self.slope * self.perplexity_slope * excess
        if style is not None and self.style_weight:
            own = float(self.standardise_style(np.array([style]), n)[0])
            parts["style_log_odds"] = self.slope * self.style_weight * own
        return parts

    def standardise_style(self, style: Floats, words: NDArray[np.int64]) -> Floats:
        """How many deviations above human text of its length a style lies; ±`MAX_STYLE` at most."""
        spread = np.sqrt(self.style_between + self.style_within / in_words(words))
        return np.clip((style - self.style_mean) / spread, -MAX_STYLE, MAX_STYLE)

    def threshold(self, target_fpr: float) -> float:
        """The z from which a document is called AI at `target_fpr`; beyond the grid, its end."""
        return at_rate(self.thresholds, target_fpr)

    def score(self, z: Floats) -> Floats:
        """`ai_score`, in 0 … 1, rising strictly with z."""
        return squash(self.intercept + self.slope * z)

    def z_of_score(self, score: float) -> float:
        """The z that has `score` as its `ai_score`."""
        return float((unsquash(np.array([score]))[0] - self.intercept) / self.slope)


def in_words(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """The length that a document's evidence counts for: 1 … `MAX_WORDS`."""
    return np.clip(words, 1, MAX_WORDS)


def at_rate(stored: Sequence[float], fpr: float) -> float:
    """The z at the rate `fpr` of a list that holds one for each rate of `FPR_GRID`."""
    return float(np.interp(np.log(fpr), np.log(FPR_GRID), stored))


def highest(collections: Mapping[str, Mapping[str, Any]]) -> tuple[float, ...]:
    """Of each rate of `FPR_GRID` the z that no collection of human text exceeds more often.

    `collections` is a model file's `human_collections`: `documents` and `z` of each. Empty where
    none has `MIN_STRATUM` documents.
    """
    binding = [entry["z"] for entry in collections.values() if entry["documents"] >= MIN_STRATUM]
    return tuple(max(map(float, z)) for z in zip(*binding, strict=True))


_LINEAR = 6.0


def squash(logit: Floats) -> Floats:
    """The logistic function, flattened beyond ±6 so that far-out documents still differ.

    There the argument grows with the logarithm: in single precision the plain function ties at 1
    from 17 on.
    """
    size = np.abs(logit)
    tame = np.where(size > _LINEAR, _LINEAR + np.log1p(np.maximum(size - _LINEAR, 0.0)), size)
    return np.asarray(1.0 / (1.0 + np.exp(-np.sign(logit) * tame)))


def unsquash(score: Floats) -> Floats:
    """The argument that `squash` gives `score` for."""
    logit = np.log(score) - np.log1p(-score)
    size = np.abs(logit)
    full = np.where(size > _LINEAR, _LINEAR + np.expm1(np.maximum(size - _LINEAR, 0.0)), size)
    return np.asarray(np.sign(logit) * full)
