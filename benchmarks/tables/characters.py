"""Makes the character tables: `python -m benchmarks.tables.characters TS_CHARACTERS OUT`.

`TS_CHARACTERS` maps traditional to simplified characters, one `T<TAB>S[ S…]` a line (OpenCC's
TSCharacters.txt, Apache-2.0).
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.characters import (
    APOSTROPHE,
    CLOSER,
    DIGIT,
    EXPAND,
    IDEOGRAPH,
    IGNORE,
    LETTER,
    OTHER,
    SPACE,
    STOP,
    TERMINATOR,
)
from lowbg.text.characters import FOLDINGS

_APOSTROPHES = "'’‘ʼ＇ʹ′´`‛"
_TERMINATORS = ".!?…‽؟।۔."
_STOPS = "。！？｡"
_CLOSERS = '"”“„‟«»‹›)]}*_~＂」』）】》〉”'
_EXPANSIONS = {
    "ß": "ss", "ẞ": "ss", "œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae",
    "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬆ": "st", "ﬅ": "st",
    "ĳ": "ij", "Ĳ": "ij", "ǉ": "lj", "ǌ": "nj",
}  # fmt: skip
_TO_LATIN = dict(
    zip(
        "аеорсухіјѕԁһԛԝӏьАВЕКМНОРСТУХІЈЅԌԚԜӀ" + "αοινρτκυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "aeopcyxijsdhqwlbabekmhopctyxijsgqwl" + "aoivptkuxabezhikmnoptyx",
        strict=True,
    )
)
_TO_CYRILLIC = dict(zip("aeopcyxijsABEKMHOPCTYXIJS", "аеорсухіјѕавекмнорстухіјѕ", strict=True))
# Letters that canonical decomposition leaves alone although readers take them for the plain one.
_PLAIN = {"ı": "i", "ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "ɑ": "a", "ɡ": "g"}


def make(traditional_to_simplified: dict[str, str]) -> NDArray[np.uint32]:
    """The tables that `characters.folding_tables` describes."""
    tables = np.zeros((len(FOLDINGS), 0x10000), np.uint32)
    for cp in range(0x10000):
        char = chr(0x1D400 + cp - 0xE000) if 0xE000 <= cp < 0xE400 else chr(cp)
        for row, folding in enumerate(FOLDINGS):
            tables[row, cp] = _entry(char, folding, traditional_to_simplified)
    return tables


def _entry(char: str, folding: str, simplified: dict[str, str]) -> int:
    if char in _EXPANSIONS:
        letters = _EXPANSIONS[char]
        last = ord(letters[-1]) | (0x100 if len(letters) == 3 else 0)
        return (EXPAND << 24) | (ord(letters[0]) << 16) | last
    for chars, cls in (
        (_APOSTROPHES, APOSTROPHE),
        (_TERMINATORS, TERMINATOR),
        (_STOPS, STOP),
        (_CLOSERS, CLOSER),
    ):
        if char in chars:
            return cls << 24
    category = unicodedata.category(char)
    if char.isspace() or category in ("Zs", "Zl", "Zp") or char in "\u0000\u2800":
        return SPACE << 24
    if category in ("Mn", "Me", "Cf", "Cc", "Cs"):
        return IGNORE << 24
    if category[0] == "N":
        compatible = unicodedata.normalize("NFKC", char)
        if char != "〇" and (category == "Nd" or not compatible.isalpha()):
            return DIGIT << 24
    if category[0] in "LN":
        return _letter(char, folding, simplified)
    if category == "So":  # circled and squared letters
        compatible = unicodedata.normalize("NFKC", char)
        if len(compatible) == 1 and compatible.isalpha():
            return _letter(compatible, folding, simplified)
    if category == "Mc":
        return (LETTER << 24) | ord(char)
    return OTHER << 24


def _letter(char: str, folding: str, simplified: dict[str, str]) -> int:
    lookalikes = {"latin": _TO_LATIN, "cyrillic": _TO_CYRILLIC}.get(folding, {})
    base = unicodedata.normalize("NFKC", char)
    base = base if len(base) == 1 else char
    if base in lookalikes:
        base = lookalikes[base]
    name = unicodedata.name(base, "")
    if "CJK" in name or "HIRAGANA" in name or "KATAKANA" in name or base in "〇々〆":
        if folding == "chinese":
            base = simplified.get(base, base)
        return (IDEOGRAPH << 24) | min(ord(base), 0xFFFF)
    base = base.lower()[0]
    if any(script in name for script in ("LATIN", "CYRILLIC", "GREEK")):
        base = unicodedata.normalize("NFD", base)[0]
    base = _PLAIN.get(base, base)
    base = lookalikes.get(base, base)
    return (LETTER << 24) | min(ord(base), 0xFFFF)


def main(argv: list[str]) -> int:
    """Writes the table file."""
    from lowbg.models import save_arrays

    source, target = argv
    simplified: dict[str, str] = {}
    for line in Path(source).read_text(encoding="utf-8").splitlines():
        if "\t" in line:
            traditional, choices = line.split("\t")[:2]
            first = choices.split(" ")[0]
            if len(traditional) == 1 and len(first) == 1:
                simplified[traditional] = first
    save_arrays(
        Path(target), {"foldings": make(simplified)}, {"unicode": unicodedata.unidata_version}
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
