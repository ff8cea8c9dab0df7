"""The language of each document: what its record says, or else what its first thousand bytes show.

`languages.toml` holds, for every language, its script, the letters that set it apart and its
commonest words in falling frequency. The script of most letters picks the candidates; among them
each listed word and letter votes with the logarithm of how much likelier it is in that language
than elsewhere. Too little evidence, a tie, an unknown script or text that isn't prose give −1.
"""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import encoded, strings_of
from lowbg.kernels import places
from lowbg.kernels.characters import EXPAND, IDEOGRAPH, IGNORE, LATIN, LETTER
from lowbg.kernels.languages import (
    L_SCRIPT,
    NO_LETTER,
    ONE_LETTER,
    SEVERAL_LETTERS,
    SKIPPED,
    UNDECIDED,
    VOTES,
    Room,
    Tables,
    read_languages,
)
from lowbg.kernels.objects import source_stamp
from lowbg.text.characters import folding_tables, foldings_digest
from lowbg.text.tokens import text_buffer, tokenize

CODES: Final[tuple[str, ...]] = (
    *("en", "ru", "zh", "pt", "es", "de", "fr", "ja", "it", "nl", "pl", "cs", "sk", "sv", "da"),
    *("no", "fi", "et", "lv", "lt", "ro", "hu", "tr", "az", "id", "ms", "vi", "ca", "gl", "eu"),
    *("hr", "sl", "sq", "is", "eo", "la", "cy", "ga", "af", "tl", "sw", "lb", "oc", "uk", "be"),
    *("bg", "mk", "sr", "kk", "ky", "tt", "mn", "tg", "el", "ko", "ar", "fa", "ur", "ps", "ckb"),
    *("he", "hi", "mr", "ne", "bn", "ta", "te", "ml", "kn", "gu", "pa", "si", "th", "lo", "my"),
    *("km", "ka", "hy", "am"),
)
"""The languages that are told apart; those with embedded models come first."""

# In the order of their numbers in `kernels/languages.py`, from 1 on. Latin first, as everything
# quotes it; kana and Han are counted apart but decided together.
_SCRIPTS = {
    "latin": (0x41, 0x24F, 0x1E00, 0x1EFF, 0xFF21, 0xFF5A, 0xE000, 0xE400),
    "cyrillic": (0x400, 0x52F),
    "greek": (0x370, 0x3FF, 0x1F00, 0x1FFF),
    "han": (0x2E80, 0x2FDF, 0x3400, 0x9FFF, 0xF900, 0xFAFF),
    "kana": (0x3041, 0x30FF, 0x31F0, 0x31FF, 0xFF66, 0xFF9F),
    "hangul": (0x1100, 0x11FF, 0x3131, 0x318E, 0xAC00, 0xD7A3),
    "arabic": (0x620, 0x6FF, 0x750, 0x77F, 0xFB50, 0xFDFF, 0xFE70, 0xFEFC),
    "hebrew": (0x5D0, 0x5EA, 0xFB1D, 0xFB4F),
    "devanagari": (0x900, 0x97F),
    "bengali": (0x980, 0x9FF),
    "gurmukhi": (0xA00, 0xA7F),
    "gujarati": (0xA80, 0xAFF),
    "tamil": (0xB80, 0xBFF),
    "telugu": (0xC00, 0xC7F),
    "kannada": (0xC80, 0xCFF),
    "malayalam": (0xD00, 0xD7F),
    "sinhala": (0xD80, 0xDFF),
    "thai": (0xE01, 0xE5B),
    "lao": (0xE81, 0xEDF),
    "myanmar": (0x1000, 0x109F),
    "georgian": (0x10A0, 0x10FF),
    "ethiopic": (0x1200, 0x137F),
    "khmer": (0x1780, 0x17FF),
    "armenian": (0x531, 0x587),
}
_SCRIPT_NAMES = ("", *_SCRIPTS)

# The share of a language's words that its word of rank r has, p = A / (r + 1) ** B, and that of a
# word that isn't in its list.
_A, _B, _ELSEWHERE = 0.06, 0.9, 5e-5
_LETTER_WEIGHT = 1.2


