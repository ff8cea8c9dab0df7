"""From looked-up n-grams to a document's likelihood and log-odds.

The pass goes window by window through the documents of one language. Each step is a loop of its
own over at most `WINDOW` words, whose arrays stay in the first-level cache:

1. `hash_ngrams`: the hashes of all n-grams that end in the window,
2. `look_up`: an entry for each, of both tables,
3. `_take_distinct`, `_add_distinct`: the log-odds' entries, each n-gram once a window,
4. `_begin_sentences`, `_add_words`: the language model's entries, sentence by sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Rows
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.hashes import extend
from lowbg.kernels.ngram_lookups import (
    AHEAD,
    HIT,
    HIT_BIT,
    LENGTH_BIT,
    MAX_ORDER,
    PLACE_BIT,
    WINDOW,
    entry_of,
    hash_ngrams,
    look_up,
)
from lowbg.kernels.tables import BUCKET, bucket_of, fetch_ahead, match_four, paired

BEGIN = np.uint64(0x5DEECE66D1B7A3C9)
"""Stands for the sentence start in the hash of an n-gram."""

NOTHING, BEGIN_WEIGHT = 256, 257
"""Beyond the values of a byte in `LanguageTables.log_ps` and `backoffs`: nothing stored, and the
begin of a sentence."""

_TOTAL, _SENTENCE, _MEAN, _SQUARES = range(4)
"""Sums over a document: log-likelihood, that of the sentence under way, mean of the sentences'
log-perplexities and squared deviations from it."""

_ONE, _SIX = np.uint64(1), np.uint64(6)


class NgramFigures(NamedTuple):
    """What a batch's n-grams say of every document.

    `log_likelihoods` (float64, nats) under the language model, 0 without one; `spreads` (float64)
    is the standard deviation of the sentences' mean log-perplexities, NaN below two sentences and
    without a language model. `odds_sums` (int64, documents × 2) adds up the log-odds' payload
    bytes over the distinct n-grams of each window: with s = b − 128, the sum of s of the upper
    byte and of s·|s| of the lower one. `known` (int32, documents × `MAX_ORDER`) counts those
    n-grams by their length.
    """

    log_likelihoods: NDArray[np.float64]
    spreads: NDArray[np.float64]
    odds_sums: Rows[np.int64]
    known: Rows[np.int32]

    @classmethod
    def empty(cls, n: int) -> NgramFigures:
        """Those of `n` documents without tables."""
        return cls(
            log_likelihoods=np.zeros(n),
            spreads=np.full(n, np.nan),
            odds_sums=np.zeros((n, 2), np.int64),
            known=np.zeros((n, MAX_ORDER), np.int32),
        )


class LanguageTables(NamedTuple):
    """The tables of one language, laid for `read`.

    `pairs` is `tables.paired` of the language model's table and the log-odds'; `odds_buckets` the
    buckets of the latter. The orders are those of the n-grams stored, 0 without a table.
    `log_ps` and `backoffs` (258) are what a payload byte of the language model stands for, in
    nats; at `NOTHING` what holds where nothing is stored, at `BEGIN_WEIGHT` the back-off weight
    of a sentence's begin.
    """

    pairs: NDArray[np.uint32]
    odds_buckets: int
    lm_order: int
    odds_order: int
    log_ps: NDArray[np.float64]
    backoffs: NDArray[np.float64]

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Mapping[str, Any]]
    ) -> LanguageTables:
        """The tables among a model file's `arrays`, as its `metadata` describes them."""
        lm_slots, odds_slots = arrays.get("lm_slots"), arrays.get("odds_slots")
        byte = np.arange(256)
        log_ps, backoffs = np.zeros(258), np.zeros(258)
        if lm_slots is not None:
            lm = metadata["lm"]
            log_ps[:256] = byte * lm["log_p_step"]
            log_ps[NOTHING] = lm["log_unknown"]
            backoffs[:256] = byte * lm["backoff_step"] + lm["backoff_low"]
            backoffs[BEGIN_WEIGHT] = lm["begin_backoff"]
        return cls(
            pairs=paired(lm_slots, odds_slots),
            odds_buckets=len(odds_slots) // BUCKET if odds_slots is not None else 1,
            lm_order=metadata["lm"]["order"] if lm_slots is not None else 0,
            odds_order=metadata["odds"]["order"] if odds_slots is not None else 0,
            log_ps=log_ps,
            backoffs=backoffs,
        )


