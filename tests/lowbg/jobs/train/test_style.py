"""The fit of the style, and what a language's human text is measured by."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lowbg.errors import ModelError
from lowbg.jobs.train.style import StyleFits, alike, fit_style, human_style, log_odds, shipped_fits
from lowbg.models import open_model, save_arrays
from lowbg.models.checks import STYLE_SIZES
from lowbg.text.style import FEATURES, WEIGHTS, expand


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    generator = np.random.default_rng(4)
    deviations = np.clip(generator.normal(size=(3_000, len(FEATURES))), -4, 4)
    truth = generator.normal(size=WEIGHTS) * 0.5
    is_ai = generator.random(3_000) < 1 / (1 + np.exp(-(expand(deviations) @ truth)))
    weights = generator.uniform(0.5, 1.5, 3_000)
    found = fit_style(deviations, is_ai, weights, l2=1e-2)
    p = 1 / (1 + np.exp(-(expand(deviations) @ found)))
    gradient = expand(deviations).T @ (weights / weights.sum() * (p - is_ai)) + 1e-2 * found
    gradient[-1] -= 1e-2 * found[-1]
    assert np.abs(gradient).max() < 1e-5
    assert np.corrcoef(found, truth)[0, 1] > 0.95


def test_each_dataset_is_scored_by_a_fit_without_it() -> None:
    whole, first, second = (np.full(WEIGHTS, k) for k in (1.0, 2.0, 3.0))
    fits = StyleFits((whole, first, second), (frozenset(), frozenset("ab"), frozenset("c")))
    assert fits.of(["c", "a", "of one's own", "b"])[:, 0].tolist() == [3.0, 2.0, 1.0, 2.0]
    assert log_odds(np.zeros((2, len(FEATURES))), np.array([whole, first])) == pytest.approx(
        [1.0 - len(FEATURES), 2.0 - 2 * len(FEATURES)]
    )


def test_the_shipped_fits_leave_every_dataset_out_once() -> None:
    fits = shipped_fits()
    assert fits.left_out[0] == frozenset()
    names = [name for out in fits.left_out for name in out]
    assert len(names) == len(set(names)) > 100
    assert all(weights.shape == (WEIGHTS,) for weights in fits.weights)


def test_collections_count_alike_and_small_ones_less() -> None:
    names = np.array(["a"] * 200 + ["b"] * 50 + ["c"] * 10)
    weights = alike(names)
    assert [weights[names == name].sum() for name in "abc"] == pytest.approx([1.0, 1.0, 0.2])
    features = np.where(names == "a", 1.0, 3.0)[:, None]
    mean, spread = human_style(features, weights)
    assert mean[0] == pytest.approx((1.0 + 3.0 * 1.2) / 2.2)
    assert spread[0] == pytest.approx(2 * np.sqrt(1 / 2.2 * 1.2 / 2.2), abs=2e-3)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"mean": [0.0]}, "style.mean must be 15 numbers"),
        ({"weights": None}, "style.weights must be 31 numbers"),
        ({"mean": [float("nan")] * 15}, "style.mean is nan"),
        ({"spread": [0.0] * 15}, "style.spread must be above 0"),
    ],
)
def test_a_damaged_style_is_refused(tmp_path: Path, fault: dict[str, object], said: str) -> None:
    style = {name: [1.0] * size for name, size in STYLE_SIZES.items()} | fault
    path = tmp_path / "xx.safetensors"
    save_arrays(path, {}, json.loads(json.dumps({"style": style})))
    with pytest.raises(ModelError, match=re.escape(said)):
        open_model(path)
