"""Lists of the n-grams of documents, windows and sentences, for training and for explanations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Fixed, Rows
from lowbg.kernels.compiler import seldom
from lowbg.kernels.hashes import extend
from lowbg.kernels.ngram_lookups import WINDOW
from lowbg.kernels.tables import find


@seldom
def list_ngrams(
    words: NDArray[np.uint64],
    table: Fixed[np.uint32],
    order: int,
    at_word: NDArray[np.int64],
    length: NDArray[np.int64],
    payloads: NDArray[np.int64],
    stamps: NDArray[np.int32],
    last: int,
) -> int:
    """Lists what the log-odds add up for one document: word, n-gram length, payload.

    `stamps` is a number a slot of the table, none above `last`, for its own use: it puts there
    `last` + 1 and more, as many as the document has windows.
    """
    n = len(words)
    found = 0
    if n == 0:
        return 0
    windows = (n + WINDOW - 1) // WINDOW
    size = (n + windows - 1) // windows
    for t in range(n):
        window = t // size
        for o in range(min(order, t - window * size + 1)):
            h = words[t - o]
            for u in range(t - o + 1, t + 1):
                h = extend(h, words[u])
            at = find(table, h)
            if at >= 0 and stamps[at] != last + window + 1:
                stamps[at] = last + window + 1
                at_word[found] = t - o
                length[found] = o + 1
                payloads[found] = table[at] & np.uint32(0xFFFF)
                found += 1
    return found


@seldom
def hash_windows(
    words: NDArray[np.uint64],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    order: int,
    out: NDArray[np.uint64],
    window: NDArray[np.int32],
) -> int:
    """Hashes of all n-grams of `order` words in each window, and whose they are; how many."""
    n = 0
    for i in range(len(first)):
        for t in range(first[i] + order - 1, end[i]):
            h = words[t - order + 1]
            for u in range(t - order + 2, t + 1):
                h = extend(h, words[u])
            out[n] = h
            window[n] = i
            n += 1
    return n


@seldom
def list_levels(
    words: NDArray[np.uint64],
    sentences: NDArray[np.int32],
    order: int,
    begin: np.uint64,
    out: Rows[np.uint64],
) -> int:
    """Hash, context, suffix and left-extended n-gram of every n-gram of `order` words.

    They go to the rows of `out`; 0 stands for no left extension, at the sentence start.
    A sentence is read with one sentence start before it; n-grams end at a word of the sentence.
    """
    n = 0
    at = 0
    for length in sentences:
        for t in range(length):
            first = t - order + 1
            if first < -1:
                continue
            whole = np.uint64(0)
            suffix = np.uint64(0)
            context = np.uint64(0)
            for u in range(first, t + 1):
                word = begin if u < 0 else words[at + u]
                if u == t:
                    context = whole
                whole = word if u == first else extend(whole, word)
                if u > first:
                    suffix = word if u == first + 1 else extend(suffix, word)
            left = np.uint64(0)
            if first >= 0:
                left = extend(begin if first == 0 else words[at + first - 1], whole)
            out[0, n] = whole
            out[1, n] = context
            out[2, n] = suffix
            out[3, n] = left
            n += 1
        at += length
    return n
