"""Kinds that are left out are left out whole, and the threshold is what it says."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality import unseen_kinds

WORDS = [f"{a}{b}{c}" for a in "bdgkl" for b in "aeiou" for c in "mnrst"]


def _write(folder: Path, dataset: str, label: str, favourites: int, rows: int = 30) -> None:
    """Texts of 100 words, a fifth of them among the `favourites` first ones; AI text has colons."""
    draw = random.Random(f"{dataset}{label}")
    path = folder / f"{dataset}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        for i in range(rows):
            words = [
                draw.choice(WORDS[:favourites] if draw.random() < 0.2 else WORDS)
                for _ in range(100)
            ]
            mark = ": " if label == "ai" else " "
            clauses = [" ".join(words[k : k + 5]) for k in range(0, 100, 5)]
            text = ". ".join(mark.join(clauses[k : k + 2]) for k in range(0, 20, 2))
            row = {"text": text, "label": label, "dataset": dataset, "lang": "xx"}
            file.write(json.dumps({**row, "id": f"{dataset}-{label}-{i}"}) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    train, prose = tmp_path / "labelled" / "train", tmp_path / "prose"
    train.mkdir(parents=True)
    prose.mkdir()
    for k in range(4):
        _write(train, f"ai{k}", "ai", 5)
        _write(train, f"human{k}", "human", len(WORDS))
    _write(train, "both", "ai", 5)
    _write(train, "both", "human", len(WORDS))
    _write(prose, "prose", "human", len(WORDS))
    return tmp_path


def test_kinds_are_left_out_whole(data: Path) -> None:
    material = unseen_kinds.gather(data, "xx", 25)
    assert sorted(np.unique(material.kind, return_counts=True)[1]) == [25] * 11
    left: list[str] = []
    for fitted, held in unseen_kinds.splits(material, 1):
        out = set(material.kind[held].tolist())
        left += out
        assert {kind.partition("/")[0] for kind in out} == {"ai", "human"}
        names = {kind.partition("/")[2] for kind in out}
        assert not names & set(material.dataset[fitted].tolist())
        weights = material.window_weights(fitted)
        document = material.windows.document
        assert not weights[~fitted[document]].any()
        is_ai = material.is_ai[document]
        assert weights[is_ai].sum() == pytest.approx(1.0)
        human = [
            weights[material.kind[document] == k].sum() for k in ("human/human0", "human/prose")
        ]
        assert human[0] == pytest.approx(human[1]) or 0 in human
    assert {kind for kind in left if kind.startswith("ai/")} == {
        "ai/ai0", "ai/ai1", "ai/ai2", "ai/ai3", "ai/both",
    }  # fmt: skip


def test_of_few_kinds_of_ai_text_all_human_text_is_kept(data: Path) -> None:
    material = unseen_kinds.gather(data, "xx", 25)
    fitted, _ = next(unseen_kinds.splits(material, 1))
    few = unseen_kinds.with_few_kinds(material, fitted, 2, seed=0)
    assert len(set(material.kind[few & material.is_ai].tolist())) == 2
    assert (few & ~material.is_ai).sum() == (fitted & ~material.is_ai).sum()
    other = unseen_kinds.with_few_kinds(material, fitted, 2, seed=1)
    assert set(material.kind[other].tolist()) != set(material.kind[few].tolist())


@pytest.mark.parametrize("method", unseen_kinds.METHODS, ids=lambda method: method.name)
def test_favourite_words_are_found_in_unseen_kinds(data: Path, method: unseen_kinds.Method) -> None:
    material = unseen_kinds.gather(data, "xx", 30)
    fitted, held = next(unseen_kinds.splits(material, 1))
    found = unseen_kinds.judge(material, held, unseen_kinds.scores(material, fitted, held, method))
    assert min(found.auroc.values()) > 0.9
    assert found.worst <= 0.05


def test_the_threshold_is_that_of_the_mean_human_kind(data: Path) -> None:
    material = unseen_kinds.gather(data, "xx", 30)
    held = np.arange(len(material.words))
    # Within each kind one document in 30 scores above all AI text: 3 % of each, so none may.
    score = np.where(material.is_ai, 1.0, 0.0) + np.arange(len(held)) % 30 * 0.01
    score[~material.is_ai & (np.arange(len(held)) % 30 == 7)] = 9.0
    found = unseen_kinds.judge(material, held, score)
    assert found.worst == 0.0
    assert set(found.recall.values()) == {0.0}
    assert unseen_kinds.line("m", [found]).startswith("| m | 0.0% | 0% | 0.9")
