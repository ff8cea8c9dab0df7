"""Why a document can't be judged: what it lacks, beside a verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowbg.text.tokens import DIGITS, IDEOGRAPHS, LETTERS, SYMBOLS

UNSCORED_NAMES = ("empty", "too_short", "language", "not_prose")
"""Why a document is unscored, by its code."""
EMPTY, TOO_SHORT, LANGUAGE, NOT_PROSE = range(4)

MIN_LETTER_SHARE = 0.75
"""Least share of letters among visible characters in prose. Measured on the training text: 99.9 %
of the documents of every collection of ordinary prose have more than .80 (PEPs and legal lists
.65), program code .45–.75."""

MIN_IDEOGRAPH_SHARE = 0.60
"""The same where most letters are ideographs, which stand for more than a letter (99 % of prose
above .68)."""


def is_prose(counts: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which documents have the least share of letters, or more; `counts` as `tokens.COUNTS`."""
    counts = counts.astype(np.int64)
    letters = counts[:, LETTERS]
    visible = letters + counts[:, DIGITS] + counts[:, SYMBOLS]
    ideographic = 2 * counts[:, IDEOGRAPHS] > letters
    least = np.where(ideographic, MIN_IDEOGRAPH_SHARE, MIN_LETTER_SHARE)
    return np.asarray(letters >= least * visible)


def unscored_codes(
    words: NDArray[np.int64],
    prose: NDArray[np.bool_],
    known: NDArray[np.bool_],
    short: NDArray[np.bool_],
    untold: NDArray[np.bool_],
) -> NDArray[np.int8]:
    """Why each document can't be judged, as an index into `UNSCORED_NAMES`; −1 where it can.

    Of documents by their words; which are prose, have tables that say something of them, are too
    short for these, and are too short to tell their language.
    """
    codes = np.full(len(words), -1, np.int8)
    codes[short] = TOO_SHORT
    codes[~prose] = NOT_PROSE
    codes[~known] = LANGUAGE
    codes[untold] = TOO_SHORT
    codes[words == 0] = EMPTY
    return codes
