"""`calibrate` and `eval` of rows that `score` wrote: the same as of the documents, unread."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN
from tests.lowbg_cli.test_calibrate import prose
from typer.testing import Result

from lowbg.storage.zstd import ZstdCompressor

Run = Callable[..., Result]

KEPT = ("label", "date", "topic.name", "dataset")
KEEP = [option for name in KEPT for option in ("--keep-field", name)]
CODE = "x = {1: (2, 3)}; y = [4, 5]; z = x[1] + y; a += 6 * (7 - 8) ** 9 // 10; b |= {}; " * 12


def zstd(content: bytes) -> bytes:
    return ZstdCompressor().compress(content, mode=ZstdCompressor.FLUSH_FRAME)


def documents() -> list[dict[str, Any]]:
    """Of both labels, some of them again, too short, no prose, in a language without tables."""
    found: list[dict[str, Any]] = []
    for i in range(160):
        label = ("human", "ai")[i % 4 == 3]
        text = AI if label == "ai" and i % 3 == 0 else prose(i, 4 + i % 23)
        topic = {"name": ("bees", "roads")[i % 2]}
        found.append(
            {"text": text, "label": label, "topic": topic, "date": f"{2015 + i % 10}-02-01"}
        )
    found += [{**row, "label": "human"} for row in found[:9]]
    for text in (*HUMAN[:6], "Too short.", "", CODE, "Ne estas tabeloj por ĉi tiu lingvo. " * 20):
        found.append({"text": text, "label": "human", "date": 1577836800})
    found += [{"text": prose(999)}, {"text": prose(998), "label": None, "date": "soon"}]
    for i, row in enumerate(found):
        row.update({"id": i, "dataset": f"set-{i % 3}", "language": None if i % 5 else "en"})
    return found


@pytest.fixture
def desk(tmp_path: Path, run: Run) -> Path:
    """A folder of documents, `text/in`, and one of rows of them, `rows/in`."""
    rows = [json.dumps(row) + "\n" for row in documents()]
    folder = tmp_path / "text" / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jsonl").write_text("".join(rows[:70]))
    (folder / "none.jsonl").write_text("")
    with gzip.open(folder / "sub" / "b.jsonl.gz", "wt") as out:
        out.write("".join(rows[70:]) + '{"text": null, "label": "ai"}\n{broken\n')
    got = run("score", folder, "-o", tmp_path / "rows" / "in", *KEEP, "--workers", 1)
    assert got.exit_code == 0, got.stderr
    return tmp_path


def of_text_and_rows(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch, *args: object
) -> tuple[Result, Result]:
    """What a command says of each, where both are called `in`."""
    found = []
    for folder in ("text", "rows"):
        monkeypatch.chdir(desk / folder)
        found.append(run(*args))
        assert found[-1].exit_code == 0, found[-1].stderr
    return found[0], found[1]


def policy_of(folder: Path) -> str:
    """A policy's text but for its date."""
    return re.sub(r"on \d{4}-\d\d-\d\d\.", "on DAY.", (folder / "p.toml").read_text())


def as_parquet(desk: Path, run: Run) -> None:
    shutil.rmtree(desk / "rows")
    args = ("--as", "parquet", *KEEP, "--workers", 1)
    assert run("score", desk / "text" / "in", "-o", desk / "rows" / "in", *args).exit_code == 0


def compressed(desk: Path, run: Run) -> None:
    """As people keep them: elsewhere, one as gzip, one as zstd, without a manifest."""
    shutil.move(desk / "rows" / "in", desk / "made")
    (desk / "rows" / "in" / "sub").mkdir(parents=True)
    (desk / "rows" / "in" / "a.jsonl.gz").write_bytes(
        gzip.compress((desk / "made" / "a.jsonl").read_bytes())
    )
    (desk / "rows" / "in" / "sub" / "b.jsonl.zst").write_bytes(
        zstd((desk / "made" / "sub" / "b.jsonl").read_bytes())
    )


def in_parts(desk: Path, run: Run) -> None:
    """A part of the shards each, of runs of their own."""
    shutil.rmtree(desk / "rows")
    for i in range(2):
        args = ("--shard-index", i, "--shard-count", 2, *KEEP, "--workers", 1)
        got = run("score", desk / "text" / "in", "-o", desk / "made", *args)
        assert got.exit_code == 0, got.stderr
    assert run("merge", desk / "made", "-o", desk / "rows" / "in").exit_code == 0


def as_they_are(desk: Path, run: Run) -> None:
    """Rows of `score` into a directory."""