@functools.cache
def _definitions() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(
        (resources.files("lowbg.text") / "languages.toml").read_text(encoding="utf-8")
    )


def _word_hashes(words: list[str]) -> NDArray[np.uint64]:
    tokens = tokenize(strings_of(words, pa.large_string()), np.full(len(words), LATIN, np.uint8))
    if (tokens.words_per_document != 1).any():
        odd = [w for w, n in zip(words, tokens.words_per_document, strict=True) if n != 1]
        raise ValueError(f"languages.toml: not one word each: {odd}")
    return tokens.words


@functools.cache
def _tables() -> Tables:
    folder = Path(__file__).parent
    compiled = source_stamp(folder), source_stamp(Path(places.__file__).parent)
    told = [*compiled, foldings_digest(), (folder / "languages.toml").read_text("utf-8")]
    key = hashlib.sha256("".join(told).encode()).hexdigest()
    return Tables(*places.arrays(folder, "languages.compiled", key, _compile))


def _compile() -> Tables:
    definitions = _definitions()
    scripts = np.zeros(0x10000, np.uint8)
    for number, ranges in enumerate(_SCRIPTS.values(), 1):
        for first, last in zip(ranges[::2], ranges[1::2], strict=True):
            scripts[first : last + 1] = number
    votes: list[list[tuple[int, float]]] = [[]]
    letters = np.zeros(0x10000, np.int32)
    words: list[str] = []
    voters: list[tuple[int, float]] = []
    language_scripts = np.zeros(len(CODES), np.uint8)
    for index, code in enumerate(CODES):
        entry = definitions[code]
        language_scripts[index] = _SCRIPT_NAMES.index(entry["script"])
        for letter in sorted(set(entry.get("letters", ""))):
            for cp in sorted({ord(letter), ord(letter.upper()[0])}):
                if letters[cp] == 0:
                    letters[cp] = len(votes)
                    votes.append([])
                votes[letters[cp]].append((index, _LETTER_WEIGHT))
        for rank, word in enumerate(entry.get("words", "").split()):
            words.append(word)
            voters.append((index, float(np.log(_A / (rank + 1) ** _B / _ELSEWHERE))))
    rows_of: dict[int, int] = {}
    for h, (index, weight) in zip(_word_hashes(words).tolist(), voters, strict=True):
        row = rows_of.setdefault(h, len(votes))
        if row == len(votes):
            votes.append([])
        # Folding makes one word of several (a, à): the commonest of them votes.
        if all(other != index for other, _ in votes[row]):
            votes[row].append((index, weight))
    size = 1 << (4 * len(rows_of) - 1).bit_length()
    keys = np.zeros(size, np.uint64)
    rows = np.zeros(size, np.int32)
    for h, row in rows_of.items():
        at = h & (size - 1)
        while keys[at]:
            at = (at + 1) & (size - 1)
        keys[at] = h
        rows[at] = row
    only = np.full(len(_SCRIPT_NAMES), -1, np.int8)
    for number in range(1, len(_SCRIPT_NAMES)):
        of_script = np.flatnonzero(language_scripts == number)
        if len(of_script) == 1:
            only[number] = of_script[0]
    if letters[ord("a") : ord("z") + 1].any():
        raise ValueError("languages.toml: no small letter of ASCII sets a language apart")
    # Some Cyrillic and Greek capitals look like Latin letters and their small forms don't.
    folding = folding_tables()[LATIN].copy()
    for cp in (*range(0x386, 0x3AC), *range(0x400, 0x430)):
        folding[cp] = folding[ord(chr(cp).lower())]
    return Tables(
        _packed(folding, scripts, letters),
        letters,
        keys,
        rows,
        np.cumsum([0, *map(len, votes)]).astype(np.int32),
        np.array([index for row_votes in votes for index, _ in row_votes], np.int8),
        np.array([weight for row_votes in votes for _, weight in row_votes], np.float32),
        only,
        language_scripts,
    )


