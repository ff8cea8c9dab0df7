"""A probe from `lowbg train --probe` to verdicts, with a small model that the test makes."""

from __future__ import annotations

import json
import random
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

from lowbg.config import Extras, LmSettings, RunConfig
from lowbg.decision.policy import load_policy
from lowbg.scorers.lm.probes import open_probe

pytestmark = [pytest.mark.slow, pytest.mark.lm]

Run = Callable[..., Result]

DULL = ["crucial", "vital", "robust", "seamless", "dynamic", "holistic", "nuanced", "pivotal"]


def machine_prose(seed: int, sentences: int = 14) -> str:
    own = random.Random(seed)
    return " ".join(
        f"It is {own.choice(DULL)} to note that a {own.choice(DULL)} approach is "
        f"{own.choice(DULL)} and {own.choice(DULL)}."
        for _ in range(sentences)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("lm") / "tiny", "llama")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """220 documents of each label in four datasets, the last fifth of them short."""
    path = tmp_path_factory.mktemp("labelled") / "labelled.jsonl"
    with path.open("w") as out:
        for i in range(440):
            ai, length = i % 2 == 1, 16 if i < 410 else 6
            text = machine_prose(i, length) if ai else prose(i, length)
            row = {
                "id": str(i), "text": text, "language": "en", "label": "ai" if ai else "human",
                "dataset": f"{'model' if ai else 'people'}-{i // 2 % 2}", "license": "CC0",
            }  # fmt: skip
            print(json.dumps(row), file=out)
    return path