MADE = [as_they_are, as_parquet, compressed, in_parts]


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize(
    "known",
    [
        ("--label-field", "label", "--stratum", "topic.name"),
        ("--human-before", "2022-11-30"),
    ],
    ids=["label", "date"],
)
def test_policies_of_rows_are_those_of_the_documents(
    desk: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Run], None],
    known: tuple[str, ...],
) -> None:
    make(desk, run)
    args = ("calibrate", "in", *known, "--target-fpr", 0.1, "-o", "p.toml")
    text, rows = of_text_and_rows(desk, run, monkeypatch, *args)
    assert policy_of(desk / "rows") == policy_of(desk / "text")
    assert "en:" in policy_of(desk / "text")

    def told(got: Result) -> list[str]:
        # Of rows there is none that can't be read, and what score left beside them is no input.
        lines = got.stderr.splitlines()
        return [
            line for line in lines if "can't be read" not in line and "left out: in/" not in line
        ]

    assert told(rows) == told(text)
    assert any("repeats another" in line for line in told(text))
    assert any("can't be scored" in line for line in told(text))


@pytest.mark.parametrize("make", MADE)
def test_metrics_of_rows_are_those_of_the_documents(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Run], None]
) -> None:
    make(desk, run)
    policy = desk / "own.toml"
    policy.write_text("[calibration.min_ai_scores]\nen = 0.3\n")
    args = ("eval", "in", "--policy", policy, "--json", "e.json", "--markdown", "e.md")
    text, rows = of_text_and_rows(desk, run, monkeypatch, *args)
    assert rows.stdout == text.stdout
    assert "set-2" in text.stdout
    assert (desk / "rows" / "e.md").read_bytes() == (desk / "text" / "e.md").read_bytes()
    of_text, of_rows = (json.loads((desk / f / "e.json").read_bytes()) for f in ("text", "rows"))
    of_text.pop("data"), of_rows.pop("data")
    assert of_rows == of_text
    assert "not by domain, generator: the rows don't have it" in " ".join(rows.stderr.split())


def test_rows_come_by_a_pipe(desk: Path, run: Run) -> None:
    content = (desk / "rows" / "in" / "a.jsonl").read_bytes()
    for stdin in (content, gzip.compress(content), zstd(content)):
        got = run("eval", "-", stdin=stdin)
        assert got.exit_code == 0, got.stderr
        assert got.stdout == run("eval", desk / "rows" / "in" / "a.jsonl").stdout
    documents = (desk / "text" / "in" / "a.jsonl").read_bytes()
    got = run("eval", "-", stdin=documents)
    assert got.exit_code == 0, got.stderr
    assert got.stdout == run("eval", desk / "text" / "in" / "a.jsonl").stdout


def test_a_kept_date_is_what_is_read_of_it(desk: Path, run: Run) -> None:
    boxed = desk / "boxed.jsonl"
    boxed.write_text(json.dumps({"text": "A.", "date": {"$date": "2019-05-01"}}) + "\n")
    got = run("score", boxed, "-o", "-", "--keep-field", "date")
    assert json.loads(got.stdout)["date"] == "2019-05-01"


def refused(got: Result) -> str:
    assert got.exit_code == 2, got.stderr
    return " ".join(got.stderr.split())


