"""Runs with a causal LM, end to end, with a small model that the test makes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests.interrupted_runs import whole_and_cut
from tests.tiny_lm import prose, save_model

from lowbg.config import ExecutorName, Extras, LmSettings, RunConfig
from lowbg.decision.policy import load_policy
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.inputs import discover
from lowbg.runs.progress import Observer
from lowbg.scorers.lm.store import locate

pytestmark = [pytest.mark.slow, pytest.mark.lm]

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """200 documents, half of them too short for the tables; every ninth is labelled AI."""
    path = tmp_path / "a.jsonl"
    with path.open("w") as out:
        for i in range(200):
            sentences = (14 if i % 2 else 5) + i % 5 if i else 1
            row = {"text": prose(i, sentences), "label": "human" if i % 9 else "ai"}
            print(json.dumps({"id": str(i), "language": "en", **row}), file=out)
    return path


def rows(run: Run, *args: object) -> list[dict[str, Any]]:
    got = run("score", *args, "-o", "-", "--quiet")
    assert got.exit_code == 0, got.stderr
    return [json.loads(line) for line in got.stdout.splitlines()]


def test_rows_have_the_figures_last_whatever_the_batch(run: Run, shard: Path, model: Path) -> None:
    plain = rows(run, shard)
    whole = rows(run, shard, "--lm", model, "--lm-performer", model)
    small = rows(run, shard, "--lm", model, "--batch-bytes", 3000, "--lm-batch-tokens", 90)
    own = [*plain[0], "lm_models"]
    names = [*own, "lm_perplexity", "lm_log_rank", "lm_entropy", "lm_lrr", "lm_curvature",
             "lm_surprisal_spread"]  # fmt: skip
    assert list(small[0]) == names
    assert list(whole[0]) == [*names, "binoculars"]
    for a, b, c in zip(plain, whole, small, strict=True):
        assert a == {name: b[name] for name in a}
        assert {*c["lm_models"]} < {*b["lm_models"]}  # With the performer.
        for name in names[len(own) :]:
            assert (b[name] is None) == (c[name] is None)
            assert b[name] is None or b[name] == pytest.approx(c[name], rel=1e-4)
        # A model that looks at itself: surprisal over its own entropy.

        assert b["binoculars"] == pytest.approx(
            math.log(b["lm_perplexity"]) / b["lm_entropy"], rel=1e-4
        )
    assert whole[0]["lm_surprisal_spread"] is None  # one sentence
    assert whole[1]["lm_surprisal_spread"] > 0


def test_parquet_has_the_columns_too(run: Run, shard: Path, model: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    got = run("score", shard, "-o", tmp_path / "s", "--as", "parquet", "--lm", model)
    assert got.exit_code == 0, got.stderr
    table = pq.read_table(tmp_path / "s" / "a.parquet")
    assert table.column("lm_curvature").null_count == 0


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return report


def test_an_lm_without_calibration_changes_no_verdict_and_says_so(
    run: Run, shard: Path, model: Path, tmp_path: Path
) -> None:
    assert run("filter", shard, "-o", tmp_path / "plain").exit_code == 0
    got = run("filter", shard, "-o", tmp_path / "lm", "--lm", model, "--lm-budget", "20%")
    assert got.exit_code == 0, got.stderr
    for name in ("human", "ai"):
        before = tmp_path / "plain" / name / "a.jsonl"
        assert before.exists() == (tmp_path / "lm" / name / "a.jsonl").exists()
        if before.exists():
            assert before.read_bytes() == (tmp_path / "lm" / name / "a.jsonl").read_bytes()
    look = report_of(tmp_path / "lm")["second_look"]
    assert {"sent_uncertain", "sent_too_short"} <= look["reasons"].keys()
    assert 25 <= look["sent"] == look["without_say"] <= 50
    assert "missed" not in look  # It changes nothing, so what it read says nothing of the rest.
    assert look["tokens"] > 0
    assert look["seconds"] > 0
    assert look["changed"] == {}
    assert "lowbg calibrate with the same --lm options" in " ".join(got.stderr.split())
    manifest = json.loads((tmp_path / "lm" / "manifest.json").read_bytes())
    assert manifest["models"]["lm tiny"] == locate(str(model), "--lm").sha256()
    assert manifest["scorers"]["causal_lm"] == 1
    assert report_of(tmp_path / "plain")["second_look"] is None


def test_a_calibrated_lm_has_a_say_for_its_own_model_only(
    run: Run, shard: Path, model: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    got = run(
        "calibrate", shard, "--label-field", "label", "--target-fpr", 0.05, "-o", policy,
        "--lm", model,
    )  # fmt: skip
    assert got.exit_code == 0, got.stderr
    loaded = load_policy(policy)
    assert loaded.lm is not None
    assert loaded.lm.feature == "lm_curvature"
    assert loaded.lm.languages["en"].min_words == 25  # short texts are judged as well
    assert f"Model lm tiny: SHA-256 {locate(str(model), '--lm').sha256()}" in policy.read_text()
    out = tmp_path / "out"
    got = run("filter", shard, "-o", out, "--policy", policy, "--lm", model, "--annotate")
    assert got.exit_code == 0, got.stderr
    look = report_of(out)["second_look"]
    assert look["without_say"] == 1  # a text of one sentence
    assert "not calibrated" not in got.stderr
    assert sum(look["changed"].values()) > 0
    assert sum(n for name, n in look["changed"].items() if name.startswith("unscored_to_")) > 0
    kept = [
        json.loads(line)
        for name in ("human", "ai")
        if (out / name / "a.jsonl").exists()
        for line in (out / name / "a.jsonl").read_text().splitlines()
    ]
    # At most as many human documents as the order statistic leaves: 5 % of 177, and fewer.
    called = [r for r in kept if r["lowbg"]["verdict"] == "ai" and r["label"] == "human"]
    assert len(called) <= 8
    reasons = [r["lowbg"]["reasons"] for r in kept if r["lowbg"]["verdict"] == "ai"]
    assert all("lm_curvature" in reason[0] for reason in reasons)
    for options, why in ((["--lm-context", "32"], "another context"),):
        other = tmp_path / why
        assert (
            run("filter", shard, "-o", other, "--policy", policy, "--lm", model, *options).exit_code
            == 0
        )
        look = report_of(other)["second_look"]
        assert look["changed"] == {}
        assert look["without_say"] == look["sent"] > 0


def test_a_canary_compares_two_checkpoints(
    run: Run, shard: Path, model: Path, tmp_path: Path
) -> None:
    """Scores of two checkpoints over the same text: the other has learnt more by heart."""
    other = save_model(tmp_path / "other", seed=1, steps=25)
    for name, checkpoint in (("first", model), ("second", other)):
        assert run("score", shard, "-o", tmp_path / name, "--lm", checkpoint).exit_code == 0
    means = {
        name: np.mean([np.log(json.loads(line)["lm_perplexity"]) for line in
                       (tmp_path / name / "a.jsonl").read_text().splitlines()])
        for name in ("first", "second")
    }  # fmt: skip
    low, high = sorted(means, key=lambda name: means[name])
    rise = float(np.exp(means[high] - means[low]) - 1)
    assert rise > 0.05

    def canary(now: str, before: str) -> tuple[int, dict[str, Any]]:
        told = tmp_path / "check.json"
        got = run("drift", "canary", tmp_path / now, "--baseline", tmp_path / before,
                  "--max-perplexity-rise", rise / 2, "--json", told)  # fmt: skip
        return got.exit_code, json.loads(told.read_bytes())["changes"][0]

    code, change = canary(high, low)
    assert code == 1
    assert change["change"] == pytest.approx(rise, rel=1e-4)
    assert canary(low, high)[0] == 0
    assert canary(low, low)[0] == 0


def test_another_model_in_the_same_folder_is_not_resumed(
    run: Run, shard: Path, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "checkpoint")
    out = tmp_path / "out"
    assert run("filter", shard, "-o", out, "--lm", folder).exit_code == 0
    before = (out / "manifest.json").read_bytes()
    save_model(folder, seed=1)
    got = run("filter", shard, "-o", out, "--lm", folder, "--resume")
    assert got.exit_code == 2
    assert "lm checkpoint" in " ".join(got.stderr.split())
    assert (out / "manifest.json").read_bytes() == before


def test_progress_is_told_in_tokens(shard: Path, model: Path, tmp_path: Path) -> None:
    config = RunConfig(batch_bytes=4000, extras=Extras(LmSettings(str(model))))
    job = FilterJob(
        tuple(discover([str(shard)])), tmp_path / "out", config, executor=ExecutorName.SERIAL
    )
    seen: list[int] = []
    filter_shards(job, Observer(lambda progress: seen.append(progress.tokens)))
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == report_of(tmp_path / "out")["second_look"]["tokens"]


def test_an_interrupted_run_goes_on(shard: Path, model: Path, tmp_path: Path) -> None:
    config = RunConfig(batch_bytes=4000, extras=Extras(LmSettings(str(model))))
    seen, outcome = whole_and_cut(shard, tmp_path, config, batches=2)
    assert 0 < seen < 200
    whole, cut = (report_of(tmp_path / name) for name in ("whole", "cut"))
    assert outcome.report.counters.second_look == whole["counters"]["second_look"]
    assert cut["second_look"]["seconds"] > 0
    for path in (tmp_path / "whole").glob("*/a.jsonl"):
        assert path.read_bytes() == (tmp_path / "cut" / path.parent.name / "a.jsonl").read_bytes()
