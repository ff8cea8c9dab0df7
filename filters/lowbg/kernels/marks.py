"""Counts the punctuation of a text's sentences, apart from that of its layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.arrays import Pointer, Rows, Text
from lowbg.kernels.compiler import kernel, part
from lowbg.kernels.scanning import MARK_LEADS, WIDTH, mark_bytes
from lowbg.kernels.vectors import lowest, pointer

COMMA, PERIOD, SEMICOLON, COLON, EXCLAMATION, QUESTION, BRACKET, DASH = range(8)
MARKS = 8

_HYPHEN, _PUNCTUATION, _IDEOGRAPHIC, _WIDE = 9, 10, 11, 12
"""What a byte may begin beside the marks of ASCII (which stand one above their number): a dash, or
U+2000 …, U+3000 … and U+FF00 … in UTF-8."""

_NEWLINE, _SPACE, _STAR, _UNDERSCORE = 10, 32, 42, 95


def first_bytes() -> NDArray[np.uint8]:
    """What each byte may begin (256); 0 for most."""
    table = np.zeros(256, np.uint8)
    for mark, character in enumerate(b",.;:!?("):
        table[character] = mark + 1
    table[ord("-")] = _HYPHEN
    table[list(MARK_LEADS)] = _PUNCTUATION, _IDEOGRAPHIC, _WIDE
    return table


@part
def _ends(data: Pointer, at: int, end: int) -> bool:
    """Whether a word or clause may have ended before `at`: no number, address or name goes on."""
    if at >= end:
        return True
    b: Any = data[at]
    return bool(
        b <= _SPACE or b >= 0x80 or b == 34 or b == 39 or b == 41 or b == 93 or b == _STAR
        or b == _UNDERSCORE
    )  # fmt: skip


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
    """The mark that begins at `at` in the document from `start` to `end`; −1: none."""
    kind = table[data[at]]
    if kind == 0:
        return -1
    if kind <= QUESTION + 1:
        return int(kind) - 1 if _ends(data, at + 1, end) else -1
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
        while at + WIDTH <= end:
            bits = mark_bytes(text, at)
            while bits != 0:
                mark = _mark_at(text, at + lowest(bits), start, end, kinds)
                bits &= bits - np.uint64(1)
                if mark >= 0:
                    counts[i, mark] += 1
            at += WIDTH
        while at < end:
            mark = _mark_at(text, at, start, end, kinds)
            if mark >= 0:
                counts[i, mark] += 1
            at += 1


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
