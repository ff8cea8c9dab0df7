"""What a first pass makes of a budget."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as other
from tests.stand_in_lm import Seen, stand_in

from lowbg.config import Extras, LmSettings, Policy, Rule, RunConfig
from lowbg.errors import ConfigError
from lowbg.lm_budget import EVERYTHING, LmBudget, LmSelection
from lowbg.runs import lm_selection
from lowbg.runs.cascade import page_shares
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.lm_selection import Candidates, learn_selection
from lowbg.runs.mapping import ALONE


def candidates(scored: int, short: int, rest: int = 0) -> Candidates:
    """So many documents; the margins of the scored ones lie evenly in −3 … 1."""
    margin = np.concatenate([np.linspace(-3.0, 1.0, scored), np.full(short, np.nan)])
    documents = scored + short + rest
    return Candidates(margin, np.full(len(margin), 100.0), documents, 10 * documents)


def read(of: Candidates, selection: LmSelection) -> dict[str, float]:
    """How many documents are read of each kind, and in all as a share."""
    margin = of.margin
    cut = np.inf if selection.margin is None else selection.margin
    found = {
        "uncertain": float((np.abs(margin) < cut).sum()),
        "low": float((margin <= -cut).sum()) * selection.low,
        "short": float(np.isnan(margin).sum()) * selection.short,
    }
    return {**found, "share": sum(found.values()) / of.of}


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2, 0.5, 0.7])
def test_a_share_is_spent_on_three_kinds(share: float) -> None:
    of = candidates(8000, 1000, 1000)
    found = read(of, of.selection(share))
    assert found["share"] == pytest.approx(share, rel=0.02)
    wanted = share * 10_000
    assert found["low"] == pytest.approx(0.1 * wanted, rel=1e-4)
    assert found["short"] == pytest.approx(min(1000, 0.2 * wanted), rel=1e-4)


def test_what_one_kind_lacks_another_gets() -> None:
    without_short = candidates(9000, 0, 1000)
    found = read(without_short, without_short.selection(0.1))
    assert (round(found["uncertain"]), found["short"]) == (900, 0)
    # All that have a score are read: the rest goes to short ones.
    many_short = candidates(100, 900)
    selection = many_short.selection(0.5)
    assert selection.margin is None
    assert read(many_short, selection)["share"] == pytest.approx(0.5)
    for of in (without_short, many_short):
        assert of.selection(1.0) == EVERYTHING
    assert candidates(0, 0).selection(0.1) == EVERYTHING


def test_the_nearest_to_the_threshold_are_read_on_both_sides() -> None:
    of = candidates(4001, 0)
    selection = of.selection(0.1)
    assert selection.margin == pytest.approx(0.18, abs=0.001)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("size", [20, 400, 100_000])
def test_pages_of_sources_take_a_fifth_at_most(share: float, size: int) -> None:
    """Of sources of so many documents, each third of which is at the border."""
    of = candidates(8000, 1000, 1000)
    at_border = np.where(np.arange(9000) // size % 3 == 0, float(size), np.nan)
    of = other(of, at_border=at_border)
    selection = of.selection(share)
    margin = np.abs(of.margin)
    shares = page_shares(selection.pages, at_border)
    low = (of.margin <= -(selection.margin or 0)) & (shares <= selection.low)
    beside = (margin >= (selection.margin or 0)) & ((shares > selection.low) | (of.margin > 0))
    spent = {
        "uncertain": float((margin < (selection.margin or 0)).sum()),
        "low": float(low.sum()) * selection.low,
        "pages": float(shares[beside].sum()),
        "short": 1000 * selection.short,
    }
    wanted = share * 10_000
    assert sum(spent.values()) == pytest.approx(wanted, rel=0.06)
    assert 0 < spent["pages"] <= 0.2 * wanted
    assert 0 < selection.pages <= 3
    assert spent["low"] == pytest.approx(0.1 * wanted, rel=0.01)
    assert other(of, at_border=np.full(9000, np.nan)).selection(share).pages == 0


def test_tokens_come_to_a_share() -> None:
    of = candidates(8000, 1000, 1000)  # 100,000 documents of 100 tokens
    everything = of.tokens_of(EVERYTHING)
    assert everything == 9_000_000
    for tokens in (20_000, 1_000_000, 5_000_000):
        selection = of.within(LmBudget(tokens=tokens))
        assert of.tokens_of(selection) == pytest.approx(tokens, rel=0.05)
        assert of.tokens_of(selection) <= tokens
    assert of.within(LmBudget(tokens=9_000_000)) == EVERYTHING
    assert of.within(LmBudget(share=Fraction(1, 20))) == of.selection(0.05)


WORDS = "The mill by the river was sold to a teacher who kept bees and painted the wall white. "


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return stand_in(monkeypatch)


@pytest.fixture
def shards(tmp_path: Path) -> list[Shard]:
    """Three shards of 400 documents, a quarter of them short, some without words."""
    made = []
    for k in range(3):
        path = tmp_path / f"{k}.jsonl"
        with path.open("w") as out:
            for i in range(400):
                kind = i % 4
                text = "" if i % 40 == 0 else f"{i} {k}: {WORDS * (2 if kind == 0 else 6 + i % 7)}"
                print(json.dumps({"id": f"{k}-{i}", "text": text, "language": "en"}), file=out)
        made.append(Shard(str(path), path.name, path.stat().st_size))
    return made


def config(budget: str, policy: Policy | None = None) -> RunConfig:
    return RunConfig(
        policy=policy or Policy(), extras=Extras(LmSettings("stand-in", budget=budget))
    )


def learnt(shards: list[Shard], own: RunConfig) -> LmSelection:
    found = learn_selection(shards, own, Engine(own.policy, own.extras))
    assert found is not None
    return found


def test_it_is_learnt_from_all_shards_in_any_order_and_batches(
    lm: Seen,
    shards: list[Shard],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lm_selection, "SAMPLE", 300)
    own = config("10%")
    first = learnt(shards, own)
    assert first.margin is not None
    assert 0 < first.low < 1
    assert 0 < first.short < 1
    assert lm == []  # Nothing is read by the LM.
    assert learnt(shards[::-1], own) == first
    assert learnt(shards, replace(own, batch_bytes=2000)) == first
    assert learnt(shards[:1], own) != first
    assert learnt(shards, config("100%")) == EVERYTHING


def test_what_the_lm_can_say_nothing_of_is_no_candidate(lm: Seen, shards: list[Shard]) -> None:
    own = config("10%")
    found = lm_selection._candidates(shards, own, Engine(own.policy, own.extras), ALONE)
    assert (found.of, found.documents) == (1200, 1200)
    assert len(found.margin) == 1200 - 30  # Those without a word.
    assert 0 < np.isnan(found.margin).sum() < 400
    assert (found.tokens > 0).all()


def test_without_a_budget_there_is_none(shards: list[Shard]) -> None:
    own = RunConfig(extras=Extras(LmSettings("stand-in")))
    assert learn_selection(shards, own, Engine(Policy())) is None


def test_what_cannot_be_learnt_is_refused(lm: Seen, shards: list[Shard]) -> None:
    with pytest.raises(ConfigError, match="can't be read twice"):
        learnt([*shards, Shard("-", "stdin", 0)], config("5%"))
    with pytest.raises(ConfigError, match="rule 'thresholds' uses none"):
        learnt(shards, config("5%", Policy(rule=Rule.THRESHOLDS)))
