"""What is tried on left-out kinds is fitted on others, and read once."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.neural import joining_trials, unseen_kinds
from benchmarks.quality import unseen_kinds as tables
from tests.tiny_lm import NOUNS, VERBS, save_model

from lowbg.scorers.lm.store import locate

pytestmark = pytest.mark.lm

OF_AI = ["notably", "crucial", "seamless", "landscape", "foster", "robust"]
ROWS = 24


def text(own: random.Random, *, ai: bool) -> str:
    """Sixteen plain sentences; AI text has an odd word in most."""
    odd = [own.choice(OF_AI) + " " if ai and own.random() < 0.8 else "" for _ in range(16)]
    return " ".join(
        f"In the {word}{own.choice(NOUNS)} she {own.choice(VERBS)} a {own.choice(NOUNS)}."
        for word in odd
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four kinds of both labels."""
    folder = tmp_path_factory.mktemp("data")
    train = folder / "labelled" / "train"
    train.mkdir(parents=True)
    for k in range(8):
        own, label = random.Random(k), "ai" if k % 2 else "human"
        rows = [
            {"text": text(own, ai=label == "ai"), "label": label, "dataset": f"set-{k}"}
            for _ in range(ROWS)
        ]
        lines = [json.dumps({**row, "lang": "en", "id": f"{k}-{i}"}) for i, row in enumerate(rows)]
        (train / f"set-{k}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tiny"), "llama", context=128, steps=60)


def rows_of(output: str) -> dict[str, list[str]]:
    """The cells of each row of all tables by the first ones."""
    rows = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_the_tables_are_made_from_what_was_read_once(
    data: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [str(data), str(model), "--cache", str(tmp_path), "--layers", "1", "2"]
    arguments += ["--tokens", "96", "--rows", "24", "--documents", "6", "24", "--splits", "2"]
    assert joining_trials.main(arguments) == 0
    first = capsys.readouterr().out
    assert first.count("192 documents of 4 kinds of AI text and 4 of human text") == 4
    rows = rows_of(first)
    assert float(rows["words and style"][0].split()[0]) > 90
    assert float(rows["**joined 1 : 1**"][0].split()[0]) > 90
    assert float(rows["curvature"][0].split()[0]) < 50
    assert rows["words and style"][-1] == "–"
    assert float(rows["curvature"][-1]) > 40
    assert {"layer 1", "layer 2", "layer 2, ridge 3", "probe, 24", "joined, 6"} <= rows.keys()
    assert rows["probe, 6"][-1] == "–"
    assert "±" in rows["probe, 24"][-1]

    def unread(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(unseen_kinds, "state_reader", unread)
    assert joining_trials.main(arguments) == 0
    assert capsys.readouterr().out == first


def test_the_probes_documents_alone_vary(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unseen_kinds.draw(data, ["train"], ROWS)
    folder = locate(str(model), "MODEL")
    known = joining_trials.read(rows, folder, unseen_kinds.Reading((1,), 48), tmp_path)
    words: list[np.ndarray] = []
    probes: list[tuple[np.ndarray, np.ndarray]] = []
    scores, probe_scores = tables.scores, unseen_kinds.probe_scores

    def of_words(material: tables.Material, fitted: np.ndarray, *rest: object) -> np.ndarray:
        words.append(fitted)
        return scores(material, fitted, *rest)  # type: ignore[arg-type]

    def of_probe(
        states: dict[int, np.ndarray], own: object, fitted: np.ndarray, held: np.ndarray
    ) -> tuple[np.ndarray, int, float]:
        probes.append((fitted, held))
        return probe_scores(states, own, fitted, held)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "scores", of_words)
    monkeypatch.setattr(joining_trials, "probe_scores", of_probe)
    joining_trials.found_by_documents(known, [6, 20], 1)
    assert [int(fitted.sum()) for fitted in words] == [4 * ROWS] * 2
    assert [int(fitted.sum()) for fitted, _ in probes] == [4 * 6, 4 * 20] * 2
    for (few, held), (many, same), of_split in zip(probes[::2], probes[1::2], words, strict=True):
        assert held.tolist() == same.tolist()
        assert len(held) == 4 * ROWS
        assert not of_split[held].any()
        assert not (few & ~many).any()
        assert not (many & ~of_split).any()


def test_thresholds_lie_higher_by_standard_errors() -> None:
    generator = np.random.default_rng(2)
    names = np.repeat([f"kind {k}" for k in range(30)], 40)
    z = generator.normal(size=1_200) + np.repeat(generator.normal(0, 0.5, 30), 40)
    of_rules = [joining_trials.threshold(z, names, sure) for sure in (None, 0.0, 0.5, 1.0, 1.64)]
    assert of_rules == sorted(set(of_rules))
    assert np.mean(z >= of_rules[1]) == pytest.approx(0.01, abs=0.002)
