from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.drift.baseline import conditions_of, read_baseline, write_baseline
from lowbg.jobs.drift.check import amount, compare, judge, require_alike
from lowbg.jobs.drift.measure import measure
from lowbg.jobs.drift.sampling import Sample
from lowbg.jobs.drift.settings import Limits, Size
from lowbg.runs.engine import Engine

AsSample = Callable[[Sequence[str]], Sample]
Halves = Callable[[int], tuple[list[str], list[str]]]
SIZE = Size(250, 15_000)
NO_LIMITS = Limits(1e9, 0.0, 99.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "interval", "alert"),
    [
        ("holdout_perplexity", (0.3, 0.11, 0.5), True),
        ("holdout_perplexity", (0.3, 0.09, 0.5), False),  # more than 10 %, but it may be less
        ("holdout_perplexity", (-0.3, -0.5, -0.11), False),
        ("unique_tokens", (-0.3, -0.4, -0.16), True),
        ("unique_tokens", (-0.3, -0.4, -0.14), False),
        ("unique_tokens", (0.3, 0.2, 0.4), False),
        ("entropy_unigrams", (-0.2, -0.3, -0.06), True),
        ("entropy_bigrams", (-0.2, -0.3, -0.04), False),
        ("tail_share", (-0.08, -0.1, -0.06), True),
        ("ai_share", (0.08, 0.06, 0.1), True),
        ("js_words", (0.08, 0.06, 0.1), True),
        ("js_words", (0.08, 0.04, 0.1), False),
        ("js_hosts", (0.9, 0.8, 1.0), False),
        ("perplexity", (5.0, 4.0, 6.0), False),
    ],
)
def test_alert_needs_the_whole_interval_beyond_the_limit(
    name: str, interval: tuple[float, float, float], alert: bool
) -> None:
    assert judge(name, name, "number", (1.0, 1.0), interval, Limits()).alert is alert


def test_nothing_to_compare_is_no_alert() -> None:
    change = judge("ai_share", "AI share", "points", (None, 0.5), None, Limits())
    assert (change.change, change.alert) == (None, False)
    assert amount("points", None) == "–"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("percent", 0.1234, "+12.3 %"),
        ("points", -0.05, "−5.0 points"),
        ("number", -0.2, "−0.200"),
        ("distance", 0.1, "0.100"),
    ],
)
def test_amounts_as_text(form: str, value: float, text: str) -> None:
    assert amount(form, value) == text  # type: ignore[arg-type]


def test_baseline_comes_back_from_its_file(
    human: list[str], as_sample: AsSample, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "base.json"
    profile = measure(as_sample(human[:250]), SIZE, engine).profile
    write_baseline(path, profile, conditions_of(engine), ("crawl/",))
    baseline = read_baseline(path)
    assert baseline.inputs == ("crawl/",)
    assert baseline.profile.size == SIZE
    assert baseline.profile.figures == profile.figures
    # The file stands for the profile: what is compared with either is the same.
    measured = [
        measure(as_sample(human[250:500]), SIZE, engine, p) for p in (profile, baseline.profile)
    ]
    assert compare(profile, measured[0], Limits()) == compare(
        baseline.profile, measured[1], Limits()
    )
    assert "assert" not in path.read_text()  # no words of the text


def test_only_like_compares_with_like(
    human: list[str], as_sample: AsSample, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "base.json"
    conditions = conditions_of(engine)
    write_baseline(path, measure(as_sample(human[:250]), SIZE, engine).profile, conditions, ())
    baseline = read_baseline(path)
    require_alike(baseline, conditions, "base.json")
    others = {
        "version: ": structs.replace(conditions, version="99.0"),
        "model en: ": structs.replace(conditions, models={**conditions.models, "en": "0" * 64}),
        "model xx: none, 1": structs.replace(
            conditions, models={**conditions.models, "xx": "1" * 64}
        ),
        "scorer perplexity: 1, 2": structs.replace(
            conditions, scorers={**conditions.scorers, "perplexity": 2}
        ),
        "policy: ": conditions_of(Engine(Policy(target_fpr=0.05))),
    }
    for what, other in others.items():
        with pytest.raises(ConfigError, match=what):
            require_alike(baseline, other, "base.json")


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": "lowbg-drift-baseline/9"}'])
def test_what_is_no_baseline_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "base.json"
    path.write_text(damage)
    with pytest.raises(ConfigError, match=r"base\.json: not a drift baseline"):
        read_baseline(path)


def test_damaged_hold_out_is_refused(
    human: list[str], as_sample: AsSample, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "base.json"
    profile = measure(as_sample(human[:250]), SIZE, engine).profile
    write_baseline(path, profile, conditions_of(engine), ())
    value = json.loads(path.read_text())
    value["holdout"]["words"] = value["holdout"]["words"][:-16]
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="damaged"):
        read_baseline(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_alerts_fire_in_their_order(
    seed: int,
    halves: Halves,
    ai: list[str],
    halve_vocabulary: Callable[[Sequence[str]], list[str]],
    as_sample: AsSample,
    engine: Engine,
) -> None:
    one, other = halves(seed)
    baseline = measure(as_sample(one[:250]), SIZE, engine).profile

    def alerts(texts: Sequence[str]) -> set[str]:
        measured = measure(as_sample(texts), SIZE, engine, baseline)
        return {c.name for c in compare(baseline, measured, Limits()) if c.alert}

    def mixed(share: float) -> list[str]:
        chosen = np.random.default_rng(seed).random(250) < share
        return [ai[i % len(ai)] if chosen[i] else other[i] for i in range(250)]

    assert alerts(other[:250]) == set()
    column = engine.judge(as_sample(other).text).columns["perplexity"].fill_null(0.0)
    lowest = np.sort(np.argsort(column.to_numpy(), kind="stable")[:250])
    assert "tail_share" in alerts([other[i] for i in lowest])
    assert {"unique_tokens", "entropy_unigrams"} <= alerts(halve_vocabulary(other[:250]))
    fifth, half, whole = (alerts(mixed(share)) for share in (0.2, 0.5, 1.0))
    # The more AI text, the more alerts, and none goes out that was on.
    assert "ai_share" in fifth
    assert fifth < half < whole
    assert "entropy_bigrams" in half
    assert {"holdout_perplexity", "unique_tokens"} <= whole


def test_limits_decide(
    human: list[str], ai: list[str], as_sample: AsSample, engine: Engine
) -> None:
    baseline = measure(as_sample(human[:250]), SIZE, engine).profile
    measured = measure(as_sample((ai * 30)[:250]), SIZE, engine, baseline)
    assert not [c for c in compare(baseline, measured, NO_LIMITS) if c.alert]
    only = dataclasses.replace(NO_LIMITS, max_ai_share_rise=0.9)
    assert [c.name for c in compare(baseline, measured, only) if c.alert] == ["ai_share"]
