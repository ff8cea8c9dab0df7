from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.jobs.drift.holdout import DISCOUNT, VOCABULARY, BigramModel, openings

texts = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=5)


def flat(documents: list[list[int]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    words = np.array([w for d in documents for w in d], np.uint64)
    return words, np.repeat(np.arange(len(documents)), [len(d) for d in documents])


def by_hand(sample: list[list[int]], held: list[int]) -> float:
    """ln P of a document, from the definition."""
    ones = Counter(w for d in sample for w in d)
    twos = Counter(pair for d in sample for pair in pairwise(d))
    followers: dict[int, set[int]] = defaultdict(set)
    contexts: Counter[int] = Counter()
    for (v, w), count in twos.items():
        followers[v].add(w)
        contexts[v] += count
    total = sum(ones.values())
    found = 0.0
    previous: int | None = None
    for word in held:
        p = max(ones[word] - DISCOUNT, 0.0) / total + DISCOUNT * len(ones) / total / VOCABULARY
        if previous is not None and contexts[previous]:
            rest = DISCOUNT * len(followers[previous]) / contexts[previous]
            p = max(twos[previous, word] - DISCOUNT, 0.0) / contexts[previous] + rest * p
        found += log(p)
        previous = word
    return found


@given(texts, texts)
def test_model_is_the_one_of_the_formula(sample: list[list[int]], held: list[list[int]]) -> None:
    held = [[word + 2 for word in document] for document in held]  # some words are unknown
    model = BigramModel(*flat(sample), *flat(held))
    found = model.log_likelihoods(np.ones(len(sample)))
    assert found == pytest.approx([by_hand(sample, document) for document in held])
    # A weight counts a document so many times.
    weights = np.array([1.0, *[0.0] * (len(sample) - 1)])
    once = [by_hand([sample[0]], document) for document in held]
    assert model.log_likelihoods(weights) == pytest.approx(once)


def test_probabilities_add_up() -> None:
    sample = [[0, 1, 2, 0, 1], [1, 1, 0]]
    known = BigramModel(*flat(sample), *flat([[1, w] for w in range(3)]))
    first = BigramModel(*flat(sample), *flat([[1]])).log_likelihoods(np.ones(2))[0]
    after = np.exp(known.log_likelihoods(np.ones(2)) - first).sum()
    unknown = BigramModel(*flat(sample), *flat([[1, 9]])).log_likelihoods(np.ones(2))[0]
    assert after + (VOCABULARY - 3) * np.exp(unknown - first) == pytest.approx(1.0)


def test_openings_tell_documents_by_their_first_words() -> None:
    long = list(range(100, 130))
    documents = [long, [*long[:20], 7, 7], [*long[:15], 7], long[:10], [], long]
    words, _ = flat(documents)
    starts = np.concatenate([[0], np.cumsum([len(d) for d in documents])])
    found = openings(words, starts)
    assert found[0] == found[5]
    assert len(set(found.tolist())) == 5
