"""Log-odds, AI against human, of a document's style: punctuation, sentence and word lengths.

The weights are one logistic regression over the labelled text of many languages, each document
measured against the human text of its own (`text/style.py`, `jobs/train/style.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import column_of
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer, linear_bins
from lowbg.text.style import FEATURES, expand, measure, standardise

STYLE_LOG_ODDS = Column(
    "style_log_odds",
    pa.float32(),
    unit="nats",
    meaning="log-odds, AI against human, of punctuation, sentence lengths and word length",
    null="no figures of human style in the language, or no words",
    bins=linear_bins("Style log-odds (nats)", -8.0, 8.0, 40),
    order=45,
)


class Style(Scorer):
    """`style_log_odds`."""

    name = "style"
    version = 1
    columns: tuple[Column, ...] = (STYLE_LOG_ODDS,)
    min_words = 1
    concurrent = True

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self._styles = {
            code: {key: np.array(values) for key, values in models[code].metadata["style"].items()}
            for code in sorted(models)
            if "style" in models[code].metadata
        }

    @property
    def languages(self) -> frozenset[str]:
        """The languages whose human style is known."""
        return frozenset(self._styles)

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """`style_log_odds`."""
        n = len(documents)
        value = np.zeros(n)
        known = np.zeros(n, np.bool_)
        features = measure(documents.tokens)
        for index, code in enumerate(documents.language_codes):
            if code in self._styles:
                own = np.flatnonzero(documents.languages == index)
                value[own] = expand(self._deviations(code, features[own])) @ self._weights(code)
                known[own] = documents.tokens.words_per_document[own] > 0
        return {STYLE_LOG_ODDS.name: column_of(value.astype(np.float32), null=~known)}

    def notes(self, documents: Documents, i: int, values: Mapping[str, Any]) -> Sequence[str]:
        """What in document i's style stands out: the three heaviest parts, for or against."""
        parts = self.weights(documents, i)[:3]
        if not parts:
            return ()
        listed = ", ".join(f"{name} {nats:+.1f}" for name, nats in parts)
        return (f"style_log_odds {values[STYLE_LOG_ODDS.name]:+.2f} nats: {listed}",)

    def weights(self, documents: Documents, i: int) -> Sequence[tuple[str, float]]:
        """What each of `FEATURES` adds for document i (nats), the heaviest first."""
        index = int(documents.languages[i])
        code = documents.language_codes[index] if index >= 0 else ""
        if code not in self._styles:
            return ()
        deviations = self._deviations(code, measure(documents.tokens.part(i, i + 1)))
        nats = (expand(deviations) * self._weights(code))[0]
        each = nats[: len(FEATURES)] + nats[len(FEATURES) : 2 * len(FEATURES)]
        order = np.argsort(-np.abs(each), kind="stable")
        return [(FEATURES[k], float(each[k])) for k in order]

    def _deviations(self, code: str, features: NDArray[np.float64]) -> NDArray[np.float64]:
        style = self._styles[code]
        return standardise(features, style["mean"], style["spread"])

    def _weights(self, code: str) -> NDArray[np.float64]:
        return self._styles[code]["weights"]


def create(models: Mapping[str, ModelFile]) -> Style:
    """The scorer over the model files of some languages, by language code."""
    return Style(models)
