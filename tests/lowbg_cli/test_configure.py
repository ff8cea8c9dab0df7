from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowbg.config import (
    ExecutorName,
    Extras,
    LmCalibration,
    LmSettings,
    LmSpread,
    Policy,
    Rule,
    RunConfig,
    Unscored,
)
from lowbg.decision.policy_text import policy_text
from lowbg.errors import ConfigError
from lowbg.runs.inputs import Shard
from lowbg_cli.configure import LM_BATCH_BYTES, ConfigOptions, WorkerOptions, batch_bytes
from lowbg_cli.groups import Changes

FILE = """
[decision]
target_fpr = 0.05
unscored = "separate"
[thresholds]
min_perplexity = 90
max_phrase_hits = 2
[trust]
before = 2022-11-30
date_field = "meta.crawled"
[gate]
max_ai_share = 0.25
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def said(**values: object) -> Changes:
    """What a command line says: values by key, with `__` for a dot."""
    by_key = {name.replace("__", "."): value for name, value in values.items()}
    return Changes(by_key, {key: f"--{key.rpartition('.')[2]}" for key in by_key})


def test_nothing_said_is_the_default() -> None:
    assert ConfigOptions().resolve() == RunConfig()


def test_the_file_counts_where_the_command_line_is_silent(file: Path) -> None:
    config = ConfigOptions(file).resolve()
    assert (config.policy.target_fpr, config.policy.unscored) == (0.05, Unscored.SEPARATE)
    assert config.policy.trust_before == dt.date(2022, 11, 30)
    assert config.policy.gate.max_ai_share == 0.25


def test_options_go_before_the_file(file: Path) -> None:
    changes = said(decision__target_fpr=0.001, trust__before=dt.date(2020, 1, 1))
    policy = ConfigOptions(file, changes).resolve().policy
    assert (policy.target_fpr, policy.trust_before) == (0.001, dt.date(2020, 1, 1))
    assert policy.gate.max_ai_share == 0.25


def test_one_bound_leaves_the_others(file: Path) -> None:
    changes = said(decision__rule=Rule.THRESHOLDS, thresholds__min_burstiness=-0.5)
    policy = ConfigOptions(file, changes).resolve().policy
    assert policy.thresholds.min_burstiness == -0.5
    assert (policy.thresholds.min_perplexity, policy.thresholds.max_phrase_hits) == (90, 2)


def test_tables_and_lists_of_the_file_grow(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[trust]\nallow_sources = ["a.net"]\n[trust.fields]\nlicence = "CC0"\n'
        "[gate.max_phrase_hits]\nrefusal = 1\nchat = 2\n",
        encoding="utf-8",
    )
    changes = said(
        trust__allow_sources=("b.net", "a.net"),
        trust__fields={"licence": ("CC-BY",), "by": ("x",)},
        gate__max_phrase_hits={"chat": 5},
    )
    policy = ConfigOptions(path, changes).resolve().policy
    assert policy.provenance.allow_sources == ("a.net", "b.net")
    assert policy.provenance.fields == {"licence": ("CC0", "CC-BY"), "by": ("x",)}
    assert policy.gate.max_phrase_hits == {"refusal": 1, "chat": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ConfigOptions(None, said(thresholds__min_perplexity=3.0)),
            "--min_perplexity: no effect .* --rule thresholds",
        ),
        (ConfigOptions(None, said(thresholds__max_phrase_hits=0)), "--max_phrase_hits"),
        (
            ConfigOptions(
                None,
                said(
                    decision__rule=Rule.THRESHOLDS,
                    decision__target_fpr=0.1,
                    thresholds__min_perplexity=100.0,
                    thresholds__min_burstiness=-0.5,
                    thresholds__max_phrase_hits=2,
                ),
            ),
            "--target_fpr: no effect: .*--min-perplexity, --min-burstiness, --max-phrase-hits",
        ),
        (ConfigOptions(None, said(decision__target_fpr=0.9)), "decision.target_fpr is 0.9"),
        (ConfigOptions(Path("nowhere.toml")), "nowhere.toml"),
    ],
)
def test_what_would_be_ignored_is_refused(options: ConfigOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options.resolve()


def test_calibrated_scores_and_a_rate_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[calibration.min_ai_scores]\nen = 0.7\n", encoding="utf-8")
    assert ConfigOptions(path).resolve().policy.min_ai_scores == {"en": 0.7}
    with pytest.raises(ConfigError, match="sets scores of its own"):
        ConfigOptions(path, said(decision__target_fpr=0.01)).resolve()


def test_a_calibrated_lm_and_a_rate_contradict_each_other(tmp_path: Path) -> None:
    spread = LmSpread(mean=0.0, between=1.0, within=1.0, correlation=0.0, min_words=25)
    lm = LmCalibration("00" * 32, "lm_curvature", {"en": spread}, {"en": 0.9})
    path = tmp_path / "policy.toml"
    path.write_text(policy_text(Policy(lm=lm)), encoding="utf-8")
    assert ConfigOptions(path).resolve().policy.lm == lm
    with pytest.raises(ConfigError, match=r"--target_fpr: .* sets scores of its own"):
        ConfigOptions(path, said(decision__target_fpr=0.001)).resolve()


@pytest.mark.parametrize(
    ("device", "gpus", "workers", "size"),
    [
        ("auto", 4, 4, RunConfig().batch_bytes),
        ("auto", 0, 1, LM_BATCH_BYTES),
        ("cpu", 4, 1, LM_BATCH_BYTES),
        ("cuda:2", 4, 1, RunConfig().batch_bytes),
    ],
)
def test_an_lm_has_a_worker_for_each_gpu_that_it_may_use(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, workers: int, size: int
) -> None:
    models = SimpleNamespace(gpus=lambda: gpus)
    monkeypatch.setitem(sys.modules, "lowbg.scorers.lm.models", models)
    extras = Extras(LmSettings("gpt2", device=device))
    assert WorkerOptions().resolve((), extras)[0] == workers
    assert batch_bytes(extras) == size


@pytest.mark.parametrize(
    ("given", "policy", "field"),
    [(None, None, "date"), (None, "crawled", "crawled"), ("day", "crawled", "day")],
)
def test_the_date_field(given: str | None, policy: str | None, field: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"[trust]\ndate_field = '{policy}'\n" if policy else "", encoding="utf-8")
    changes = said(fields__date=given) if given else Changes()
    assert ConfigOptions(path, changes).resolve().fields.date == field


def test_workers() -> None:
    shards = [Shard("a", "a", 1), Shard("b", "b", 1)]
    assert WorkerOptions(3).resolve(shards, Extras()) == (3, ExecutorName.PROCESSES)
    assert WorkerOptions().resolve(shards, Extras())[0] >= 1
    stdin = [*shards, Shard("-", "stdin", 0)]
    assert WorkerOptions(3).resolve(stdin, Extras())[1] is ExecutorName.SERIAL
    with pytest.raises(ConfigError, match="one worker"):
        WorkerOptions(2, executor=ExecutorName.SERIAL).resolve(shards, Extras())


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [Shard("a", "a", 1), Shard("b", "b", 1)]
    monkeypatch.setattr("lowbg.kernels.machine.available_cores", lambda: 6)
    assert WorkerOptions().threads_each(2, shards) == 3
    assert WorkerOptions().threads_each(1, shards) == 4
    assert WorkerOptions().threads_each(8, shards) == 3  # only two of them have a shard
    assert WorkerOptions(threads=7).threads_each(2, shards) == 7
    monkeypatch.setattr("lowbg.kernels.machine.available_cores", lambda: 1)
    assert WorkerOptions().threads_each(1, shards) == 1


def test_workers_with_a_causal_lm_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowbg_cli.configure._gpus", lambda lm: 0)
    monkeypatch.setattr("lowbg.kernels.machine.available_cores", lambda: 16)
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    shards = [Shard(name, name, 1) for name in "abc"]
    extras = Extras(LmSettings("m"))
    assert WorkerOptions().resolve(shards, extras)[0] == 1
    assert environment == {}
    assert WorkerOptions(workers=8).resolve(shards, extras)[0] == 8
    assert environment == {"OMP_NUM_THREADS": "5"}
    environment["OMP_NUM_THREADS"] = "2"
    WorkerOptions(workers=8).resolve(shards, extras)
    assert environment == {"OMP_NUM_THREADS": "2"}