class Room(NamedTuple):
    """What `read` works with: see there."""

    hashes: NDArray[np.uint64]
    lm_entries: NDArray[np.uint64]
    odds_entries: NDArray[np.uint64]
    distinct: NDArray[np.uint64]
    seen: NDArray[np.uint64]
    weights: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, tables: LanguageTables) -> Room:
        """Room enough for these tables."""
        order = max(tables.lm_order, tables.odds_order)
        return cls(
            hashes=np.empty(order * (WINDOW + order) + AHEAD, np.uint64),
            lm_entries=np.empty(WINDOW * tables.lm_order, np.uint64),
            odds_entries=np.empty(WINDOW * tables.odds_order, np.uint64),
            distinct=np.empty(WINDOW * tables.odds_order + 1, np.uint64),
            seen=np.zeros((tables.odds_buckets * BUCKET + 63) // 64, np.uint64),
            weights=np.empty(MAX_ORDER),
            sums=np.empty(4),
        )


@part
def _take_distinct(
    entries: NDArray[np.uint64], seen: NDArray[np.uint64], distinct: NDArray[np.uint64]
) -> int:
    """Lists the entries that were found, each place once; returns how many.

    `seen` has a bit for every place of the table; those that were found are left set in it.
    """
    n = np.uint64(0)
    for j in range(len(entries)):
        entry = entries[np.uint64(j)]
        place = entry >> PLACE_BIT
        found = (entry >> HIT_BIT & _ONE) << (place & np.uint64(63))
        before = seen[place >> _SIX]
        seen[place >> _SIX] = before | found
        distinct[n] = entry
        n += np.uint64((found & ~before) != np.uint64(0))
    return int(n)


@part
def _add_distinct(
    distinct: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    sums: NDArray[np.int64],
    known: NDArray[np.int32],
) -> None:
    """Adds a window's distinct n-grams to `NgramFigures.odds_sums` and `known`; clears `seen`."""
    for j in range(len(distinct)):
        seen[distinct[np.uint64(j)] >> (PLACE_BIT + _SIX)] = np.uint64(0)
    nb: Any = np.int64(0)
    lr: Any = np.int64(0)
    for j in range(len(distinct)):
        entry = np.int64(distinct[np.uint64(j)])
        step = (entry & 0xFF) - 128
        nb += ((entry >> 8) & 0xFF) - 128
        lr += step * abs(step)
    sums[0] += nb
    sums[1] += lr
    for k in range(MAX_ORDER):
        count: Any = np.int64(0)
        for j in range(len(distinct)):
            count += (distinct[np.uint64(j)] >> LENGTH_BIT & np.uint64(3)) == np.uint64(k)
        known[k] += count


@part
def _begin_sentences(
    words: NDArray[np.uint64],
    first: int,
    last: int,
    sentences: NDArray[np.int32],
    begin: int,
    pairs: NDArray[np.uint32],
    order: int,
    entries: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
) -> None:
    """Puts right the language model's entries whose n-grams would reach over a sentence's begin.

    The longest n-gram of each of a sentence's first words begins with `BEGIN`, and nothing is
    longer. The window is `words[first:last]`, with their `entries`; the first of `sentences`
    begins at `begin`, at `first` or before. `hashes` is room for one a word and `AHEAD` more.
    """
    n = 0
    s = 0
    at = begin
    while at < last:
        h = BEGIN
        for t in range(at, at + min(order - 1, sentences[s])):
            h = extend(h, words[t])
            if first <= t < last:
                hashes[n] = h
                n += 1
        at += sentences[s]
        s += 1
    for j in range(min(AHEAD, n)):
        fetch_ahead(pairs, hashes[j])
    j = 0
    s = 0
    at = begin
    while at < last:
        for t in range(max(at, first), min(at + min(order - 1, sentences[s]), last)):
            fetch_ahead(pairs, hashes[j + AHEAD])
            h = hashes[j]
            j += 1
            bucket_at = bucket_of(pairs, h) << np.uint64(3)
            own = entries[(t - first) * order : (t - first + 1) * order]
            own[t - at + 1] = entry_of(pairs, bucket_at, match_four(pairs, bucket_at, h))
            for k in range(t - at + 2, order):
                own[k] = 0
        at += sentences[s]
        s += 1


@part
def _add_words(
    n: int,
    sentences: NDArray[np.int32],
    s: int,
    taken: int,
    entries: NDArray[np.uint64],
    order: int,
    log_ps: NDArray[np.float64],
    backoffs: NDArray[np.float64],
    weights: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> tuple[int, int]:
    """Adds a window's n words to a document's `sums` (`_TOTAL` …), in nats.

    Of each word the longest n-gram that is stored gives log P, and the back-off weights of the
    stored contexts longer than its own are added. A context's weight was read when it was itself
    looked up as an n-gram, so each n-gram costs one look-up: `weights` keeps those of the contexts
    of 1 … words, 0 where not stored. The first word is the one after `taken` words of sentence s;
    returns the two after the window.
    """
    at = np.uint64(0)
    while n > 0:
        if taken == 0:
            for k in range(len(weights)):
                weights[k] = 0.0
            weights[0] = backoffs[BEGIN_WEIGHT]
            sums[_SENTENCE] = 0.0
        now = min(n, sentences[s] - taken)
        sentence = sums[_SENTENCE]
        for _ in range(now):
            log_p = np.uint64(NOTHING)
            skipped = 0.0
            previous = 0.0  # of the context of k words; there is none of no words
            for k in range(order):
                entry = entries[at]
                at += _ONE
                hit = entry & HIT != np.uint64(0)
                log_p = entry >> np.uint64(8) & np.uint64(0xFF) if hit else log_p
                skipped = 0.0 if hit else skipped + previous
                previous = weights[np.uint64(k)]
                # The index is chosen, not the weight: that would be a branch.
                byte = entry & np.uint64(0xFF) if hit else np.uint64(NOTHING)
                weights[np.uint64(k)] = backoffs[byte]
            sentence += log_ps[log_p] + skipped
        sums[_SENTENCE] = sentence
        n -= now
        taken += now
        if taken == sentences[s]:
            sums[_TOTAL] += sentence
            value = -sentence / taken
            s += 1
            taken = 0
            delta = value - sums[_MEAN]
            sums[_MEAN] += delta / s
            sums[_SQUARES] += delta * (value - sums[_MEAN])
    return s, taken


@kernel
def read(
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    sentences: NDArray[np.int32],
    sentence_starts: NDArray[np.int64],
    documents: NDArray[np.int64],
    tables: LanguageTables,
    room: Room,
    figures: NgramFigures,
) -> None:
    """Fills in what `NgramFigures` says of `documents`, all in the language of the tables."""
    pairs, odds_buckets = tables.pairs, tables.odds_buckets
    lm_order, odds_order = tables.lm_order, tables.odds_order
    log_ps, backoffs = tables.log_ps, tables.backoffs
    order = max(lm_order, odds_order)
    odds_mask = np.uint64(odds_buckets - 1)
    hashes, distinct, seen = room.hashes, room.distinct, room.seen
    lm_entries, odds_entries = room.lm_entries, room.odds_entries
    weights, sums = room.weights, room.sums
    for i in documents:
        own = words[word_starts[i] : word_starts[i + 1]]
        own_sentences = sentences[sentence_starts[i] : sentence_starts[i + 1]]
        if len(own) == 0:
            continue
        windows = (len(own) + WINDOW - 1) // WINDOW
        size = (len(own) + windows - 1) // windows
        for k in range(len(sums)):
            sums[k] = 0.0
        s: Any = np.int64(0)
        taken: Any = np.int64(0)
        for first in range(0, len(own), size):
            last = min(first + size, len(own))
            n = last - first
            # The language model's n-grams reach back over the window's begin.
            back = min(order - 1, first)
            hash_ngrams(own[first - back : last], order, hashes)
            look_up(
                pairs, odds_mask, hashes, back, n, lm_entries, odds_entries, lm_order, odds_order
            )
            m = _take_distinct(odds_entries[: n * odds_order], seen, distinct)
            _add_distinct(distinct[:m], seen, figures.odds_sums[i], figures.known[i])
            if lm_order:
                _begin_sentences(
                    own, first, last, own_sentences[s:], first - taken, pairs, lm_order,
                    lm_entries, hashes,
                )  # fmt: skip
                s, taken = _add_words(
                    n, own_sentences, s, taken, lm_entries, lm_order, log_ps, backoffs,
                    weights, sums,
                )  # fmt: skip
        figures.log_likelihoods[i] = sums[_TOTAL]
        if lm_order and len(own_sentences) > 1:
            figures.spreads[i] = math.sqrt(sums[_SQUARES] / len(own_sentences))
