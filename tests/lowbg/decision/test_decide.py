"""Verdicts and reasons from features."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.lowbg.decision.calibrations import CALIBRATION

from lowbg.config import (
    Artifacts,
    FprBound,
    LmCalibration,
    LmSpread,
    LmSurprise,
    Policy,
    Rule,
    Thresholds,
)
from lowbg.decision.decide import Decider, Features, Verdicts, human_share_above
from lowbg.decision.unscored import is_prose
from lowbg.errors import ConfigError
from lowbg.models import ModelFile
from lowbg.records import KnownOrigin

CODES = ("en", "it")
PROSE = (500, 5, 20, 500, 0)


def features(*documents: Mapping[str, Any], trusted: tuple[bool, ...] | None = None) -> Features:
    """One document a mapping: words, log_odds, language, counts, perplexity, burstiness, …"""

    def column(name: str, default: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([d.get(name, default) for d in documents], kind)

    return Features(
        languages=np.array([d.get("language", 0) for d in documents], np.int8),
        codes=CODES,
        words=np.array([d.get("words", 200) for d in documents], np.int64),
        prose=is_prose(np.array([d.get("counts", PROSE) for d in documents]).reshape(-1, 5)),
        columns={
            "phrase_log_odds": column("log_odds", -0.4, pa.float32()),
            "perplexity": column("perplexity", 300.0, pa.float32()),
            "burstiness": column("burstiness", 0.0, pa.float32()),
            "phrase_hits": column("hits", 0, pa.int64()),
            "phrases": column("phrases", [], pa.list_(pa.string())),
            "artifacts": column("artifacts", [], pa.list_(pa.string())),
        },
        known=known(trusted or (False,) * len(documents)),
    )


def known(trusted: tuple[bool, ...], denied: tuple[bool, ...] | None = None) -> KnownOrigin:
    by_date = np.array(trusted, np.bool_)
    by_source = np.array(denied or [False] * len(trusted), np.bool_)
    rules = np.where(by_date, 0, np.where(by_source, 1, -1)).astype(np.int32)
    return KnownOrigin(by_date, by_source, rules, ["dated before 2022-11-30", "denied source: x"])


def decide(policy: Policy, f: Features) -> Verdicts:
    model = ModelFile(Path("en"), "", {"calibration": asdict(CALIBRATION)}, {})
    return Decider(policy, {"en": model}).decide(f)


def at_z(z: float, words: int = 200) -> dict[str, Any]:
    return {
        "words": words,
        "log_odds": CALIBRATION.mean
        + z * np.sqrt(CALIBRATION.between + CALIBRATION.within / words),
    }


@pytest.mark.parametrize(
    ("fpr", "verdicts"), [(0.001, [0, 0, 0, 1]), (0.01, [0, 0, 1, 1]), (0.2, [0, 1, 1, 1])]
)
def test_the_target_rate_moves_the_threshold(fpr: float, verdicts: list[int]) -> None:
    f = features(at_z(0.1), at_z(1.0, 90), at_z(2.6, 500), at_z(4.1))
    assert decide(Policy(target_fpr=fpr), f).verdicts.tolist() == verdicts


def test_a_text_that_surprises_the_lm_little_is_ai_whatever_the_rest_says() -> None:
    model = ModelFile(Path("en"), "", {"calibration": asdict(CALIBRATION)}, {})
    f = features(at_z(-1.0), at_z(-1.0), at_z(-1.0), at_z(4.5), at_z(-1.0))
    columns = {
        "lm_probe_log_odds": pa.array([-5.0, -5.0, -5.0, 3.0, None], pa.float32()),
        "lm_evenness": pa.array([9.0, -1.0, None, -9.0, 9.0], pa.float32()),
    }
    f = replace(f, columns={**f.columns, **columns})
    code = CODES[0]
    spread = LmSpread(mean=-5.0, between=4.0, within=100.0, correlation=0.3, min_words=25)
    lm = LmCalibration("ab", "lm_probe_log_odds", {code: spread}, {code: 0.5})
    deaf = Decider(Policy(), {code: model}, lm).decide(f)
    assert deaf.verdicts.tolist() == [0, 0, 0, 1, 0]
    lm = replace(lm, surprise={code: LmSurprise(0.0, 0.5, 50.0)})
    decider = Decider(Policy(), {code: model}, lm)
    found = decider.decide(f)
    # Where the LM read the document, and where it is the higher one.
    assert found.verdicts.tolist() == [1, 0, 0, 1, 0]
    np.testing.assert_array_equal(found.z[1:], deaf.z[1:])
    moved = decider.thresholds[code] - CALIBRATION.z_of_score(0.5)
    assert found.z[0] == pytest.approx(9.0 / np.sqrt(0.5 + 50 / 200) + moved)
    assert "lm_evenness 9.00" in found.reasons(0)[0]


def test_score_is_continuous_and_null_when_unscored() -> None:
    decisions = decide(Policy(), features(at_z(2.0), at_z(2.001), {"words": 10}))
    low, high, none = decisions.score.to_pylist()
    assert 0 < low < high < 1
    assert none is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"words": 0, "counts": (0, 0, 0, 0, 0), "log_odds": None}, "no words"),
        ({"words": 74}, "too short: 74 words, fewer than 75"),
        ({"language": -1, "log_odds": None}, "language not recognised"),
        ({"language": 1, "log_odds": None}, "no tables of the language 'it'"),
        ({"counts": (500, 80, 150, 500, 0)}, "not prose: too few letters among the visible"),
        ({"counts": (500, 150, 250, 500, 500)}, "not prose"),
    ],
)
def test_what_cannot_be_judged_says_why(document: dict[str, Any], reason: str) -> None:
    decisions = decide(Policy(), features({**at_z(9.0), **document}))
    assert decisions.verdicts.tolist() == [2]
    assert decisions.score.to_pylist() == [None]
    assert not decisions.called_ai[0]
    assert decisions.unscored_codes[0] >= 0
    assert decisions.reasons(0)[0].startswith(reason)


def test_ideographs_count_for_more() -> None:
    decisions = decide(Policy(), features({"counts": (500, 50, 180, 1500, 480)}))
    assert decisions.verdicts.tolist() == [0]


def test_a_trusted_date_is_human_but_keeps_its_score() -> None:
    policy = Policy(trust_before=dt.date(2022, 11, 30))
    f = features(at_z(5.0), at_z(5.0), {"words": 3}, trusted=(True, False, True))
    decisions = decide(policy, f)
    assert decisions.verdicts.tolist() == [0, 1, 0]
    assert decisions.called_ai.tolist() == [True, True, False]
    assert decisions.score[0].as_py() == decisions.score[1].as_py()
    assert decisions.reasons(0) == ["dated before 2022-11-30"]


def test_a_denied_source_is_ai_whatever_the_score_says() -> None:
    f = features(at_z(-3.0), at_z(5.0), {"words": 3}, {"words": 3})
    f = replace(f, known=known((False,) * 4, denied=(True, True, True, False)))
    decisions = decide(Policy(), f)
    assert decisions.verdicts.tolist() == [1, 1, 1, 2]
    assert decisions.called_ai.tolist() == [False, True, False, False]
    assert [decisions.reasons(i) for i in range(3)] == [["denied source: x"]] * 3
    assert decisions.unscored_codes.tolist() == [-1, -1, -1, 1]


def test_reasons_name_feature_share_and_phrases() -> None:
    phrases = ["overused_words:delve", "assistant_self_reference:as an ai language model"]
    document = {**at_z(2.501), "phrases": phrases}
    decisions = decide(Policy(), features(document, at_z(0.0)))
    assert decisions.reasons(0) == [
        f"phrase_log_odds {document['log_odds']:.2f} nats/word, "
        "above 99.0 % of human text of its length",
        "contains 'as an ai language model' (assistant_self_reference)",
        "contains 'delve' (overused_words)",
    ]
    assert decisions.reasons_array().to_pylist() == [decisions.reasons(0), decisions.reasons(1)]


def test_style_is_a_part_of_the_score_and_of_the_reasons() -> None:
    calibration = replace(CALIBRATION, style_between=1.0, style_weight=0.5)
    model = ModelFile(Path("en"), "", {"calibration": asdict(calibration)}, {})
    f = features(*[at_z(2.0)] * 3)
    style = pa.array([2.0, 0.0, None], pa.float32())
    f = replace(f, columns={**f.columns, "style_log_odds": style})
    decisions = Decider(Policy(), {"en": model}).decide(f)
    assert decisions.z == pytest.approx([3.0, 2.0, 2.0], abs=1e-5)
    assert decisions.verdicts.tolist() == [1, 0, 0]
    assert "nats/word and style_log_odds +2.0 nats, above 99.5 %" in decisions.reasons(0)[0]


GIVEN = Thresholds(min_perplexity=120.0, min_burstiness=-0.2, max_phrase_hits=0)
NONE = features()
CERTAIN = {
    "phrases": ["overused_words:delve", "assistant_self_reference:as an ai i"],
    "artifacts": ["as an ai i"],
}


@pytest.mark.parametrize(
    ("document", "scored", "reason"),
    [
        (at_z(-3.0), True, "ai_score 0.0"),
        (at_z(9.0), True, "phrase_log_odds"),
        ({"words": 6}, False, "too short: 6 words"),
        ({"language": 1, "log_odds": None}, False, "no tables of the language 'it'"),
        ({"language": -1, "log_odds": None}, False, "language not recognised"),
        ({"counts": (500, 80, 150, 500, 0)}, False, "not prose"),
    ],
)
@pytest.mark.parametrize("rule", Rule)
def test_a_near_certain_phrase_decides_alone(
    rule: Rule, document: dict[str, Any], scored: bool, reason: str
) -> None:
    f = features({**document, **CERTAIN})
    decisions = decide(Policy(rule=rule, thresholds=GIVEN), f)
    assert decisions.verdicts.tolist() == [1]
    assert (decisions.called_ai[0], decisions.by_artifact[0]) == (True, True)
    assert decisions.unscored_codes.tolist() == [-1]
    assert (decisions.score[0].as_py() is not None) == scored
    reasons = decisions.reasons(0)
    assert reasons[0] == "contains 'as an ai i' (assistant_self_reference): near-certain"
    assert reasons[-1] == "contains 'delve' (overused_words)"
    if rule is Rule.CALIBRATED or not scored:
        assert reasons[1].startswith(reason)
    reported = decide(Policy(rule=rule, thresholds=GIVEN, artifacts=Artifacts.REPORT), f)
    f = features({**document, "phrases": CERTAIN["phrases"]})
    without = decide(Policy(rule=rule, thresholds=GIVEN), f)
    assert reported.verdicts.tolist() == without.verdicts.tolist()
    assert reported.reasons(0) == without.reasons(0)


def test_provenance_goes_before_a_near_certain_phrase() -> None:
    decisions = decide(Policy(), features({**at_z(0.0), **CERTAIN}, trusted=(True,)))
    assert decisions.verdicts.tolist() == [0]
    assert decisions.called_ai.tolist() == [True]


def test_a_human_verdict_names_score_and_threshold() -> None:
    decisions = decide(Policy(), features(at_z(0.0), at_z(9.0)))
    [reason] = decisions.reasons(0)
    score, threshold = (
        float(word) for word in reason.removeprefix("ai_score ").split(", AI from ")
    )
    assert score == pytest.approx(decisions.score[0].as_py(), abs=5e-4)
    assert score < threshold < decisions.score[1].as_py()


def test_perplexity_takes_part_where_the_calibration_says_so() -> None:
    calibration = replace(CALIBRATION, perplexity_mean=np.log(300.0), perplexity_slope=1.0)
    model = ModelFile(Path("en"), "", {"calibration": asdict(calibration)}, {})
    f = features({**at_z(3.0), "perplexity": 300.0}, {**at_z(3.0), "perplexity": 900.0})
    decisions = Decider(Policy(), {"en": model}).decide(f)
    assert decisions.verdicts.tolist() == [1, 0]
    assert decisions.reasons(0)[0].endswith("of human text of its length and perplexity")


@pytest.mark.parametrize(
    ("document", "verdict", "reason"),
    [
        ({}, 0, None),
        ({"perplexity": 119.0}, 1, "perplexity 119.0, below 120"),
        ({"burstiness": -0.3}, 1, "burstiness -0.30, below -0.2"),
        ({"perplexity": 120.0}, 0, None),
        ({"burstiness": None}, 0, None),
        ({"hits": 1}, 1, "phrase_hits 1, above 0"),
        (at_z(9.0), 0, None),
    ],
)
def test_rule_thresholds(document: dict[str, Any], verdict: int, reason: str | None) -> None:
    decisions = decide(Policy(rule=Rule.THRESHOLDS, thresholds=GIVEN), features(document))
    assert decisions.verdicts.tolist() == [verdict]
    within = "perplexity from 120, burstiness from -0.2, phrase_hits up to 0"
    assert decisions.reasons(0) == [reason or f"within every limit: {within}"]


def test_rule_thresholds_takes_each_languages_own_limits() -> None:
    from lowbg.models import open_embedded

    models = {code: open_embedded(code) for code in ("en", "de")}
    decider = Decider(Policy(rule=Rule.THRESHOLDS), models)
    low = {code: own.perplexity.value for code, own in decider.limits.items()}
    assert low["en"] != low["de"]
    strict, loose = sorted(low.values())
    f = features(*({"perplexity": (strict + loose) / 2, "language": i} for i in range(2)))
    f = replace(f, codes=("en", "de"))
    decisions = decider.decide(f)
    assert decisions.verdicts.tolist() == [int(low[code] == loose) for code in ("en", "de")]
    (reason,) = decisions.reasons(int(decisions.verdicts.argmax()))
    assert " % of human text is)" in reason


def test_rule_thresholds_without_limits_of_the_tables_wants_all_three() -> None:
    with pytest.raises(ConfigError, match="no limits for the tables of 'en': state all of"):
        decide(Policy(rule=Rule.THRESHOLDS, thresholds=replace(GIVEN, max_phrase_hits=None)), NONE)


def test_own_scores_replace_the_shipped_threshold() -> None:
    f = features(at_z(1.0), at_z(2.6))
    score = decide(Policy(), f).score[0].as_py()
    policy = replace(Policy(), min_ai_scores={"en": score - 1e-4})
    assert decide(policy, f).verdicts.tolist() == [1, 1]
    policy = replace(Policy(), min_ai_scores={"en": 1.0})
    assert decide(policy, f).verdicts.tolist() == [0, 0]


def test_human_share_above_is_the_inverse_of_the_threshold() -> None:
    assert human_share_above(CALIBRATION, CALIBRATION.threshold(0.003)) == pytest.approx(0.003)
    assert human_share_above(CALIBRATION, 99.0) == pytest.approx(0.001)


def test_no_documents() -> None:
    assert len(decide(Policy(), features())) == 0


def test_a_bound_on_every_collection_is_stricter_and_needs_collections() -> None:
    collections = {"stories": {"documents": 50, "z": [v + 1.0 for v in CALIBRATION.thresholds]}}
    f = features(at_z(2.6), at_z(3.6))
    policy = Policy(fpr_bound=FprBound.EVERY)
    metadata = {"calibration": asdict(CALIBRATION), "human_collections": collections}
    model = ModelFile(Path("en"), "", metadata, {})
    assert Decider(policy, {"en": model}).decide(f).verdicts.tolist() == [0, 1]
    assert decide(Policy(), f).verdicts.tolist() == [1, 1]
    with pytest.raises(ConfigError, match="'en' know no human collection"):
        decide(policy, f)


def test_reasons_name_the_heaviest_ngrams_none_within_another() -> None:
    ngrams = [("it is important", 3.0), ("is important", 2.5), ("delve", 2.0), ("art", 1.5)]
    weak = [("very important", 1.0), ("tapestry", -0.5)]
    f = replace(features(at_z(5.0)), ngrams=lambda i: [*ngrams, *weak])
    named = "n-grams 'it is important' +3.0, 'delve' +2.0, 'art' +1.5 of "
    assert decide(Policy(), f).reasons(0)[1].startswith(named)
    few = replace(f, ngrams=lambda i: weak)
    assert decide(Policy(), few).reasons(0)[1].startswith("n-grams 'very important' +1.0 of ")
    human = replace(features(at_z(0.0)), ngrams=lambda i: ngrams)
    assert len(decide(Policy(), human).reasons(0)) == 1
