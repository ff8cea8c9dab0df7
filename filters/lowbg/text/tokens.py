"""One pass over a batch's UTF-8 bytes: words, sentences, and what kind of characters there are.

A word is a run of letters, folded for scoring (case, accents, look-alikes, widths; see
`characters.py`), with apostrophes inside it kept; a Han or kana character is a word of its own.
Digits, punctuation, Markdown, URLs, zero-width characters and all white space separate words and
leave no other trace, so that layout cannot reach a score. A sentence ends at a terminator that
white space follows; initials and numbers don't end one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.kernels.words import Room, read_words
from lowbg.text.characters import folding_tables

COUNTS = ("letters", "digits", "symbols", "word_bytes", "ideographs")
"""What `Tokens.counts` counts a document: folded letters, digits, other visible characters,
UTF-8 bytes of the folded words, and ideographs (each of which is a word)."""
LETTERS, DIGITS, SYMBOLS, WORD_BYTES, IDEOGRAPHS = range(5)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words and sentences of a batch of documents.

    `words` (uint64) holds the hash of every word and `word_offsets` (uint32) its first byte in
    `data`; document i owns `words[word_starts[i]:word_starts[i + 1]]`. `sentences` (int32) holds
    the words of every sentence; document i owns
    `sentences[sentence_starts[i]:sentence_starts[i + 1]]`, and they add up to its words.
    `counts` (int32, documents × `COUNTS`). `data` is the UTF-8 text of all documents and
    `text_starts` (int64) where each begins.
    """

    data: NDArray[np.uint8]
    text_starts: NDArray[np.int64]
    words: NDArray[np.uint64]
    word_offsets: NDArray[np.uint32]
    word_starts: NDArray[np.int64]
    sentences: NDArray[np.int32]
    sentence_starts: NDArray[np.int64]
    counts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.word_starts) - 1

    def part(self, start: int, stop: int) -> Tokens:
        """Those of the documents from `start` to before `stop`; the arrays are shared."""
        bounds = slice(start, stop + 1)
        return replace(
            self,
            text_starts=self.text_starts[bounds],
            word_starts=self.word_starts[bounds],
            sentence_starts=self.sentence_starts[bounds],
            counts=self.counts[start:stop],
        )

    @property
    def words_per_document(self) -> NDArray[np.int64]:
        """Words of each document (int64)."""
        return np.diff(self.word_starts)

    @property
    def only_counts(self) -> bool:
        """Whether words are counted and the words themselves aren't kept."""
        return bool(self.word_starts[-1] > 0) and not len(self.words)


def only_counts(words: NDArray[np.int64], counts: NDArray[np.int32]) -> Tokens:
    """The tokens of documents of which only the counts are known: their words, and `COUNTS`."""
    none, n = np.zeros(0, np.int64), len(words)
    return Tokens(
        data=none.astype(np.uint8),
        text_starts=np.zeros(n + 1, np.int64),
        words=none.astype(np.uint64),
        word_offsets=none.astype(np.uint32),
        word_starts=np.concatenate([[0], np.cumsum(words)]).astype(np.int64),
        sentences=none.astype(np.int32),
        sentence_starts=np.zeros(n + 1, np.int64),
        counts=counts,
    )


def text_buffer(text: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 bytes of `text` and the n + 1 offsets into them, without a copy.

    Slices are honoured. Nulls are not: their range is empty.
    """
    if text.type != pa.large_string():
        text = text.cast(pa.large_string())
    _, offsets_buffer, data_buffer = text.buffers()
    if len(text) == 0 or offsets_buffer is None:
        return np.frombuffer(b"", np.uint8), np.zeros(len(text) + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    if data_buffer is None:
        return np.frombuffer(b"", np.uint8), np.zeros(len(text) + 1, np.int64)
    first = int(offsets[0])
    data = np.frombuffer(data_buffer, np.uint8)[first : int(offsets[-1])]
    data.flags.writeable = False  # As most are: kernels are compiled for such.
    return data, offsets - first


def tokenize(text: pa.LargeStringArray, foldings: NDArray[np.uint8]) -> Tokens:
    """The tokens of every document.

    `foldings` (uint8, one a document) picks the folding table, see `characters.FOLDINGS`. The
    text of one batch must stay under 4 GiB.
    """
    data, starts = text_buffer(text)
    n = len(text)
    # Enough for nearly all text. New memory has to be cleared: as much of it as there could ever
    # be words takes a third of the kernel's time, this half of that.
    longest = int(np.diff(starts).max(initial=0))
    words = np.empty(len(data) // 3 + longest // 6 + n + 1, np.uint64)
    offsets = np.empty(len(words), np.uint32)
    sentences = np.empty(len(data) // 32 + longest // 2 + n + 1, np.int32)
    word_starts = np.zeros(n + 1, np.int64)
    sentence_starts = np.zeros(n + 1, np.int64)
    counts = np.zeros((n, len(COUNTS)), np.int32)
    heads = np.empty(9, np.uint64)
    done = 0
    while True:
        room = Room(words, offsets, word_starts, sentences, sentence_starts, counts, heads)
        done = read_words(done, data, starts, foldings, folding_tables(), room)
        if done == n:
            break
        words, offsets, sentences = (
            np.concatenate((found, np.empty(len(data) // 2 + n, found.dtype)))
            for found in (words, offsets, sentences)
        )
    n_words, n_sentences = word_starts[n], sentence_starts[n]
    return Tokens(
        data,
        starts,
        words[:n_words],
        offsets[:n_words],
        word_starts,
        sentences[:n_sentences],
        sentence_starts,
        counts,
    )
