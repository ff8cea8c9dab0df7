"""One pass over a batch's UTF-8 bytes: its words and sentences, and what characters there are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import FixedRows, Rows, Text
from lowbg.kernels.characters import (
    APOSTROPHE,
    CLOSER,
    CYRILLIC,
    DIGIT,
    EXPAND,
    IDEOGRAPH,
    IGNORE,
    LETTER,
    LOW_16,
    OTHER,
    SPACE,
    STOP,
    TERMINATOR,
    code_point,
    extend_ascii,
    is_ascii_letter,
    utf8_length,
)
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.hashes import PRIME, SEED, mix
from lowbg.kernels.scanning import WIDTH, ascii_letters
from lowbg.kernels.vectors import load, store


class Room(NamedTuple):
    """What `read_words` fills: see `Tokens`, of which these are the arrays.

    `heads` (9) is for its own use.
    """

    words: NDArray[np.uint64]
    offsets: NDArray[np.uint32]
    word_starts: NDArray[np.int64]
    sentences: NDArray[np.int32]
    sentence_starts: NDArray[np.int64]
    counts: Rows[np.int32]
    heads: NDArray[np.uint64]


@part
def _skip_url(data: Text, at: int, end: int) -> int:
    """Where a URL ends that is under way at `at`: at white space, a quote or a closing bracket."""
    while at < end:
        b = data[at]
        if b <= 32 or b == 34 or b == 39 or b == 41 or b == 60 or b == 62 or b == 93 or b >= 0x80:
            break
        at += 1
    return at


@kernel
def read_words(
    done: int,
    data: Text,
    starts: NDArray[np.int64],
    foldings: NDArray[np.uint8],
    tables: FixedRows[np.uint32],
    room: Room,
) -> int:
    """Reads the documents from `done` on, as far as there is room; gives how many are done."""
    words, offsets, word_starts = room.words, room.offsets, room.word_starts
    sentences, sentence_starts, counts = room.sentences, room.sentence_starts, room.counts
    n_words = word_starts[done]
    n_sentences = sentence_starts[done]
    heads = room.heads
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
                word_bytes += utf8_length(folded)
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
                                word_bytes += (load(table, load(data, k)) & LOW_16) >= 0x80
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
                        word_bytes += utf8_length(folded)
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


@kernel
def word_ends(
    data: Text,
    offsets: NDArray[np.int64],
    limits: NDArray[np.int64],
    foldings: NDArray[np.uint8],
    tables: FixedRows[np.uint32],
    out: NDArray[np.int64],
) -> None:
    """The byte after each word that begins at `offsets[i]`, in a text that ends at `limits[i]`."""
    for i in range(len(offsets)):
        table = tables[foldings[i]]
        pos = offsets[i]
        last = pos
        while pos < limits[i]:
            b: Any = np.int64(data[pos])
            if b < 0x80:
                cp = b
                size = 1
            elif b < 0xE0:
                cp = ((b & 0x1F) << 6) | np.int64(data[pos + 1] & 0x3F)
                size = 2
            elif b < 0xF0:
                cp = (
                    ((b & 0x0F) << 12)
                    | (np.int64(data[pos + 1] & 0x3F) << 6)
                    | np.int64(data[pos + 2] & 0x3F)
                )
                if 0xE000 <= cp < 0xF900:  # as `code_point`
                    cp = 0xF8FF
                size = 3
            else:  # ideographs and mathematical letters: take it whole
                cp = 0x3400 if data[pos + 1] >= 0xA0 else 0xE000
                size = 4
            cls = np.int64(table[cp]) >> 24
            pos += size
            if cls == IDEOGRAPH:
                if last == offsets[i]:
                    last = pos
                break
            if cls in (LETTER, EXPAND):
                last = pos
            elif cls != IGNORE and cls != APOSTROPHE:
                break
        out[i] = last
