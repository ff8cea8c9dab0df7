"""Thresholds from known-human documents."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lowbg.config import FieldNames, Policy, Rule, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.calibrate.calibrate import (
    calibrate,
    least_documents,
    order_statistic,
    safe_threshold,
    strata_of,
)
from lowbg.jobs.calibrate.known import Known, KnownBy, read_known
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard, survey
from lowbg.runs.judging import TextJudging

SENTENCE = "The river rose again in March and carried the old bridge at the mill away. "


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Policy(target_fpr=0.05)).setup()


def make_known(
    score: NDArray[np.float32], language: str = "en", words: int = 150, n_ai: int = 0
) -> Known:
    n = len(score)
    return Known(
        language=np.full(n, language),
        words=np.full(n, words, np.int64),
        score=score,
        called_ai=score > 0.9,
        by_artifact=np.zeros(n, np.bool_),
        is_human=np.arange(n) < n - n_ai,
    )


def scores(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(n).astype(np.float32)


@pytest.mark.parametrize(
    ("target", "least"), [(0.01, 299), (0.005, 598), (0.001, 2995), (0.05, 59)]
)
def test_least_documents(target: float, least: int) -> None:
    assert least_documents(target) == least
    assert order_statistic(least, target) == least
    assert order_statistic(least - 1, target) is None


@pytest.mark.parametrize(("n", "target"), [(59, 0.05), (100, 0.05), (400, 0.01), (90, 0.1)])
def test_order_statistic_is_the_least_whose_binomial_tail_is_small(n: int, target: float) -> None:
    def tail(k: int) -> float:
        return sum(comb(n, j) * (1 - target) ** j * target ** (n - j) for j in range(k, n + 1))

    k = order_statistic(n, target)
    assert k is not None
    assert tail(k) <= 0.05 < tail(k - 1)


@pytest.mark.parametrize(("n", "target"), [(299, 0.01), (1000, 0.01), (300, 0.05)])
def test_the_rate_exceeds_the_target_in_at_most_5_percent_of_samples(n: int, target: float) -> None:
    generator = np.random.default_rng(11)
    thresholds = [
        safe_threshold(generator.random(n).astype(np.float32), target) for _ in range(2_000)
    ]
    # Uniform scores: the true rate at a threshold is 1 − threshold.
    violated = np.mean([t is not None and 1.0 - t > target for t in thresholds])
    assert violated <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)
    # Nor is it needlessly strict: a rule that takes the maximum is as safe.
    assert violated >= 0.01


def test_the_order_statistic_itself_is_not_called(engine: Engine) -> None:
    own = scores(400)
    threshold = safe_threshold(own, 0.05)
    k = order_statistic(400, 0.05)
    assert threshold is not None
    assert k is not None
    assert (own >= threshold).sum() == 400 - k
    # Through the policy and the calibration's inverse it stays so.
    result = calibrate(make_known(own), engine)
    assert Engine(result.policy).threshold("en") == pytest.approx(threshold, abs=1e-6)


def test_ties_are_not_called() -> None:
    threshold = safe_threshold(np.full(100, 0.25, np.float32), 0.05)
    assert threshold is not None
    assert threshold > 0.25


def test_the_strictest_stratum_decides() -> None:
    low, high = scores(300) * np.float32(0.5), scores(300, 1) * np.float32(0.5) + np.float32(0.4)
    known = make_known(np.concatenate([low, high]))
    known = Known(
        language=known.language,
        words=np.repeat([150, 500], 300),
        score=known.score,
        called_ai=known.called_ai,
        by_artifact=known.by_artifact,
        is_human=known.is_human,
        stratum=np.array(["a"] * 580 + ["b"] * 20),
    )
    found = {s.name: s for s in strata_of(known, known.is_human, 59, 0.05)}
    # "400–799 · b" has 20 documents: merged into the whole.
    assert list(found) == ["all", "100–199 · a", "400–799 · a"]
    assert found["400–799 · a"].documents == 280
    assert found["400–799 · a"].threshold > found["all"].threshold > found["100–199 · a"].threshold
    result = calibrate(known, Engine(Policy(target_fpr=0.05)))
    assert result.policy.min_ai_scores["en"] == found["400–799 · a"].threshold
    assert (high >= result.policy.min_ai_scores["en"]).mean() <= 0.05
    (language,) = result.languages
    decides = language.set_by
    assert decides is not None
    assert (decides.name, decides.whole) == ("400–799 · a", False)
    own = high[:280]
    assert decides.before == pytest.approx((own > 0.9).mean())
    assert decides.after == pytest.approx((own >= decides.threshold).mean())
    assert {s.name: s.after for s in language.strata}["100–199 · a"] == 0.0


def test_languages_with_too_few_keep_theirs(engine: Engine) -> None:
    parts = make_known(scores(100)), make_known(scores(30), "de")
    known = Known(
        language=np.concatenate([part.language for part in parts]),
        words=np.concatenate([part.words for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        called_ai=np.concatenate([part.called_ai for part in parts]),
        by_artifact=np.concatenate([part.by_artifact for part in parts]),
        is_human=np.concatenate([part.is_human for part in parts]),
    )
    result = calibrate(known, engine)
    assert [r.language for r in result.lacking] == ["de"]
    assert set(result.policy.min_ai_scores) == {"en"}
    assert Engine(result.policy).threshold("de") == engine.threshold("de")
    assert {r.language: r.set_by is not None for r in result.languages} == {"de": False, "en": True}


def test_a_near_certain_phrase_counts_at_any_threshold(engine: Engine) -> None:
    known = make_known(scores(400))
    certain = replace(known, by_artifact=np.arange(400) < 4)
    (without,), (result,) = (calibrate(k, engine).languages for k in (known, certain))
    assert result.by_artifact == 4
    assert result.new is not None
    assert without.new is not None
    assert result.new > without.new  # Room is left for what no threshold spares.
    called = (known.score >= result.new) | certain.by_artifact
    assert result.human_after is not None
    assert result.human_after == pytest.approx(called.mean())
    assert result.human_after <= 0.05


def test_refuses_with_what_it_would_need(engine: Engine) -> None:
    with pytest.raises(ConfigError, match=r"de has 58; 59 are needed"):
        calibrate(make_known(scores(58), "de"), engine)
    with pytest.raises(ConfigError, match="needs at least 59"):
        calibrate(make_known(scores(500)), engine, min_documents=30)
    with pytest.raises(ConfigError, match="en has 99; 100 are needed"):
        calibrate(make_known(scores(99)), engine, min_documents=100)
    with pytest.raises(ConfigError, match="no score to calibrate"):
        calibrate(make_known(scores(500)), Engine(Policy(rule=Rule.THRESHOLDS)))


def test_shares_before_and_after(engine: Engine) -> None:
    own = np.concatenate([scores(200), np.full(50, 0.99, np.float32)])
    (result,) = calibrate(make_known(own, n_ai=50), engine).languages
    assert (result.documents, result.others) == (200, 50)
    assert result.human_before == pytest.approx((own[:200] > 0.9).mean())
    assert result.human_after is not None
    assert result.human_after <= 0.05
    assert result.others_before == 1.0
    assert result.expected_fpr == pytest.approx((200 * result.human_after + 1) / 201)


def write(path: Path, rows: list[dict[str, object]]) -> tuple[Shard, ...]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return survey([str(path)]).shards


def read(shards: tuple[Shard, ...], by: KnownBy, engine: Engine) -> Known:
    config = RunConfig(fields=FieldNames(), policy=engine.policy)
    return read_known(shards, TextJudging(config, engine), by)


def test_reads_labels_dates_and_strata(tmp_path: Path, engine: Engine) -> None:
    text = [f"{i} " + SENTENCE * 9 for i in range(6)]
    extra: list[dict[str, object]] = [
        {"meta": {"who": "Human", "site": "a"}, "date": "2020-05-01"},
        {"meta": {"who": "human", "site": "b"}, "date": "2022"},
        {"meta": {"who": "gpt"}, "date": "2024-01-01"},
        {"meta": {}, "date": None},
        {"meta": {"who": "human"}, "date": "2021-01-01"},
    ]
    rows = [{"text": t, "language": "en", **more} for t, more in zip(text, extra, strict=False)]
    rows.append({**rows[0], "id": "again"})
    rows.append({**rows[0], "text": "Short."})
    shards = write(tmp_path / "a.jsonl", rows)
    known = read(shards, KnownBy(label_field="meta.who", stratum_field="meta.site"), engine)
    assert known.is_human.tolist() == [True, True, False, True]
    assert known.stratum is not None
    assert known.stratum.tolist() == ["a", "b", "", ""]
    assert (known.unlabelled, known.repeated, known.unscored) == (1, 1, 1)
    by_date = read(shards, KnownBy(human_before=dt.date(2022, 11, 30)), engine)
    # "2022" alone may be December.
    assert by_date.is_human.tolist() == [True, False, False, False, True]


def test_says_where_nothing_is_known(tmp_path: Path, engine: Engine) -> None:
    shards = write(tmp_path / "a.jsonl", [{"text": SENTENCE * 9, "label": "ai"}])
    with pytest.raises(ConfigError, match="none of 1 documents is labelled 'human'"):
        read(shards, KnownBy(label_field="label"), engine)
    with pytest.raises(ConfigError, match=r"`fields\.date`"):
        read(shards, KnownBy(human_before=dt.date(2022, 11, 30)), engine)
    with pytest.raises(ConfigError, match="either `human_before=…`"):
        KnownBy()
