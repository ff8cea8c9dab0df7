"""Perplexity of a document under the embedded n-gram model of human text of its language.

The model is an interpolated modified Kneser–Ney model in back-off form (`training/kneser_ney.py`),
read from a hash table. In Chinese and Japanese its words are characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from lowbg.models import ModelFile
from lowbg.schema import BITS_PER_BYTE, PERPLEXITY, SENTENCE_PERPLEXITY_SPREAD, Column
from lowbg.scorers.base import Documents
from lowbg.tables import probe
from lowbg.tokens import COUNTS, extend

BEGIN = np.uint64(0x5DEECE66D1B7A3C9)
"""Stands for the sentence start in the hash of an n-gram."""

MAX_ORDER = 4
_WORD_BYTES = COUNTS.index("word_bytes")
_PARAMETERS = (
    "log_p_step",
    "backoff_step",
    "backoff_low",
    "log_unknown",
    "begin_backoff",
)


@njit(cache=True, nogil=True)
def _log_likelihoods(
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    sentences: NDArray[np.int32],
    sentence_starts: NDArray[np.int64],
    languages: NDArray[np.int64],
    slots: NDArray[np.uint32],
    starts: NDArray[np.int64],
    orders: NDArray[np.int64],
    parameters: NDArray[np.float64],
    begin: np.uint64,
    totals: NDArray[np.float64],
    spreads: NDArray[np.float64],
) -> None:
    """Fills each document's log-likelihood and the spread of its sentences' mean log-perplexity.

    A word's n-grams are looked up from short to long; the longest that is stored gives log P, and
    the back-off weights of the stored contexts longer than its own are added. A context's weight
    was read when it was itself looked up as an n-gram, so each n-gram costs one look-up.
    """
    context = np.empty(4, np.uint64)  # hashes of the contexts of 1 … 3 words
    weight = np.empty(4, np.float64)  # their back-off weights; 0 where not stored
    for i in range(len(word_starts) - 1):
        language = languages[i]
        if language < 0 or starts[language + 1] == starts[language]:
            continue
        table = slots[starts[language] : starts[language + 1]]
        order = orders[language]
        p_step = parameters[language, 0]
        b_step = parameters[language, 1]
        b_low = parameters[language, 2]
        unknown = parameters[language, 3]
        at = word_starts[i]
        total = 0.0
        mean = 0.0
        squares = 0.0
        for s in range(sentence_starts[i], sentence_starts[i + 1]):
            length = sentences[s]
            depth = 1  # contexts that there are
            context[0] = begin
            weight[0] = parameters[language, 4]
            sentence = 0.0
            for _ in range(length):
                word = words[at]
                at += 1
                h = word
                log_p = unknown
                skipped = 0.0
                previous = context[0]
                previous_weight = weight[0]
                found = probe(table, h)
                context[0] = h
                weight[0] = 0.0
                if found >= 0:
                    log_p = (found >> 8) * p_step
                    weight[0] = (found & 0xFF) * b_step + b_low
                for k in range(1, min(order, depth + 1)):
                    h = extend(previous, word)
                    held_weight = previous_weight
                    previous = context[k]
                    previous_weight = weight[k]
                    found = probe(table, h)
                    context[k] = h
                    weight[k] = 0.0
                    if found >= 0:
                        log_p = (found >> 8) * p_step
                        weight[k] = (found & 0xFF) * b_step + b_low
                        skipped = 0.0
                    else:
                        skipped += held_weight
                depth = min(depth + 1, order - 1)
                sentence += log_p + skipped
            total += sentence
            value = -sentence / length
            k = s - sentence_starts[i] + 1
            delta = value - mean
            mean += delta / k
            squares += delta * (value - mean)
        totals[i] = total
        n = sentence_starts[i + 1] - sentence_starts[i]
        if n > 1:
            spreads[i] = math.sqrt(squares / n)


def log_likelihoods(
    slots: NDArray[np.uint32],
    metadata: Mapping[str, Any],
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    sentences: NDArray[np.int32],
    sentence_starts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Log-likelihood (nats) of documents under one table, given as the arrays of `Tokens`."""
    n = len(word_starts) - 1
    totals = np.zeros(n)
    _log_likelihoods(
        words,
        word_starts,
        sentences,
        sentence_starts,
        np.zeros(n, np.int64),
        slots,
        np.array([0, len(slots)]),
        np.array([metadata["order"]], np.int64),
        np.array([[metadata[key] for key in _PARAMETERS]]),
        BEGIN,
        totals,
        np.zeros(n),
    )
    return totals


class Perplexity:
    """The scorer `perplexity`."""

    name = "perplexity"
    version = 1
    columns: tuple[Column, ...] = (PERPLEXITY, BITS_PER_BYTE, SENTENCE_PERPLEXITY_SPREAD)
    min_words = 1

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self._files = {c: models[c] for c in sorted(models) if "lm_slots" in models[c].arrays}
        self._codes = tuple(self._files)
        self._slots = np.zeros(4, np.uint32)
        self._starts = np.zeros(1, np.int64)
        self._orders = np.zeros(0, np.int64)
        self._parameters = np.zeros((0, len(_PARAMETERS)))

    @property
    def languages(self) -> frozenset[str]:
        """The languages that there is a model of."""
        return frozenset(self._codes)

    @property
    def models(self) -> Mapping[str, str]:
        """Model file → SHA-256."""
        return {file.path.name: file.sha256 for file in self._files.values()}

    def prepare(self) -> None:
        """Nothing to fetch."""

    def setup(self) -> None:
        """Joins the languages' tables and compiles."""
        if self._codes and not len(self._orders):
            files = list(self._files.values())
            parts = [np.asarray(file.arrays["lm_slots"], np.uint32) for file in files]
            metadata: list[Mapping[str, Any]] = [file.metadata["lm"] for file in files]
            self._slots = np.concatenate(parts)
            self._starts = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
            self._parameters = np.array([[m[key] for key in _PARAMETERS] for m in metadata])
            self._orders = np.array([m["order"] for m in metadata], np.int64)

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The three columns."""
        self.setup()
        n = len(documents)
        tokens = documents.tokens
        place = {code: i for i, code in enumerate(self._codes)}
        lookup = np.array([place.get(c, -1) for c in documents.language_codes] + [-1], np.int64)
        languages = lookup[documents.languages]
        totals = np.zeros(n)
        spreads = np.full(n, np.nan)
        if self._codes:
            _log_likelihoods(
                tokens.words,
                tokens.word_starts,
                tokens.sentences,
                tokens.sentence_starts,
                languages,
                self._slots,
                self._starts,
                self._orders,
                self._parameters,
                BEGIN,
                totals,
                spreads,
            )
        words = tokens.words_per_document
        scored = (languages >= 0) & (words > 0)
        per_word = np.exp(np.minimum(-totals / np.maximum(words, 1), 80.0))
        size = np.maximum(tokens.counts[:, _WORD_BYTES], 1)
        bits = -totals / math.log(2) / size
        has_spread = scored & ~np.isnan(spreads)
        return {
            PERPLEXITY.name: pa.array(per_word.astype(np.float32), mask=~scored),
            BITS_PER_BYTE.name: pa.array(bits.astype(np.float32), mask=~scored),
            SENTENCE_PERPLEXITY_SPREAD.name: pa.array(
                np.where(has_spread, spreads, 0.0).astype(np.float32), mask=~has_spread
            ),
        }


def create(models: Mapping[str, ModelFile]) -> Perplexity:
    """The scorer over the model files of some languages, by language code."""
    return Perplexity(models)
