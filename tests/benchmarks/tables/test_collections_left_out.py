from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from benchmarks.tables.collections_left_out import HeldOut, held_out

from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.train import LeftOut

CALIBRATION = Calibration(
    mean=0.1, between=0.04, within=4.0, thresholds=tuple(np.linspace(3.0, 0.0, len(FPR_GRID))),
    intercept=-2.0, slope=1.5, min_words=75, perplexity_mean=6.0, perplexity_slope=0.5,
    style_mean=1.0, style_between=4.0, style_weight=0.8,
)  # fmt: skip


def row(label: str, dataset: str, attack: str = "") -> Row:
    return Row("text", label, dataset, "", "", attack, "", "", "en", "")


def test_scores_are_those_that_the_calibration_gives(tmp_path: Path) -> None:
    rows = [row("human", "h"), row("ai", "unused"), row("ai", "a", "polish"), row("ai", "short")]
    held = Held(
        document=np.array([0, 2, 3]),
        words=np.array([100, 400, 74]),
        naive_bayes=np.array([0.1, 2.0, 9.0]),
        logistic=np.array([0.1, 1.0, 9.0]),
        log_perplexity=np.array([6.0, 7.0, 6.0]),
        style=np.array([1.0, 2.0, 1.0]),
    )
    got = held_out(LeftOut(rows, held, (0.5, 1.5), CALIBRATION))
    assert got.is_ai.tolist() == [False, True]
    assert got.collection.tolist() == ["h", "a"]
    assert got.attack.tolist() == ["", "polish"]
    # x = (0.5 · 2 + 1.5 · 1) / 2 = 1.25; z = 1.15 / √(0.04 + 4 / 400) − 0.5 + 0.8 / 2.
    z = np.array([0.0, 1.15 / np.sqrt(0.05) - 0.5 + 0.4])
    assert got.score == pytest.approx(CALIBRATION.score(z), abs=1e-6)
    assert got.called_ai.tolist() == [False, True]
    got.save(tmp_path / "new" / "en.npz")
    back = HeldOut.load(tmp_path / "new" / "en.npz")
    for field in dataclasses.fields(HeldOut):
        assert getattr(back, field.name).tolist() == getattr(got, field.name).tolist()
