"""Which documents a causal LM sees, and what it may change; the LM here is a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import Extras, LmCalibration, LmSettings, LmSpread, Policy, Rule, Verdict
from lowbg.decision.calibration import Calibration
from lowbg.records import Metadata
from lowbg.runs import cascade, engine
from lowbg.runs.engine import Engine
from lowbg.runs.shard import second_look_counts
from lowbg.scorers import running_scorers
from lowbg.scorers.base import Column, Documents, Scorer, SecondLook
from lowbg.scorers.causal_lm import LM_CURVATURE, LM_TOKENS, CausalLm

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


class StandIn(CausalLm):
    """Says of a text that its curvature is 100 where it speaks of bees, else 0."""

    columns = (LM_CURVATURE, LM_TOKENS)

    def __init__(self, seen: list[list[str]], settings: LmSettings | None) -> None:
        super().__init__(settings)
        self.seen = seen

    @property
    def models(self) -> Mapping[str, str]:
        return {"lm stand-in": "00" * 32}

    def setup(self) -> None: ...

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        texts = documents.text.to_pylist()
        self.seen.append(texts)
        assert len(documents.tokens) == len(texts)
        return {
            "lm_curvature": pa.array([100.0 if "bees" in t else 0.0 for t in texts], pa.float32()),
            "lm_tokens": pa.array([len(t) for t in texts], pa.int64()),
        }


Seen = list[list[str]]


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The texts of each call of a stand-in for the LM."""
    seen: Seen = []

    def running(*args: Any, **named: Any) -> tuple[Scorer, ...]:
        return tuple(
            StandIn(seen, scorer._settings) if isinstance(scorer, CausalLm) else scorer
            for scorer in running_scorers(*args, **named)
        )

    monkeypatch.setattr(engine, "running_scorers", running)
    return seen


def settings(band: tuple[float, float] | None) -> Extras:
    return Extras(LmSettings("stand-in", band=band))


def policy_for(extras: Extras) -> Policy:
    """One under which a curvature of 100 is far above, and one of 0 at the mean of human text."""
    assert extras.lm is not None
    witness = Engine(Policy(), extras).cascade.witness
    assert witness is not None
    identity = witness.scorer.identity()
    spread = LmSpread(0.0, 1.0, 0.0, 0.0, 25)
    return Policy(
        lm=LmCalibration(
            identity, "lm_curvature", extras.lm.band, {"en": spread}, {"en": 0.9}, {"en": 0.95}
        )
    )


def why_silent(policy: Policy, extras: Extras) -> str | None:
    ready = Engine(policy, extras)
    return ready.cascade.why_silent(policy, ready.models)


def judge(policy: Policy, extras: Extras | None = None, language: str = "en") -> Any:
    nothing = pa.nulls(len(TEXTS), pa.string())
    languages = pa.array([language] * len(TEXTS), pa.string())
    metadata = Metadata(id=nothing, language=languages, date=nothing, url=nothing)
    ready = Engine(policy, extras or Extras()).setup()
    return ready.judge(pa.array(TEXTS, pa.large_string()), metadata)


def test_only_the_band_and_what_is_too_short_is_sent(lm: Seen) -> None:
    scores = judge(Policy()).decisions.score
    of_ai = scores[2].as_py()
    judged = judge(Policy(), settings((of_ai - 1e-6, of_ai + 1e-6)))
    assert lm == [[SHORT, AI, "too few"]]
    assert judged.second.sent.tolist() == [-1, cascade.SHORT, cascade.BAND, -1, cascade.SHORT]
    assert judged.columns["lm_curvature"].to_pylist() == [None, 100.0, 0.0, None, 0.0]
    assert judged.second.tokens.tolist() == [0, len(SHORT), len(AI), 0, 7]
    lm.clear()
    judge(Policy(), settings((0.0, 0.0)))
    assert lm == [[SHORT, "too few"]]
    lm.clear()
    judge(Policy(), settings(None))
    assert lm == [TEXTS]


def test_without_a_calibration_nothing_changes(lm: Seen) -> None:
    plain = judge(Policy())
    judged = judge(Policy(), settings(None))
    assert judged.decisions.score == plain.decisions.score
    assert (
        judged.decisions.verdicts.tolist() == plain.decisions.verdicts.tolist() == [0, 2, 1, 2, 2]
    )
    counts = second_look_counts(judged)
    assert counts == {"sent_all": 5, "without_say": 5, "tokens": sum(map(len, TEXTS))}


def test_with_one_it_decides(lm: Seen) -> None:
    extras = settings(None)
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
    extras = settings(None)
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
    extras = settings((0.2, 0.9))
    policy = replace(policy_for(extras), **change)
    silent = why_silent(policy, extras)
    assert silent is not None
    assert why in silent


def test_a_calibration_is_for_one_model_context_and_band(lm: Seen) -> None:
    extras = settings((0.2, 0.9))
    policy = policy_for(extras)
    assert why_silent(policy, extras) is None
    for other, why in (
        (
            LmSettings("stand-in", band=(0.3, 0.9)),
            "`extras.lm.band=0.2:0.9`, this run has `extras.lm.band=0.3:0.9`",
        ),
        (LmSettings("stand-in"), "this run has no `extras.lm.band`"),
        (LmSettings("stand-in", band=(0.2, 0.9), context=512), "another LM or `extras.lm.context`"),
    ):
        silent = why_silent(policy, Extras(other))
        assert silent is not None
        assert why in silent
    silent = why_silent(policy, Extras())
    assert silent is not None
    assert "calibrated with an LM, and none runs here" in silent


class Slow(Scorer):
    """Counts characters, of documents that are unsure alone."""

    name = "slow"
    version = 1
    columns = (Column("characters", pa.int64(), meaning="characters", null="not read"),)

    def __init__(self, band: tuple[float, float]) -> None:
        self.band = band

    @property
    def second_look(self) -> SecondLook:
        return SecondLook(self.band, tokens="characters")

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        return {"characters": pa.array([len(t) for t in documents.text.to_pylist()], pa.int64())}


def test_any_scorer_can_take_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which documents it sees follows from what it declares; it has no say in the decision."""
    of_ai = judge(Policy()).decisions.score[2].as_py()
    slow = Slow((of_ai - 1e-6, 1.0))
    monkeypatch.setattr(
        engine, "running_scorers", lambda *args, **named: (*running_scorers(*args, **named), slow)
    )
    judged = judge(Policy())
    assert judged.columns["characters"].to_pylist() == [None, len(SHORT), len(AI), None, 7]
    counts = second_look_counts(judged)
    assert counts == {
        "sent_band": 1, "sent_too_short": 2, "tokens": len(SHORT) + len(AI) + 7, "without_say": 3,
    }  # fmt: skip
    assert why_silent(Policy(), Extras()) is None
