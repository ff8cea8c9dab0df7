"""The models, the toys and the sums of the collapse benchmark, against what is known of them."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
from benchmarks.collapse import toys
from benchmarks.collapse.human_text import Document, Sizes, prose, tokens_of
from benchmarks.collapse.measuring import self_similarity
from benchmarks.collapse.regimes import REGIMES, Collected, collect, sifted, written_of
from benchmarks.collapse.sieves import Filters, by_weights, with_floor
from benchmarks.collapse.summary import PERPLEXITY, WRITTEN, alerts, over_seeds
from benchmarks.collapse.word_model import WordFamily
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.config import Policy

TEXT = "The cat saw the dog. The dog saw (once) the cat, and I saw it: the cat ran!"


def test_prose_reads_as_prose() -> None:
    tokens = tokens_of(TEXT)
    assert tokens[:5] == ("the", "cat", "saw", "the", "dog")
    assert prose(tokens) == TEXT
    assert prose(tokens_of("it’s HALF-done… i’m “fine”")) == "It’s half-done I’m fine"


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_tokens_come_through_prose(text: str) -> None:
    tokens = tokens_of(text.encode("ascii", "replace").decode())
    assert tokens_of(prose(tokens)) == tokens


def model(top_p: float = 1.0, tokens: int = 3) -> WordFamily:
    vocabulary = sorted({*tokens_of(TEXT), "never"})
    return WordFamily(vocabulary, tokens, top_p)


@pytest.mark.parametrize("context", ["the cat", "cat the", "never never", "dog ."])
def test_probabilities_sum_to_one_and_leave_no_word_out(context: str) -> None:
    own = model().fit([TEXT], 0)
    words = sorted({*tokens_of(TEXT), "never"})
    rows = own.log_probabilities([f"{context} {word}" for word in words])
    found = {word: float(np.exp(row[-1])) for word, row in zip(words, rows, strict=True)}
    assert sum(found.values()) == pytest.approx(1.0)
    assert 0 < found["never"] < 0.1


def test_probabilities_are_those_of_kneser_and_ney() -> None:
    """Two words: each order gives a quarter to what it saw, the floor is half by a third."""
    own = WordFamily(["a", "b", "c"], 2, 1.0).fit(["a b"], 0)
    seen, unseen = own.log_probabilities(["a b", "a c"])
    assert np.exp(seen[1]) == pytest.approx(0.25 + 0.75 * (0.25 + 0.75 * 0.375))
    assert np.exp(unseen[1]) == pytest.approx(0.75 * 0.75 * 0.25)


@pytest.fixture(scope="module")
def zipf() -> tuple[list[str], list[str]]:
    """A vocabulary and texts of it, in which nearly every word was seen after every other."""
    rng = np.random.default_rng(0)
    words = [chr(97 + i) for i in range(16)]
    p = 1 / np.arange(2, 18)
    return words, [" ".join(rng.choice(words, 40, p=p / p.sum())) for _ in range(400)]


@pytest.mark.slow
def test_it_draws_from_its_own_probabilities(zipf: tuple[list[str], list[str]]) -> None:
    words, texts = zipf
    own = WordFamily(words, 2, 1.0).fit(texts, 0)
    drawn = Counter(text.lower() for text in own.generate(60_000, 1))
    pairs = [f"{a} {b}" for a in words for b in words]
    p = np.exp([row.sum() for row in own.log_probabilities(pairs)])
    counted = np.array([drawn[pair] for pair in pairs]) / 60_000
    assert p.sum() == pytest.approx(1.0)
    assert counted == pytest.approx(p, abs=0.004)


def test_a_word_that_was_never_seen_is_never_drawn() -> None:
    written = model(tokens=30).fit([TEXT], 0).generate(500, 1)
    assert "never" not in " ".join(written).lower()


@pytest.mark.slow
@pytest.mark.parametrize("top_p", [0.3, 0.6, 0.9])
def test_top_p_draws_from_the_nucleus_alone(
    zipf: tuple[list[str], list[str]], top_p: float
) -> None:
    """The second word of a text: the most probable ones, until they have the share together."""
    words, texts = zipf
    drawn: dict[str, Counter[str]] = defaultdict(Counter)
    for text in WordFamily(words, 2, top_p).fit(texts, 0).generate(60_000, 2):
        first, second = text.lower().split()
        drawn[first][second] += 1
    plain = WordFamily(words, 2, 1.0).fit(texts, 0)
    compared = 0
    for first in drawn:
        rows = plain.log_probabilities([f"{first} {word}" for word in words])
        p = {word: float(np.exp(row[1])) for word, row in zip(words, rows, strict=True)}
        # Those as probable as the last one are in it, too.
        above = {w: sum(own for own in p.values() if own > p[w] + 1e-12) for w in words}
        nucleus = [word for word in words if above[word] < top_p]
        # The floor, of which nothing is drawn, may tip what is on the brink.
        brink = min(abs(mass - top_p) for mass in above.values())
        if brink < 0.01 or drawn[first].total() < 2_000:
            continue
        compared += 1
        assert drawn[first].keys() == set(nucleus)
        whole = sum(p[word] for word in nucleus)
        for word in nucleus:
            share = drawn[first][word] / drawn[first].total()
            assert share == pytest.approx(p[word] / whole, abs=0.04)
    assert compared > 1


def test_a_text_by_itself_is_drawn_again_from_its_seed() -> None:
    own = model(0.95, tokens=40).fit([TEXT], 0)
    assert own.generate(3, 5) == own.generate(3, 5)
    assert own.generate(3, 5) != own.generate(3, 6)
    assert {len(tokens_of(text)) for text in own.generate(3, 5)} == {40}


def documents(count: int, dataset: str | None) -> list[Document]:
    return [Document(f"{dataset} document {i:03d}. " * 5, dataset) for i in range(count)]


def collected(name: str) -> Collected:
    regime = next(each for each in REGIMES if each.name == name)
    sizes = Sizes(documents=40)
    outputs = [documents(written_of(regime, sizes), None) for _ in range(3)]
    return collect(
        regime, original=documents(40, "original"), fresh=documents(40, "fresh"), outputs=outputs,
        filters=Filters({}), seed=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "generated", "human"),
    [
        ("human", 0, 40),
        ("replace", 40, 0),
        ("keep10", 36, 4),
        ("accumulate", 120, 40),
        ("reserve50", 40, 40),
        ("crawl60_none", 24, 16),
        ("crawl90_none", 36, 4),
        ("crawl60_oracle", 0, 16),
        ("crawl60_floor50", 16, 16),
        ("crawl90_floor30", 9, 4),
    ],
)
def test_what_a_regime_trains_on(name: str, generated: int, human: int) -> None:
    used = collected(name).trained_on
    # A floor is one of tokens, of which each document has nearly as many.
    assert sum(each.generated for each in used) == pytest.approx(generated, abs=1)
    assert sum(not each.generated for each in used) == human


def test_an_ample_crawl_gives_a_corpus_of_the_same_size() -> None:
    found = collected("ample90_floor50")
    assert (len(found.arrived), len(found.trained_on)) == (40 + 360, 40)
    assert sum(each.generated for each in found.passed) == pytest.approx(40, abs=1)


def test_what_was_dropped_is_counted() -> None:
    human, generated = documents(6, "fresh"), documents(4, None)
    passed = [*human[:5], generated[0]]
    found = sifted(Collected([*human, *generated], passed, passed))
    assert (found["dropped"], found["precision"], found["recall"]) == (4, 0.75, 0.75)
    assert (found["human_dropped"], found["documents"]) == (1, 6)
    nothing = sifted(Collected(human, human, human))
    assert (nothing["precision"], nothing["recall"]) == (None, None)


@pytest.mark.parametrize(("called", "passed"), [(None, 40), (np.arange(40) == 0, 39)])
def test_without_learned_tables_everything_passes(
    called: NDArray[np.bool_] | None, passed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Filters, "learned", lambda *_: called)
    found = collected("crawl60_learned")
    assert len(found.trained_on) == passed
    assert sifted(found)["refused"] == (called is None)


@pytest.mark.slow
def test_what_learn_finds_needs_no_labels() -> None:
    """Models have the words of human text, at other rates; nobody says which text is theirs."""
    rng = np.random.default_rng(3)
    words = ["".join(letters) for letters in itertools.product("bdkl", "aeiou", "mnst", "aeiou")]
    p = 1 / np.arange(3, 403)

    def written(count: int, dataset: str | None) -> list[Document]:
        rates = np.roll(p, 0 if dataset else 7)
        drawn = rng.choice(words, (count, 160), p=rates / rates.sum())
        drawn[:, ::2] = rng.choice(["the", "of", "and", "is", "was", "to", "in"], (count, 80))
        return [
            Document(" ".join(w + "." * (i % 9 == 8) for i, w in enumerate(text)), dataset)
            for text in drawn.tolist()
        ]

    def human(count: int) -> list[Document]:
        return [each for i in range(8) for each in written(count // 8, f"dataset{i}")]

    own = Filters({}, human(400), human(400))
    called = own.learned([*human(200), *written(200, None)], 1)
    assert called is not None
    assert called[:200].mean() < 0.05
    assert called[200:].mean() > 0.9
    assert own.learned(human(400), 1) is None, "there is no AI text"


@pytest.mark.slow
def test_mixes_come_from_the_command() -> None:
    human, generated = documents(10, "fresh"), documents(30, None)
    mixed = with_floor(human, generated, 0.5, 1)
    assert [each for each in mixed if not each.generated] == human
    assert len(mixed) == pytest.approx(20, abs=1)
    # Too short to be scored, synthetic documents weigh nothing: none is drawn.
    assert by_weights(generated, Policy(), 1) == []


def test_similar_texts_are_similar() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert self_similarity([["a", "b"], ["a", "b"]], weights) == pytest.approx(1.0)
    assert self_similarity([["a"], ["b"], ["c"]], weights) == pytest.approx(0.0)
    assert self_similarity([["a", "b"], ["b", "c"]], weights) == pytest.approx(0.5)


def test_intervals_are_students() -> None:
    # mean 3, standard deviation 1.5811, t 2.776.
    assert over_seeds([1, 2, 3, 4, 5]) == pytest.approx([3, 3 - 1.96293, 3 + 1.96293], abs=1e-4)
    assert over_seeds([7.0]) == [7.0, None, None]


def test_alerts_say_which_comes_first() -> None:
    def record(perplexity: float, tokens: float, *, drift: bool) -> dict[str, object]:
        figures = {"perplexity": perplexity, "unique_tokens": tokens, "entropy_unigrams": 9.0}
        return {"figures": figures, "drift": {"ai_share": [0.1, drift], "hosts": [0.0, False]}}

    late = [record(100, 1_000, drift=False), record(105, 840, drift=False),
            record(109, 700, drift=True), record(111, 600, drift=True)]  # fmt: skip
    never = [record(100, 1_000, drift=False)] * 4
    found = alerts([late, never])
    assert (found[PERPLEXITY]["fired"], found[PERPLEXITY]["first"]) == (1, 3)
    assert (found[WRITTEN[0]]["first"], found[WRITTEN[0]]["before_perplexity"]) == (1, 2)
    assert found[WRITTEN[0]]["rate"] == 0.5
    assert found[WRITTEN[1]]["fired"] == 0
    assert found["drift: any"]["first"] == 2
    assert found["drift: ai_share"]["before_perplexity"] == 1
    assert "drift: hosts" not in found


def test_the_gaussian_follows_its_theory() -> None:
    found = toys.gaussian(50, 60, 4_000, seed=1)
    assert found.geometric_mean == pytest.approx(found.expected_geometric_mean, rel=0.1)
    assert found.distance[1:] == pytest.approx(found.expected_distance[1:], rel=0.15)
    assert found.expected_geometric_mean[-1] < 0.35
    assert toys.digamma(1.0) == pytest.approx(-0.5772156649)
    assert toys.digamma(24.5) == pytest.approx(3.1781, abs=1e-4)


def test_rare_events_are_lost_as_theory_says() -> None:
    found = toys.discrete(500, 1_000, 20, 100, seed=1)
    assert found.coverage == pytest.approx(found.expected_coverage, abs=0.02)
    assert found.coverage[-1] < 0.1 < found.coverage[1]
    assert found.rare == pytest.approx(250, abs=20)
