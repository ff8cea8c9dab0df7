"""Style features against a plain reference."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.kernels.characters import LATIN
from lowbg.models.checks import STYLE_SIZES
from lowbg.text.style import FEATURES, WEIGHTS, expand, measure, standardise
from lowbg.text.tokens import DIGITS, LETTERS, Tokens, tokenize

BEHIND = r"(?=[\x00-\x20\"')\]*_]|[^\x00-\x7f]|\Z)"
INSIDE = r"(?:(?<=[^\x00-\x20])|(?<=[^\x00-\x20] ))"
MARKS = (
    rf",{BEHIND}|[、，]",
    rf"\.{BEHIND}|[。．]",
    rf";{BEHIND}|；",
    rf":{BEHIND}|：",
    rf"!{BEHIND}|！",
    rf"\?{BEHIND}|？",
    r"(?:(?<=[\x00-\x20])|\A)\((?=[^\x00-\x20])|（",
    rf"(?<=[^\x00-\x20] )-(?= )|{INSIDE}[–—―]",
)
"""Each mark as the kernel counts it."""

ALPHABET = st.sampled_from(
    [*"ab .,;:!?()-*_\n\"'19/é", "、", "。", "，", "：", "（", "–", "—", "字"]
)


def tokens_of(*texts: str) -> Tokens:
    text = pa.array(texts, pa.large_string())
    return tokenize(text, np.full(len(texts), LATIN, np.uint8))


def reference(text: str) -> list[float]:
    tokens = tokens_of(text)
    words = max(len(tokens.words), 1)
    lengths = tokens.sentences.astype(float)
    counts = tokens.counts[0]
    unit = 1.6 if 2 * counts[4] > counts[LETTERS] else 1.0
    sentences = [0.0] * 5
    if len(lengths):
        mean = lengths.mean()
        steps = np.abs(np.diff(lengths)).mean() / mean if len(lengths) > 1 else 1.0
        sentences = [
            np.log(mean),
            lengths.std() / mean,
            float(np.mean(lengths < 6 * unit)),
            float(np.mean(lengths > 30 * unit)),
            steps,
        ]
    return [
        *(np.sqrt(len(re.findall(mark, text)) / words) for mark in MARKS),
        np.sqrt(counts[DIGITS] / words),
        *sentences,
        counts[LETTERS] / words,
    ]


@given(st.lists(st.text(ALPHABET, max_size=100), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_is_the_reference(texts: list[str]) -> None:
    found = measure(tokens_of(*texts))
    for row, text in zip(found, texts, strict=True):
        assert row == pytest.approx(reference(text), abs=1e-9)


@pytest.mark.parametrize(
    "layout",
    [
        "- one two\n- three four",
        "one two\n-----\nthree four",
        "see https://a.example:80/x.y?z=1,2 there is",
        "at 10:30 it was 1,234.5 or so",
        "— one two three four",
        "a [link](there) in it",
        "## One two\nthree four",
    ],
)
def test_layout_numbers_and_addresses_are_no_marks(layout: str) -> None:
    assert measure(tokens_of(layout))[0, :8].tolist() == [0.0] * 8


def test_marks_are_counted() -> None:
    text = "One, two; three: four! Five? Six (seven) – eight - nine. **Ten:** eleven."
    root = np.sqrt(np.array([1, 2, 1, 2, 1, 1, 1, 2]) / 11)
    assert measure(tokens_of(text))[0, :8] == pytest.approx(root)


def test_a_part_of_a_batch_is_measured_alike() -> None:
    tokens = tokens_of("One, two. Three.", "", "Four; five: six! Seven (eight).", "Nine?")
    assert (measure(tokens)[1:3] == measure(tokens.part(1, 3))).all()


def test_a_model_file_holds_as_many_numbers() -> None:
    assert {"mean": len(FEATURES), "spread": len(FEATURES), "weights": WEIGHTS} == STYLE_SIZES
    deviations = standardise(np.full((2, 15), 9.0), np.zeros(15), np.ones(15))
    assert deviations.max() == 4.0
    assert expand(deviations).shape == (2, WEIGHTS)
