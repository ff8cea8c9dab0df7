"""Documents cut into windows, and which n-grams occur in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.regression import Sparse
from lowbg.kernels.ngram_lists import hash_windows
from lowbg.text.ngrams import WINDOW


@dataclass(frozen=True, slots=True)
class Windows:
    """Equal pieces of documents of at most `ngrams.WINDOW` words: document, first word, end."""

    document: NDArray[np.int64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.document)

    @property
    def words(self) -> NDArray[np.int64]:
        """Words in each window."""
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """N-grams by their hash (rising), with their length in words and the windows they occur in."""

    hashes: NDArray[np.uint64]
    orders: NDArray[np.uint8]
    frequency: NDArray[np.int64]


def cut(word_starts: NDArray[np.int64], min_words: int, max_windows: int) -> Windows:
    """Windows as `odds` cuts them; of a long document `max_windows`, evenly spread.

    Windows of fewer than `min_words` words are left out.
    """
    n = np.diff(word_starts)
    count = -(-n // WINDOW)
    size = -(-n // np.maximum(count, 1))
    kept = np.minimum(count, max_windows)
    document = np.repeat(np.arange(len(n)), kept)
    rank = np.arange(len(document)) - np.repeat(np.cumsum(kept) - kept, kept)
    spread = np.maximum(kept[document] - 1, 1)
    place = rank * (count[document] - 1) // spread
    first = word_starts[document] + place * size[document]
    end = np.minimum(first + size[document], word_starts[document + 1])
    chosen = end - first >= max(min_words, 1)
    return Windows(document[chosen], first[chosen], end[chosen])


def count_ngrams(
    words: NDArray[np.uint64], windows: Windows, max_order: int, min_windows: int
) -> tuple[Vocabulary, Sparse]:
    """The n-grams in at least `min_windows` windows, and window × n-gram, each row over √words."""
    hashes, orders, frequency, rows, columns = [], [], [], [], []
    width = 0
    for order in range(1, max_order + 1):
        room = int(windows.words.sum())
        out = np.empty(room, np.uint64)
        window = np.empty(room, np.int32)
        n = hash_windows(words, windows.first, windows.end, order, out, window)
        unique, inverse = np.unique(out[:n], return_inverse=True)
        pairs = np.unique(window[:n].astype(np.int64) * len(unique) + inverse)
        row, column = pairs // max(len(unique), 1), pairs % max(len(unique), 1)
        count = np.bincount(column, minlength=len(unique))
        kept = np.flatnonzero(count >= min_windows)
        place = np.full(len(unique), -1, np.int64)
        place[kept] = np.arange(len(kept)) + width
        chosen = place[column] >= 0
        rows.append(row[chosen])
        columns.append(place[column[chosen]])
        hashes.append(unique[kept])
        orders.append(np.full(len(kept), order, np.uint8))
        frequency.append(count[kept])
        width += len(kept)
    row, column = np.concatenate(rows), np.concatenate(columns)
    by_row = np.argsort(row, kind="stable")
    starts = np.searchsorted(row[by_row], np.arange(len(windows) + 1)).astype(np.int64)
    scale = 1.0 / np.sqrt(np.maximum(windows.words, 1).astype(np.float64))
    vocabulary = Vocabulary(
        np.concatenate(hashes), np.concatenate(orders), np.concatenate(frequency)
    )
    return vocabulary, Sparse(starts, column[by_row].astype(np.int32), scale, width)
