"""The folding tables: their shape, and what other code relies on."""

from __future__ import annotations

import numpy as np
import pytest

from lowbg.kernels import characters as k
from lowbg.text import characters as c

TABLES = c.folding_tables()


def entry(char: str, folding: int = k.LATIN) -> tuple[int, int]:
    value = int(TABLES[folding, ord(char)])
    return value >> 24, value & 0xFFFF


def test_shape() -> None:
    assert TABLES.shape == (len(c.FOLDINGS), 0x10000)
    assert TABLES.dtype == np.uint32
    assert (TABLES >> 24 <= k.EXPAND).all()


def test_ideographs_take_three_bytes() -> None:
    # `tokenize` makes room for a word in every two bytes.
    assert ((TABLES >> 24)[:, :0x800] != k.IDEOGRAPH).all()


def test_folding_is_idempotent() -> None:
    for table in TABLES:
        letters = np.flatnonzero(table >> 24 == k.LETTER)
        folded = table[letters] & 0xFFFF
        again = table[folded]
        known = again >> 24 == k.LETTER
        assert known.mean() > 0.99
        assert ((again & 0xFFFF) == folded)[known].mean() > 0.999


@pytest.mark.parametrize(
    ("chars", "cls"),
    [
        ("azÀñЖжαקकํ"[:-1], k.LETTER),
        ("中々〇かカｶ", k.IDEOGRAPH),
        (" \n\t\r\u00a0\u3000\u2028\x00", k.SPACE),
        ("\u0301\u200b\u200d\ufeff\u00ad\u0308", k.IGNORE),
        ("'’‘ʼ", k.APOSTROPHE),
        (".!?…", k.TERMINATOR),
        ("。！？", k.STOP),
        ("\"”»)]*_", k.CLOSER),
        ("09３½²", k.DIGIT),
        ("ßﬁﬃœÆ", k.EXPAND),
        ("-–—,;:#/【†☃", k.OTHER),
    ],
)  # fmt: skip
def test_classes(chars: str, cls: int) -> None:
    assert {char: entry(char)[0] for char in chars} == dict.fromkeys(chars, cls)


@pytest.mark.parametrize(
    ("char", "folding", "folded"),
    [
        ("É", k.LATIN, "e"), ("ø", k.LATIN, "o"), ("ı", k.LATIN, "i"), ("İ", k.LATIN, "i"),
        ("а", k.LATIN, "a"), ("a", k.CYRILLIC, "а"), ("Ж", k.CYRILLIC, "ж"),
        ("й", k.CYRILLIC, "и"), ("ё", k.CYRILLIC, "е"), ("漢", k.CHINESE, "汉"),
        ("漢", k.PLAIN, "漢"), ("Ａ", k.LATIN, "a"), ("ⓐ", k.LATIN, "a"),
    ],
)  # fmt: skip
def test_folds(char: str, folding: int, folded: str) -> None:
    assert chr(entry(char, folding)[1]) == folded


@pytest.mark.parametrize(
    ("language", "folding"),
    [("en", k.LATIN), (None, k.LATIN), ("ru", k.CYRILLIC), ("zh", k.CHINESE), ("ja", k.PLAIN)],
)
def test_folding_of(language: str | None, folding: int) -> None:
    assert c.folding_of(language) == folding
