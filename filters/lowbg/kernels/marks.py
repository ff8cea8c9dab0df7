"""Counts the punctuation of a text's sentences, apart from that of its layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Pointer, Rows, Text
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.scanning import MARK_LEADS, MARKS_WIDTH, mark_bytes
from lowbg.kernels.vectors import lowest, pointer

COMMA, PERIOD, SEMICOLON, COLON, EXCLAMATION, QUESTION, BRACKET, DASH = range(8)
MARKS = 8

_HYPHEN, _PUNCTUATION, _IDEOGRAPHIC, _WIDE = 9, 10, 11, 12
"""What a byte may begin beside the marks of ASCII (which stand one above their number): a dash, or
U+2000 …, U+3000 … and U+FF00 … in UTF-8."""

_ENDS, _KIND = np.uint8(0x80), np.uint8(0x7F)
"""The bit of what may stand behind the end of a word or clause, so that no number, address or name
goes on; and the others."""

_SPACE = 32


def first_bytes() -> NDArray[np.uint8]:
    """What each byte may begin (256), 0 for most, and `_ENDS`."""
    table = np.zeros(256, np.uint8)
    for mark, character in enumerate(b",.;:!?("):
        table[character] = mark + 1
    table[ord("-")] = _HYPHEN
    table[list(MARK_LEADS)] = _PUNCTUATION, _IDEOGRAPHIC, _WIDE
    behind = [*range(_SPACE + 1), *b"\"')]*_", *range(0x80, 0x100)]
    table[behind] |= _ENDS
    return table


@part
def _ends(data: Pointer, at: int, end: int, table: Pointer) -> int:
    """1 where a word or clause may have ended before `at`, 0 where it goes on."""
    return int(table[data[at]] >> 7) if at < end else 1


@part
def _inside_line(data: Pointer, at: int, start: int) -> bool:
    """Whether something stands before `at` on its line: what begins one is layout."""
    at -= 1
    if at >= start and data[at] == _SPACE:
        at -= 1
    return bool(at >= start and data[at] > _SPACE)


@part
def _wide(low: int) -> int:
    """The mark that U+FF00 … stands for whose last byte is `low`; −1: none."""
    if low == 0x8C:
        return COMMA
    if low == 0x8E:
        return PERIOD
    if low == 0x9B:
        return SEMICOLON
    if low == 0x9A:
        return COLON
    if low == 0x81:
        return EXCLAMATION
    if low == 0x9F:
        return QUESTION
    if low == 0x88:
        return BRACKET
    return -1


@part
def _mark_at(data: Pointer, at: int, start: int, end: int, table: Pointer) -> int:
    """The mark that begins at `at` in the document from `start` to `end`; −1: none.

    It is none of those that `_ends` alone decides on.
    """
    kind = table[data[at]] & _KIND
    if kind == BRACKET + 1:
        opens = at + 1 < end and data[at + 1] > _SPACE
        return BRACKET if opens and (at == start or data[at - 1] <= _SPACE) else -1
    if kind == _HYPHEN:
        apart = at > start and data[at - 1] == _SPACE and at + 1 < end and data[at + 1] == _SPACE
        return DASH if apart and _inside_line(data, at, start) else -1
    if at + 2 >= end:
        return -1
    low = data[at + 2]
    if kind == _PUNCTUATION:
        dash = data[at + 1] == 0x80 and 0x93 <= low <= 0x95
        return DASH if dash and _inside_line(data, at, start) else -1
    if kind == _IDEOGRAPHIC:
        if data[at + 1] == 0x80 and (low == 0x81 or low == 0x82):
            return COMMA if low == 0x81 else PERIOD
        return -1
    return _wide(low) if data[at + 1] == 0xBC else -1


@kernel
def count_marks(
    data: Text, starts: NDArray[np.int64], table: NDArray[np.uint8], counts: Rows[np.int32]
) -> None:
    """Adds up each document's marks in `counts` (documents × `MARKS`).

    A mark of ASCII counts where a clause may end behind it: not in a number, time, address or file
    name. A bracket counts where it opens after a space, a dash inside a line and, as a hyphen, with
    a space on both sides. Ideographic and wide marks count as theirs. `table` is `first_bytes()`.
    """
    bits: Any
    text, kinds = pointer(data), pointer(table)
    for i in range(len(starts) - 1):
        start, end = starts[i], starts[i + 1]
        at = start
        while at < end:
            if at + MARKS_WIDTH <= len(data):
                bits = mark_bytes(text, at)
            else:
                bits = np.uint64(0)
                for k in range(end - at):
                    bits |= np.uint64(kinds[text[at + k]] & _KIND != 0) << np.uint64(k)
            if end - at < MARKS_WIDTH:
                bits &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
            while bits != 0:
                place = at + lowest(bits)
                bits &= bits - np.uint64(1)
                kind = np.uint64(kinds[text[place]] & _KIND)
                if kind <= QUESTION + 1:
                    # Nearly all, so these branch on nothing: what is no mark adds 0 to a dash.
                    counted = _ends(text, place + 1, end, kinds) if kind else 0
                    counts[i, (kind - np.uint64(1)) & np.uint64(7)] += counted
                    continue
                mark = _mark_at(text, place, start, end, kinds)
                if mark >= 0:
                    counts[i, mark] += 1
            at += MARKS_WIDTH


@kernel
def measure_sentences(
    lengths: NDArray[np.int32],
    starts: NDArray[np.int64],
    short: NDArray[np.float64],
    long: NDArray[np.float64],
    out: Rows[np.float64],
) -> None:
    """Notes of each document's sentence lengths (words) what `text/style.py` lists.

    The log of their mean, deviation over mean, the shares of those below `short` and above `long`,
    and the mean step from one to the next over the mean. Documents without a sentence keep theirs.
    """
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        n = last - first
        if n == 0:
            continue
        total = 0.0
        squares = 0.0
        steps = 0.0
        below = 0.0
        above = 0.0
        for k in range(first, last):
            length = float(lengths[k])
            total += length
            squares += length * length
            below += 1.0 if length < short[i] else 0.0
            above += 1.0 if length > long[i] else 0.0
            if k > first:
                steps += abs(length - float(lengths[k - 1]))
        mean = total / n
        out[i, 0] = np.log(mean)
        out[i, 1] = np.sqrt(max(squares / n - mean * mean, 0.0)) / mean
        out[i, 2] = below / n
        out[i, 3] = above / n
        out[i, 4] = steps / (n - 1) / mean if n > 1 else 1.0
