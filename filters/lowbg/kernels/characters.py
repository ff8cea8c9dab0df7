"""The characters of UTF-8 text, as the folding tables (`text/characters.py`) know them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import part
from lowbg.kernels.hashes import PRIME
from lowbg.kernels.vectors import load, store

OTHER, LETTER, IDEOGRAPH, SPACE, IGNORE, APOSTROPHE, TERMINATOR, STOP, CLOSER, DIGIT, EXPAND = (
    range(11)
)
"""Classes of characters. A TERMINATOR (. ! ? …) ends a sentence if white space follows, a STOP
(。！？) always; a CLOSER (quotes, brackets, Markdown emphasis) may stand between. EXPAND stands for
two or three letters (ß, ligatures)."""

LATIN, CYRILLIC, CHINESE, PLAIN = range(4)
"""The folding tables: see `text/characters.py`."""

LOW_16 = np.uint32(0xFFFF)


@part
def utf8_length(cp: int) -> int:
    """Bytes of a folded character."""
    return 1 if cp < 0x80 else 2 if cp < 0x800 else 3


@part
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


@part
def is_ascii_letter(byte: int) -> bool:
    """Whether the byte is one of A–Z and a–z: a LETTER in every folding table."""
    return 97 <= byte | 32 <= 122


@part
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
            h = (h ^ np.uint64(load(table, load(data, at + k)) & LOW_16)) * PRIME
            store(heads, k + 1, h)
        if left <= 8:
            break
        left -= 8
        at += 8
    return load(heads, left)
