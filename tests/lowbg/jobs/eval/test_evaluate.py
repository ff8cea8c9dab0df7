"""Figures of detection quality."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from lowbg.jobs.eval.evaluate import (
    LabelledScores,
    as_json,
    as_markdown,
    auroc,
    evaluate,
    length_buckets,
    listed,
    tpr_at,
)


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 4)
    assert auroc(np.zeros(3), np.zeros(5)) == 0.5


def test_auroc_agrees_with_all_pairs() -> None:
    generator = np.random.default_rng(3)
    human, ai = generator.normal(0, 1, 70).round(1), generator.normal(1, 1, 50).round(1)
    pairs = np.mean([(a > h) + 0.5 * (a == h) for a in ai for h in human])
    assert auroc(human, ai) == pytest.approx(pairs)


def test_tpr_at_a_rate_allows_that_many_false_positives() -> None:
    human = np.arange(100.0)
    assert tpr_at(human, np.array([98.5, 99.5, 50.0]), 0.01) == pytest.approx(2 / 3)
    assert tpr_at(human, np.array([98.5, 99.5, 50.0]), 0.0) == pytest.approx(1 / 3)


def labelled_scores() -> LabelledScores:
    generator = np.random.default_rng(0)
    n = 400
    is_ai = np.arange(n) % 2 == 1
    score = generator.normal(is_ai * 3.0, 1.0)
    score[:40] = np.nan
    return LabelledScores(
        is_ai=is_ai,
        score=score,
        called_ai=np.nan_to_num(score, nan=-9) > 2.5,
        words=np.where(np.arange(n) < 200, 90, 500),
        groups={"dataset": np.where(np.arange(n) < 200, "a", "b")},
    )


def test_groups() -> None:
    results = {(r.grouping, r.group): r for r in evaluate(labelled_scores(), rounds=50)}
    everything = results["all", "all"]
    assert (everything.human, everything.ai) == (200, 200)
    assert everything.coverage == pytest.approx(0.9)
    assert everything.auroc is not None
    assert everything.auroc.low < everything.auroc.value < everything.auroc.high
    assert results["dataset", "a"].coverage == pytest.approx(0.8)
    assert results["length", "60–99"].human == 100
    assert results["dataset", "b"].recall is not None


def test_what_is_called_ai_without_a_score_counts_in_the_rates() -> None:
    """Twenty AI documents and a human one say a near-certain phrase, too short to score."""
    j = labelled_scores()
    before = evaluate(j, rounds=20)[0]
    called = j.called_ai.copy()
    called[1:40:2] = True
    called[0] = True
    after = evaluate(replace(j, called_ai=called), rounds=20)[0]
    assert before.fpr is not None
    assert before.recall is not None
    assert after.fpr is not None
    assert after.recall is not None
    assert after.coverage == pytest.approx((360 + 21) / 400)
    assert after.recall.value == pytest.approx((180 * before.recall.value + 20) / 200)
    assert after.fpr.value == pytest.approx((180 * before.fpr.value + 1) / 181)
    assert after.auroc == before.auroc


def test_same_seed_same_result_and_tables_render() -> None:
    one, two = (as_json(evaluate(labelled_scores(), rounds=20)) for _ in range(2))
    assert one == two
    assert "| a | 100 | 100 | 80 % |" in as_markdown(evaluate(labelled_scores(), rounds=20))


def test_length_buckets() -> None:
    assert length_buckets(np.array([0, 59, 60, 800, 9999])).tolist() == [
        "0–59", "0–59", "60–99", "800+", "800+",
    ]  # fmt: skip


def test_lengths_are_listed_as_numbers() -> None:
    lengths = [0, 60, 100, 200, 400, 800]
    names = [f"{set_} · {name}" for set_ in ("a-2", "a-10") for name in length_buckets(
        np.array(lengths)).tolist()]  # fmt: skip
    assert names[1] == "a-2 · 60–99"
    assert listed(names[::-1]) == names
    assert listed(["x1", "x01", "", "x", "x1"]) == ["", "x", "x01", "x1"]
    j = labelled_scores()
    several = dataclasses.replace(j, words=np.resize(np.array(lengths), len(j)))
    shown = [r.group for r in evaluate(several, rounds=2) if r.grouping == "length"]
    assert shown == ["0–59", "60–99", "100–199", "200–399", "400–799", "800+"]
