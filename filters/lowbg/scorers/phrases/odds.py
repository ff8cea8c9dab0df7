"""Learned log-odds, AI against human, of a document's word n-grams (characters in zh, ja).

A language's table gives each n-gram two weights: its Naive-Bayes log-odds, and its weight in a
logistic regression scaled to spread as widely in human text (`training/log_odds.py`). A document
is cut into equal windows of at most `WINDOW` words, and an n-gram counts once a window however
often it occurs there: counting every occurrence lets a text's topic words drown its style
(measured on collections left out: AUROC .91 against .85, `models/MODEL_CARD.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lowbg.models import ModelFile
from lowbg.scorers.base import Documents
from lowbg.tables import fetch_ahead, locate
from lowbg.tokens import extend

WINDOW = 300
"""Most words in a window."""

MAX_ORDER = 4
"""Longest n-gram that a table may hold."""

_BLOCK = 48
"""Words whose table lines are fetched together."""

_SEEN = 2048
"""Room to remember a window's n-grams: a power of two, above its `WINDOW` × `MAX_ORDER`."""


@dataclass(frozen=True, slots=True)
class OddsTables:
    """The n-gram tables of several languages, one after the other.

    Language i owns `slots[starts[i]:starts[i + 1]]` (none: no table), n-grams of 1 … `orders[i]`
    words. With s = b − 128 for a payload byte b, the Naive-Bayes log-odds are s × `scales[i, 0]`
    nats and the regression's weight is s·|s| × `scales[i, 1]`: its range is wide, and clipping its
    few large weights, which are those of the commonest words, ruins it.
    """

    slots: NDArray[np.uint32]
    starts: NDArray[np.int64]
    orders: NDArray[np.int64]
    scales: NDArray[np.float32]


class Contribution(NamedTuple):
    """An n-gram of `length` words from word `at` of the batch on, and the nats that it adds.

    `naive_bayes` and `logistic` are the two weights; `nats` is their mean, as in the score.
    """

    at: int
    length: int
    naive_bayes: float
    logistic: float

    @property
    def nats(self) -> float:
        """What the n-gram adds to the sum that `phrase_log_odds` is a mean of."""
        return (self.naive_bayes + self.logistic) / 2


@njit(cache=True, nogil=True)
def _collect(
    words: NDArray[np.uint64],
    table: NDArray[np.uint32],
    order: int,
    hashes: NDArray[np.uint64],
    found: NDArray[np.int64],
) -> int:
    """Lists the n-grams of a window that the table holds; returns how many, repeats included.

    `found` gets place << 18 | (length − 1) << 16 | payload, in the order of last words, then of
    lengths. `hashes` is room for the n-grams of `_BLOCK` words.
    """
    m = 0
    h1 = np.uint64(0)
    h2 = np.uint64(0)
    h3 = np.uint64(0)
    begin = 0
    while begin < len(words):
        end = min(begin + _BLOCK, len(words))
        room = 0
        for t in range(begin, end):
            word = words[t]
            h4 = extend(h3, word)
            h3 = extend(h2, word)
            h2 = extend(h1, word)
            h1 = word
            hashes[room] = h1
            hashes[room + 1] = h2
            hashes[room + 2] = h3
            hashes[room + 3] = h4
            for o in range(min(order, t + 1)):
                fetch_ahead(table, hashes[room + o])
            room += MAX_ORDER
        room = 0
        for t in range(begin, end):
            for o in range(min(order, t + 1)):
                place, payload, hit = locate(table, hashes[room + o])
                found[m] = (np.int64(place) << 18) | (o << 16) | payload
                m += hit
            room += MAX_ORDER
        begin = end
    return m


@njit(cache=True, nogil=True)
def _sums(
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    languages: NDArray[np.int64],
    sequence: NDArray[np.int64],
    slots: NDArray[np.uint32],
    starts: NDArray[np.int64],
    orders: NDArray[np.int64],
    sums: NDArray[np.int64],
    known: NDArray[np.int32],
) -> None:
    """Adds up the payload bytes of each document's distinct n-grams a window.

    `sequence` is the order in which the documents are taken. `sums` (documents × 2) gets the sums
    of s and of s·|s|, see `OddsTables`; `known` (documents × `MAX_ORDER`) how many distinct
    n-grams of each order the table holds.
    """
    hashes = np.empty(MAX_ORDER * _BLOCK, np.uint64)
    found = np.empty(MAX_ORDER * WINDOW + 1, np.int64)
    seen = np.zeros(_SEEN, np.int64)  # the window's places + 1, by open addressing; 0 is empty
    for i in sequence:
        language = languages[i]
        n = word_starts[i + 1] - word_starts[i]
        if n == 0 or language < 0 or starts[language + 1] == starts[language]:
            continue
        table = slots[starts[language] : starts[language + 1]]
        windows = (n + WINDOW - 1) // WINDOW
        size = (n + windows - 1) // windows
        nb: Any = 0
        lr: Any = 0
        for first in range(word_starts[i], word_starts[i + 1], size):
            last = min(first + size, word_starts[i + 1])
            m = _collect(words[first:last], table, orders[language], hashes, found)
            seen[:] = 0
            for j in range(m):
                key = (found[j] >> 18) + 1
                at = ((key * 0x9E3779B1) >> 16) & (_SEEN - 1)
                while seen[at] != 0 and seen[at] != key:
                    at = (at + 1) & (_SEEN - 1)
                fresh = np.int64(seen[at] == 0)
                seen[at] = key
                step = (found[j] & 0xFF) - 128
                nb += fresh * (((found[j] >> 8) & 0xFF) - 128)
                lr += fresh * step * abs(step)
                known[i, (found[j] >> 16) & 3] += fresh
        sums[i, 0] = nb
        sums[i, 1] = lr


