from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.lowbg.jobs.review_designs import simulated

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.review.drawing import NAMES, allocated, spread
from lowbg.jobs.review.figures import figures, kappa
from lowbg.jobs.review.labels import LabelLine, LabelsFile
from lowbg.jobs.review.queue import Review, Task, tasks
from lowbg.jobs.review.thresholds import thresholds
from lowbg.runs.engine import Engine


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [0.0, 0.05])
def test_intervals_cover_the_truth(wrong: float) -> None:
    covered = dict.fromkeys(("precision", "recall", "share"), 0)
    for seed in range(100):
        design, labels, truth = simulated(seed, wrong=wrong)
        found = figures(design, labels)
        for name in covered:
            own, true = getattr(found, name), truth[name]
            covered[name] += own.low <= true <= own.high
            assert own.high - own.low < 0.6
    assert min(covered.values()) >= 93, covered


def test_figures_wait_until_every_stratum_has_a_label() -> None:
    design, labels, _ = simulated(0, wrong=0.0)
    assert figures(design, []).precision is None
    few = [label for label in labels if design.documents[label.document].stratum]
    assert figures(design, few).recall is None
    assert figures(design, few).unlabelled == (design.strata[0].name,)
    assert figures(design, labels).unlabelled == ()
    not_blind = [
        LabelLine(document=own.document, label=own.label, reviewer="ann", blind=False)
        for own in labels
    ]
    assert figures(design, not_blind).labelled == 0


def test_everything_labelled_twice_alike_is_what_was_said() -> None:
    design, labels, truth = simulated(1, wrong=0.0, size=20_000, documents=3_000)
    found = figures(design, labels)
    assert found.labelled == 3_000
    for name in ("precision", "recall", "share"):
        assert getattr(found, name).value == pytest.approx(truth[name])


@pytest.mark.slow
def test_thresholds_from_labels_keep_their_target() -> None:
    engine = Engine(Policy()).setup()

    def score_of(margin: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(engine.scores_around("en", margin.tolist()))

    kept = 0
    for seed in range(20):
        design, labels, truth = simulated(seed, wrong=0.0, score_of=score_of)
        (found,) = thresholds(design, labels, engine, 0.01)
        assert found.new is not None
        assert found.rate is not None
        assert found.rate <= 0.01
        kept += (truth["scores"] >= found.new).mean() <= 0.01
    assert kept >= 18
    few = labels[:30]
    assert all(own.new is None for own in thresholds(design, few, engine, 0.01))
    ai = [msgspec.structs.replace(label, label="ai") for label in labels]
    with pytest.raises(ConfigError, match="no document is labelled human"):
        thresholds(design, ai, engine, 0.01)


def test_kappa() -> None:
    # Cohen 1960's arithmetic by hand: agreed .7, by chance .5.
    pairs = [("ai", "ai")] * 35 + [("human", "human")] * 35
    pairs += [("ai", "human")] * 15 + [("human", "ai")] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([]) is None
    assert kappa([("ai", "ai")] * 9) is None


@pytest.mark.parametrize("size", [1, 7, 60, 500, 10_000])
def test_the_sample_is_as_large_as_asked_and_no_stratum_gives_more_than_it_has(size: int) -> None:
    totals = np.array([5_000, 300, 20, 3, 0, 900, 1])
    found = np.array(allocated(totals, size))
    assert found.sum() == min(size, totals.sum())
    assert (found <= totals).all()
    if 60 <= size < totals.sum():
        assert (found[totals > 0] > 0).all()
        assert found[2] / totals[2] > found[0] / totals[0]  # near the line more closely
    assert len(found) == len(NAMES)


def a_pool(hosts: dict[str, int], seed: int = 0) -> list[Any]:
    """A simple sample of documents: how many of each host, with keys drawn at random."""
    names = [host for host, count in hosts.items() for _ in range(count)]
    keys = np.random.default_rng(seed).permutation(10 * len(names))[: len(names)]
    return [
        (-int(key), "a", -i, host, None)
        for i, (key, host) in enumerate(zip(keys, names, strict=True))
    ]


def test_the_sample_lies_evenly_over_hosts() -> None:
    pool = a_pool({"big.org": 60, **{f"small-{i}.org": 10 for i in range(6)}})
    hosts = Counter(item[3] for item in spread(pool, 12))
    assert hosts == {"big.org": 6, **{f"small-{i}.org": 1 for i in range(6)}}
    assert len({item[2] for item in spread(pool, 60)}) == 60
    assert spread(pool, 12) == spread(pool[::-1], 12)
    assert sorted(spread(pool, 200)) == sorted(pool)


def test_every_document_has_the_same_chance_to_be_shown() -> None:
    hosts = {"big.org": 23, "other.org": 5, "a.org": 1, "b.org": 1}
    shown = np.zeros(30)
    rounds = 3_000
    for seed in range(rounds):
        for item in spread(a_pool(hosts, seed), 7, seed):
            shown[-item[2]] += 1
    # Each within five standard errors of 7 in 30.
    assert np.abs(shown / rounds - 7 / 30).max() < 5 * np.sqrt(7 / 30 * 23 / 30 / rounds)


def test_some_come_twice_with_others_between() -> None:
    order = tasks(40)
    assert [task.document for task in order if not task.again] == list(range(40))
    again = [task for task in order if task.again]
    assert len(again) == 5
    for task in again:
        first = order.index(Task(task.document, False))
        assert order.index(task) - first > 5


def test_labels_survive_what_may_happen(tmp_path: Path) -> None:
    design, _, _ = simulated(0, wrong=0.0, size=10)
    path = tmp_path / "labels.jsonl"
    review = Review(LabelsFile.create(path, design))
    task = review.next("ann")
    assert task is not None
    assert review.label("ann", task, "ai")
    assert not review.label("ann", task, "human")  # sent twice
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"document":')
    again = Review(LabelsFile.open(path))
    second = again.next("ann")
    assert second is not None
    assert second.document == 1
    assert again.label("ann", second, "human")
    assert path.read_bytes().startswith(whole)
    assert [own.label for own in LabelsFile.open(path).standing()] == ["ai", "human"]
    assert again.undo("ann")
    assert not again.undo("bob")
    assert [own.label for own in LabelsFile.open(path).standing()] == ["ai"]
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    with pytest.raises(ConfigError, match=r"labels\.jsonl:5: no label"):
        LabelsFile.open(path)
