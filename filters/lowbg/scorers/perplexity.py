"""Perplexity of a document under the embedded n-gram model of human text of its language.

The model is an interpolated modified Kneser–Ney model in back-off form (`training/kneser_ney.py`),
read from a hash table. In Chinese and Japanese its words are characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.kernels import njit
from lowbg.models import ModelFile
from lowbg.schema import BITS_PER_BYTE, PERPLEXITY, SENTENCE_PERPLEXITY_SPREAD, Column
from lowbg.scorers.base import Documents
from lowbg.tables import fetch_ahead, locate
from lowbg.tokens import COUNTS, extend

BEGIN = np.uint64(0x5DEECE66D1B7A3C9)
"""Stands for the sentence start in the hash of an n-gram."""

MAX_ORDER = 4
_WORD_BYTES = COUNTS.index("word_bytes")
_BLOCK = 64
"""Words whose table lines are fetched together."""

_NOTHING, _BEGIN = 256, 257
"""Rows of `_decoded` beyond the 256 values of a byte."""


@njit(cache=True, nogil=True)
def _hash_block(
    words: NDArray[np.uint64],
    ends: NDArray[np.bool_],
    context: NDArray[np.uint64],
    table: NDArray[np.uint32],
    order: int,
    begin: np.uint64,
    hashes: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    """The hashes of the n-grams that end at each word, `counts` of them, and their table lines.

    `ends` says which words end a sentence. `context` holds the hashes of the contexts of 1 … 3
    words before the first word, the sentence's begin being one, and how many there are.
    """
    c1, c2, c3 = context[0], context[1], context[2]
    depth: Any = np.int64(context[3])
    for t in range(len(words)):
        word = words[t]
        at = MAX_ORDER * t
        hashes[at] = word
        hashes[at + 1] = extend(c1, word)
        hashes[at + 2] = extend(c2, word)
        hashes[at + 3] = extend(c3, word)
        counts[t] = min(order, depth + 1)
        for k in range(counts[t]):
            fetch_ahead(table, hashes[at + k])
        c1, c2, c3 = word, hashes[at + 1], hashes[at + 2]
        depth = min(depth + 1, order - 1)
        if ends[t]:
            c1 = begin
            depth = 1
    context[0], context[1], context[2], context[3] = c1, c2, c3, np.uint64(depth)


@njit(cache=True, nogil=True)
def _log_likelihoods(
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    sentences: NDArray[np.int32],
    sentence_starts: NDArray[np.int64],
    languages: NDArray[np.int64],
    sequence: NDArray[np.int64],
    slots: NDArray[np.uint32],
    starts: NDArray[np.int64],
    orders: NDArray[np.int64],
    log_ps: NDArray[np.float64],
    backoffs: NDArray[np.float64],
    begin: np.uint64,
    totals: NDArray[np.float64],
    spreads: NDArray[np.float64],
) -> None:
    """Fills each document's log-likelihood and the spread of its sentences' mean log-perplexity.

    A word's n-grams are looked up from short to long; the longest that is stored gives log P, and
    the back-off weights of the stored contexts longer than its own are added. A context's weight
    was read when it was itself looked up as an n-gram, so each n-gram costs one look-up.
    `sequence` is the order in which the documents are taken; `log_ps` and `backoffs` are
    `_decoded`.
    """
    hashes = np.empty(MAX_ORDER * _BLOCK, np.uint64)
    counts = np.empty(_BLOCK, np.int64)
    ends = np.empty(_BLOCK, np.bool_)
    context = np.zeros(4, np.uint64)
    weight = np.zeros(MAX_ORDER, np.float64)  # of the contexts of 1 … words; 0 where not stored
    for i in sequence:
        language = languages[i]
        if language < 0 or starts[language + 1] == starts[language]:
            continue
        table = slots[starts[language] : starts[language + 1]]
        order = orders[language]
        log_p_of = log_ps[language]
        backoff_of = backoffs[language]
        context[0] = begin
        context[3] = 1
        weight[0] = backoff_of[_BEGIN]
        s = sentence_starts[i]
        left = np.int64(sentences[s]) if s < sentence_starts[i + 1] else 0
        # The same again, one block ahead: where its sentences end.
        marked = s
        until = left
        total = 0.0
        mean = 0.0
        squares = 0.0
        sentence = 0.0
        for first in range(word_starts[i], word_starts[i + 1], _BLOCK):
            last = min(first + _BLOCK, word_starts[i + 1])
            for t in range(last - first):
                until -= 1
                ends[t] = until == 0
                if until == 0:
                    marked += 1
                    if marked < sentence_starts[i + 1]:
                        until = np.int64(sentences[marked])
            _hash_block(words[first:last], ends, context, table, order, begin, hashes, counts)
            for t in range(last - first):
                log_p = np.int64(_NOTHING)
                skipped = 0.0
                previous = 0.0
                for k in range(counts[t]):
                    _, payload, hit = locate(table, hashes[MAX_ORDER * t + k])
                    miss = 1 - hit
                    log_p = hit * (payload >> 8) + miss * log_p
                    # Of the context of k words; there is none of no words.
                    skipped = (skipped + previous) * miss
                    previous = weight[k]
                    weight[k] = backoff_of[hit * (payload & 0xFF) + miss * _NOTHING]
                sentence += log_p_of[log_p] + skipped
                if ends[t]:
                    total += sentence
                    value = -sentence / left
                    n = s - sentence_starts[i] + 1
                    delta = value - mean
                    mean += delta / n
                    squares += delta * (value - mean)
                    sentence = 0.0
                    weight[0] = backoff_of[_BEGIN]
                    s += 1
                    if s < sentence_starts[i + 1]:
                        left = np.int64(sentences[s])
        totals[i] = total
        n = sentence_starts[i + 1] - sentence_starts[i]
        if n > 1:
            spreads[i] = math.sqrt(squares / n)


def _decoded(
    metadata: Sequence[Mapping[str, Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the payload bytes of each language's table stand for, in nats: log P, back-off weights.

    (languages × 258): at 0 … 255 what the byte says, at `_NOTHING` what holds where nothing is
    stored, at `_BEGIN` the back-off weight of a sentence's begin.
    """
    n = len(metadata)
    log_ps, backoffs = np.zeros((n, 258)), np.zeros((n, 258))
    byte = np.arange(256)
    for i, m in enumerate(metadata):
        log_ps[i, :256] = byte * m["log_p_step"]
        log_ps[i, _NOTHING] = m["log_unknown"]
        backoffs[i, :256] = byte * m["backoff_step"] + m["backoff_low"]
        backoffs[i, _BEGIN] = m["begin_backoff"]
    return log_ps, backoffs


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
        np.arange(n),
        slots,
        np.array([0, len(slots)]),
        np.array([metadata["order"]], np.int64),
        *_decoded([metadata]),
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
        self._log_ps, self._backoffs = _decoded([])

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
            self._log_ps, self._backoffs = _decoded(metadata)
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
                documents.by_language,
                self._slots,
                self._starts,
                self._orders,
                self._log_ps,
                self._backoffs,
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
