"""The folding tables: their shape, and what other code relies on."""

from __future__ import annotations

import numpy as np
import pytest

from lowbg.text import characters as c

TABLES = c.folding_tables()


def entry(char: str, folding: int = c.LATIN) -> tuple[int, int]:
    value = int(TABLES[folding, ord(char)])
    return value >> 24, value & 0xFFFF


def test_shape() -> None:
    assert TABLES.shape == (len(c.FOLDINGS), 0x10000)
    assert TABLES.dtype == np.uint32
    assert (TABLES >> 24 <= c.EXPAND).all()


def test_ideographs_take_three_bytes() -> None:
    # `tokenize` makes room for a word in every two bytes.
    assert ((TABLES >> 24)[:, :0x800] != c.IDEOGRAPH).all()


def test_folding_is_idempotent() -> None:
    for table in TABLES:
        letters = np.flatnonzero(table >> 24 == c.LETTER)
        folded = table[letters] & 0xFFFF
        again = table[folded]
        known = again >> 24 == c.LETTER
        assert known.mean() > 0.99
        assert ((again & 0xFFFF) == folded)[known].mean() > 0.999


@pytest.mark.parametrize(
    ("chars", "cls"),
    [
        ("azÀñЖжαקकํ"[:-1], c.LETTER),
        ("中々〇かカｶ", c.IDEOGRAPH),
        (" \n\t\r\u00a0\u3000\u2028\x00", c.SPACE),
        ("\u0301\u200b\u200d\ufeff\u00ad\u0308", c.IGNORE),
        ("'’‘ʼ", c.APOSTROPHE),
        (".!?…", c.TERMINATOR),
        ("。！？", c.STOP),
        ("\"”»)]*_", c.CLOSER),
        ("09３½²", c.DIGIT),
        ("ßﬁﬃœÆ", c.EXPAND),
        ("-–—,;:#/【†☃", c.OTHER),
    ],
)  # fmt: skip
def test_classes(chars: str, cls: int) -> None:
    assert {char: entry(char)[0] for char in chars} == dict.fromkeys(chars, cls)


@pytest.mark.parametrize(
    ("char", "folding", "folded"),
    [
        ("É", c.LATIN, "e"), ("ø", c.LATIN, "o"), ("ı", c.LATIN, "i"), ("İ", c.LATIN, "i"),
        ("а", c.LATIN, "a"), ("a", c.CYRILLIC, "а"), ("Ж", c.CYRILLIC, "ж"),
        ("й", c.CYRILLIC, "и"), ("ё", c.CYRILLIC, "е"), ("漢", c.CHINESE, "汉"),
        ("漢", c.PLAIN, "漢"), ("Ａ", c.LATIN, "a"), ("ⓐ", c.LATIN, "a"),
    ],
)  # fmt: skip
def test_folds(char: str, folding: int, folded: str) -> None:
    assert chr(entry(char, folding)[1]) == folded


@pytest.mark.parametrize(
    ("language", "folding"),
    [("en", c.LATIN), (None, c.LATIN), ("ru", c.CYRILLIC), ("zh", c.CHINESE), ("ja", c.PLAIN)],
)
def test_folding_of(language: str | None, folding: int) -> None:
    assert c.folding_of(language) == folding
