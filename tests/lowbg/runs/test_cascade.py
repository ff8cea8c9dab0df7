"""Which documents a causal LM sees, and what it may change; the LM here is a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.stand_in_lm import Seen, policy_for, stand_in

from lowbg.config import Extras, LmSettings, Policy, Rule, Verdict
from lowbg.decision.calibration import Calibration
from lowbg.errors import ConfigError
from lowbg.lm_budget import EVERYTHING, LmSelection
from lowbg.records import Metadata
from lowbg.runs import cascade, engine
from lowbg.runs.engine import Engine
from lowbg.runs.shard import second_look_counts
from lowbg.scorers import running_scorers
from lowbg.scorers.base import Column, Documents, Scorer, SecondLook

SHORT = (
    "The mill by the river was sold to a teacher from the town who kept bees and painted the "
    "garden wall white each spring before the fair came by again"
)
HUMAN = topics["naming"]
AI = (
    "Furthermore, it is important to note that renewable energy plays a crucial role in fostering "
    "a sustainable future. Additionally, it enhances overall well-being and promotes innovation. "
) * 6
TEXTS = [HUMAN, SHORT, AI, "", "too few"]


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The texts of each call of a stand-in for the LM."""
    return stand_in(monkeypatch)


def settings(selection: LmSelection | None = None) -> Extras:
    return Extras(LmSettings("stand-in", selection=selection))


def why_silent(policy: Policy, extras: Extras) -> str | None:
    ready = Engine(policy, extras)
    return ready.cascade.why_silent(policy, ready.models)


def judge(policy: Policy, extras: Extras | None = None, language: str = "en") -> Any:
    nothing = pa.nulls(len(TEXTS), pa.string())
    languages = pa.array([language] * len(TEXTS), pa.string())
    metadata = Metadata(id=nothing, language=languages, date=nothing, url=nothing)
    ready = Engine(policy, extras or Extras()).setup()
    return ready.judge(pa.array(TEXTS, pa.large_string()), metadata)


def test_only_what_is_selected_is_sent(lm: Seen) -> None:
    """The uncertain and, of what the LM can say something of, shares of the short and the low."""
    margin = judge(Policy()).decisions.margin
    assert margin[0] < 0 < margin[2]
    near = abs(float(margin[2])) + 0.01
    assert near < abs(margin[0])
    judged = judge(Policy(), settings(LmSelection(near, 0.0, 1.0)))
    assert lm == [[SHORT, AI]]  # "too few" has fewer words than an LM judges.
    assert judged.second.sent.tolist() == [-1, cascade.SHORT, cascade.UNCERTAIN, -1, -1]
    assert judged.second.drawn_from.tolist() == [cascade.LOW, cascade.SHORT, -1, -1, -1]
    assert judged.columns["lm_curvature"].to_pylist() == [None, 100.0, 0.0, None, None]
    assert judged.second.tokens.tolist() == [0, len(SHORT), len(AI), 0, 0]
    for selection, sent in (
        (LmSelection(0.0, 0.0, 1.0), [[SHORT]]),
        (LmSelection(0.0, 1.0, 0.0), [[HUMAN]]),
        (LmSelection(0.0, 0.0, 0.0), []),
        (EVERYTHING, [[HUMAN, SHORT, AI]]),
        (None, [TEXTS]),
    ):
        lm.clear()
        judge(Policy(), settings(selection))
        assert lm == sent


def test_a_share_is_drawn_by_the_text_alone(lm: Seen) -> None:
    texts = [f"{i} {SHORT}" for i in range(400)]
    extras = settings(LmSelection(0.0, 0.0, 0.25))
    ready = Engine(policy_for(extras), extras).setup()

    def read(own: list[str]) -> set[str]:
        lm.clear()
        nothing = pa.nulls(len(own), pa.string())
        english = pa.array(["en"] * len(own), pa.string())
        ready.judge(pa.array(own, pa.large_string()), Metadata(nothing, english, nothing, nothing))
        return {text for call in lm for text in call}

    first = read(texts)
    assert 70 <= len(first) <= 130
    assert read(texts[::-1]) == first
    assert read(texts[:100]) | read(texts[100:]) == first
    more = LmSelection(0.0, 0.0, 0.5)
    ready = Engine(policy_for(extras), settings(more)).setup()
    assert first < read(texts)


def test_what_is_drawn_is_counted_by_its_share(lm: Seen) -> None:
    extras = settings(LmSelection(0.0, 0.5, 1.0))
    counts = second_look_counts(judge(policy_for(extras), extras))
    assert counts["too_short/1/documents"] == counts["too_short/1/read"] == 1
    assert counts["too_short/1/found"] == 1
    assert counts["low/0.5/documents"] == 1
    assert counts.get("low/0.5/read", 0) == counts.get("sent_low", 0)
    # Where the LM changes nothing its part says nothing of the rest.
    assert not any("/" in name for name in second_look_counts(judge(Policy(), extras)))


