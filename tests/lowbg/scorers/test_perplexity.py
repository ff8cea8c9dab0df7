"""The n-gram model against a plain reference, and the scorer's edges."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lowbg.jobs.train.kneser_ney import LmConfig, count_levels, estimate, make_table
from lowbg.kernels.characters import LATIN
from lowbg.models import ModelFile, open_model, save_arrays
from lowbg.scorers.base import Documents
from lowbg.scorers.perplexity import Perplexity, create
from lowbg.text.tokens import tokenize

TEXT = (
    "the cat sat on the mat. the dog sat on the log. a cat and a dog met. the cat ran. "
    "a dog ran to the mat. the log lay on the mat. dogs and cats met on the log. "
    "the old dog saw the old cat. a cat saw a dog. the dog lay on a mat."
)
CODES = ("en", "xx")


def documents(*texts: str, language: int = 0) -> Documents:
    text = pa.array(list(texts), pa.large_string())
    tokens = tokenize(text, np.full(len(texts), LATIN, np.uint8))
    return Documents(text, tokens, np.full(len(texts), language, np.int8), CODES)


class Reference:
    """Interpolated modified Kneser–Ney in dicts and float64 (Chen & Goodman 1999, eq. 25, 26)."""

    def __init__(self, sentences: list[list[str]], order: int) -> None:
        self.order = order
        raw: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            padded = ["<s>", *sentence]
            for end in range(1, len(padded)):
                for n in range(1, order + 1):
                    if end - n + 1 >= 0:
                        raw[n][tuple(padded[end - n + 1 : end + 1])] += 1
        self.counts: list[Counter[tuple[str, ...]]] = [Counter(), *raw[1:]]
        for n in range(1, order):
            left: Counter[tuple[str, ...]] = Counter(gram[1:] for gram in raw[n + 1])
            self.counts[n] = Counter(
                {gram: raw[n][gram] if gram[0] == "<s>" else left[gram] for gram in raw[n]}
            )
        self.discounts = [[0.0]] + [self._discounts(c) for c in self.counts[1:]]
        self.after: list[dict[tuple[str, ...], list[int]]] = [{}]
        for n in range(1, order + 1):
            follow: dict[tuple[str, ...], list[int]] = defaultdict(list)
            for gram, count in self.counts[n].items():
                follow[gram[:-1]].append(count)
            self.after.append(follow)
        self.vocabulary = {gram[0] for gram in self.counts[1]}

    @staticmethod
    def _discounts(counts: Counter[tuple[str, ...]]) -> list[float]:
        n = [sum(1 for c in counts.values() if c == k) for k in range(5)]
        fallback = [0.0, 0.5, 1.0, 1.5]
        if not all(n[1:5]):
            return fallback
        y = n[1] / (n[1] + 2 * n[2])
        found = [0.0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return found if min(found) >= 0 else fallback

    def probability(self, context: tuple[str, ...], word: str) -> float:
        n = len(context) + 1
        lower = 1.0 / (len(self.vocabulary) + 1) if n == 1 else self.probability(context[1:], word)
        follow = self.after[n].get(context)
        if not follow:
            return lower
        total = sum(follow)
        discount = self.discounts[n]
        count = self.counts[n][(*context, word)]
        mass = sum(discount[min(c, 3)] for c in follow)
        return max(count - discount[min(count, 3)], 0.0) / total + mass / total * lower

    def log_likelihood(self, sentences: list[list[str]]) -> float:
        total = 0.0
        for sentence in sentences:
            padded = ["<s>", *sentence]
            for end in range(1, len(padded)):
                context = tuple(padded[max(0, end - self.order + 1) : end])
                total += math.log(self.probability(context, padded[end]))
        return total


def sentences_of(text: str) -> list[list[str]]:
    return [part.split() for part in text.rstrip(".").split(". ")]


def model(tmp_path: Path, order: int, text: str = TEXT, slots: int = 1 << 12) -> ModelFile:
    config = LmConfig(order=order, slots=slots)
    tokens = documents(text).tokens
    table = make_table(estimate(count_levels(tokens.words, tokens.sentences, config)), config)
    path = tmp_path / f"en{order}.safetensors"
    save_arrays(path, {"lm_slots": table.slots}, {"lm": table.metadata})
    return open_model(path)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "the cat sat on the log. a dog ran.",
        "the zebra sat. mat the on sat cat the. unknown words alone here.",
        "dog",
    ],
)
def test_table_agrees_with_reference(tmp_path: Path, order: int, text: str) -> None:
    reference = Reference(sentences_of(TEXT), order)
    scored = create({"en": model(tmp_path, order)}).score(documents(text))
    sentences = sentences_of(text)
    words = sum(len(s) for s in sentences)
    expected = math.exp(-reference.log_likelihood(sentences) / words)
    # Half a step of log P and of each back-off weight used, a word.
    assert scored["perplexity"][0].as_py() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_reference_adds_up_to_one(order: int) -> None:
    reference = Reference(sentences_of(TEXT), order)
    for context in [("the",), ("<s>",), ("cat",), ("on", "the"), ("zebra", "the")]:
        words = [*reference.vocabulary, "<unk>"]
        part = context[-(order - 1) :] if order > 1 else ()
        assert sum(reference.probability(part, w) for w in words) == pytest.approx(1.0)


def test_pruned_table_still_adds_up_to_one(tmp_path: Path) -> None:
    file = model(tmp_path, 2, slots=64)
    scorer = create({"en": file})
    vocabulary = sorted(set(TEXT.replace(".", "").split()))
    for context in ("the", "a", "log"):
        one = scorer.score(documents(f"{context}"))["perplexity"][0].as_py()
        both = scorer.score(documents(*(f"{context} {w}" for w in vocabulary)))["perplexity"]
        p = [one / value.as_py() ** 2 for value in both]
        unknown = one / scorer.score(documents(f"{context} qqq"))["perplexity"][0].as_py() ** 2
        assert sum(p) + unknown == pytest.approx(1.0, abs=0.08)


def test_sentence_starts_are_a_context(tmp_path: Path) -> None:
    scorer = create({"en": model(tmp_path, 2)})
    first, inside = scorer.score(documents("cat. the", "cat the"))["perplexity"].to_pylist()
    assert first < inside


def test_bits_per_byte_and_spread(tmp_path: Path) -> None:
    scored = create({"en": model(tmp_path, 2)}).score(documents("the cat sat. zz qq.", "the cat"))
    perplexity = scored["perplexity"].to_pylist()
    bits = scored["bits_per_byte"].to_pylist()
    assert bits[0] == pytest.approx(math.log2(perplexity[0]) * 5 / 13, rel=1e-5)
    spread = scored["sentence_perplexity_spread"].to_pylist()
    assert spread[0] > 0.5
    assert spread[1] is None


def test_null_without_model_or_words(tmp_path: Path) -> None:
    scorer = create({"en": model(tmp_path, 2)})
    assert scorer.score(documents("the cat", language=1))["perplexity"].to_pylist() == [None]
    assert scorer.score(documents("the cat", language=-1))["bits_per_byte"].to_pylist() == [None]
    assert scorer.score(documents("…", ""))["perplexity"].to_pylist() == [None, None]
    assert create({}).score(documents("the"))["perplexity"].to_pylist() == [None]
    assert scorer.languages == {"en"}
    assert len(scorer.score(documents())["perplexity"]) == 0


def test_documents_do_not_influence_each_other(tmp_path: Path) -> None:
    scorer: Perplexity = create({"en": model(tmp_path, 3)})
    texts = ["the cat sat on the mat. a dog", "the old dog", "mat", "zebra zebra. the cat ran."]
    together = scorer.score(documents(*texts))
    for i, text in enumerate(texts):
        alone = scorer.score(documents(text))
        for name, column in together.items():
            assert alone[name][0].as_py() == column[i].as_py()
