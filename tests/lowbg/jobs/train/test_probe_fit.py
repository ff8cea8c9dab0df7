"""How a probe is fitted, chosen and measured; on states that the test makes, without a model."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lowbg.decision.calibration import FPR_GRID
from lowbg.decision.lm import heed, join
from lowbg.jobs.train import probe_joined
from lowbg.jobs.train.calibration import Spread, document_thresholds
from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.probe import (
    BETWEEN,
    Candidate,
    Documents,
    choose,
    fit,
    human_text,
    judge,
    left_out,
    make_probe,
    spread_over_folds,
    threshold_at,
)
from lowbg.jobs.train.probe_joined import as_left_out, joined_text
from lowbg.jobs.train.regression import Dense, Sparse, fit_logistic
from lowbg.scorers.lm.probes import ProbeOf


def made(kinds: int = 6, each: int = 30, seed: int = 5) -> tuple[np.ndarray, Documents]:
    """States of 12 numbers: the first says who wrote, the others which dataset it is of."""
    generator = np.random.default_rng(seed)
    states, is_ai, datasets = [], [], []
    for k in range(2 * kinds):
        ai = k % 2 == 1
        place = generator.normal(size=12) * 2
        place[0] = 1.5 if ai else -1.5
        states.append(place + generator.normal(size=(each, 12)))
        is_ai += [ai] * each
        datasets += [f"set-{k}"] * each
    words = np.full(len(is_ai), 200, np.int64)
    return np.concatenate(states), Documents(np.array(is_ai), np.array(datasets), words)


def test_a_dense_matrix_is_fitted_as_a_sparse_one() -> None:
    generator = np.random.default_rng(1)
    columns = generator.integers(0, 9, (200, 3))
    columns = np.array([sorted({*row}) for row in columns], dtype=object)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in columns])]).astype(np.int64)
    scale = generator.uniform(0.5, 2.0, 200)
    sparse = Sparse(starts, np.concatenate([*columns]).astype(np.int32), scale, 9)
    dense = np.zeros((200, 9))
    for i, row in enumerate(columns):
        dense[i, list(row)] = scale[i]
    labels, weights = generator.random(200) < 0.4, generator.uniform(0.5, 1.5, 200)
    one = fit_logistic(sparse, labels, weights, 1e-2, 200, 1e-8)
    other = fit_logistic(Dense(dense), labels, weights, 1e-2, 200, 1e-8)
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    assert one[1] == pytest.approx(other[1], abs=1e-5)
    assert Dense(dense).rows(np.array([3, 5])).values.tolist() == dense[[3, 5]].tolist()


def test_kinds_and_labels_count_alike() -> None:
    """A kind that has ten times the rows moves the fit no further, and neither do more kinds."""
    states, documents = made()
    chosen = np.arange(len(documents.words))
    often = np.concatenate([chosen, np.tile(np.flatnonzero(documents.datasets == "set-0"), 9)])
    once, again = (fit(states, documents, rows, 0.1) for rows in (chosen, often))
    np.testing.assert_allclose(once.weights, again.weights, atol=1e-9)
    fewer = chosen[~np.isin(documents.datasets, ["set-0", "set-2"])]
    assert fit(states, documents, fewer, 0.1).weights[0] == pytest.approx(once.weights[0], rel=0.3)


def test_the_probe_is_the_discriminant_of_the_plain_formula() -> None:
    states, documents = made(kinds=4)
    chosen = np.arange(len(documents.words))
    found = fit(states, documents, chosen, 0.0)
    kinds = np.unique(documents.kinds)
    means = {kind: states[documents.kinds == kind].mean(0) for kind in kinds}
    within = np.mean([np.cov(states[documents.kinds == k].T, bias=True) for k in kinds], 0)
    sides = [np.array([means[k] for k in kinds if k.startswith(s)]) for s in ("ai/", "human/")]
    between = np.mean([np.cov(side.T, bias=True) for side in sides], 0)
    ai, human = (side.mean(0) for side in sides)
    wanted = np.linalg.solve(within + BETWEEN * between, ai - human)
    np.testing.assert_allclose(found.weights / found.scale, wanted, rtol=1e-3)
    middle = found.log_odds(((ai + human) / 2)[None])
    assert middle == pytest.approx(0.0, abs=1e-6)


def test_what_sets_kinds_apart_is_learned_little() -> None:
    """One number tells the labels apart and is alike in all kinds, another one differs by kind."""
    generator = np.random.default_rng(8)
    states, documents = made(kinds=5)
    states = generator.normal(size=(len(states), 2))
    states[:, 0] += np.where(documents.is_ai, 1.0, -1.0)
    for k, kind in enumerate(np.unique(documents.kinds)):
        own = documents.kinds == kind
        states[own, 1] += (2.0 if kind.startswith("ai/") else -2.0) + (k % 5 - 2) * 2.0
    weights = fit(states, documents, np.arange(len(states)), 0.1)
    per_unit = weights.weights / weights.scale
    assert per_unit[0] > 5 * per_unit[1] > 0


def test_datasets_are_left_out_whole(caplog: pytest.LogCaptureFixture) -> None:
    _, documents = made()
    fold = spread_over_folds(documents, 3)
    for name in np.unique(documents.datasets):
        assert len(set(fold[documents.datasets == name].tolist())) == 1
    for label in (True, False):
        assert set(fold[documents.is_ai == label].tolist()) == {0, 1, 2}
    assert not caplog.records
    one = Documents(
        documents.is_ai, np.where(documents.is_ai, "a", documents.datasets), documents.words
    )
    with caplog.at_level(logging.WARNING):
        fold = spread_over_folds(one, 3)
    assert "AI text is of one dataset" in caplog.text
    assert set(fold[one.is_ai].tolist()) == {0, 1, 2}


def test_what_is_left_out_was_never_seen() -> None:
    states, documents = made()
    fold = spread_over_folds(documents, 3)
    held = left_out(states, documents, fold, 1e-2)
    moved = states.copy()
    moved[fold == 1] += 100.0  # Only they themselves notice.
    again = left_out(moved, documents, fold, 1e-2)
    inside = np.flatnonzero(fold == 1)
    own = fit(states, documents, np.flatnonzero(fold != 1), 1e-2)
    np.testing.assert_allclose(held[inside], own.log_odds(states[inside]))
    np.testing.assert_allclose(again[inside], own.log_odds(moved[inside]))


def test_the_layer_that_tells_is_chosen() -> None:
    states, documents = made(kinds=20, each=12)
    noise = np.random.default_rng(2).normal(size=states.shape)
    candidates = choose({4: noise, 7: states}, documents, (1e-2, 1.0), 3)
    assert len(candidates) == 4
    best = candidates[0]
    assert best.layer == 7
    assert best.found.auroc > 0.9 > 0.7 > candidates[-1].found.auroc
    assert best.found.merit >= candidates[1].found.merit


def test_the_rate_is_the_mean_of_the_kinds_own() -> None:
    human = [np.arange(100.0), np.arange(50.0) - 1_000.0]
    # One in 100 of the first kind is half a percent on average, whatever the second's size.
    assert threshold_at(human, 0.005) == 98.0
    assert threshold_at(human, 0.05) == 89.0
    assert threshold_at(human, 0.0) == 99.0
    documents = Documents(
        np.array([False] * 150 + [True] * 4),
        np.array(["a"] * 100 + ["b"] * 50 + ["c"] * 4),
        np.full(154, 200),
    )
    found = judge(np.concatenate([*human, [98.5, 98.5, 0.0, 97.0]]), documents)
    assert found.recall == (0.5, 0.75)  # above 97 and above 89
    assert found.worst == pytest.approx(0.02)


def test_human_text_that_was_left_out_sets_the_thresholds() -> None:
    states, documents = made(each=80)
    held = left_out(states, documents, spread_over_folds(documents, 3), 1e-1)
    told, z = human_text(held, documents)
    assert len(z) == 6 * 80
    assert told["thresholds"] == sorted(told["thresholds"], reverse=True)
    at = told["thresholds"][FPR_GRID.index(0.05)]
    assert np.mean(z >= at) <= 0.05


def test_tables_own_datasets_take_the_places_that_they_had_when_left_out() -> None:
    stored = {"known": {"z": [3.0, 2.8, 2.4, 2.0, 1.6, 1.0, 0.5, 0.0, -1.0]}}
    z = np.linspace(-4.0, -1.0, 101)
    names = np.array(["known"] * 101 + ["new"])
    found = as_left_out(np.append(z, 7.0), names, stored)
    assert found[-1] == 7.0
    assert (np.diff(found[:-1]) > 0).all()
    share = np.mean(found[:-1] > 2.0)
    assert share == pytest.approx(0.01, abs=0.006)
    assert np.median(found[:-1]) == pytest.approx(-1.0, abs=0.05)
    assert np.isnan(as_left_out(np.array([np.nan]), np.array(["known"]), stored)).all()


def test_small_datasets_together_hold_what_lies_beyond_the_places_of_one() -> None:
    stored = [3.0, 2.8, 2.4, 2.0, 1.6, 1.0, 0.5, 0.0, -1.0]
    names = np.repeat([f"kind {k}" for k in range(60)], 20)
    z = np.tile(np.linspace(-4.0, -1.0, 20), 60)
    found = as_left_out(z, names, {str(name): {"z": stored} for name in np.unique(names)})
    for fpr, at in zip(FPR_GRID[2:7], stored[2:7], strict=True):
        assert np.mean(found >= at) == pytest.approx(fpr, rel=0.2)


def human_row(dataset: str) -> Row:
    return Row("text", "human", dataset, "", "", "", "", "", "en", "")


def test_thresholds_that_count_surprise_are_of_those_of_which_it_was_read() -> None:
    states, documents = made(kinds=12, each=80)
    generator = np.random.default_rng(3)
    figures = generator.normal(size=(len(documents.words), 5))
    figures[np.arange(len(figures)) % 4 != 0] = np.nan
    held = left_out(states, documents, spread_over_folds(documents, 3), 0.3)
    best = Candidate(18, 0.3, judge(held, documents), held)
    rows = [human_row(name) for name in documents.datasets]
    of = ProbeOf("model", "tokens", "m", 0, 192, "float32")
    probe = make_probe(best, states, documents, rows, of, {"language": "xx"}, figures)
    assert probe.surprise is not None
    told, people = probe.card["surprise"], ~documents.is_ai
    assert told["documents"] == 12 * 20
    spread = Spread(told["mean"], told["between"], told["within"])
    words = documents.words[people]
    z = human_text(held, documents)[1]
    higher = heed(z, spread.standardise(probe.surprise.evenness(figures[people]), words))
    read = np.isfinite(figures[people]).all(axis=1)
    names = documents.datasets[people][read]
    wanted = document_thresholds(higher[read], names)
    np.testing.assert_allclose(told["alone"]["thresholds"], wanted, atol=2e-3)
    # Of all documents together they would be lower: most have one z, not the higher of two.
    mixed = document_thresholds(heed(z, np.where(read, higher, np.nan)), documents.datasets[people])
    assert wanted[FPR_GRID.index(0.05)] > mixed[FPR_GRID.index(0.05)] + 0.05


def test_joined_thresholds_count_surprise_where_it_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(4)
    rows = [human_row(f"set-{k % 20}") for k in range(2_000)]
    tables, probe = generator.normal(size=(2, 2_000))
    tables[::7] = np.nan
    surprise = np.where(np.arange(2_000) < 600, generator.normal(size=2_000), np.nan)
    monkeypatch.setattr(probe_joined, "_tables_z", lambda *_: tables)
    whole = joined_text(rows, probe, "en")
    heard = joined_text(rows, probe, "en", surprise)
    assert whole is not None
    assert heard is not None
    judged = ~np.isnan(tables)
    both = judged & ~np.isnan(surprise)
    assert (whole["documents"], heard["documents"]) == (judged.sum(), both.sum())
    # A verdict joins with the one correlation.
    assert heard["correlation"] == whole["correlation"]
    joint = join(tables, probe, heard["correlation"])
    at = heard["thresholds"][FPR_GRID.index(0.05)]
    assert 0.025 < np.mean(heed(joint, surprise)[both] >= at) <= 0.05
    assert at > whole["thresholds"][FPR_GRID.index(0.05)] + 0.1
