"""The two kernels that read n-gram tables against plain Python, bit for bit, on random tables."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.scorers.perplexity import BEGIN, _decoded, _log_likelihoods
from lowbg.scorers.phrases.odds import MAX_ORDER, WINDOW, _sums
from lowbg.tables import BUCKET, build, probe
from lowbg.tokens import extend

STEPS = {
    "log_p_step": -0.0713,
    "backoff_step": -0.0191,
    "backoff_low": 0.013,
    "log_unknown": -13.7,
    "begin_backoff": -0.37,
}


def hash_of(words: list[np.uint64]) -> np.uint64:
    h = words[0]
    for word in words[1:]:
        h = np.uint64(extend(h, word))
    return h


class Case:
    """Random documents in two languages over few words, and a table of each."""

    def __init__(self, seed: int, slots: int) -> None:
        self.rng = np.random.default_rng(seed)
        vocabulary = self.rng.integers(1, 1 << 63, 12, dtype=np.uint64)
        sizes = self.rng.choice([0, 1, 5, 47, 64, 65, WINDOW, WINDOW + 1, 700], 5)
        self.words = self.rng.choice(vocabulary, int(sizes.sum())).astype(np.uint64)
        self.word_starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self.languages = self.rng.integers(-1, 2, len(sizes))
        self.sequence = self.rng.permutation(len(sizes))
        self.orders = self.rng.integers(1, MAX_ORDER + 1, 2)
        self.tables = [self._table(slots) for _ in range(2)]
        self.slots = np.concatenate(self.tables)
        self.starts = np.array([0, slots, 2 * slots])

    def _table(self, slots: int) -> NDArray[np.uint32]:
        stored = []
        for at in self.rng.integers(0, max(len(self.words), 1), slots):
            ngram = list(self.words[at : at + self.rng.integers(1, MAX_ORDER + 1)])
            if ngram:
                stored.append(hash_of(ngram))
                stored.append(hash_of([BEGIN, *ngram[:-1]]))
        payloads = self.rng.integers(0, 1 << 16, len(stored), dtype=np.uint16)
        return build(np.array(stored, np.uint64), payloads, slots)[0]

    def document(self, i: int) -> list[np.uint64]:
        return list(self.words[self.word_starts[i] : self.word_starts[i + 1]])


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


@given(st.integers(0, 1 << 32), st.sampled_from([4, 64, 1024]))
@settings(deadline=None, max_examples=40)
def test_log_odds_sums(seed: int, slots: int) -> None:
    case = Case(seed, slots)
    n = len(case.languages)
    sums, known = np.zeros((n, 2), np.int64), np.zeros((n, MAX_ORDER), np.int32)
    _sums(
        case.words, case.word_starts, case.languages, case.sequence, case.slots, case.starts,
        case.orders, sums, known,
    )  # fmt: skip
    for i, language in enumerate(case.languages):
        expected = [0] * (2 + MAX_ORDER)
        if language >= 0:
            table, order = case.tables[language], int(case.orders[language])
            expected = plain_sums(case.document(i), table, order)
        assert [*sums[i].tolist(), *known[i].tolist()] == expected


def plain_log_likelihood(
    sentences: list[list[np.uint64]], table: NDArray[np.uint32], order: int
) -> float:
    """Of each word the longest n-gram stored, and the back-off weights of longer contexts."""
    total = 0.0
    for words in sentences:
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
    return total


@given(st.integers(0, 1 << 32), st.sampled_from([4, 64, 1024]))
@settings(deadline=None, max_examples=40)
def test_log_likelihoods(seed: int, slots: int) -> None:
    case = Case(seed, slots)
    n = len(case.languages)
    lengths: list[int] = []
    starts = [0]
    for i in range(n):
        left = len(case.document(i))
        while left:
            lengths.append(min(left, int(case.rng.integers(1, 90))))
            left -= lengths[-1]
        starts.append(len(lengths))
    totals, spreads = np.zeros(n), np.zeros(n)
    log_ps, backoffs = _decoded([STEPS, STEPS])
    _log_likelihoods(
        case.words, case.word_starts, np.array(lengths, np.int32), np.array(starts),
        case.languages, case.sequence, case.slots, case.starts, case.orders, log_ps, backoffs,
        BEGIN, totals, spreads,
    )  # fmt: skip
    for i, language in enumerate(case.languages):
        if language < 0:
            assert totals[i] == 0.0
            continue
        words = iter(case.document(i))
        sentences = [[next(words) for _ in range(k)] for k in lengths[starts[i] : starts[i + 1]]]
        table, order = case.tables[language], int(case.orders[language])
        assert totals[i] == plain_log_likelihood(sentences, table, order)
