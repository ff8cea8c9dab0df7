"""How a causal LM takes part in the decision: its evidence, made comparable, and joined in.

The LM's evidence x (higher is more AI-like) spreads about a mean m in human text of a language,
with variance τ² + σ²/words; z = (x − m) / √(τ² + σ²/words) is then on the scale of the tables' z
(`calibration.py`). Where both speak, their sum over the standard deviation that it has in human
text is the joint z; where the tables abstain because a text is short, the LM's z alone is.

Of text by models that never learned to chat neither says much; how little it surprises the LM does.
That is a detector of its own, and its z counts where it is higher than the joint one: the
thresholds are of the higher of both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.config import LmSpread, LmSurprise
from lowbg.decision.calibration import in_words

Floats = NDArray[np.float64]

LM_PROBE_LOG_ODDS = "lm_probe_log_odds"
LM_EVENNESS = "lm_evenness"
BINOCULARS = "binoculars"
LM_CURVATURE = "lm_curvature"
FEATURES = (LM_PROBE_LOG_ODDS, BINOCULARS, LM_CURVATURE)
"""The columns that can be evidence, the better one first."""


MIN_WORDS = 25
"""Fewer words are never judged: an LM's figures of them say little."""


def evidence(columns: Mapping[str, pa.Array], feature: str, words: NDArray[np.int64]) -> Floats:
    """x of each document; NaN where the LM says nothing.

    The log-odds of a probe are of a mean already. A curvature is a sum over tokens in units of its
    standard deviation, so it is divided by √words; a low Binoculars ratio is AI-like, so it is
    negated.
    """
    column = columns.get(feature)
    if column is None:
        return np.full(len(words), np.nan)
    values = floats(column)
    if feature == LM_PROBE_LOG_ODDS:
        return values
    if feature == BINOCULARS:
        return -values
    return np.asarray(values / np.sqrt(np.maximum(words, 1)))


def standardise(spread: LmSpread, x: Floats, words: NDArray[np.int64]) -> Floats:
    """z of documents with evidence `x`; NaN where there is none, or too few words for it."""
    z = (x - spread.mean) / np.sqrt(spread.between + spread.within / in_words(words))
    return np.where(words >= spread.min_words, z, np.nan)


def join(tables: Floats, lm: Floats, correlation: float) -> Floats:
    """The joint z; where only one of both is a number, that one."""
    both = (tables + lm) / np.sqrt(2.0 + 2.0 * max(correlation, -0.5))
    return np.where(np.isnan(lm), tables, np.where(np.isnan(tables), lm, both))


def by_surprise(
    spread: LmSurprise, columns: Mapping[str, pa.Array], words: NDArray[np.int64]
) -> Floats:
    """z of documents by how little they surprise the LM; NaN where that wasn't read."""
    column = columns.get(LM_EVENNESS)
    if column is None:
        return np.full(len(words), np.nan)
    return surprise_z(spread, floats(column), words)


def surprise_z(spread: LmSurprise, x: Floats, words: NDArray[np.int64]) -> Floats:
    """The same of evennesses `x`."""
    deviation = np.sqrt(spread.between + spread.within / in_words(words))
    return np.asarray((x - spread.mean) / deviation)


def heed(joint: Floats, surprise: Floats) -> Floats:
    """The higher of both z; NaN where there is no joint one."""
    return np.where(np.isnan(joint), np.nan, np.fmax(joint, surprise))