@pytest.fixture(scope="module")
def probe(labelled: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from lowbg_cli.app import app

    path = tmp_path_factory.mktemp("probes") / "en.safetensors"
    options = ["train", labelled, "--probe", "--lm", model, "--lang", "en", "-o", path]
    got = CliRunner().invoke(app, [*map(str, options), "--probe-tokens", "40"])
    assert got.exit_code == 0, got.stderr
    assert "of 2 human and 2 AI kinds. Of AI kinds left out of the fit it finds" in " ".join(
        got.stderr.split()
    )
    return path


def test_a_probe_says_what_it_was_made_from(probe: Path, model: Path, labelled: Path) -> None:
    from lowbg.scorers.lm.store import ModelFolder

    found = open_probe(probe)
    assert found.of.model == ModelFolder(model, "tiny").sha256()
    assert (found.of.tokens, found.of.label, found.languages) == (40, "tiny", ("en",))
    assert found.of.layer in (1, 2)
    assert found.card["kinds"] == {"ai": 2, "human": 2}
    assert found.card["licences"] == {"CC0": 1.0}
    assert sum(row["rows"] for row in found.card["sources"]["rows"]) == found.card["documents"]
    assert list(found.card["sources"]["files"]) == [labelled.name]
    assert found.card["left_out"]["auroc"] > 0.95
    assert len(found.card["human"]["thresholds"]) == 9


def score(run: Run, shard: Path, out: Path, *options: object) -> list[dict[str, Any]]:
    got = run("score", shard, "-o", out, *options)
    assert got.exit_code == 0, got.stderr
    return rows(out / shard.name)


def test_rows_are_equal_at_any_batch_and_number_of_workers(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    first = score(run, labelled, tmp_path / "a", *lm)
    small = score(run, labelled, tmp_path / "b", *lm, "--batch-bytes", 3000)
    two = score(run, labelled, tmp_path / "c", *lm, "--workers", 2, "--lm-batch-tokens", 50)
    assert first == small == two
    assert list(first[0])[-1] == "lm_probe_log_odds"
    assert "lm_perplexity" not in first[0]
    found = {label: [r["lm_probe_log_odds"] for r, s in zip(first, rows(labelled), strict=True)
                     if s["label"] == label] for label in ("human", "ai")}  # fmt: skip
    assert np.mean(found["ai"]) > np.mean(found["human"]) + 1


@pytest.fixture(scope="module")
def surprised(labelled: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe that weighs surprise."""
    from typer.testing import CliRunner

    from lowbg_cli.app import app

    path = tmp_path_factory.mktemp("surprised") / "en.safetensors"
    options = ["train", labelled, "--probe", "--lm", model, "--lang", "en", "-o", path]
    got = CliRunner().invoke(
        app, [*map(str, options), "--probe-tokens", "40", "--lm-surprise"]
    )  # fmt: skip
    assert got.exit_code == 0, got.stderr
    return path


def test_surprise_is_read_beside_the_states_and_decides_with_them(
    run: Run, labelled: Path, model: Path, probe: Path, surprised: Path, tmp_path: Path
) -> None:
    """The verdict follows from the columns alone, and is the same in filter and score."""
    plain = score(run, labelled, tmp_path / "plain", "--lm", model, "--lm-probe", surprised)
    assert "lm_evenness" not in plain[0]
    lm = ("--lm", model, "--lm-probe", surprised, "--lm-surprise")
    found = score(run, labelled, tmp_path / "a", *lm)
    two = score(run, labelled, tmp_path / "b", *lm, "--batch-bytes", 3000, "--workers", 2)
    assert found == two
    columns = ("lm_evenness", "lm_start_surprisal", "lm_start_surprisal_deviation",
               "lm_start_log_rank", "lm_start_entropy", "lm_start_curvature")  # fmt: skip
    assert list(found[0])[-6:] == list(columns)
    assert [r["lm_probe_log_odds"] for r in found] == [r["lm_probe_log_odds"] for r in plain]
    weights = open_probe(surprised).surprise
    assert weights is not None
    figures = np.array([[row[name] for name in columns[1:]] for row in found])
    np.testing.assert_allclose(
        weights.evenness(figures), [row["lm_evenness"] for row in found], rtol=1e-3, atol=1e-4
    )
    policy = tmp_path / "policy.toml"
    got = run(
        "calibrate", labelled, "--label-field", "label", "--target-fpr", 0.05, "-o", policy, *lm
    )
    assert got.exit_code == 0, got.stderr
    loaded = load_policy(policy)
    assert loaded.lm is not None
    assert loaded.lm.surprise.keys() == {"en"}
    for n, options in enumerate(((), ("--policy", policy))):
        judged = score(run, labelled, tmp_path / f"score-{n}", *lm, *options)
        got = run("filter", labelled, "-o", tmp_path / f"f-{n}", *lm, *options, "--annotate")
        assert got.exit_code == 0, got.stderr
        assert "changed no verdict" not in " ".join(got.stderr.split())
        routed = {
            row["id"]: row["lowbg"]["verdict"]
            for name in ("human", "ai")
            for row in rows(tmp_path / f"f-{n}" / name / labelled.name)
        }
        assert routed == {row["id"]: row["verdict"] for row in judged}
        assert any("lm_evenness" in row["reasons"][0] for row in judged if row["verdict"] == "ai")
    labels = [row["label"] for row in rows(labelled)]
    called = [label for label, row in zip(labels, judged, strict=True) if row["verdict"] == "ai"]
    assert called.count("human") <= 0.05 * 220
    # A policy is one of what was read.
    got = run("filter", labelled, "-o", tmp_path / "less", "--policy", policy, *lm[:-1])
    assert "was calibrated with another LM, --lm-context or --lm-surprise" in " ".join(
        got.stderr.split()
    )
    for options, message in (
        (("--lm-probe", probe), "was made without surprise; make it again"),
        (("--lm-probe", "none"), "a probe weighs the surprise, and none of"),
        ((), "a probe weighs the surprise, and none of"),
    ):
        refused = ("filter", labelled, "-o", tmp_path / "no", "--lm", model, "--lm-surprise")
        got = run(*refused, *options)
        assert got.exit_code == 2, got.stderr
        assert message in " ".join(got.stderr.split())
        assert not (tmp_path / "no").exists()


def test_only_its_languages_are_read(
    run: Run, model: Path, probe: Path, labelled: Path, tmp_path: Path
) -> None:
    shard = tmp_path / "mixed.jsonl"
    text = rows(labelled)[0]["text"]
    shard.write_text(
        "".join(json.dumps({"text": text, "language": code}) + "\n" for code in ("en", "de"))
    )
    found = score(run, shard, tmp_path / "out", "--lm", model, "--lm-probe", probe.parent)
    assert found[0]["lm_probe_log_odds"] is not None
    assert found[1]["lm_probe_log_odds"] is None


def test_the_library_judges_texts_alike(
    run: Run, model: Path, probe: Path, labelled: Path, tmp_path: Path
) -> None:
    from lowbg.errors import ConfigError
    from lowbg.scorers.lm.reading import reader_of

    settings = LmSettings(str(model), probe=str(probe))
    texts = [row["text"] for row in rows(labelled)[:9]]
    shard = tmp_path / "nine.jsonl"
    shard.write_text("".join(json.dumps({"text": t, "language": "en"}) + "\n" for t in texts))
    found = score(run, shard, tmp_path / "out", "--lm", model, "--lm-probe", probe)
    column = [row["lm_probe_log_odds"] for row in found]
    assert reader_of(settings, "en")(texts) == pytest.approx(column, rel=1e-5)
    for other in (LmSettings(str(model)), settings):
        with pytest.raises(ConfigError, match=r"no probe of .* serves 'de'"):
            reader_of(other, "de")


def test_what_cannot_be_used_is_refused_and_nothing_is_made(
    run: Run, model: Path, probe: Path, labelled: Path, tmp_path: Path
) -> None:
    other = save_model(tmp_path / "other", "llama", seed=1)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(probe.read_bytes()[:-3])
    for options, message in (
        (["--lm", other, "--lm-probe", probe], "and the model given is other"),
        (["--lm", model, "--lm-probe", tmp_path / "no"], "--lm-probe"),
        (["--lm", model, "--lm-probe", broken], "not a whole safetensors file"),
        (["--lm", model, "--lm-probe", probe, "--lm-performer", model], "no use for a second"),
        (["--lm-probe", probe], "only with --lm MODEL"),
    ):
        got = run("filter", labelled, "-o", tmp_path / "out", *options)
        assert got.exit_code == 2, got.stderr
        assert message in " ".join(got.stderr.split())
        assert not (tmp_path / "out").exists()


def test_a_calibrated_probe_decides_alike_in_filter_and_score(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    lm = ("--lm", model, "--lm-probe", probe)
    got = run(
        "calibrate", labelled, "--label-field", "label", "--target-fpr", 0.05, "-o", policy, *lm
    )
    assert got.exit_code == 0, got.stderr
    loaded = load_policy(policy)
    assert loaded.lm is not None
    assert loaded.lm.feature == "lm_probe_log_odds"
    plain = score(run, labelled, tmp_path / "plain")
    judged = score(run, labelled, tmp_path / "score", "--policy", policy, *lm)
    got = run("filter", labelled, "-o", tmp_path / "f", "--policy", policy, *lm, "--annotate")
    assert got.exit_code == 0, got.stderr
    routed = {
        row["id"]: row["lowbg"]["verdict"]
        for name in ("human", "ai")
        for row in rows(tmp_path / "f" / name / labelled.name)
    }
    assert routed == {row["id"]: row["verdict"] for row in judged}
    labels = {row["id"]: row["label"] for row in rows(labelled)}
    called = [labels[i] for i, verdict in routed.items() if verdict == "ai"]
    # One threshold holds whatever a score is of: tables, probe, or both.
    by_verdict = {verdict: [row["ai_score"] for row in judged if row["verdict"] == verdict]
                  for verdict in ("human", "ai")}  # fmt: skip
    assert max(by_verdict["human"]) < min(by_verdict["ai"])
    assert loaded.lm.min_ai_scores_alone.keys() <= {"en"}
    assert called.count("human") <= 0.05 * 220
    assert called.count("ai") > sum(
        row["verdict"] == "ai" and labels[row["id"]] == "ai" for row in plain
    )
    told = [row["reasons"] for row in judged if row["verdict"] == "ai"]
    assert any("lm_probe_log_odds" in reasons[0] for reasons in told)
    # The same policy without the model says that its part is left out.
    got = run("filter", labelled, "-o", tmp_path / "without", "--policy", policy)
    assert "--lm" in " ".join(got.stderr.split())


def test_calibrating_says_when_the_lm_read_too_little(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    """In a language that the tables judge and no probe serves."""
    german = tmp_path / "german.jsonl"
    german.write_text(labelled.read_text().replace('"language": "en"', '"language": "de"'))
    got = run(
        "calibrate", german, "--label-field", "label", "--target-fpr", 0.05, "-o",
        tmp_path / "p.toml", "--lm", model, "--lm-probe", probe,
    )  # fmt: skip
    assert got.exit_code == 2
    assert "were read by the LM: de 0; 59 are needed" in " ".join(got.stderr.split())
    assert not (tmp_path / "p.toml").exists()


def test_without_a_calibration_the_probe_s_own_decides(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    got = run("filter", labelled, "-o", tmp_path / "f", *lm, "--annotate")
    assert got.exit_code == 0, got.stderr
    assert "changed no verdict" not in " ".join(got.stderr.split())
    look = json.loads((tmp_path / "f" / "report.json").read_bytes())["second_look"]
    assert look["without_say"] == 0
    assert sum(n for name, n in look["changed"].items() if name.startswith("unscored_to_")) == 15
    # Of a rate for every kind it knows no threshold.
    got = run("filter", labelled, "-o", tmp_path / "every", *lm, "--fpr-bound", "every")
    assert got.exit_code == 0, got.stderr
    assert "the LM changed no verdict: the policy has no calibration" in " ".join(
        got.stderr.split()
    )


def test_under_a_budget_verdicts_are_one_rule_s(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    """Equal in filter and score, at any batch size, order of records and number of workers."""
    lm = ("--lm", model, "--lm-probe", probe, "--lm-budget", "10%")
    shards = tmp_path / "in"
    shards.mkdir()
    lines = labelled.read_text().splitlines(keepends=True)
    for k in range(2):
        (shards / f"{k}.jsonl").write_text("".join(lines[k::2]))
    got = run("filter", shards, "-o", tmp_path / "f", *lm, "--annotate")
    assert got.exit_code == 0, got.stderr
    annotated = [row for path in (tmp_path / "f").glob("*/?.jsonl") for row in rows(path)]
    verdicts = {row["id"]: row["lowbg"]["verdict"] for row in annotated}

    def scored(name: str, *options: object) -> dict[str, dict[str, Any]]:
        got = run("score", shards, "-o", tmp_path / name, *lm, *options)
        assert got.exit_code == 0, got.stderr
        return {row["id"]: row for path in (tmp_path / name).glob("?.jsonl") for row in rows(path)}

    first = scored("s")
    read = {i for i, row in first.items() if row["lm_probe_log_odds"] is not None}
    assert 0.05 * len(first) < len(read) < 0.15 * len(first)
    # Fewer short texts have a score than with every document read, and all of those that were.
    short = {i for i, row in first.items() if row["words"] < 75}
    assert {i for i in short if first[i]["ai_score"] is not None} == short & read != short
    assert verdicts == {i: row["verdict"] for i, row in first.items()}
    assert scored("small", "--batch-bytes", 3000) == first
    assert scored("two", "--workers", 2) == first
    report = json.loads((tmp_path / "s" / "report.json").read_bytes())
    assert report["second_look"]["sent"] == len(read)
    assert report["second_look"]["missed"]["unread"] > 0
    for k in range(2):
        (shards / f"{k}.jsonl").write_text("".join(lines[k::2][::-1]))
    turned = scored("turned")
    assert {i: row["verdict"] for i, row in turned.items()} == verdicts


def test_pipes_and_parts_under_a_budget_judge_as_one_run(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe, "--lm-budget", "10%")
    shards = tmp_path / "in"
    shards.mkdir()
    lines = labelled.read_text().splitlines(keepends=True)
    for k in range(3):
        (shards / f"{k}.jsonl").write_text("".join(lines[k::3]))
    for name, given in (("one", [shards]), ("file", [labelled])):
        got = run("filter", *given, "-o", tmp_path / name, *lm, "--annotate")
        assert got.exit_code == 0, got.stderr
    for index in (1, 0):
        part = ("--shard-index", index, "--shard-count", 2, "--batch-bytes", 3000)
        got = run("filter", shards, "-o", tmp_path / "parts", *lm, *part, "--annotate")
        assert got.exit_code == 0, got.stderr
    got = run("merge", tmp_path / "parts", "-o", tmp_path / "merged")
    assert got.exit_code == 0, got.stderr
    whole = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("*/?.jsonl")}
    assert len(whole) == 6
    for path in whole:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "merged" / path).read_bytes()
    told = [
        {**json.loads((tmp_path / name / "report.json").read_bytes())["second_look"], "seconds": 0}
        for name in ("one", "merged")
    ]
    assert told[0] == told[1]
    assert told[0]["missed"]["unread"] > 0

    report = tmp_path / "pipe.json"
    got = run(
        "filter", "-", "--discard-ai", *lm, "--report", report, "--annotate",
        stdin=labelled.read_bytes(),
    )  # fmt: skip
    assert got.exit_code == 0, got.stderr
    assert got.stdout_bytes == (tmp_path / "file" / "human" / labelled.name).read_bytes()
    look = json.loads(report.read_bytes())["second_look"]
    assert 0 < look["sent"] < 66
    assert look["missed"]["unread"] > 0
    got = run("score", "-", "-o", "-", *lm, stdin=labelled.read_bytes())
    scored = [json.loads(line) for line in got.stdout_bytes.splitlines()]
    assert sum(row["lm_probe_log_odds"] is not None for row in scored) == look["sent"]
    got = run("score", "-", "-o", tmp_path / "rows", *lm, stdin=labelled.read_bytes())
    assert got.exit_code == 0, got.stderr
    (written,) = (tmp_path / "rows").glob("*.jsonl")
    kept = [{**row, "shard": None} for row in rows(written)]
    assert kept == [{**row, "shard": None} for row in scored]
    got = run("score", "-", labelled, "-o", tmp_path / "two", *lm, stdin=labelled.read_bytes())
    assert got.exit_code == 2
    assert "as --lm-budget has to" in " ".join(got.stderr.split())


def test_eval_gate_and_explain_judge_alike(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    judged = score(run, labelled, tmp_path / "score", *lm)
    called = {i for i, row in enumerate(judged) if row["verdict"] == "ai"}
    assert called != {i for i, row in enumerate(score(run, labelled, tmp_path / "plain"))
                      if row["verdict"] == "ai"}  # fmt: skip
    got = run("eval", labelled, "--json", tmp_path / "eval.json", *lm)
    assert got.exit_code == 0, got.stderr
    labels = [row["label"] for row in rows(labelled)]
    whole = json.loads((tmp_path / "eval.json").read_bytes())
    assert whole["scorers"]["lm_probe"] == 1
    overall = whole["results"][0]
    judged_ai = [i for i, row in enumerate(judged) if labels[i] == "ai" and row["ai_score"]]
    found = sum(i in called for i in judged_ai) / len(judged_ai)
    assert overall["recall"]["value"] == pytest.approx(found)
    for options in ((), ("--workers", 2), ("--sample", 10_000)):
        got = run("gate", labelled, "--max-ai-share", 0.01, "--json", "-", *lm, *options)
        assert got.exit_code == 1, got.stderr
        share = 100 * len(called) / sum(row["ai_score"] is not None for row in judged)
        assert f"max_ai_share {share:.1f} %" in json.loads(got.stdout)["summary"]
    got = run("explain", f"{labelled}:{min(called)}", "--json", *lm)
    assert json.loads(got.stdout)["verdict"] == "ai"


def test_an_explanation_s_sentences_come_to_the_log_odds(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe)
    for i in (0, 1, 439):
        got = run("explain", f"{labelled}:{i}", "--json", *lm)
        assert got.exit_code == 0, got.stderr
        told = json.loads(got.stdout)
        (column,) = (f["value"] for f in told["features"] if f["name"] == "lm_probe_log_odds")
        first, *parts = told["lm_parts"]
        assert (first["text"], first["tokens"]) == ("", 0)
        assert sum(part["nats"] for part in told["lm_parts"]) == pytest.approx(column, abs=1e-3)
        scored = score_of(run, labelled, i, tmp_path, *lm)["lm_probe_log_odds"]
        assert column == pytest.approx(scored, rel=1e-6)
        assert sum(part["tokens"] for part in parts) <= 40
        # What is read, from the beginning on, and no sentence that isn't.
        text = rows(labelled)[i]["text"]
        assert text.startswith(" ".join(part["text"] for part in parts))
        assert len(parts) < len(told["sentences"]) or i == 439
    got = run("explain", f"{labelled}:1", *lm)
    assert "together: lm_probe_log_odds" in got.stdout
    page = tmp_path / "page.html"
    assert run("explain", f"{labelled}:1", *lm, "--html", page).exit_code == 0
    assert "What the LM&#39;s probe reads" in page.read_text().replace("LM's", "LM&#39;s")
    assert "lm_parts" not in json.loads(run("explain", f"{labelled}:1", "--json").stdout)


def score_of(run: Run, shard: Path, i: int, folder: Path, *options: object) -> dict[str, Any]:
    one = folder / f"{i}.jsonl"
    one.write_text(shard.read_text().splitlines()[i] + "\n")
    return score(run, one, folder / f"one-{i}", *options)[0]


def test_a_run_with_a_budget_goes_on_by_its_own_rule(
    run: Run, labelled: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    lm = ("--lm", model, "--lm-probe", probe, "--lm-budget", "30%")
    shards, out = tmp_path / "in", tmp_path / "out"
    shards.mkdir()
    lines = labelled.read_text().splitlines(keepends=True)
    (shards / "a.jsonl").write_text("".join(lines[:200]))

    def noted() -> Any:
        return json.loads((out / ".lowbg" / "run.json").read_bytes())["selection"]

    assert run("filter", shards, "-o", out, *lm).exit_code == 0
    first = noted()
    assert first["margin"] > 0
    # What is new is read by the same rule, though it is all alike.
    (shards / "b.jsonl").write_text("".join(line for line in lines[200:] if '"ai"' in line))
    got = run("filter", shards, "-o", out, *lm, "--incremental")
    assert got.exit_code == 0, got.stderr
    assert noted() == first
    got = run("filter", shards, "-o", out, *lm, "--overwrite")
    assert got.exit_code == 0, got.stderr
    assert noted() != first
    got = run("filter", shards, "-o", out, *lm[:-1], "40%", "--resume")
    assert got.exit_code == 2
    assert "--lm-budget" in got.stderr or "budget" in got.stderr
    got = run("filter", shards, "-o", tmp_path / "refused", *lm, "--rule", "thresholds")
    assert got.exit_code == 2, got.stderr
    assert not (tmp_path / "refused").exists()
    assert "rule 'thresholds' uses none" in " ".join(got.stderr.split())


@pytest.mark.parametrize("budget", [None, "40%"])
def test_an_interrupted_run_goes_on(
    labelled: Path, model: Path, probe: Path, tmp_path: Path, budget: str | None
) -> None:
    lm = LmSettings(str(model), probe=str(probe), budget=budget)
    config = RunConfig(batch_bytes=8000, annotate=True, extras=Extras(lm))
    seen, _ = whole_and_cut(labelled, tmp_path, config, batches=3)
    assert seen < len(labelled.read_bytes().splitlines())
    for path in (tmp_path / "whole").glob("*/*.jsonl"):
        assert path.read_bytes() == (tmp_path / "cut" / path.parent.name / path.name).read_bytes()
