"""The options of the optional scorers: what needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from lowbg.config import (
    Extras,
    LmCalibration,
    LmDtype,
    LmSettings,
    LmSpread,
    Policy,
    RunConfig,
)
from lowbg.decision.policy_text import policy_text
from lowbg.errors import ConfigError
from lowbg.settings import with_changes

Run = Callable[..., Result]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "The mill stood by the river. " * 30}) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As much of a model's folder as is looked at before it is loaded."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"")
    return path


def test_options_become_settings() -> None:
    said = {
        "extras.lm.model": "gpt2",
        "extras.lm.budget": "5%",
        "extras.lm.dtype": LmDtype.FLOAT16,
    }
    assert with_changes(RunConfig(), said).extras == Extras(
        LmSettings("gpt2", budget="5%", dtype=LmDtype.FLOAT16)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lm-performer", "x"], "--lm-performer: only with --lm MODEL"),
        (["--lm-budget", "5%", "--lm-context", "9"], "--lm-budget, --lm-context: only with --lm"),
        (["--lm", "x", "--lm-budget", "0.2:0.9"], "an LM budget of '0.2:0.9'; write a share"),
        (["--lm", "x", "--lm-budget", "120%"], "a share at most 100 %"),
        (["--lm", "x", "--lm-budget", "0"], "must be above 0"),
        (["--kenlm-normalise"], "--kenlm-normalise: only with --kenlm FILE"),
        (["--kenlm", "no.bin"], "pip install 'lowbg[kenlm]'"),
        (["--watermark", "no.toml"], "--watermark no.toml: cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_made(
    run: Run, shard: Path, tmp_path: Path, options: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "kenlm", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    for command in ("filter", "score"):
        got = run(command, shard, "-o", tmp_path / "out", *options)
        assert got.exit_code == 2, got.stderr
        assert message in " ".join(got.stderr.split())
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["filter", "score", "calibrate"])
def test_without_the_extra_the_message_names_it_and_the_command(
    run: Run, shard: Path, tmp_path: Path, folder: Path, command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for module in ("torch", "lowbg.scorers.lm.models", "lowbg.scorers.lm.inference"):
        monkeypatch.setitem(sys.modules, module, None)
    options = ["--label-field", "label"] if command == "calibrate" else []
    got = run(command, shard, "-o", tmp_path / "out", "--lm", folder, *options)
    assert got.exit_code == 2
    assert "--lm needs the extra 'lm'" in got.stderr
    assert "pip install 'lowbg[lm]'" in got.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_nothing_heavy_is_imported_without_lm(shard: Path, tmp_path: Path) -> None:
    arguments = ["filter", str(shard), "-o", str(tmp_path / "out")]
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lowbg_cli.app import app\n"
        f"got = CliRunner().invoke(app, {arguments})\n"
        "assert got.exit_code == 0, got.stderr\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'huggingface_hub', 'kenlm'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_scorers_are_listed_without_torch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    got = run("scorers", "--json")
    assert got.exit_code == 0, got.stderr
    found: dict[str, Any] = {row["name"]: row for row in json.loads(got.stdout)}
    assert {"causal_lm", "binoculars", "kenlm", "watermark"} <= set(found)
    assert "binoculars" in {column["name"] for column in found["binoculars"]["columns"]}


def test_budgets_and_contexts_are_checked() -> None:
    with pytest.raises(ConfigError, match="budget of 'much'"):
        LmSettings("x", budget="much")
    with pytest.raises(ConfigError, match="context"):
        LmSettings("x", context=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("filter", "-o", "OUT"),
        ("filter", "--discard-ai"),
        ("score", "-o", "OUT"),
        ("score", "-o", "-"),
        ("eval",),
        ("gate", "--max-ai-share", "1"),
        ("explain",),
    ],
    ids=" ".join,
)
def test_a_policy_whose_lm_does_not_run_says_so(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shard, policy = tmp_path / "a.jsonl", tmp_path / "policy.toml"
    text = "The mill stood by the river. " * 30
    shard.write_text(json.dumps({"text": text, "label": "human"}) + "\n")
    spread = LmSpread(mean=0.0, between=1.0, within=1.0, correlation=0.0, min_words=25)
    lm = LmCalibration("00" * 32, "lm_curvature", {"en": spread}, {"en": 0.9})
    policy.write_text(policy_text(Policy(lm=lm)))
    command, *others = (str(tmp_path / "out") if word == "OUT" else word for word in arguments)
    got = run(command, shard, *others, "--policy", policy)
    assert "calibrated with an LM, and none runs here" in " ".join(got.stderr.split())
