"""The small transformer of the collapse benchmark, and its experiment in its smallest form."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from benchmarks.collapse import run
from benchmarks.collapse.human_text import tokens_of
from benchmarks.collapse.regimes import REGIMES
from tests.benchmarks.collapse.made_text import SMALLEST, write_data

pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from benchmarks.collapse import small_transformer
from benchmarks.collapse.small_transformer import Shape, TransformerFamily, TransformerModel

pytestmark = [pytest.mark.slow, pytest.mark.lm]

SMALL = Shape(width=16, documents=8)

# Of these "the", "cat", "saw" and the marks come more than twice, "ran" and "fell" twice.
TEXTS = ["The cat saw the dog. The cat ran.", "The cat saw me. It ran, it fell, fell.", "The end!"]
WORDS = sorted({token for text in TEXTS for token in tokens_of(text)})


def family(work: Path, top_p: float = 0.95, tokens: int = 12) -> TransformerFamily:
    """Of a vocabulary with five words that no text has."""
    return TransformerFamily(len(WORDS) + 5, tokens, top_p, work, SMALL)


def following(own: TransformerModel, context: str) -> dict[str, float]:
    """P of each word after a context; "never" is one of those that no text has."""
    rows = own.log_probabilities([f"{context} {word}" for word in [*WORDS, "never"]])
    return {word: math.exp(row[-1]) for word, row in zip([*WORDS, "never"], rows, strict=True)}


def test_probabilities_sum_to_one_and_leave_no_word_out(tmp_path: Path) -> None:
    own = family(tmp_path).fit(TEXTS, 0)
    for context in ("the cat", "never never", "fell"):
        found = following(own, context)
        assert sum(found.values()) + 4 * found["never"] == pytest.approx(1.0, abs=1e-4)
        assert 0 < found["never"] < 0.1
        assert found["dog"] == pytest.approx(found["end"]), "both come once"
        assert found["ran"] == pytest.approx(found["fell"]), "both come twice"


def test_it_draws_from_the_nucleus_in_its_proportions(tmp_path: Path) -> None:
    own = family(tmp_path, 0.5, 1).fit(TEXTS, 0)
    # Texts start with the first word: what the start mark is followed by.
    first = own.log_probabilities([*WORDS, "never"])
    p = {w: math.exp(row[0]) for w, row in zip([*WORDS, "never"], first, strict=True)}
    p = {w: each - p["never"] for w, each in p.items()}
    whole = sum(p.values())
    above = {w: sum(x for x in p.values() if x > p[w] * (1 + 1e-6)) / whole for w in p}
    nucleus = {w for w in WORDS if above[w] < 0.5}
    assert 1 < len(nucleus) < len(WORDS)
    drawn = [tokens_of(text)[0] for text in own.generate(3_000, 1)]
    assert set(drawn) == nucleus
    for word in nucleus:
        share = p[word] / sum(p[w] for w in nucleus)
        assert drawn.count(word) / 3_000 == pytest.approx(share, abs=0.03)


def test_it_learns_and_writes_and_is_kept(tmp_path: Path) -> None:
    texts = ["One two three four five six seven eight nine ten. " * 2] * 40
    own = TransformerFamily(50, 22, 0.95, tmp_path, replace(SMALL, documents=800)).fit(texts, 0)
    known, strange = own.log_probabilities(["One two three four five", "Five three one four two"])
    assert known.mean() > strange.mean() + 1
    written = own.generate(3, 1)
    assert own.generate(3, 1) == written != own.generate(3, 2)
    assert {len(tokens_of(text)) for text in written} == {22}
    assert "three four five" in written[0].lower()
    stored = (tmp_path / "generation-0.pt").stat().st_mtime_ns
    again = TransformerFamily(50, 22, 0.95, tmp_path, SMALL)
    same = again.fit(texts, 0)
    assert same.log_probabilities(["One two"])[0] == pytest.approx(known[:2])
    # Later generations are trained, and not kept.
    other = again.fit(["Ten nine eight seven six five four three two one. " * 2] * 4, 0)
    (unknown,) = other.log_probabilities(["One two three four five"])
    assert unknown.mean() < known.mean() - 1
    assert (tmp_path / "generation-0.pt").stat().st_mtime_ns == stored


def test_the_smallest_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_transformer, "Shape", partial(Shape, width=16, documents=160))
    data = write_data(tmp_path)
    chosen = [each for each in REGIMES if each.name in ("human", "replace")]
    found = run.experiment(
        data / "labelled" / "train", tmp_path / "work", family="transformer",
        sizes=replace(SMALLEST, seeds=1, generations=2), top_p=0.9, regimes=chosen, workers=1,
    )  # fmt: skip
    assert found["settings"]["shape"]["documents"] == 160
    last = {
        name: {k: v[-1][0] for k, v in r["figures"].items()} for name, r in found["regimes"].items()
    }
    assert last["replace"]["unique_tokens"] < 0.7 * last["human"]["unique_tokens"]
    assert last["replace"]["perplexity"] > 1.2 * last["human"]["perplexity"]
