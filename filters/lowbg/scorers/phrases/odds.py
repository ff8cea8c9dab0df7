"""Learned log-odds, AI against human, of a document's word n-grams (characters in zh, ja).

A language's table gives each n-gram two weights: its Naive-Bayes log-odds, and its weight in a
logistic regression scaled to spread as widely in human text (`training/log_odds.py`). With
s = b − 128 for a payload byte b and the language's two scales, the Naive-Bayes log-odds are
s × scale nats, and the regression's weight is s·|s| × scale: its range is wide, and clipping its
few large weights, which are those of the commonest words, ruins it.

`ngrams/` looks the n-grams up and adds up their bytes. A document is cut into equal windows of
at most `WINDOW` words, and an n-gram counts once a window however often it occurs there: counting
every occurrence lets a text's topic words drown its style (measured on collections left out:
AUROC .91 against .85, `models/MODEL_CARD.md`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.ngram_lists import list_ngrams
from lowbg.models import ModelFile
from lowbg.scorers.base import Documents
from lowbg.text.ngrams import NgramTables


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


class FoundNgrams(NamedTuple):
    """The n-grams of a document in columns, as `Contribution` describes them, in text order."""

    at: NDArray[np.int64]
    length: NDArray[np.int64]
    naive_bayes: NDArray[np.float64]
    logistic: NDArray[np.float64]

    @property
    def nats(self) -> NDArray[np.float64]:
        """What each adds to the sum that `phrase_log_odds` is a mean of."""
        return (self.naive_bayes + self.logistic) / 2


class _Room(threading.local):
    """What `list_ngrams` notes slots in, a thread: zeros for each document would be 2 MB."""

    def __init__(self) -> None:
        self._stamps = np.zeros(0, np.int32)
        self._last = 0

    def stamps(self, slots: int, words: int) -> tuple[NDArray[np.int32], int]:
        """A number a slot, and the highest; taken for a document of so many words."""
        if len(self._stamps) < slots or self._last + words >= np.iinfo(np.int32).max:
            self._stamps, self._last = np.zeros(slots, np.int32), 0
        last = self._last
        self._last += words  # A document has no more windows than words.
        return self._stamps, last


_ROOM = _Room()


class Odds:
    """The log-odds of documents under the tables of the languages in `models`."""

    def __init__(self, models: Mapping[str, ModelFile]) -> None:
        self._files = {c: models[c] for c in sorted(models) if "odds_slots" in models[c].arrays}
        self._tables = NgramTables.of(models)

    def score(self, documents: Documents) -> dict[str, NDArray[Any]]:
        """Means over each document's words: `nb` and `lr` (nats/word, float32; NaN: no table).

        `known` (int32, documents × `MAX_ORDER`) counts the distinct n-grams a window that the
        table holds.
        """
        figures = documents.ngrams(self._tables)
        codes = documents.language_codes
        scales = np.zeros((len(codes) + 1, 2))
        for i, code in enumerate(codes):
            scales[i] = self._scales(code) if code in self._files else np.nan
        scales[-1] = np.nan  # of no language
        words = documents.tokens.words_per_document
        means = np.full((len(documents), 2), np.nan)
        np.divide(
            figures.odds_sums * scales[documents.languages],
            words[:, None],
            out=means,
            where=words[:, None] > 0,
        )
        return {
            "nb": means[:, 0].astype(np.float32),
            "lr": means[:, 1].astype(np.float32),
            "known": figures.known,
        }

    def contributions(self, documents: Documents, i: int) -> list[Contribution]:
        """What each n-gram of document i adds to its log-odds, in text order."""
        found = self.found(documents, i)
        columns = (found.at, found.length, found.naive_bayes, found.logistic)
        return [Contribution(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def found(self, documents: Documents, i: int) -> FoundNgrams:
        """The same in columns."""
        language = int(documents.languages[i])
        code = documents.language_codes[language] if language >= 0 else ""
        if code not in self._files:
            nothing = np.empty(0)
            return FoundNgrams(nothing.astype(np.int64), nothing.astype(np.int64), nothing, nothing)
        tokens = documents.tokens
        own = slice(int(tokens.word_starts[i]), int(tokens.word_starts[i + 1]))
        words = tokens.words[own]
        order = int(self._files[code].metadata["odds"]["order"])
        room = len(words) * order
        at = np.empty(room, np.int64)
        length = np.empty(room, np.int64)
        payloads = np.empty(room, np.int64)
        table = self._files[code].arrays["odds_slots"]
        stamps, last = _ROOM.stamps(len(table), len(words))
        found = list_ngrams(words, table, order, at, length, payloads, stamps, last)
        scales = self._scales(code)
        nb = ((payloads[:found] >> 8) - 128) * float(scales[0])
        steps = (payloads[:found] & 0xFF) - 128
        lr = steps * np.abs(steps) * float(scales[1])
        return FoundNgrams(
            own.start + at[:found],
            length[:found],
            np.asarray(nb, np.float64),
            np.asarray(lr, np.float64),
        )

    def _scales(self, code: str) -> NDArray[np.float32]:
        """Nats a step of the Naive-Bayes byte, and of the regression's."""
        return np.array(self._files[code].metadata["odds"]["scales"], np.float32)


def create_odds(models: Mapping[str, ModelFile]) -> Odds:
    """The log-odds scorer over the model files of some languages, by language code."""
    return Odds(models)
