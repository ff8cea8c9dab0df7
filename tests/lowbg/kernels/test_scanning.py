"""The looks at text that kernels are made of, against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.kernels.characters import code_point, extend_ascii
from lowbg.kernels.compiler import part
from lowbg.kernels.hashes import PRIME
from lowbg.kernels.scanning import WIDTH, ascii_letters, equal_bytes


@part
def _letters(data: NDArray[np.uint8], at: int) -> int:
    return int(ascii_letters(data, at))


@part
def _slashes(data: NDArray[np.uint8], at: int) -> int:
    return int(equal_bytes(data, at, 0, 47))


@part
def _ws(data: NDArray[np.uint8], at: int) -> int:
    return int(equal_bytes(data, at, 32, 119))


@part
def _extended(
    h: np.uint64, data: NDArray[np.uint8], at: int, n: int, table: NDArray[np.uint32]
) -> np.uint64:
    heads = np.empty(9, np.uint64)
    return np.uint64(extend_ascii(h, data, at, n, table, heads))


@part
def _character(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    cp, size = code_point(data, at)
    return cp, size


BYTES = st.one_of(
    st.binary(min_size=2 * WIDTH, max_size=2 * WIDTH),
    *(
        st.text(alphabet, min_size=2 * WIDTH, max_size=2 * WIDTH).map(lambda t: t.encode("latin-1"))
        for alphabet in ("abyzABYZ@[`{wW/\x80", "aZwW", "w/")
    ),
)


@given(BYTES, st.integers(0, WIDTH))
@settings(max_examples=300, deadline=None)
def test_sixteen_bytes_at_once(raw: bytes, at: int) -> None:
    data = np.frombuffer(raw, np.uint8)
    window = raw[at : at + WIDTH]
    letters = next(
        (k for k, b in enumerate(window) if not chr(b).isascii() or not chr(b).isalpha()), WIDTH
    )
    assert _letters(data, at) == letters
    assert _slashes(data, at) == sum(1 << k for k, b in enumerate(window) if b == ord("/"))
    assert _ws(data, at) == sum(1 << k for k, b in enumerate(window) if b in b"wW")


@given(
    st.integers(0, 2**64 - 1),
    st.binary(min_size=2 * WIDTH, max_size=2 * WIDTH),
    st.integers(0, WIDTH),
    st.integers(1, WIDTH),
)
@settings(deadline=None)
def test_hash_of_a_run(start: int, raw: bytes, at: int, n: int) -> None:
    table = np.array([0x01010101 * byte ^ 0x5A00FF for byte in range(256)], np.uint32)
    h = start
    for byte in raw[at : at + n]:
        h = ((h ^ (int(table[byte]) & 0xFFFF)) * int(PRIME)) & (2**64 - 1)
    assert int(_extended(np.uint64(start), np.frombuffer(raw, np.uint8), at, n, table)) == h


@given(st.characters(codec="utf-8"))
@settings(max_examples=300, deadline=None)
def test_code_points(char: str) -> None:
    raw = char.encode()
    cp = ord(char)
    if 0x1D400 <= cp < 0x1D800:
        expected = 0xE000 + cp - 0x1D400
    elif 0x20000 <= cp < 0x32000:
        expected = 0x3400
    else:
        expected = 0xF8FF if cp >= 0x10000 or 0xE000 <= cp < 0xF900 else cp
    assert _character(np.frombuffer(raw, np.uint8), 0) == (expected, len(raw))
