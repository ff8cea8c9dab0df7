"""The style of a text beside its words: punctuation, sentence lengths and word length.

These carry over from one kind of text to another, and from one language to another, where words
don't. Layout has no part in them: bullets, headings, addresses, numbers and quotes are not counted.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.marks import MARKS, count_marks, first_bytes, measure_sentences
from lowbg.text.tokens import DIGITS, IDEOGRAPHS, LETTERS, Tokens

FEATURES = (
    "commas",
    "full stops",
    "semicolons",
    "colons",
    "exclamation marks",
    "question marks",
    "brackets",
    "dashes",
    "digits",
    "sentence length",
    "spread of sentence lengths",
    "short sentences",
    "long sentences",
    "steps between sentence lengths",
    "word length",
)
"""What `measure` gives of a document, in this order. Marks and digits: the root of their number a
word. Sentence length: the log of the mean. Shares of sentences: of fewer than 6 and of more than 30
words (in texts of ideographs 9.6 and 48)."""

_SHORT, _LONG, _IDEOGRAPHS_A_WORD = 6.0, 30.0, 1.6

Floats = NDArray[np.float64]

_first_bytes = functools.cache(first_bytes)


def measure(tokens: Tokens) -> Floats:
    """documents × `FEATURES`; zeros for a document without words."""
    n = len(tokens)
    marks = np.zeros((n, MARKS), np.int32)
    count_marks(tokens.data, tokens.text_starts, _first_bytes(), marks)
    counts = tokens.counts.astype(np.float64)
    words = np.maximum(tokens.words_per_document, 1)[:, None]
    ideographic = 2 * counts[:, IDEOGRAPHS] > counts[:, LETTERS]
    scale = np.where(ideographic, _IDEOGRAPHS_A_WORD, 1.0)
    sentences = np.zeros((n, 5))
    measure_sentences(
        tokens.sentences, tokens.sentence_starts, _SHORT * scale, _LONG * scale, sentences
    )
    return np.hstack(
        [
            np.sqrt(marks / words),
            np.sqrt(counts[:, DIGITS, None] / words),
            sentences,
            counts[:, LETTERS, None] / words,
        ]
    )


def standardise(features: Floats, mean: Floats, spread: Floats) -> Floats:
    """Deviations from human text's `mean` over its `spread`, at most ±4."""
    return np.asarray(np.clip((features - mean) / spread, -4.0, 4.0))


def expand(deviations: Floats) -> Floats:
    """What a style's weights are for: the deviations, their squares less 1, and a one."""
    ones = np.ones((len(deviations), 1))
    return np.hstack([deviations, deviations**2 - 1.0, ones])


WEIGHTS = 2 * len(FEATURES) + 1
"""Columns of `expand`."""
