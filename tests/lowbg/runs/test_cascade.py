"""Which documents a causal LM sees, and what it may change; the LM here is a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lowbg.config import Extras, LmCalibration, LmSettings, LmSpread, Policy, Rule
from lowbg.records import Metadata
from lowbg.runs import cascade
from lowbg.runs.engine import Engine
from lowbg.runs.shard import second_look_counts
from lowbg.schema import LM_CURVATURE, LM_TOKENS, Column
from lowbg.scorers.base import Documents

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


class StandIn:
    """Says of a text that its curvature is 100 where it speaks of bees, else 0."""

    name = "causal_lm"
    version = 1
    columns: tuple[Column, ...] = (LM_CURVATURE, LM_TOKENS)
    languages: frozenset[str] = frozenset()
    min_words = 1

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    @property
    def models(self) -> Mapping[str, str]:
        return {"lm stand-in": "00" * 32}

    def prepare(self) -> None: ...

    def setup(self) -> None: ...

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        texts = documents.text.to_pylist()
        self.seen.append(texts)
        assert len(documents.tokens) == len(texts)
        return {
            "lm_curvature": pa.array([100.0 if "bees" in t else 0.0 for t in texts], pa.float32()),
            "lm_tokens": pa.array([len(t) for t in texts], pa.int64()),
        }


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    scorer = StandIn()
    monkeypatch.setattr(cascade, "optional_scorers", lambda extras: (scorer,) if extras.lm else ())
    return scorer


def settings(band: tuple[float, float] | None) -> Extras:
    return Extras(LmSettings("stand-in", band=band))


def policy_for(extras: Extras) -> Policy:
    """One under which a curvature of 100 is far above, and one of 0 at the mean of human text."""
    assert extras.lm is not None
    identity = Engine(Policy(), extras).cascade.identity(extras.lm)
    spread = LmSpread(0.0, 1.0, 0.0, 0.0, 25)
    return Policy(
        lm=LmCalibration(identity, "lm_curvature", extras.lm.band, {"en": spread}, {"en": 0.9})
    )


def judge(policy: Policy, extras: Extras | None = None, language: str = "en") -> Any:
    nothing = pa.nulls(len(TEXTS), pa.string())
    languages = pa.array([language] * len(TEXTS), pa.string())
    metadata = Metadata(id=nothing, language=languages, date=nothing, url=nothing)
    engine = Engine(policy, extras or Extras()).setup()
    return engine.judge(pa.array(TEXTS, pa.large_string()), metadata)


def test_only_the_band_and_what_is_too_short_is_sent(lm: StandIn) -> None:
    scores = judge(Policy()).decisions.score
    of_ai = scores[2].as_py()
    judged = judge(Policy(), settings((of_ai - 1e-6, of_ai + 1e-6)))
    assert lm.seen == [[SHORT, AI, "too few"]]
    assert judged.second.sent.tolist() == [-1, cascade.SHORT, cascade.BAND, -1, cascade.SHORT]
    assert judged.columns["lm_curvature"].to_pylist() == [None, 100.0, 0.0, None, 0.0]
    assert judged.second.tokens.tolist() == [0, len(SHORT), len(AI), 0, 7]
    lm.seen.clear()
    judge(Policy(), settings((0.0, 0.0)))
    assert lm.seen == [[SHORT, "too few"]]
    lm.seen.clear()
    judge(Policy(), settings(None))
    assert lm.seen == [TEXTS]


def test_without_a_calibration_nothing_changes(lm: StandIn) -> None:
    plain = judge(Policy())
    judged = judge(Policy(), settings(None))
    assert judged.decisions.score == plain.decisions.score
    assert (
        judged.decisions.verdicts.tolist() == plain.decisions.verdicts.tolist() == [0, 2, 1, 2, 2]
    )
    counts = second_look_counts(judged)
    assert counts == {"sent_all": 5, "without_say": 5, "tokens": sum(map(len, TEXTS))}


def test_with_one_it_decides(lm: StandIn) -> None:
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
    # Evidence of none halves what the tables say, over √2.
    plain = judge(Policy())
    np.testing.assert_allclose(
        judged.decisions.z[[0, 2]], plain.decisions.z[[0, 2]] / np.sqrt(2), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lm": None}, "no calibration of an LM"),
        ({"rule": Rule.THRESHOLDS}, "rule 'thresholds' knows no LM"),
    ],
)
def test_says_why_it_has_no_say(lm: StandIn, change: dict[str, Any], why: str) -> None:
    extras = settings((0.2, 0.9))
    policy = replace(policy_for(extras), **change)
    silent = Engine(policy, extras).cascade.why_silent(policy)
    assert silent is not None
    assert why in silent


def test_a_calibration_is_for_one_model_context_and_band(lm: StandIn) -> None:
    extras = settings((0.2, 0.9))
    policy = policy_for(extras)
    assert Engine(policy, extras).cascade.why_silent(policy) is None
    for other, why in (
        (
            LmSettings("stand-in", band=(0.3, 0.9)),
            "--lm-band 0.2:0.9, this run has --lm-band 0.3:0.9",
        ),
        (LmSettings("stand-in"), "this run has no --lm-band"),
        (LmSettings("stand-in", band=(0.2, 0.9), context=512), "another LM or --lm-context"),
    ):
        silent = Engine(policy, Extras(other)).cascade.why_silent(policy)
        assert silent is not None
        assert why in silent
    assert Engine(policy).cascade.why_silent(policy) is None  # No LM, nothing to say.
