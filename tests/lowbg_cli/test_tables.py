"""`--tables`: a language without embedded tables, from text to verdicts; nothing mixed up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.json as pj
import pyarrow.parquet as pq
import pytest
from examples.make_language import main as make_language
from typer.testing import CliRunner, Result

from lowbg import Detector, Policy
from lowbg.decision.policy import load_policy
from lowbg.errors import ConfigError
from lowbg.models import open_model
from lowbg_cli.app import app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up language's text, `tables/` of it, and `other/` of one human collection alone."""
    folder = tmp_path_factory.mktemp("tables")
    make_language(folder / "language")
    for name, human in (("tables", "human"), ("other", "human/books.jsonl")):
        args = ["--human", folder / "language" / human, "--ai", folder / "language" / "ai"]
        output = folder / name / "eo.safetensors"
        ended = CliRunner().invoke(
            app, ["train", *map(str, args), "--lang", "eo", "-o", str(output)]
        )
        assert ended.exit_code == 0, ended.stderr
        (folder / f"{name}.txt").write_text(ended.stderr, encoding="utf-8")
    return folder


def counts(output: Path) -> tuple[int, int]:
    """Human and AI records in an output."""
    human, ai = (
        len((output / part / "pages.jsonl").read_bytes().splitlines()) for part in ("human", "ai")
    )
    return human, ai


def test_a_language_gets_verdicts_by_its_own_tables(run: Run, desk: Path, tmp_path: Path) -> None:
    crawl, tables = desk / "language" / "crawl", desk / "tables"
    assert run("filter", crawl, "-o", tmp_path / "without").exit_code == 0
    assert counts(tmp_path / "without") == (1_000, 0)
    ended = run("filter", crawl, "-o", tmp_path / "with", "--tables", tables)
    assert ended.exit_code == 0, ended.stderr
    human, ai = counts(tmp_path / "with")
    assert 680 <= human <= 700
    assert ai == 1_000 - human
    digest = open_model(tables / "eo.safetensors").sha256
    for name in ("report.json", "manifest.json"):
        content = json.loads((tmp_path / "with" / name).read_bytes())
        assert content.get("models", content.get("runs", [{}])[0].get("models"))["eo"] == digest
    assert run("verify", tmp_path / "with").exit_code == 0


def test_a_run_goes_on_with_the_same_tables_only(run: Run, desk: Path, tmp_path: Path) -> None:
    crawl, out = desk / "language" / "crawl", tmp_path / "out"
    moved = shutil.copytree(desk / "tables", tmp_path / "moved")
    assert run("filter", crawl, "-o", out, "--tables", desk / "tables").exit_code == 0
    assert run("filter", crawl, "-o", out, "--tables", moved, "--resume").exit_code == 0
    for others in ([], ["--tables", desk / "other"]):
        ended = run("filter", crawl, "-o", out, *others, "--resume")
        assert ended.exit_code == 2
        assert "models.eo was" in ended.stderr


def test_a_report_is_judged_under_its_own_tables(run: Run, desk: Path, tmp_path: Path) -> None:
    crawl, out = desk / "language" / "crawl", tmp_path / "out"
    gate = ["--max-ai-share", "0.4", "-q"]
    assert run("filter", crawl, "-o", out, "--tables", desk / "tables", "-q").exit_code == 0
    assert run("gate", out, "--tables", desk / "tables", *gate).exit_code == 0
    for others in ([], ["--tables", desk / "other"]):
        ended = run("gate", out, *others, *gate)
        assert ended.exit_code == 2
        assert "the tables of eo were others" in ended.stderr
    judged = run("gate", crawl, "--tables", desk / "tables", *gate, "--json", tmp_path / "g.json")
    assert judged.exit_code == 0, judged.stderr
    models = json.loads((tmp_path / "g.json").read_bytes())["models"]
    assert models["eo"] == open_model(desk / "tables" / "eo.safetensors").sha256


