"""Short text is prose of a length, none twice; what it says is by kinds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.neural.short_states import MAX_WORDS, MIN_WORDS, counts, cut_rows, cut_text, fair
from benchmarks.neural.short_text import Kinds, called, drawn_again, kinds_of, recall

from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.probe import Documents

pytestmark = pytest.mark.lm

SENTENCE = "In the old mill she painted a letter for the winter garden."
"""Twelve words."""
CODE = "if (x[0] == {1, 2}) { y += 3 * x[1]; } // a b c d e f g h i j k l m n o p q r s t u v w"


def row(text: str, *, is_ai: bool = False, dataset: str = "own") -> Row:
    label = "ai" if is_ai else "human"
    return Row(text, label, dataset, "", "", "", "", "", "en", "")


def some(sentences: int, first: str = "") -> str:
    return " ".join([first, *[SENTENCE] * sentences]).strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (some(1), []),
        (some(3), []),  # 24 words; the end of the text is no end that something follows
        (some(4), [36]),
        (some(30), [36, 48, 60, 72]),
        ("word " * 200, []),
        ("word " * 80 + SENTENCE, []),
    ],
)
def test_a_beginning_ends_with_a_sentence(text: str, words: Sequence[int]) -> None:
    cut = cut_text(text)
    assert text.startswith(cut)
    assert not cut or cut.endswith(".")
    assert (len(cut.split()) in words) if words else not cut
    assert cut_text(text) == cut


def test_where_beginnings_end_differs_by_text() -> None:
    lengths = {len(cut_text(some(30, f"Door {k}")).split()) for k in range(40)}
    assert len(lengths) >= 3
    assert min(lengths) >= MIN_WORDS
    assert max(lengths) <= MAX_WORDS


def test_only_what_is_longer_is_cut() -> None:
    rows = [row(some(n, first)) for n, first in ((4, "A mill"), (8, "No mill"), (40, "Two mills"))]
    places, cut = cut_rows(rows)
    assert places.tolist() == [1, 2]
    assert [each.text for each in cut] == [cut_text(rows[1].text), cut_text(rows[2].text)]


def test_code_templates_and_other_lengths_are_not_short_text() -> None:
    rows = [
        row(some(3)),
        row(some(4)),  # begins as the one before it
        row(some(4), is_ai=True),
        row(some(4), dataset="another"),
        row(some(4, "Not so the river")),
        row(some(1)),
        row(some(9, "A long one")),
        row(CODE),
    ]
    assert fair(rows).tolist() == [0, 2, 3, 4]


def test_counts_tell_labels_and_kinds_apart() -> None:
    rows = [row(str(k), is_ai=k < 22, dataset=f"{k % 2 if k < 22 else 7}") for k in range(34)]
    told = ["AI: 22 of 2 kinds, 0 of 12 or more", "human: 12 of 1 kinds, 1 of 12 or more"]
    assert [*counts(rows)] == told


def test_recall_counts_kinds_alike_at_a_rate_of_human_kinds() -> None:
    human = {"human/a": np.arange(100.0), "human/b": np.zeros(20)}
    # Four of a hundred are 2 % of two kinds on average: what lies above 95 counts.
    kinds = Kinds({"ai/a": np.array([95.0, 96.0]), "ai/b": np.full(50, 99.0)}, human)
    assert recall(kinds) == 0.75
    assert recall(kinds, 0.005) == 0.5
    assert drawn_again(kinds) == drawn_again(kinds)


def test_small_kinds_are_not_judged() -> None:
    datasets = np.repeat(["large", "small", "left"], [12, 11, 30])
    documents = Documents(np.zeros(53, np.bool_), datasets, np.full(53, 40))
    kinds = kinds_of(np.zeros(53), documents, datasets != "left")
    assert kinds.human.keys() == {"human/large"}
    assert not kinds.ai


def test_what_is_called_ai_is_told_with_an_interval() -> None:
    assert called({"human/a": np.full(50, -1.0)}) == "0.0% (0.0–0.0)"
    told = called({"human/a": np.repeat([-1.0, 0.0], 25), "human/b": np.full(9, -1.0)})
    assert told.startswith("25.0% (0.0–")
