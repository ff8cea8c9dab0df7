"""`calibrate` and `eval` of rows that `score --lm` wrote: no LM runs again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests.lowbg_cli.test_lm_probe import labelled, model, probe, surprised
from tests.tiny_lm import save_model

from lowbg.decision.policy import load_policy
from lowbg.scorers.lm.scorer import LmScorer

__all__ = ("labelled", "model", "probe", "surprised")

pytestmark = [pytest.mark.slow, pytest.mark.lm]

Run = Callable[..., Result]

KEEP = ("--keep-field", "label", "--keep-field", "dataset")
FIVE = ("--target-fpr", 0.05)


@pytest.fixture(scope="module")
def read(model: Path, probe: Path, surprised: Path) -> dict[str, tuple[object, ...]]:
    """How the LM may read, by name."""
    return {
        "probe": ("--lm", model, "--lm-probe", probe),
        "surprise": ("--lm", model, "--lm-probe", surprised, "--lm-surprise"),
        "curvature": ("--lm", model, "--lm-probe", "none"),
        "context": ("--lm", model, "--lm-probe", "none", "--lm-context", 32),
        "binoculars": ("--lm", model, "--lm-performer", model),
    }


READ = ("probe", "surprise", "curvature", "context", "binoculars")


def scores(run: Run, labelled: Path, out: Path, *options: object) -> Path:
    """Rows in `out`, under the name that the documents have."""
    got = run("score", labelled, "-o", out, *KEEP, *options)
    assert got.exit_code == 0, got.stderr
    return out / labelled.name


def without_day(policy: Path) -> str:
    return re.sub(r"on \d{4}-\d\d-\d\d\.", "on DAY.", policy.read_text())


def refused(got: Result) -> str:
    assert got.exit_code == 2, got.stderr
    return " ".join(got.stderr.split())


@pytest.fixture
def no_lm_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """When called: from now on the test fails where an LM is prepared or loaded."""

    def fail(*args: object, **named: object) -> Any:
        raise AssertionError("an LM is loaded")

    def forbid() -> None:
        monkeypatch.setattr(LmScorer, "_asked", fail)

    return forbid


@pytest.mark.parametrize("name", READ)
def test_policies_and_metrics_are_those_of_the_documents(
    run: Run,
    labelled: Path,
    read: dict[str, tuple[object, ...]],
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    no_lm_runs: Callable[[], None],
) -> None:
    lm = read[name]
    text, rows = tmp_path / "text", tmp_path / "rows"
    text.mkdir()
    shutil.copy(labelled, text)
    form = ("--as", "parquet") if name == "probe" else ()
    scores(run, labelled, rows, *lm, *form)
    if form:
        (rows / "labelled.parquet").rename(rows / labelled.name)
    calibrate = ("calibrate", labelled.name, "--label-field", "label", *FIVE, "-o", "p.toml")
    measure = ("eval", labelled.name, "--policy", "p.toml", "--markdown", "e.md")
    told = []
    for folder, options in ((text, lm), (rows, ("--lm", "rows"))):
        monkeypatch.chdir(folder)
        if folder == rows:
            no_lm_runs()
        calibrated = run(*calibrate, *options)
        assert calibrated.exit_code == 0, calibrated.stderr
        evaluated = run(*measure, *options)
        assert evaluated.exit_code == 0, evaluated.stderr
        told.append([*calibrated.stderr.splitlines(), *evaluated.stdout.splitlines()])
    assert told[0] == told[1]
    assert without_day(rows / "p.toml") == without_day(text / "p.toml")
    assert "Model lm tiny: SHA-256" in without_day(rows / "p.toml")
    loaded = load_policy(rows / "p.toml").lm
    assert loaded is not None
    assert loaded.languages.keys() == {"en"}
    assert bool(loaded.surprise) == (name == "surprise")
    assert (rows / "e.md").read_bytes() == (text / "e.md").read_bytes()


def test_a_probe_s_own_thresholds_decide_on_rows_too(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    rows = scores(run, labelled, tmp_path / "rows", *lm)
    text = run("eval", labelled, *lm)
    assert text.exit_code == 0, text.stderr
    got = run("eval", rows, "--lm", "rows", "--lm-probe", probe)
    assert got.exit_code == 0, got.stderr
    assert got.stdout == text.stdout
    assert got.stdout != run("eval", labelled).stdout
    message = refused(run("eval", rows, "--lm", "rows"))
    assert "read with lm-probe en.safetensors (" in message
    assert "whose thresholds are in its file: name it, --lm-probe, or give a policy" in message


def test_rows_without_their_lm_are_judged_by_the_tables(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    rows = scores(run, labelled, tmp_path / "rows", "--lm", model, "--lm-probe", probe)
    policies = tmp_path / "text.toml", tmp_path / "rows.toml"
    for path, policy in zip((labelled, rows), policies, strict=True):
        got = run("calibrate", path, "--label-field", "label", *FIVE, "-o", policy)
        assert got.exit_code == 0, got.stderr
    assert load_policy(policies[0]) == load_policy(policies[1])
    message = refused(run("eval", rows, "--lm", "rows", "--lm-budget", "5%"))
    assert "--lm-budget: no LM reads rows of score" in message
    told = "by the tables alone; --lm rows lets the LM that read them take part"
    assert told in " ".join(got.stderr.split())
    got = run("eval", rows)
    assert got.exit_code == 0, got.stderr
    assert got.stdout == run("eval", labelled).stdout
    assert told in " ".join(got.stderr.split())


def test_without_thresholds_an_lm_of_rows_has_no_say(
    run: Run, labelled: Path, model: Path, tmp_path: Path
) -> None:
    rows = scores(run, labelled, tmp_path / "rows", "--lm", model, "--lm-probe", "none")
    got = run("eval", rows, "--lm", "rows")
    assert got.exit_code == 0, got.stderr
    assert got.stdout == run("eval", labelled).stdout
    assert "the LM changed no verdict: nothing is known of its thresholds" in " ".join(
        got.stderr.split()
    )


def test_rows_of_another_lm_are_refused(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    rows = scores(run, labelled, tmp_path / "rows", "--lm", model, "--lm-probe", probe)
    other = save_model(tmp_path / "other", "llama", seed=1)
    others = scores(run, labelled, tmp_path / "others", "--lm", other, "--lm-probe", "none")
    policy = tmp_path / "policy.toml"
    args = ("--label-field", "label", *FIVE, "--lm", "rows", "-o", policy)
    assert run("calibrate", rows, *args).exit_code == 0
    message = refused(run("eval", others, "--lm", "rows", "--policy", policy))
    assert "rows of lm other " in message
    assert "and the policy was calibrated with another LM, context or surprise" in message
    both = (shutil.copy(rows, tmp_path / "a.jsonl"), shutil.copy(others, tmp_path / "b.jsonl"))
    message = refused(run("calibrate", *both, *args, "--overwrite"))
    own = r"b\.jsonl: rows of lm other \w+, those of a\.jsonl of lm tiny \w+, lm-probe en"
    assert re.search(own, message)
    # One row of it among many is as bad.
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(rows.read_text() + others.read_text().splitlines()[0] + "\n")
    own_rows = map(json.loads, mixed.read_text().splitlines())
    whole = ({"lm_probe_log_odds": None, **row} for row in own_rows)
    mixed.write_text("".join(json.dumps(row) + "\n" for row in whole))
    message = refused(run("eval", mixed, "--lm", "rows", "--policy", policy))
    assert "mixed.jsonl: rows of lm other" in message


def test_a_part_that_an_lm_read_is_refused(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    rows = scores(run, labelled, tmp_path / "rows", *lm, "--lm-budget", "20%")
    message = refused(run("eval", rows, "--lm", "rows", "--lm-probe", probe))
    assert "the LM read a part of the documents (--lm-budget), which stands for no whole" in message
    assert run("eval", rows).stdout == run("eval", labelled).stdout


def test_rows_of_an_older_version_lack_the_lm_s_models(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    rows = scores(run, labelled, tmp_path / "rows", "--lm", model, "--lm-probe", probe)
    first = json.loads(rows.read_text().splitlines()[0])
    assert first["lm_models"][0].startswith("lm tiny ")
    assert first["lm_models"][1].startswith("lm-probe en.safetensors ")
    del first["lm_models"]
    rows.write_text(json.dumps(first) + "\n")
    assert "rows without lm_models: an older version" in refused(run("eval", rows, "--lm", "rows"))