def test_a_calibrated_policy_names_its_tables(
    run: Run, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl, policy = desk / "language" / "crawl", tmp_path / "deep" / "policy.toml"
    monkeypatch.chdir(desk)
    made = run(
        *("calibrate", crawl, "--human-before", "2022-11-30"),
        *("--tables", "tables", "-o", policy),
    )
    assert made.exit_code == 0, made.stderr
    monkeypatch.chdir(tmp_path)
    assert list(load_policy(policy).min_ai_scores) == ["eo"]
    assert run("filter", crawl, "--policy", policy, "-o", "out", "-q").exit_code == 0
    human, ai = counts(tmp_path / "out")
    assert (human + ai, 280 < ai < 310) == (1_000, True)
    lines = policy.read_text(encoding="utf-8").splitlines(keepends=True)
    policy.write_text("".join(x for x in lines if not x.startswith("tables")), encoding="utf-8")
    ended = run("filter", crawl, "--policy", policy, "-o", "out2", "-q")
    assert ended.exit_code == 2
    assert "no tables of it" in ended.stderr
    assert "--tables" in ended.stderr
    assert not Path("out2").exists()


def test_every_command_that_scores_takes_them(run: Run, desk: Path, tmp_path: Path) -> None:
    labelled, tables = desk / "language" / "labelled.jsonl", ("--tables", desk / "tables")
    assert run("score", labelled, "-o", tmp_path / "s", *tables, "-q").exit_code == 0
    rows = [json.loads(x) for x in (tmp_path / "s" / "labelled.jsonl").read_bytes().splitlines()]
    assert all(row["ai_score"] is not None for row in rows)
    told = run("eval", labelled, *tables).stdout.splitlines()[1].split()
    assert told[:4] == ["all", "300", "300", "100"]
    seen = json.loads(run("explain", labelled, "--record", 0, *tables, "--json").stdout)
    assert seen["verdict"] == "human"
    assert ", eo, " in run("scorers", *tables).stdout
    base = tmp_path / "base.json"
    drift = ["--documents", "500", "--words", "50000"]
    made = run("drift", "baseline", labelled, *tables, *drift, "-o", base, "-q")
    assert made.exit_code == 0, made.stderr
    checked = run("drift", "check", labelled, "--baseline", base)
    assert checked.exit_code == 2
    assert "eo" in checked.stderr
    mixed = run(
        *("mix", "--human", labelled, "--synthetic", desk / "language" / "ai"),
        *("--min-human", "0.5", *tables, "-o", tmp_path / "mix"),
    )
    assert mixed.exit_code == 2
    assert "--tables: only with --weights" in mixed.stderr


def test_from_python(desk: Path) -> None:
    lines = (desk / "language" / "labelled.jsonl").read_bytes().splitlines()
    texts = [json.loads(line)["text"] for line in (lines[0], lines[-1])]
    table = Detector(Policy(tables=str(desk / "tables"))).score_table(
        pj.read_json(desk / "language" / "labelled.jsonl").select(["text", "language"])
    )
    assert table["verdict"].to_pylist()[:: len(lines) - 1] == ["human", "ai"]
    with pytest.raises(ConfigError, match="no tables of it"):
        Detector(Policy(min_ai_scores={"eo": 0.5})).score(texts)


def test_train_says_how_good_and_how_sure(desk: Path) -> None:
    whole, one = ((desk / f"{name}.txt").read_text("utf-8") for name in ("tables", "other"))
    assert "of 600 human and 300 AI documents" in whole
    assert "of text left out of the fit" in whole
    assert "warning" not in whole
    assert "too little human text is left without one of its collections" in one


def test_train_reads_parquet_as_jsonl(run: Run, desk: Path, tmp_path: Path) -> None:
    made = []
    rows = pq.read_table(desk / "language" / "human" / "letters.parquet").to_pylist()
    letters = tmp_path / "letters.jsonl"
    letters.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    for given in (desk / "language" / "human" / "letters.parquet", letters):
        model = tmp_path / f"{given.suffix[1:]}.safetensors"
        args = ("--human", given, "--ai", desk / "language" / "ai", "--lang", "eo", "-o", model)
        assert run("train", *args, "-q").exit_code == 0
        made.append(open_model(model))
    assert (made[0].arrays["odds_slots"] == made[1].arrays["odds_slots"]).all()
    assert made[0].metadata["calibration"] == made[1].metadata["calibration"]


@pytest.mark.parametrize(
    ("human", "ai", "language", "told"),
    [
        ("human", "human", "eo", "--ai: eo: 0 AI documents of 75 words or more"),
        ("few.jsonl", "ai", "eo", "--human: eo: 50 human documents of 75 words or more"),
        ("copies.jsonl", "ai", "eo", "--human: eo: 1 human document of 75 words or more"),
        ("human", "ai", "it", "900 in another language, by their own field"),
        ("odd.jsonl", "ai", "eo", "labelled 'machine'; a label is human or ai"),
        ("nothing", "ai", "eo", "nothing: no such file or directory"),
    ],
)
def test_train_wants_enough_of_both(
    human: str, ai: str, language: str, told: str, run: Run, desk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "language"
    shutil.copytree(desk / "language", folder)
    lines = (folder / "human" / "books.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "few.jsonl").write_bytes(b"".join(lines[:50]))
    (folder / "copies.jsonl").write_bytes(lines[0] * 300)
    (folder / "odd.jsonl").write_bytes(
        b"".join(lines) + json.dumps({"text": "a", "label": "machine"}).encode()
    )
    output = tmp_path / "x.safetensors"
    ended = run(
        *("train", "--human", folder / human, "--ai", folder / ai),
        *("--lang", language, "-o", output),
    )
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert not output.exists()


def test_train_says_what_it_left_out(run: Run, desk: Path, tmp_path: Path) -> None:
    books = tmp_path / "books.jsonl"
    lines = (desk / "language" / "human" / "books.jsonl").read_bytes()
    licensed = [
        json.dumps({**json.loads(line), "license": "CC BY-NC 4.0"}).encode()
        for line in lines.splitlines()[:7]
    ]
    books.write_bytes(lines + b"\n".join([*licensed, b"{broken", b'{"text": "x", "lang": "it"}']))
    ended = run(
        *("train", "--human", books, "--ai", desk / "language" / "ai"),
        *("--lang", "eo", "-o", tmp_path / "eo.safetensors"),
    )
    assert ended.exit_code == 0, ended.stderr
    assert "1 record left out: can't be read" in ended.stderr
    assert "7 documents left out: under a licence that forbids such use" in ended.stderr
    assert "1 document left out: in another language" in ended.stderr


CZECH = (
    "Výbor se sešel v úterý a rozhodl, že silnice by měla být přes zimu uzavřena, protože se jí "
    "nedá jezdit, když napadne sníh. "
)


def test_a_corpus_without_tables_says_so(run: Run, tmp_path: Path) -> None:
    crawl, out = tmp_path / "crawl.jsonl", tmp_path / "out"
    texts = [*([3 * CZECH] * 23), "hi", 20 * "kdfj lkasdjf xlkj ksdjfl xzkfj dlkjf sad "]
    crawl.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    filtered = run("filter", crawl, "-o", out)
    line = "  no tables for  cs 23 documents · not recognised 1\n"
    assert line in filtered.stderr
    assert line in run("report", out).stdout
    report = json.loads((out / "report.json").read_bytes())
    assert report["unscored"][0]["languages"] == {"cs": 23, "und": 1}
    piped = run("filter", crawl, "--discard-ai")
    assert line in piped.stderr
    for judged in (crawl, out):
        to = tmp_path / "gate.json"
        gated = run("gate", judged, "--max-ai-share", "0.1", "--json", to)
        said = "0 scored, no tables for cs 23 documents, not recognised 1"
        assert said in " ".join(gated.stdout.split())
        assert said in gated.stderr
        assert json.loads(to.read_bytes())["untabled"] == {"cs": 23, "und": 1}