def _packed(
    folding: NDArray[np.uint32], scripts: NDArray[np.uint8], letters: NDArray[np.int32]
) -> NDArray[np.uint32]:
    """The table that `Tables.folding` describes."""
    cls = folding >> 24
    kinds = np.full(256, NO_LETTER, np.uint32)
    kinds[[LETTER, EXPAND, IGNORE]] = ONE_LETTER, SEVERAL_LETTERS, SKIPPED
    letter = (cls == LETTER) | (cls == EXPAND) | (cls == IDEOGRAPH)
    # A look-alike of a Latin letter is no evidence of its own script.
    evidence = letter & ((scripts == L_SCRIPT) | ((folding & 0xFFFF) >= 0x80))
    script = np.where(evidence, scripts, 0).astype(np.uint32)
    votes = np.where(letter & (letters != 0), VOTES, 0).astype(np.uint32)
    packed: NDArray[np.uint32] = (kinds[cls] << 29) | (script << 24) | votes | (folding & 0x7FFFFF)
    return packed


def identify(
    data: NDArray[np.uint8],
    text_starts: NDArray[np.int64],
    wanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.int8]:
    """The language of each document as an index into `CODES`, −1 where it can't be told.

    Document i is `data[text_starts[i]:text_starts[i + 1]]` in UTF-8; its first 1,024 bytes are
    read, and up to 4,096 while undecided. Documents that aren't `wanted` get −1.
    """
    n = len(text_starts) - 1
    out = np.empty(n, np.int8)
    if wanted is None:
        wanted = np.ones(n, np.bool_)
    tables = _tables()
    read_languages(data, text_starts, wanted, tables, Room.of(tables), out)
    return out


_NO_TAG = -2
"""What `_read_tag` gives for a tag that names no language."""

_SEPARATORS = re.compile(r"[\W_]+")


@functools.cache
def _known_tags() -> dict[str, int]:
    """Every tag and name that is known, with its index into `CODES`, −1 or `_NO_TAG`."""
    definitions = _definitions()
    tags = dict.fromkeys(definitions["other_tags"].split(), UNDECIDED)
    tags |= dict.fromkeys(definitions["no_tags"].split(), _NO_TAG)
    for index, code in enumerate(CODES):
        tags |= dict.fromkeys((code, *definitions[code]["tags"].split()), index)
    return tags


@functools.lru_cache(maxsize=4096)
def _read_tag(tag: str) -> int:
    """The index into `CODES`, −1 for another language, `_NO_TAG` for none."""
    if len(tag) > 64:
        return _NO_TAG
    known = _known_tags()
    parts = [p for p in _SEPARATORS.split(tag.lower().removeprefix("__label__")) if p]
    if not parts:
        return _NO_TAG
    if parts[0] in known:
        return known[parts[0]]
    for part in parts[1:]:  # "Traditional Chinese"
        if len(part) > 3 and part in known:
            return known[part]
    if len(parts[0]) == 3 and parts[0].isascii() and parts[0].isalpha():
        return UNDECIDED  # one of the 7,900 of ISO 639-3
    return _NO_TAG


def normalise(tag: str) -> str | None:
    """The code in `CODES` that a record's language field means, or None.

    Takes ISO 639-1, -2 and -3 codes, BCP 47 tags, names of languages and fastText labels.
    """
    index = _read_tag(tag)
    return CODES[index] if index >= 0 else None


def detect(text: pa.LargeStringArray, own: pa.StringArray | None = None) -> NDArray[np.int8]:
    """The language of each document as an index into `CODES`, −1 where there is none.

    `own` is what the records say, null where they say nothing. It decides where it names a
    language: −1 for one that isn't in `CODES`. Elsewhere the text is read (`identify`).
    """
    data, starts = text_buffer(text)
    if own is None or own.null_count == len(own):
        return identify(data, starts)
    codes, tags = encoded(own)
    meanings = np.array([_read_tag(tag or "") for tag in tags], np.int8)
    stated: NDArray[np.int8] = meanings[codes]
    wanted = stated == _NO_TAG
    if not wanted.any():
        return stated
    stated[wanted] = identify(data, starts, wanted)[wanted]
    return stated
