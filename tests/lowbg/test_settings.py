from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from lowbg.config import Gate, GateGroup, LmSettings, Policy, Rule, RunConfig
from lowbg.errors import ConfigError
from lowbg.settings import (
    ABOVE_ZERO,
    SIZE,
    Declared,
    Setting,
    check_limits,
    declared,
    default_text,
    describe,
    setting,
    size_text,
    with_changes,
)


@dataclass(frozen=True, slots=True)
class Inner:
    depth: float = setting("How deep.", 1.0, least=ABOVE_ZERO, most=2.0)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class Outer:
    plain: int = 0
    named: int = setting("Named.", 3, key="table.name")
    inner: Inner = field(default_factory=Inner)
    lacking: Inner | None = None
    counts: Mapping[str, int] = setting("Counts.", factory=dict, least=0)
    names: tuple[str, ...] = setting("Names.", ())

    def __post_init__(self) -> None:
        check_limits(self)


def test_settings_are_found_at_every_depth() -> None:
    keys = [own.key for own in declared(Outer)]
    assert keys == ["table.name", "inner.depth", "lacking.depth", "counts", "names"]
    assert [own.path for own in declared(Outer)][:2] == [("named",), ("inner", "depth")]


def test_changes_replace_values_and_grow_tables_and_lists() -> None:
    old = Outer(counts={"a": 1}, names=("x",))
    new = with_changes(
        old, {"table.name": 4, "inner.depth": 2.0, "counts": {"b": 2}, "names": ("y", "x")}
    )
    assert new == Outer(named=4, inner=Inner(2.0), counts={"a": 1, "b": 2}, names=("x", "y"))
    assert with_changes(old, {}) is old


def test_a_part_that_was_null_comes_to_be() -> None:
    assert with_changes(Outer(), {"lacking.depth": 0.5}).lacking == Inner(0.5)
    config = with_changes(RunConfig(), {"extras.lm.model": "gpt2", "extras.lm.context": 64})
    assert config.extras.lm == LmSettings("gpt2", context=64)


@pytest.mark.parametrize(
    ("make", "message", "key"),
    [
        (lambda: Inner(0.0), "depth is 0.0; it must be a number above 0, at most 2", "depth"),
        (lambda: Inner(float("nan")), "depth is nan", "depth"),
        (lambda: Outer(counts={"a": -1}), "counts.a is -1; it must be a whole number", "counts"),
        (lambda: Policy(target_fpr=0.6), "decision.target_fpr is 0.6", "decision.target_fpr"),
        (
            lambda: Policy(rule="thresholds "),  # type: ignore[arg-type]
            "decision.rule is 'thresholds '; it must be one of calibrated, thresholds",
            "decision.rule",
        ),
        (
            lambda: RunConfig(compression="lz4"),  # type: ignore[arg-type]
            "compression is 'lz4'; it must be one of keep, zstd, gzip, none",
            "compression",
        ),
        (
            lambda: Gate(max_ai_share_by={"hosts": 0.1}),  # type: ignore[dict-item]
            "a key of gate.max_ai_share_by is 'hosts'; it must be one of language, year, host",
            "gate.max_ai_share_by",
        ),
        (
            lambda: Gate(max_ai_share_by={GateGroup.HOST: 2.0}),
            "gate.max_ai_share_by.host is 2.0; it must be between 0 and 1",
            "gate.max_ai_share_by",
        ),
    ],
)
def test_limits_hold_wherever_a_configuration_is_made(make: Any, message: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
    assert caught.value.key == key


def test_plain_words_become_members() -> None:
    assert Policy(rule="thresholds").rule is Rule.THRESHOLDS  # type: ignore[arg-type]
    (group,) = Gate(max_ai_share_by={"host": 0.1}).max_ai_share_by  # type: ignore[dict-item]
    assert group is GateGroup.HOST


@pytest.mark.parametrize(
    ("kind", "own", "text"),
    [
        (int, Setting("", least=1), "a whole number, 1 or more"),
        (int, Setting("", least=1, most=9), "a whole number, between 1 and 9"),
        (float, Setting(""), "a number"),
        (float, Setting("", least=0, most=1), "between 0 and 1"),
        (Fraction, Setting("", most=1), "a number, at most 1"),
        (Rule, Setting(""), "one of calibrated, thresholds"),
        (dt.date, Setting(""), "a date, YYYY-MM-DD"),
        (Mapping[GateGroup, int], Setting("", least=0), "a table: language, year, host, shard"),
        (bool, Setting(""), "true or false"),
    ],
)
def test_what_a_value_must_be(kind: Any, own: Setting, text: str) -> None:
    assert describe(kind, own).startswith(text)


def test_defaults_in_words() -> None:
    def text(default: object, **more: Any) -> str:
        return default_text(Declared(("x",), object, default, Setting("", **more)))

    assert [text(None), text(False), text(()), text({})] == [""] * 4
    assert [text(0), text(30.0), text(Rule.CALIBRATED)] == ["0", "30", "calibrated"]
    assert text(64 << 20, unit=SIZE) == "64M"
    assert text(None, shown="all") == "all"
    assert [size_text(1000), size_text(3 << 10), size_text(2 << 30)] == ["1000", "3k", "2G"]


def test_errors_keep_what_they_are_about_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("is wrong", key="a.b", file="p.toml")))
    assert (str(error), error.key, error.file) == ("p.toml: is wrong", "a.b", "p.toml")
