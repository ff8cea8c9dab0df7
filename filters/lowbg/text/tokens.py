"""One pass over a batch's UTF-8 bytes: words, sentences, and what kind of characters there are.

A word is a run of letters, folded for scoring (case, accents, look-alikes, widths; see
`characters.py`), with apostrophes inside it kept; a Han or kana character is a word of its own.
Digits, punctuation, Markdown, URLs, zero-width characters and all white space separate words and
leave no other trace, so that layout cannot reach a score. A sentence ends at a terminator that
white space follows; initials and numbers don't end one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.kernels import njit
from lowbg.kernels.scanning import WIDTH, ascii_letters
from lowbg.kernels.vectors import load, store
from lowbg.text.characters import (
    APOSTROPHE,
    CLOSER,
    CYRILLIC,
    DIGIT,
    EXPAND,
    IDEOGRAPH,
    IGNORE,
    LETTER,
    OTHER,
    SPACE,
    STOP,
    TERMINATOR,
    folding_tables,
)

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

    @property
    def words_per_document(self) -> NDArray[np.int64]:
        """Words of each document (int64)."""
        return np.diff(self.word_starts)


def text_buffer(text: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 bytes of `text` and the n + 1 offsets into them, without a copy.

    Slices are honoured. Nulls are not: their range is empty.
    """
    if text.type != pa.large_string():
        text = text.cast(pa.large_string())
    _, offsets_buffer, data_buffer = text.buffers()
    if len(text) == 0 or offsets_buffer is None:
        return np.empty(0, np.uint8), np.zeros(len(text) + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    if data_buffer is None:
        return np.empty(0, np.uint8), np.zeros(len(text) + 1, np.int64)
    first = int(offsets[0])
    data = np.frombuffer(data_buffer, np.uint8)[first : int(offsets[-1])]
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
    done = 0
    while True:
        done = _tokenize(
            done,
            data,
            starts,
            foldings,
            folding_tables(),
            words,
            offsets,
            word_starts,
            sentences,
            sentence_starts,
            counts,
        )
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


SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S29 = np.uint64(29)
_S32 = np.uint64(32)
_LOW_16 = np.uint32(0xFFFF)


@njit(cache=True, nogil=True, inline="always")
def mix(h: np.uint64) -> np.uint64:
    """A bijective scramble of 64 bits (the finaliser of splitmix64, shortened by one shift)."""
    h = (h ^ (h >> _S32)) * MIX_1
    h = (h ^ (h >> _S29)) * MIX_2
    return h ^ (h >> _S32)


@njit(cache=True, nogil=True, inline="always")
def extend(context: np.uint64, word: np.uint64) -> np.uint64:
    """Hash of the n-gram that has `context` as its head and `word` as its last word."""
    h = (context * GOLDEN) ^ word
    return (h ^ (h >> _S29)) * MIX_1


@njit(cache=True, nogil=True, inline="always")
def _utf8_length(cp: int) -> int:
    return 1 if cp < 0x80 else 2 if cp < 0x800 else 3


@njit(cache=True, nogil=True, inline="always")
def code_point(data: NDArray[np.uint8], at: int) -> Any:
    """The character at `at` as the folding tables know it, and its bytes.

    Beyond the basic plane, mathematical letters fold through the private area, where `characters`
    put them; ideographs count by code point; the rest is a symbol. So is the private area itself:
    chat tools leak marks from it.
    """
    cp: Any
    byte = np.int64(load(data, at))
    if byte < 0x80:
        cp = byte
        size = 1
    elif byte < 0xE0:
        cp = ((byte & 0x1F) << 6) | np.int64(load(data, at + 1) & 0x3F)
        size = 2
    elif byte < 0xF0:
        cp = (
            ((byte & 0x0F) << 12)
            | (np.int64(load(data, at + 1) & 0x3F) << 6)
            | np.int64(load(data, at + 2) & 0x3F)
        )
        size = 3
        if 0xE000 <= cp < 0xF900:
            cp = 0xF8FF
    else:
        cp = (
            ((byte & 0x07) << 18)
            | (np.int64(load(data, at + 1) & 0x3F) << 12)
            | (np.int64(load(data, at + 2) & 0x3F) << 6)
            | np.int64(load(data, at + 3) & 0x3F)
        )
        size = 4
        if 0x1D400 <= cp < 0x1D800:
            cp = 0xE000 + (cp - 0x1D400)
        elif 0x20000 <= cp < 0x32000:
            cp = 0x3400
        else:
            cp = 0xF8FF
    return cp, size


@njit(cache=True, nogil=True, inline="always")
def is_ascii_letter(byte: int) -> bool:
    """Whether the byte is one of A–Z and a–z: a LETTER in every folding table."""
    return 97 <= byte | 32 <= 122


@njit(cache=True, nogil=True, inline="always")
def extend_ascii(
    h: np.uint64,
    data: NDArray[np.uint8],
    at: int,
    n: int,
    table: NDArray[np.uint32],
    heads: NDArray[np.uint64],
) -> Any:
    """The hash `h` of a word's beginning, extended by its next `n` letters in ASCII (≤ `WIDTH`).

    To ask after every letter whether there is one more would be answered wrongly once a word. So
    eight are always hashed, and of the hashes of all heads, noted in `heads` (nine of them), one
    is picked. `WIDTH` bytes from `data[at]` on are read.
    """
    left = n
    while True:
        store(heads, 0, h)
        for k in range(8):
            h = (h ^ np.uint64(load(table, load(data, at + k)) & _LOW_16)) * PRIME
            store(heads, k + 1, h)
        if left <= 8:
            break
        left -= 8
        at += 8
    return load(heads, left)


@njit(cache=True, nogil=True)
def _skip_url(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Where a URL ends that is under way at `at`: at white space, a quote or a closing bracket."""
    while at < end:
        b = data[at]
        if b <= 32 or b == 34 or b == 39 or b == 41 or b == 60 or b == 62 or b == 93 or b >= 0x80:
            break
        at += 1
    return at


@njit(cache=True, nogil=True)
def _tokenize(
    done: int,
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    foldings: NDArray[np.uint8],
    tables: NDArray[np.uint32],
    words: NDArray[np.uint64],
    offsets: NDArray[np.uint32],
    word_starts: NDArray[np.int64],
    sentences: NDArray[np.int32],
    sentence_starts: NDArray[np.int64],
    counts: NDArray[np.int32],
) -> int:
    """Reads the documents from `done` on, as far as there is room; gives how many are done."""
    n_words = word_starts[done]
    n_sentences = sentence_starts[done]
    heads = np.empty(9, np.uint64)
    www = SEED
    b: Any
    cp: Any
    cls: Any
    folded: Any
    for _ in range(3):
        www = (www ^ np.uint64(119)) * PRIME
    for i in range(done, len(starts) - 1):
        # A word needs a letter and a separator, or the three bytes of an ideograph.
        most = (starts[i + 1] - starts[i]) // 2 + 1
        if n_words + most > len(words) or n_sentences + most > len(sentences):
            return i
        table = tables[foldings[i]]
        stays_ascii = foldings[i] != CYRILLIC
        pos = starts[i]
        end = starts[i + 1]
        last_look = end - WIDTH - 4  # 16 letters, and the four bytes behind them
        in_word = False
        apostrophe = False  # seen inside a word; counts only if a letter follows
        h = SEED
        length = 0  # letters of the word under way, or of the last one
        word_at = pos
        word_bytes = 0
        sentence_from = n_words
        candidate = False  # a terminator was seen; white space now ends the sentence
        adjacent = 0  # what stands before: 1 a word, 2 a number, 0 anything else
        letters = 0
        digits = 0
        symbols = 0
        ideographs = 0
        total_bytes = 0
        while True:
            at_end = pos >= end
            at = pos
            if at_end:
                cls = SPACE
                folded = 0
            else:
                cp, size = code_point(data, pos)
                pos += size
                entry = np.int64(load(table, cp))
                cls = entry >> 24
                folded = entry & 0xFFFF
            if cls == LETTER:
                if not in_word:
                    in_word = True
                    h = SEED
                    length = 0
                    word_bytes = 0
                    word_at = at
                    candidate = False
                elif apostrophe:
                    h = (h ^ np.uint64(39)) * PRIME
                    word_bytes += 1
                apostrophe = False
                h = (h ^ np.uint64(folded)) * PRIME
                length += 1
                word_bytes += _utf8_length(folded)
                # What mostly follows: letters in a row, then a space, perhaps behind a comma or a
                # full stop, and the next word. So these are read without asking what else they
                # might be; anything else is left to the loop around this one, as are the last
                # bytes of a document, since this one looks ahead.
                while pos <= last_look:
                    run = ascii_letters(data, pos)
                    if run > 0:
                        h = extend_ascii(h, data, pos, run, table, heads)
                        length += run
                        word_bytes += run
                        if not stays_ascii:
                            for k in range(pos, pos + run):
                                word_bytes += (load(table, load(data, k)) & _LOW_16) >= 0x80
                        pos += run
                        if run == WIDTH:
                            continue
                    b = load(data, pos)
                    while 0xC2 <= b < 0xE0 and pos < end - 5:
                        cp = (np.int64(b & 0x1F) << 6) | np.int64(load(data, pos + 1) & 0x3F)
                        entry = np.int64(load(table, cp))
                        if entry >> 24 != LETTER:
                            break
                        folded = entry & 0xFFFF
                        h = (h ^ np.uint64(folded)) * PRIME
                        length += 1
                        word_bytes += _utf8_length(folded)
                        pos += 2
                        b = load(data, pos)
                    if length == 0:
                        break
                    gap = 1  # one space or line feed
                    if b != 32 and b != 10:
                        if is_ascii_letter(b):
                            continue
                        behind = load(data, pos + 1)
                        mark = 0  # the bytes of an apostrophe: ' or ’
                        if b == 39:
                            mark = 1
                        elif b == 0xE2 and behind == 0x80 and load(data, pos + 2) == 0x99:
                            mark = 3
                        if mark > 0 and is_ascii_letter(load(data, pos + mark)):
                            h = (h ^ np.uint64(39)) * PRIME
                            word_bytes += 1
                            pos += mark
                            continue
                        if behind != 32 and behind != 10:
                            break
                        # A full stop ends a sentence, but for an initial's and that of "www.".
                        if b == 46 and length > 1 and h != www:
                            store(sentences, n_sentences, n_words + 1 - sentence_from)
                            n_sentences += 1
                            sentence_from = n_words + 1
                        elif b != 44 and b != 59:
                            break
                        symbols += 1
                        gap = 2
                    store(words, n_words, mix(h))
                    store(offsets, n_words, word_at)
                    n_words += 1
                    letters += length
                    total_bytes += word_bytes
                    adjacent = 0
                    pos += gap
                    word_at = pos
                    h = SEED
                    length = 0
                    word_bytes = 0
                in_word = length > 0
                continue
            if cls == IGNORE:
                continue
            if cls == EXPAND:  # a ligature or ß: two letters, packed as 8 + 16 bits
                if not in_word:
                    in_word = True
                    h = SEED
                    length = 0
                    word_bytes = 0
                    word_at = at
                    candidate = False
                elif apostrophe:
                    h = (h ^ np.uint64(39)) * PRIME
                    word_bytes += 1
                apostrophe = False
                first = (entry >> 16) & 0xFF
                h = (h ^ np.uint64(first)) * PRIME
                # 0xFB03 and 0xFB04 are three letters: f, f, and i or l.
                if folded >= 0x100:
                    h = (h ^ np.uint64(first)) * PRIME
                    length += 1
                    word_bytes += 1
                h = (h ^ np.uint64(folded & 0xFF)) * PRIME
                length += 2
                word_bytes += 2
                continue
            if cls == APOSTROPHE:
                if in_word and not apostrophe:
                    apostrophe = True
                    continue
                # Two in a row are a closing quote: what stands before it stays as it was.
            if in_word:
                in_word = False
                apostrophe = False
                # A URL is no prose: drop its scheme and skip to its end.
                if cls == SPACE or at + 2 >= end:
                    is_url = False
                else:
                    is_url = (data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47) or (
                        data[at] == 46 and h == www
                    )
                if is_url:
                    pos = _skip_url(data, at, end)
                    adjacent = 2
                    continue
                words[n_words] = mix(h)
                offsets[n_words] = word_at
                n_words += 1
                letters += length
                total_bytes += word_bytes
                adjacent = 1
            if cls == SPACE:
                if candidate and n_words > sentence_from:
                    sentences[n_sentences] = n_words - sentence_from
                    n_sentences += 1
                    sentence_from = n_words
                candidate = False
                adjacent = 0
                if at_end:
                    break
            elif cls == IDEOGRAPH:
                candidate = False
                words[n_words] = mix((SEED ^ np.uint64(folded)) * PRIME)
                offsets[n_words] = at
                n_words += 1
                ideographs += 1
                adjacent = 1
                length = 2
                # More of them mostly follow, and the punctuation that goes with them.
                while pos < end and 0xE0 <= load(data, pos) < 0xF0:
                    cp = (
                        (np.int64(load(data, pos) & 0x0F) << 12)
                        | (np.int64(load(data, pos + 1) & 0x3F) << 6)
                        | np.int64(load(data, pos + 2) & 0x3F)
                    )
                    entry = np.int64(load(table, cp))
                    cls = entry >> 24
                    if cls == IDEOGRAPH:
                        store(words, n_words, mix((SEED ^ np.uint64(entry & 0xFFFF)) * PRIME))
                        store(offsets, n_words, pos)
                        n_words += 1
                        ideographs += 1
                        adjacent = 1
                    elif cls == OTHER:
                        symbols += 1
                        adjacent = 0
                    elif cls == STOP:
                        symbols += 1
                        if n_words > sentence_from:
                            store(sentences, n_sentences, n_words - sentence_from)
                            n_sentences += 1
                            sentence_from = n_words
                        adjacent = 0
                    else:
                        break
                    pos += 3
            elif cls == TERMINATOR:
                symbols += 1
                # "J. Smith", "3." and "e.g." don't end a sentence; "!" and "?" always do.
                if data[at] != 46 or (adjacent == 1 and length > 1) or adjacent == 3:
                    candidate = True
                adjacent = 3 if candidate else 0
            elif cls == STOP:
                symbols += 1
                if n_words > sentence_from:
                    sentences[n_sentences] = n_words - sentence_from
                    n_sentences += 1
                    sentence_from = n_words
                candidate = False
                adjacent = 0
            elif cls == CLOSER or cls == APOSTROPHE:
                symbols += 1  # a quote or bracket after the terminator leaves the question open
            elif cls == DIGIT:
                digits += 1
                candidate = False
                adjacent = 2
            else:
                symbols += 1
                candidate = False
                adjacent = 0
        if n_words > sentence_from:
            sentences[n_sentences] = n_words - sentence_from
            n_sentences += 1
        word_starts[i + 1] = n_words
        sentence_starts[i + 1] = n_sentences
        counts[i, 0] = letters + ideographs
        counts[i, 1] = digits
        counts[i, 2] = symbols
        counts[i, 3] = total_bytes + 3 * ideographs
        counts[i, 4] = ideographs
    return len(starts) - 1