def test_a_budget_needs_a_selection(lm: Seen) -> None:
    with pytest.raises(ConfigError, match="what a first pass over the inputs learns"):
        Engine(Policy(), Extras(LmSettings("stand-in", budget="5%"))).setup()


def test_without_a_calibration_nothing_changes(lm: Seen) -> None:
    plain = judge(Policy())
    judged = judge(Policy(), settings())
    assert judged.decisions.score == plain.decisions.score
    assert (
        judged.decisions.verdicts.tolist() == plain.decisions.verdicts.tolist() == [0, 2, 1, 2, 2]
    )
    counts = second_look_counts(judged)
    assert counts == {"sent_all": 5, "without_say": 5, "tokens": sum(map(len, TEXTS))}


def test_with_one_it_decides(lm: Seen) -> None:
    extras = settings()
    judged = judge(policy_for(extras), extras)
    # The short text is called AI by the LM alone; a text below 25 words stays unscored.
    assert judged.decisions.verdicts.tolist()[1] == 1
    assert judged.decisions.verdicts.tolist()[3:] == [2, 2]
    assert judged.decisions.score[1].as_py() > 0.9
    assert "lm_curvature 100.00; too short for the tables" in judged.decisions.reasons(1)[0]
    assert second_look_counts(judged)["unscored_to_ai"] == 1
    # Two are too short for it; with a say on English alone, it has none on German.
    assert second_look_counts(judged)["without_say"] == 2
    assert second_look_counts(judge(policy_for(extras), extras, "de"))["without_say"] == 5
    # Evidence of none halves what the tables say, over √2, and moves with the thresholds.
    engine = Engine(policy_for(extras), extras)
    calibration = Calibration.of(engine.models["en"])
    of_tables = calibration.threshold(0.01)
    moved = of_tables - calibration.z_of_score(0.9)
    plain = judge(Policy())
    np.testing.assert_allclose(
        judged.decisions.z[[0, 2]], plain.decisions.z[[0, 2]] / np.sqrt(2) + moved, rtol=1e-6
    )
    words = judged.documents.tokens.words_per_document[1]
    alone = 100.0 / np.sqrt(words) + of_tables - calibration.z_of_score(0.95)
    assert judged.decisions.z[1] == pytest.approx(alone)
    # So one threshold holds for every score, whatever evidence it is of.
    above = judged.decisions.z >= of_tables
    assert above.tolist() == [v == Verdict.AI.code for v in judged.decisions.verdicts]


def test_without_a_threshold_of_its_own_the_lm_judges_nothing_alone(lm: Seen) -> None:
    extras = settings()
    policy = policy_for(extras)
    assert policy.lm is not None
    judged = judge(replace(policy, lm=replace(policy.lm, min_ai_scores_alone={})), extras)
    assert judged.decisions.verdicts.tolist()[1] == Verdict.UNSCORED.code
    assert "too short" in judged.decisions.reasons(1)[0]
    assert second_look_counts(judged)["without_say"] == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lm": None}, "no calibration of an LM"),
        ({"rule": Rule.THRESHOLDS}, "rule 'thresholds' knows no LM"),
    ],
)
def test_says_why_it_has_no_say(lm: Seen, change: dict[str, Any], why: str) -> None:
    extras = settings()
    policy = replace(policy_for(extras), **change)
    silent = why_silent(policy, extras)
    assert silent is not None
    assert why in silent


def test_a_calibration_is_for_one_model_and_context_whatever_is_read(lm: Seen) -> None:
    extras = settings()
    policy = policy_for(extras)
    assert why_silent(policy, extras) is None
    assert why_silent(policy, settings(LmSelection(0.5, 0.1, 0.1))) is None
    silent = why_silent(policy, Extras(LmSettings("stand-in", context=512)))
    assert silent is not None
    assert "another LM, `extras.lm.context` or `extras.lm.surprise`" in silent
    silent = why_silent(policy, Extras())
    assert silent is not None
    assert "calibrated with an LM, and none runs here" in silent


class Slow(Scorer):
    """Counts characters, slowly."""

    name = "slow"
    version = 1
    columns = (Column("characters", pa.int64(), meaning="characters", null="not read"),)

    @property
    def second_look(self) -> SecondLook:
        return SecondLook(tokens="characters")

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        return {"characters": pa.array([len(t) for t in documents.text.to_pylist()], pa.int64())}


def test_any_scorer_can_take_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cost is told apart; it has no say in the decision."""
    slow = Slow()
    monkeypatch.setattr(
        engine, "running_scorers", lambda *args, **named: (*running_scorers(*args, **named), slow)
    )
    judged = judge(Policy())
    assert judged.columns["characters"].to_pylist() == [len(text) for text in TEXTS]
    counts = second_look_counts(judged)
    assert counts == {"sent_all": 5, "tokens": sum(map(len, TEXTS)), "without_say": 5}
    assert why_silent(Policy(), Extras()) is None
