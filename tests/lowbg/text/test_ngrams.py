"""The pass over n-gram tables against plain Python, bit for bit, on random tables."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.kernels.hashes import extend
from lowbg.kernels.tables import BUCKET, build, probe
from lowbg.models import ModelFile
from lowbg.text.ngrams import (
    BEGIN,
    MAX_ORDER,
    WINDOW,
    LanguageTables,
    NgramFigures,
    NgramTables,
    read_ngrams,
)
from lowbg.text.tokens import Tokens

STEPS = {
    "log_p_step": -0.0713,
    "backoff_step": -0.0191,
    "backoff_low": 0.013,
    "log_unknown": -13.7,
    "begin_backoff": -0.37,
}
SIZES = [0, 1, 2, 3, 5, 47, 64, WINDOW - 1, WINDOW, WINDOW + 1, 700]


def hash_of(words: list[np.uint64]) -> np.uint64:
    h = words[0]
    for word in words[1:]:
        h = np.uint64(extend(h, word))
    return h


class Case:
    """Random documents over few words, in random sentences; tables hold n-grams of them."""

    def __init__(self, seed: int, longest_sentence: int = 90) -> None:
        self.rng = np.random.default_rng(seed)
        vocabulary = self.rng.integers(1, 1 << 63, 12, dtype=np.uint64)
        sizes = self.rng.choice(SIZES, 5)
        words = self.rng.choice(vocabulary, int(sizes.sum())).astype(np.uint64)
        lengths: list[int] = []
        sentence_starts = [0]
        for size in sizes:
            left = int(size)
            while left:
                lengths.append(min(left, int(self.rng.integers(1, longest_sentence))))
                left -= lengths[-1]
            sentence_starts.append(len(lengths))
        n = len(sizes)
        self.tokens = Tokens(
            data=np.empty(0, np.uint8),
            text_starts=np.zeros(n + 1, np.int64),
            words=words,
            word_offsets=np.zeros(len(words), np.uint32),
            word_starts=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            sentences=np.array(lengths, np.int32),
            sentence_starts=np.array(sentence_starts),
            counts=np.zeros((n, 5), np.int32),
        )

    def table(self, slots: int) -> NDArray[np.uint32]:
        """Of random n-grams of the documents, some at the begin of a sentence."""
        words = self.tokens.words
        stored = []
        for at in self.rng.integers(0, max(len(words), 1), slots):
            ngram = list(words[at : at + self.rng.integers(1, MAX_ORDER + 1)])
            if ngram:
                stored.append(hash_of(ngram))
                stored.append(hash_of([BEGIN, *ngram[:-1]]))
        payloads = self.rng.integers(0, 1 << 16, len(stored), dtype=np.uint16)
        return build(np.array(stored, np.uint64), payloads, slots)[0]

    def words(self, i: int) -> list[np.uint64]:
        """Those of document i."""
        return list(self.tokens.words[self.tokens.word_starts[i] : self.tokens.word_starts[i + 1]])

    def sentences(self, i: int) -> list[list[np.uint64]]:
        """Those of document i."""
        words = iter(self.words(i))
        starts = self.tokens.sentence_starts
        return [
            [next(words) for _ in range(k)]
            for k in self.tokens.sentences[starts[i] : starts[i + 1]]
        ]


def plain_sums(words: list[np.uint64], table: NDArray[np.uint32], order: int) -> list[int]:
    """s, s·|s|, and distinct n-grams of each order; two that the table confuses are one."""
    found = [0] * (2 + MAX_ORDER)
    pieces = math.ceil(len(words) / WINDOW)
    size = math.ceil(len(words) / pieces) if pieces else 1
    for start in range(0, len(words), size):
        window = words[start : start + size]
        seen = set()
        for t in range(len(window)):
            for n in range(1, min(order, t + 1) + 1):
                h = hash_of(window[t + 1 - n : t + 1])
                slot = (int(h) % (len(table) // BUCKET), int(h) >> 48 | 1)
                payload = int(probe(table, h))
                if payload < 0 or slot in seen:
                    continue
                seen.add(slot)
                step = (payload & 0xFF) - 128
                found[0] += (payload >> 8) - 128
                found[1] += step * abs(step)
                found[1 + n] += 1
    return found


def plain_likelihood(
    sentences: list[list[np.uint64]], table: NDArray[np.uint32], order: int
) -> tuple[float, float | None]:
    """Of each word the longest n-gram stored, and the back-off weights of longer contexts."""
    total = mean = squares = 0.0
    for number, words in enumerate(sentences, 1):
        padded = [BEGIN, *words]
        weights: dict[int, float] = {1: STEPS["begin_backoff"]}  # by the context's length
        sentence = 0.0
        for t in range(1, len(padded)):
            log_p, skipped = STEPS["log_unknown"], 0.0
            next_weights = {}
            for n in range(1, min(order, t + 1) + 1):
                payload = int(probe(table, hash_of(padded[t + 1 - n : t + 1])))
                next_weights[n] = 0.0
                if payload >= 0:
                    log_p, skipped = (payload >> 8) * STEPS["log_p_step"], 0.0
                    next_weights[n] = (payload & 0xFF) * STEPS["backoff_step"] + STEPS[
                        "backoff_low"
                    ]
                elif n > 1:
                    skipped += weights[n - 1]
            weights = next_weights
            sentence += log_p + skipped
        total += sentence
        difference = -sentence / len(words) - mean
        mean += difference / number
        squares += difference * (-sentence / len(words) - mean)
    spread = math.sqrt(squares / len(sentences)) if len(sentences) > 1 else None
    return total, spread


def check(case: Case, slots: tuple[int, int], orders: tuple[int, int]) -> None:
    """Reads all but document 0 under tables of these sizes and orders; size 0 is no table."""
    tables = [case.table(size) if size else None for size in slots]
    arrays = dict(zip(("lm_slots", "odds_slots"), tables, strict=True))
    metadata: Mapping[str, Any] = {
        "lm": {"order": orders[0], **STEPS},
        "odds": {"order": orders[1]},
    }
    language = LanguageTables.of({k: v for k, v in arrays.items() if v is not None}, metadata)
    n = len(case.tokens)
    figures = NgramFigures.empty(n)
    read_ngrams(language, case.tokens, case.rng.permutation(np.arange(1, n)), figures)
    lm, odds = tables
    for i in range(n):
        expected = [0] * (2 + MAX_ORDER)
        if odds is not None and i:
            expected = plain_sums(case.words(i), odds, orders[1])
        assert [*figures.odds_sums[i].tolist(), *figures.known[i].tolist()] == expected
        total, spread = 0.0, None
        if lm is not None and i:
            total, spread = plain_likelihood(case.sentences(i), lm, orders[0])
        assert figures.log_likelihoods[i] == total
        found = float(figures.spreads[i])
        assert (None if math.isnan(found) else found) == spread


SLOTS = st.sampled_from([4, 16, 64, 1024])
ORDERS = st.integers(1, MAX_ORDER)


@given(st.integers(0, 1 << 32), st.tuples(SLOTS, SLOTS), st.tuples(ORDERS, ORDERS))
@example(1, (64, 1024), (2, 3))
@example(2, (1024, 64), (3, 4))
@example(3, (1024, 1024), (4, 1))
@settings(deadline=None, max_examples=40)
def test_both_tables(seed: int, slots: tuple[int, int], orders: tuple[int, int]) -> None:
    check(Case(seed), slots, orders)


@given(st.integers(0, 1 << 32), SLOTS, ORDERS, st.booleans())
@settings(deadline=None, max_examples=20)
def test_one_table(seed: int, slots: int, order: int, is_lm: bool) -> None:
    check(Case(seed), (slots, 0) if is_lm else (0, slots), (order, order))


@pytest.mark.parametrize("longest", [2, 3, 5, 2000])
@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_short_sentences_and_those_longer_than_a_window(longest: int, order: int) -> None:
    for seed in range(3):
        check(Case(seed, longest), (1024, 256), (order, 3))


def model(case: Case, **slots: int) -> ModelFile:
    metadata = {"lm": {"order": 2, **STEPS}, "odds": {"order": 3}}
    arrays = {f"{name}_slots": case.table(size) for name, size in slots.items()}
    return ModelFile(Path("xx"), "", metadata, arrays)


def test_a_batch_in_several_languages() -> None:
    case = Case(7)
    files = {"aa": model(case, lm=64, odds=64), "bb": model(case, odds=256), "cc": model(case)}
    languages = np.array([1, 0, -1, 2, 0], np.int8)
    figures = NgramTables.of(files).read(case.tokens, languages, ("aa", "bb", "cc", "dd"))
    expected = NgramFigures.empty(5)
    for code, documents in {"aa": [1, 4], "bb": [0]}.items():
        own = LanguageTables.of(files[code].arrays, files[code].metadata)
        read_ngrams(own, case.tokens, np.array(documents), expected)
    for name in NgramFigures._fields:
        np.testing.assert_array_equal(getattr(figures, name), getattr(expected, name))
    assert figures.odds_sums.any()


def test_scorers_of_the_same_files_share_tables() -> None:
    case = Case(3)
    files = {"aa": model(case, lm=64), "bb": model(case, odds=64)}
    tables = NgramTables.of(files)
    assert NgramTables.of(dict(reversed(files.items()))) is tables
    assert NgramTables.of({"aa": files["aa"]}) is not tables
    assert NgramTables.of({"aa": files["bb"], "bb": files["aa"]}) is not tables
    first, second = pickle.loads(pickle.dumps((tables, tables)))
    assert first is second
    languages = np.array([0, 1, 0, 1, 0], np.int8)
    for copy in (tables, first):
        figures = copy.read(case.tokens, languages, ("aa", "bb"))
        assert figures.log_likelihoods.any()
        assert figures.odds_sums.any()
