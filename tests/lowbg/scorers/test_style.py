"""The scorer `style`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lowbg.kernels.characters import LATIN
from lowbg.models import ModelFile
from lowbg.scorers.base import Documents
from lowbg.scorers.style import STYLE_LOG_ODDS, Style
from lowbg.text.style import FEATURES, WEIGHTS
from lowbg.text.tokens import tokenize

TEXTS = ("One: two. Three: four.", "One two. Three four.", "Uno: due.", "")


def style(*heavy: tuple[str, float]) -> Style:
    weights = np.zeros(WEIGHTS)
    weights[-1] = 0.5
    for name, weight in heavy:
        weights[FEATURES.index(name)] = weight
    metadata = {
        "mean": [0.0] * len(FEATURES), "spread": [1.0] * len(FEATURES), "weights": weights.tolist(),
    }  # fmt: skip
    return Style({"en": ModelFile(Path("en"), "", {"style": metadata}, {})})


@pytest.fixture
def documents() -> Documents:
    text = pa.array(TEXTS, pa.large_string())
    tokens = tokenize(text, np.full(len(TEXTS), LATIN, np.uint8))
    return Documents(text, tokens, np.array([0, 0, 1, 0], np.int8), ("en", "it"))


def test_adds_what_each_feature_weighs(documents: Documents) -> None:
    scorer = style(("colons", 2.0), ("full stops", -1.0))
    values = scorer.score(documents)[STYLE_LOG_ODDS.name].to_pylist()
    root = np.sqrt(0.5)
    assert values[:2] == pytest.approx([0.5 + 2 * root - root, 0.5 - root])
    assert values[2:] == [None, None]  # A language without figures, and no words.
    assert scorer.languages == {"en"}


def test_notes_name_what_stands_out(documents: Documents) -> None:
    scorer = style(("colons", 2.0), ("full stops", -1.0))
    values = {STYLE_LOG_ODDS.name: scorer.score(documents)[STYLE_LOG_ODDS.name][0].as_py()}
    (note,) = scorer.notes(documents, 0, values)
    assert note.startswith("style_log_odds +1.21 nats: colons +1.4, full stops -0.7")
    assert not scorer.notes(documents, 2, {STYLE_LOG_ODDS.name: None})


def test_models_without_a_style_give_none(documents: Documents) -> None:
    scorer = Style({"en": ModelFile(Path("en"), "", {}, {})})
    assert scorer.score(documents)[STYLE_LOG_ODDS.name].null_count == len(TEXTS)
