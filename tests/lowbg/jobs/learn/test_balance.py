"""What may be learned from: sources that both dumps have, n-grams of many and steady ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lowbg.jobs.learn.balance import Occurrences, evened, paired, steady, widespread
from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, Dumps
from lowbg.jobs.train.corpus import tokenize_rows
from lowbg.jobs.train.regression import Sparse


def dumps_of(parts: list[int], groups: list[int]) -> Dumps:
    return Dumps(
        rows=[],
        part=np.array(parts, np.int8),
        source=np.array([str(group) for group in groups]),
        group=np.array(groups),
        tokens=tokenize_rows([], "en"),
        held="",
        files=[Path()],
        shards=(),
        dropped={},
    )


def occurrences(*documents: list[int]) -> Occurrences:
    """The documents that have each n-gram, one list an n-gram."""
    pairs = sorted((document, k) for k, own in enumerate(documents) for document in own)
    return Occurrences(
        np.array([d for d, _ in pairs]), np.array([k for _, k in pairs]), len(documents)
    )


def test_a_source_weighs_the_same_on_both_sides() -> None:
    source = np.array(["a", "a", "a", "b", "b", "only old", "only new"])
    human = np.array([1.0, 1.0, 0.0, 4.0, 0.0, 1.0, 0.0])
    new = np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 1.0])
    of_human, of_new = paired(source, human, new)
    assert of_human.tolist() == [0.5, 0.5, 0.0, 2.0, 0.0, 0.0, 0.0]
    assert of_new.tolist() == [0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0]


def test_large_sources_count_alike_and_small_ones_less() -> None:
    weights = evened(np.repeat([0, 1, 2], [100, 10, 2]), np.ones(112))
    assert weights[:100].sum() == pytest.approx(1.0) == pytest.approx(weights[100:110].sum())
    assert weights[110:].sum() == pytest.approx(0.4)


def test_an_ngram_that_a_document_repeats_is_one_occurrence() -> None:
    matrix = Sparse(np.array([0, 2, 3]), np.array([0, 1, 1], np.int32), np.ones(2), 2)
    found = Occurrences.of(matrix, np.array([7, 7]))
    assert found.document.tolist() == [7, 7]
    assert found.ngram.tolist() == [0, 1]
    assert found.sums(np.full(8, 2.0)).tolist() == [2.0, 2.0]


def test_an_ngram_is_of_several_sources_and_of_none_above_all() -> None:
    dumps = dumps_of([OLD, OLD, BETWEEN, NEW, NEW, NEW, NEW, NEW], [0, 1, 2, 3, 4, 5, 5, 5])
    found = occurrences(
        [0, 1, 2, 3, 4],  # five sources
        [0, 1, 2],  # three
        [0, 1, 2, 3, 5, 6, 7],  # three of its four new documents are of one source
    )
    assert widespread(found, dumps).tolist() == [True, False, False]


def test_an_ngram_by_which_human_text_changes_is_left_out() -> None:
    parts, n = [OLD] * 40 + [BETWEEN] * 40 + [NEW] * 10, 90
    dumps = dumps_of(parts, list(range(n)))
    found = occurrences(
        [*range(4), *range(40, 70)],  # a tenth of the old text, three quarters of what is later
        [*range(20), *range(40, 60), *range(80, 90)],
        [*range(80, 90)],  # of the new text alone
    )
    fold = np.arange(n) % 2
    assert steady(found, dumps, fold, -1).tolist() == [False, True, True]
    # Where those documents are left out that show it, it isn't known.
    fold = np.where((np.arange(n) >= 44) & (np.arange(n) < 70), 1, 0)
    assert steady(found, dumps, fold, 1).tolist() == [True, True, True]
    fold = np.where(dumps.part == BETWEEN, 1, 0)
    assert steady(found, dumps, fold, 1).tolist() == [True, True, True]
