"""The look-up of phrase variants in one hashed tree of words, and of what URLs say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Rows, Text
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.hashes import extend
from lowbg.kernels.scanning import WIDTH, equal_bytes
from lowbg.kernels.vectors import load

MAX_WORDS = 16
"""Longest variant, in words (characters in zh and ja)."""

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_LOW_6 = np.uint64(63)
_LOW_10 = np.uint64(1023)


class Tables(NamedTuple):
    """The variants of all groups as one hashed tree of words.

    A group is a set of variants that hold for the same documents. `singles` and `pairs` (groups ×
    1,024 words of 64 bits) say which hashes can be a variant of one word or the first two words of
    a longer one: for one place in 200, so that the tree is seldom asked.
    `keys` is an open-addressed table (0 is empty) of the hashes of all heads of variants, begun
    with the group's salt; `ends` is −1 for a mere head, else r: the variant stands for
    `patterns[bounds[r]:bounds[r + 1]]`.
    """

    salts: NDArray[np.uint64]
    singles: Rows[np.uint64]
    pairs: Rows[np.uint64]
    keys: NDArray[np.uint64]
    ends: NDArray[np.int32]
    bounds: NDArray[np.int32]
    patterns: NDArray[np.int32]


@part
def _bit(bits: NDArray[np.uint64], h: np.uint64) -> Any:
    """A number whose lowest bit says whether `h` was added."""
    return load(bits, (h >> _SIX) & _LOW_10) >> (h & _LOW_6)


@part
def _add(bits: NDArray[np.uint64], h: np.uint64) -> None:
    bits[(h >> _SIX) & _LOW_10] |= _ONE << (h & _LOW_6)


@kernel
def add_heads(
    words: NDArray[np.uint64],
    starts: NDArray[np.int64],
    groups: NDArray[np.int64],
    salts: NDArray[np.uint64],
    singles: Rows[np.uint64],
    pairs: Rows[np.uint64],
    heads: NDArray[np.uint64],
) -> None:
    """The hash of each head of each variant, and the bits that it sets."""
    for v in range(len(starts) - 1):
        g = groups[v]
        h = salts[g]
        for t in range(starts[v], starts[v + 1]):
            h = extend(h, words[t])
            heads[t] = h
        first = words[starts[v]]
        if starts[v + 1] - starts[v] == 1:
            _add(singles[g], first)
        else:
            _add(pairs[g], extend(first, words[starts[v] + 1]))


@kernel
def find(
    words: NDArray[np.uint64],
    word_starts: NDArray[np.int64],
    groups: NDArray[np.int64],
    tables: Tables,
    out: Rows[np.int64],
) -> int:
    """Every match: document, first word, words, pattern; how many, even where `out` is too short.

    They come by document and first word, shorter ones first.
    """
    salts, singles, pairs = tables.salts, tables.singles, tables.pairs
    keys, ends, bounds, patterns = tables.keys, tables.ends, tables.bounds, tables.patterns
    found = 0
    mask = np.uint64(len(keys) - 1)
    for i in range(len(word_starts) - 1):
        g = groups[i]
        single_bits = singles[g]
        pair_bits = pairs[g]
        end = word_starts[i + 1]
        for t in range(word_starts[i], end):
            # One branch a word, and nearly always the same way.
            word = load(words, t)
            possible = _bit(single_bits, word)
            if t + 1 < end:
                possible |= _bit(pair_bits, extend(word, load(words, t + 1)))
            if possible & _ONE == 0:
                continue
            h = salts[g]
            for k in range(t, min(end, t + MAX_WORDS)):
                h = extend(h, words[k])
                at = h & mask
                while keys[at] != 0 and keys[at] != h:
                    at = (at + _ONE) & mask
                if keys[at] == 0:
                    break
                r = ends[at]
                if r >= 0:
                    for p in range(bounds[r], bounds[r + 1]):
                        if found < len(out):
                            out[found, 0] = i
                            out[found, 1] = t
                            out[found, 2] = k - t + 1
                            out[found, 3] = patterns[p]
                        found += 1
    return found


@kernel
def choose(word: NDArray[np.int64], words: NDArray[np.int64], chosen: NDArray[np.bool_]) -> None:
    """Of matches in the order of `find`, the leftmost, then the longest, then the first listed."""
    covered = 0
    i = 0
    while i < len(word):
        best = i
        j = i + 1
        while j < len(word) and word[j] == word[i]:
            if words[j] > words[best]:
                best = j
            j += 1
        if word[i] >= covered:
            chosen[best] = True
            covered = word[i] + words[best]
        i = j


# A stretch without a word that is shorter than this holds no URL worth reading.
_MIN_URL = WIDTH


@part
def _may_hold_url(data: Text, first: int, end: int) -> bool:
    """Whether `:/` or `ww?.` stands before the last bytes, in which no URL has room."""
    at = first
    while at <= end - 3 - WIDTH:  # Behind it a URL is too short, and there is less to be read.
        mark = equal_bytes(data, at, 0, 58) & equal_bytes(data, at + 1, 0, 47)
        www = equal_bytes(data, at, 32, 119) & equal_bytes(data, at + 1, 32, 119)
        if mark | (www & equal_bytes(data, at + 3, 0, 46)) != 0:
            return True
        at += WIDTH
    return False


@kernel
def find_urls(
    data: Text,
    text_starts: NDArray[np.int64],
    offsets: NDArray[np.uint32],
    word_starts: NDArray[np.int64],
    out: Rows[np.int64],
) -> int:
    """What stands behind each `://` and `www.`: document, next word, first byte, last byte + 1.

    The tokenizer skips URLs, so they lie where one word is far from the next.
    """
    found = 0
    for i in range(len(text_starts) - 1):
        if not _may_hold_url(data, text_starts[i], text_starts[i + 1]):
            continue  # Most documents, at a twentieth of the cost.
        before = text_starts[i]
        for t in range(word_starts[i], word_starts[i + 1] + 1):
            here = np.int64(offsets[t]) if t < word_starts[i + 1] else text_starts[i + 1]
            if here - before >= _MIN_URL:
                at = before
                while at + 4 < here:
                    b = data[at]
                    skip = 0
                    if b == 58 and data[at + 1] == 47 and data[at + 2] == 47:
                        skip = 3
                    elif b | 32 == 119 and data[at + 1] | 32 == 119 and data[at + 3] == 46:
                        skip = 4
                    if skip == 0:
                        at += 1
                        continue
                    first = at + skip
                    at = first
                    while at < here and data[at] > 32 and data[at] != 34 and data[at] != 62:
                        at += 1
                    if at - first >= _MIN_URL:
                        if found < len(out):
                            out[found, 0] = i
                            out[found, 1] = t
                            out[found, 2] = first
                            out[found, 3] = at
                        found += 1
            before = here
    return found
