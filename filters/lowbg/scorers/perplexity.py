"""Perplexity of a document under the embedded n-gram model of human text of its language.

The model is an interpolated modified Kneser–Ney model in back-off form (`training/kneser_ney.py`),
read from a hash table (`ngrams/`). In Chinese and Japanese its words are characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import column_of
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer, log_bins
from lowbg.text.ngrams import LanguageTables, NgramFigures, NgramTables, read_ngrams
from lowbg.text.tokens import WORD_BYTES, Tokens

PERPLEXITY = Column(
    "perplexity",
    pa.float32(),
    unit="per word",
    meaning=(
        "word perplexity under the embedded n-gram model of human text (per character in zh, ja)"
    ),
    null="no model of the language, or no words",
    bins=log_bins("Perplexity per word", 10.0, 100_000.0, 40),
    order=10,
)
BITS_PER_BYTE = Column(
    "bits_per_byte",
    pa.float32(),
    unit="bits/byte",
    meaning="the same model's information over the UTF-8 bytes of the scored words",
    null="as perplexity",
    order=10,
)
SENTENCE_PERPLEXITY_SPREAD = Column(
    "sentence_perplexity_spread",
    pa.float32(),
    unit="nats",
    meaning="standard deviation across sentences of their mean log-perplexity",
    null="fewer than two sentences, or as perplexity",
    order=30,
)


def log_likelihoods(
    slots: NDArray[np.uint32],
    metadata: Mapping[str, Any],
    tokens: Tokens,
    documents: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Log-likelihoods (nats) of the `documents` at these positions under one table."""
    figures = NgramFigures.empty(len(tokens))
    tables = LanguageTables.of({"lm_slots": slots}, {"lm": metadata})
    read_ngrams(tables, tokens, documents, figures)
    return figures.log_likelihoods[documents]


class Perplexity(Scorer):
    """The scorer `perplexity`."""

    name = "perplexity"
    version = 1
    columns: tuple[Column, ...] = (PERPLEXITY, BITS_PER_BYTE, SENTENCE_PERPLEXITY_SPREAD)
    min_words = 1
    concurrent = True

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self._files = {c: models[c] for c in sorted(models) if "lm_slots" in models[c].arrays}
        self._tables = NgramTables.of(models)

    @property
    def languages(self) -> frozenset[str]:
        """The languages that there is a model of."""
        return frozenset(self._files)

    @property
    def models(self) -> Mapping[str, str]:
        """Model file → SHA-256."""
        return {file.path.name: file.sha256 for file in self._files.values()}

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The three columns."""
        tokens = documents.tokens
        figures = documents.ngrams(self._tables)
        totals, spreads = figures.log_likelihoods, figures.spreads
        known = np.array([code in self._files for code in documents.language_codes] + [False])
        words = tokens.words_per_document
        scored = known[documents.languages] & (words > 0)
        per_word = np.exp(np.minimum(-totals / np.maximum(words, 1), 80.0))
        size = np.maximum(tokens.counts[:, WORD_BYTES], 1)
        bits = -totals / math.log(2) / size
        has_spread = scored & ~np.isnan(spreads)
        return {
            PERPLEXITY.name: column_of(per_word.astype(np.float32), null=~scored),
            BITS_PER_BYTE.name: column_of(bits.astype(np.float32), null=~scored),
            SENTENCE_PERPLEXITY_SPREAD.name: column_of(
                np.where(has_spread, spreads, 0.0).astype(np.float32), null=~has_spread
            ),
        }


def create(models: Mapping[str, ModelFile]) -> Perplexity:
    """The scorer over the model files of some languages, by language code."""
    return Perplexity(models)