@njit(cache=True, nogil=True)
def _listed(
    words: NDArray[np.uint64],
    table: NDArray[np.uint32],
    order: int,
    at_word: NDArray[np.int64],
    length: NDArray[np.int64],
    payloads: NDArray[np.int64],
) -> int:
    """Lists what `_sums` adds up for one document: word, n-gram length, payload."""
    n = len(words)
    found = 0
    if n == 0:
        return 0
    windows = (n + WINDOW - 1) // WINDOW
    size = (n + windows - 1) // windows
    stamps = np.zeros(len(table), np.int32)
    for t in range(n):
        window = t // size
        for o in range(min(order, t - window * size + 1)):
            h = words[t - o]
            for u in range(t - o + 1, t + 1):
                h = extend(h, words[u])
            at, payload, hit = locate(table, h)
            if hit and stamps[at] != window + 1:
                stamps[at] = window + 1
                at_word[found] = t - o
                length[found] = o + 1
                payloads[found] = payload
                found += 1
    return found


class Odds:
    """The log-odds of documents under the tables of the languages in `models`."""

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self.codes = tuple(sorted(code for code in models if "odds_slots" in models[code].arrays))
        parts = [np.asarray(models[code].arrays["odds_slots"], np.uint32) for code in self.codes]
        metadata: list[Mapping[str, Any]] = [models[code].metadata["odds"] for code in self.codes]
        self.tables = OddsTables(
            slots=np.concatenate(parts) if parts else np.zeros(4, np.uint32),
            starts=np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64),
            orders=np.array([m["order"] for m in metadata], np.int64),
            scales=np.array([m["scales"] for m in metadata], np.float32).reshape(-1, 2),
        )

    def score(self, documents: Documents) -> dict[str, NDArray[Any]]:
        """Means over each document's words: `nb` and `lr` (nats/word, float32; NaN: no table).

        `known` (int32, documents × `MAX_ORDER`) counts the distinct n-grams a window that the
        table holds.
        """
        n = len(documents)
        index = self._indices(documents)
        sums = np.zeros((n, 2), np.int64)
        known = np.zeros((n, MAX_ORDER), np.int32)
        tables = self.tables
        tokens = documents.tokens
        if len(self.codes):
            _sums(
                tokens.words,
                tokens.word_starts,
                index,
                documents.by_language,
                tables.slots,
                tables.starts,
                tables.orders,
                sums,
                known,
            )
        words = tokens.words_per_document
        scored = (index >= 0) & (words > 0)
        safe = np.where(scored, index, 0)
        scales = tables.scales[safe] if len(self.codes) else np.zeros((n, 2), np.float32)
        means = np.full((n, 2), np.nan)
        np.divide(
            sums * scales.astype(np.float64), words[:, None], out=means, where=scored[:, None]
        )
        return {
            "nb": means[:, 0].astype(np.float32),
            "lr": means[:, 1].astype(np.float32),
            "known": known,
        }

    def contributions(self, documents: Documents, i: int) -> list[Contribution]:
        """What each n-gram of document i adds to its log-odds, in text order."""
        language = int(self._indices(documents)[i])
        if language < 0:
            return []
        tables = self.tables
        table = tables.slots[tables.starts[language] : tables.starts[language + 1]]
        tokens = documents.tokens
        own = slice(int(tokens.word_starts[i]), int(tokens.word_starts[i + 1]))
        words = tokens.words[own]
        order = int(tables.orders[language])
        room = len(words) * order
        at = np.empty(room, np.int64)
        length = np.empty(room, np.int64)
        payloads = np.empty(room, np.int64)
        found = _listed(words, table, order, at, length, payloads)
        nb = ((payloads[:found] >> 8) - 128) * float(tables.scales[language, 0])
        steps = (payloads[:found] & 0xFF) - 128
        lr = steps * np.abs(steps) * float(tables.scales[language, 1])
        return [
            Contribution(own.start + int(t), int(k), float(a), float(b))
            for t, k, a, b in zip(at[:found], length[:found], nb, lr, strict=True)
        ]

    def _indices(self, documents: Documents) -> NDArray[np.int64]:
        """Each document's language as an index into the tables, −1 where there is none."""
        place = {code: i for i, code in enumerate(self.codes)}
        lookup = np.array(
            [place.get(code, -1) for code in documents.language_codes] + [-1], np.int64
        )
        return lookup[documents.languages]


def create_odds(models: Mapping[str, ModelFile]) -> Odds:
    """The log-odds scorer over the model files of some languages, by language code."""
    return Odds(models)
