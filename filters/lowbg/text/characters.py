"""How characters are folded for scoring: tables from code point to class and folded letter.

The tables ship as data (`models/characters.safetensors`, made by `training/characters.py`), so
that a result doesn't depend on the Unicode version of the Python that runs it. There is one table
a script: a Latin-script language reads Cyrillic and Greek look-alikes as Latin letters, a
Cyrillic one the other way round, and Chinese reads traditional characters as simplified ones.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.characters import CHINESE, CYRILLIC, LATIN, PLAIN

FOLDINGS = ("latin", "cyrillic", "chinese", "plain")
"""The folding tables, by their index."""

_BY_LANGUAGE = {"ru": CYRILLIC, "zh": CHINESE, "ja": PLAIN}


def folding_of(language: str | None) -> int:
    """The folding table (index into `FOLDINGS`) in which a language is read."""
    return _BY_LANGUAGE.get(language or "", LATIN)


@functools.cache
def folding_tables() -> NDArray[np.uint32]:
    """Folding × code point (4 × 65,536): class in the top 8 bits, folded code point in the low 16.

    For EXPAND bits 16–23 hold the first letter and the low 16 the last, 0x100 added where the
    first stands twice. Mathematical letters (U+1D400 … U+1D7FF) stand at U+E000 … U+E3FF.
    """
    from lowbg.models import load_arrays

    return load_arrays("characters")["foldings"]


def foldings_digest() -> str:
    """SHA-256 (hex) of the tables' file."""
    from lowbg.models import open_embedded

    return open_embedded("characters").sha256