def changed(desk: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The rows of a shard, the last of them changed."""
    path = desk / "changed.jsonl"
    rows = [json.loads(x) for x in (desk / "rows" / "in" / "a.jsonl").read_text().splitlines()]
    change(rows[-1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(scored_by="00000000-" + row["scored_by"][9:]),
         "rows of another version's scorers (00000000-"),
        (lambda row: row.update(scored_by=row["scored_by"][:9] + "00000000"),
         "rows of other tables of 'en' ("),
        (lambda row: row.update(scored_by=None), "a row's scored_by is null; score again"),
        (lambda row: row.pop("perplexity"), "a row has no perplexity; score again"),
        (lambda row: row.update(words=None), "a row's words is null; score again"),
        (lambda row: row.update(phrase_log_odds="high"), "a row's phrase_log_odds isn't"),
        (lambda row: row.update(text_digest="zzz"), "a row's text_digest isn't"),
        (lambda row: row.update(words=-4), "a row's words isn't"),
    ],
)  # fmt: skip
def test_a_row_that_can_t_be_judged_anew_is_refused(
    desk: Path, run: Run, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = changed(desk, change)
    assert f"changed.jsonl: {message}" in refused(run("eval", path))
    args = ("--label-field", "label", "-o", desk / "p.toml")
    assert f"changed.jsonl: {message}" in refused(run("calibrate", path, *args))
    assert not (desk / "p.toml").exists()


@pytest.mark.parametrize("lacking", ["text_digest", "is_prose", "scored_by", "language", "words"])
def test_rows_that_lack_a_column_are_refused(desk: Path, run: Run, lacking: str) -> None:
    path = desk / "old.jsonl"
    row = json.loads((desk / "rows" / "in" / "a.jsonl").read_text().splitlines()[0])
    del row[lacking]
    path.write_text(json.dumps(row) + "\n")
    assert f"old.jsonl: rows without {lacking}:" in refused(run("eval", path))


def test_rows_of_other_tables_are_refused(desk: Path, run: Run, tmp_path: Path) -> None:
    from examples.make_language import main as make_language

    make_language(tmp_path / "language")
    for name, human in (("tables", "human"), ("other", "human/books.jsonl")):
        sides = ("--human", tmp_path / "language" / human, "--ai", tmp_path / "language" / "ai")
        output = tmp_path / name / "eo.safetensors"
        assert run("train", *sides, "--lang", "eo", "-o", output).exit_code == 0
    crawl, out = tmp_path / "language" / "crawl", tmp_path / "scores"
    pages = map(json.loads, (crawl / "pages.jsonl").read_text().splitlines())
    shard = tmp_path / "labelled.jsonl"
    with shard.open("w") as file:
        for i, page in enumerate(pages):
            print(
                json.dumps({**page, "label": ("human", "ai")[i % 2], "language": "eo"}), file=file
            )
    own = ("--tables", tmp_path / "tables")
    got = run("score", shard, "-o", out, "--keep-field", "label", *own)
    assert got.exit_code == 0, got.stderr
    with_own = run("eval", out, *own)
    assert with_own.exit_code == 0, with_own.stderr
    assert with_own.stdout == run("eval", shard, *own).stdout
    for others in ([], ["--tables", tmp_path / "other"]):
        message = refused(run("eval", out, *others))
        assert "labelled.jsonl: rows of other tables of 'eo' (" in message
        assert "--tables" in message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["eval", "--label-field", "who"],
         "the rows have no field 'who'; lowbg score keeps one with --keep-field who"),
        (["eval", "--label-field", "verdict"], "'verdict' is a column of the rows, and no field"),
        (["calibrate", "--label-field", "label", "--stratum", "url", "-o", "p.toml"],
         "the rows have no field 'url'"),
        (["eval", "--text-field", "body"], "--text-field: no effect: of rows of score no text"),
        (["eval", "--lang-field", "lang", "--force"], "--lang-field, --force: no effect: of rows"),
        (["eval", "--lm", "gpt2"], "--lm: no LM reads rows of score; --lm rows: the one that"),
        (["eval", "--lm", "rows"], "no LM read the documents of these rows"),
    ],
)  # fmt: skip
def test_what_rows_don_t_have_is_refused(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(desk / "rows")
    command, *options = args
    assert message in refused(run(command, "in", *options))
    assert not (desk / "rows" / "p.toml").exists()


def test_a_date_that_was_not_kept_is_asked_for(desk: Path, run: Run) -> None:
    out = desk / "without"
    args = ("--keep-field", "label", "--workers", 1)
    assert run("score", desk / "text" / "in", "-o", out, *args).exit_code == 0
    got = run("calibrate", out, "--human-before", "2022-11-30", "-o", desk / "p.toml")
    assert "the rows have no field 'date'; lowbg score keeps one with --keep-field" in refused(got)


@pytest.mark.parametrize("given", ["rows/in", "rows/in/a.jsonl"])
def test_rows_of_a_run_that_did_not_finish_are_refused(desk: Path, run: Run, given: str) -> None:
    (desk / "rows" / "in" / "manifest.json").unlink()
    message = "rows/in: its run didn't finish: there is no manifest.json"
    assert message in refused(run("eval", desk / given))
    args = ("--label-field", "label", "-o", desk / "p.toml")
    said = refused(run("calibrate", desk / given, *args))
    assert message in said
    assert "--resume" in said


def test_rows_and_documents_are_not_mixed(desk: Path, run: Run) -> None:
    documents = shutil.copy(desk / "text" / "in" / "a.jsonl", desk / "documents.jsonl")
    message = refused(run("eval", desk / "rows" / "in", documents))
    assert "holds rows of score," in message
    assert "doesn't; give one or the other" in message


def test_an_lm_of_rows_is_no_lm_of_documents(desk: Path, run: Run) -> None:
    got = run("eval", desk / "text" / "in", "--lm", "rows")
    assert "--lm rows: the input is no rows of score" in refused(got)


def test_dolma_s_attributes_are_refused(desk: Path, run: Run) -> None:
    out = desk / "dolma"
    assert run("score", desk / "text" / "in" / "a.jsonl", "-o", out, "--as", "dolma").exit_code == 0
    assert "dolma's attributes lack what it takes" in refused(run("eval", out))


def test_rule_thresholds_wants_the_documents(desk: Path, run: Run) -> None:
    policy = desk / "policy.toml"
    policy.write_text('[decision]\nrule = "thresholds"\n')
    message = refused(run("eval", desk / "rows" / "in", "--policy", policy))
    assert "rows don't hold all that rule 'thresholds' limits; give the documents" in message


def test_a_policy_with_an_lm_says_that_rows_have_none(desk: Path, run: Run) -> None:
    policy = desk / "policy.toml"
    policy.write_text(
        '[calibration.lm]\nmodel = "00"\nfeature = "lm_curvature"\n'
        "[calibration.lm.languages.en]\nmean = 0.0\nbetween = 1.0\nwithin = 0.0\n"
        "correlation = 0.0\nmin_words = 25\n"
        "[calibration.lm.min_ai_scores]\nen = 0.5\n[calibration.lm.min_ai_scores_alone]\n"
    )
    got = run("eval", desk / "rows" / "in", "--policy", policy)
    assert got.exit_code == 0, got.stderr
    assert "none read the documents of these rows" in " ".join(got.stderr.split())
