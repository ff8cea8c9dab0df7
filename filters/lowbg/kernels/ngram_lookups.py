"""The hashes of a window's n-grams, and what the tables hold of them.

An entry is a uint64: the payload (16 bits) and whether the table holds the n-gram (`HIT`). The
log-odds' entries have above these the n-gram's length − 1 (2 bits) and the place of its slot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import part
from lowbg.kernels.hashes import extend
from lowbg.kernels.tables import bucket_of, fetch_ahead, lowest_match, match_eight, match_four

MAX_ORDER = 4
"""Longest n-gram that a table may hold."""

WINDOW = 300
"""Most words in a window, in which the log-odds count an n-gram once."""

AHEAD = 32
"""Look-ups by which cache lines are asked for ahead."""

HIT_BIT, LENGTH_BIT, PLACE_BIT = np.uint64(16), np.uint64(17), np.uint64(19)
HIT = np.uint64(1 << 16)


@part
def hash_ngrams(words: NDArray[np.uint64], order: int, hashes: NDArray[np.uint64]) -> None:
    """Fills `hashes`, `order` rows of one a word: row k has the n-grams of k + 1 words.

    They stand at their last words. The first k of row k mean nothing.
    """
    n = len(words)
    for t in range(n):
        hashes[t] = words[t]
    for k in range(1, order):
        shorter = hashes[(k - 1) * n : k * n]
        longer = hashes[k * n : (k + 1) * n]
        for t in range(n - 1):
            longer[t + 1] = extend(shorter[t], words[t + 1])


@part
def entry_of(pairs: NDArray[np.uint32], at: np.uint64, matches: np.uint64) -> Any:
    """Payload and `HIT` of an n-gram whose `matches` are among the four slots from `at` on."""
    slot = np.uint64(pairs[at + lowest_match(matches)])
    return slot & np.uint64(0xFFFF) | np.uint64(matches != np.uint64(0)) << HIT_BIT


@part
def _look_up_both(
    pairs: NDArray[np.uint32],
    odds_mask: np.uint64,
    hashes: NDArray[np.uint64],
    lm_entries: NDArray[np.uint64],
    odds_entries: NDArray[np.uint64],
    lm_order: np.uint64,
    odds_order: np.uint64,
    k: np.uint64,
) -> None:
    """Writes the k-th entries of each word in both tables: n-grams of k + 1 words.

    `hashes` has `AHEAD` more than there are words, whose lines are asked for and no more. Each
    word has `lm_order` and `odds_order` entries; `odds_mask` is the number of buckets of the
    log-odds' table less one (`paired` may repeat it).
    """
    lm_at = k
    odds_at = k
    length = k << LENGTH_BIT
    for t in range(len(hashes) - AHEAD):
        fetch_ahead(pairs, hashes[np.uint64(t + AHEAD)])
        h = hashes[np.uint64(t)]
        bucket = bucket_of(pairs, h)
        at = bucket << np.uint64(3)
        both = match_eight(pairs, at, h)
        lm_entries[lm_at] = entry_of(pairs, at, both & np.uint64(15))
        lm_at += lm_order
        matches = both >> np.uint64(4)
        place = (bucket & odds_mask) << np.uint64(2) | lowest_match(matches)
        found = entry_of(pairs, at + np.uint64(4), matches)
        odds_entries[odds_at] = place << PLACE_BIT | length | found
        odds_at += odds_order


@part
def _look_up_half(
    pairs: NDArray[np.uint32],
    half: np.uint64,
    mask: np.uint64,
    hashes: NDArray[np.uint64],
    entries: NDArray[np.uint64],
    order: np.uint64,
    k: np.uint64,
) -> None:
    """`_look_up_both` of one table: `half` is 0 for the language model, 4 for the log-odds."""
    entry_at = k
    length = k << LENGTH_BIT
    for t in range(len(hashes) - AHEAD):
        fetch_ahead(pairs, hashes[np.uint64(t + AHEAD)])
        h = hashes[np.uint64(t)]
        bucket = bucket_of(pairs, h)
        at = bucket << np.uint64(3) | half
        matches = match_four(pairs, at, h)
        place = (bucket & mask) << np.uint64(2) | lowest_match(matches)
        entries[entry_at] = place << PLACE_BIT | length | entry_of(pairs, at, matches)
        entry_at += order


@part
def look_up(
    pairs: NDArray[np.uint32],
    odds_mask: np.uint64,
    hashes: NDArray[np.uint64],
    back: int,
    n: int,
    lm_entries: NDArray[np.uint64],
    odds_entries: NDArray[np.uint64],
    lm_order: int,
    odds_order: int,
) -> None:
    """The entries of a window's n words, after `hash_ngrams` of these and the `back` before."""
    for j in range(AHEAD):
        fetch_ahead(pairs, hashes[back + j])
    lm_stride = np.uint64(lm_order)
    odds_stride = np.uint64(odds_order)
    everywhere = np.uint64(0xFFFFFFFF)
    for row in range(max(lm_order, odds_order)):
        k = np.uint64(row)
        at = row * (back + n) + back
        own = hashes[at : at + n + AHEAD]
        if row < min(lm_order, odds_order):
            _look_up_both(
                pairs, odds_mask, own, lm_entries, odds_entries, lm_stride, odds_stride, k
            )
        elif row < odds_order:
            _look_up_half(pairs, np.uint64(4), odds_mask, own, odds_entries, odds_stride, k)
        else:
            _look_up_half(pairs, np.uint64(0), everywhere, own, lm_entries, lm_stride, k)
    # The log-odds' n-grams don't reach back over the window's begin.
    for t in range(min(odds_order - 1, n)):
        for at in range(t * odds_order + t + 1, (t + 1) * odds_order):
            odds_entries[at] = 0
