from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from lowbg_cli.app import app

    folder = tmp_path_factory.mktemp("formats")
    for name, rows in (("one", (*HUMAN, AI)), ("two", (HUMAN[0], AI, f"{AI} Or so."))):
        (folder / f"{name}.jsonl").write_bytes(lines(*rows))
        arguments = ["filter", str(folder / f"{name}.jsonl"), "-o", str(folder / name), "-q"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
    return folder


def plain(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_bytes())


@pytest.mark.slow
def test_csv_has_the_counts_of_the_report(run: Run, outputs: Path) -> None:
    got = run("report", outputs / "one", outputs / "two", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(got.stdout)))
    totals = [plain(outputs / name)["totals"] for name in ("one", "two")]
    assert int(rows[0]["ai"]) == sum(each["ai"]["documents"] for each in totals)
    assert int(rows[0]["documents"]) == sum(int(r["documents"]) for r in rows if r["by"] == "shard")
    assert {row["by"] for row in rows} == {"all", "language", "year", "host", "shard"}


@pytest.mark.slow
def test_markdown_is_short_and_compares(run: Run, outputs: Path, tmp_path: Path) -> None:
    target = tmp_path / "comment.md"
    assert run("report", outputs / "one", "-o", target).exit_code == 0
    text = target.read_text("utf-8")
    assert text.startswith("### lowbg: one.jsonl\n")
    assert len(text) < 10_000
    got = run("report", outputs / "one", "--against", outputs / "two", "--format", "md").stdout
    assert "#### Since the earlier report" in got
    counts = [plain(outputs / name)["totals"]["ai"]["documents"] for name in ("two", "one")]
    assert (
        f"| ai | {counts[0]} | {counts[1]} | {counts[1] - counts[0]:+} |".replace("| -", "| −")
        in got
    )
    page = tmp_path / "page.html"
    run("report", outputs / "one", "--against", outputs / "two", "-o", page)
    assert 'id="compared"' in page.read_text("utf-8")


@pytest.mark.slow
def test_a_card_is_yaml_then_markdown(run: Run, outputs: Path) -> None:
    got = run("report", outputs / "one", "--card").stdout
    yaml, _, text = got.removeprefix("---\n").partition("\n---\n")
    assert yaml.splitlines() == [
        "language:", "- en", "size_categories:", "- n<1K", "tags:", "- lowbg",
    ]  # fmt: skip
    assert text.lstrip().startswith("## AI-likely text\n")
    assert plain(outputs / "one")["runs"][0]["policy_sha256"] in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--card", "--format", "md"), "--card is a format of its own"),
        (("--against", "two"), "only a page or Markdown compares"),
        (("--against", "two", "--format", "csv"), "only a page or Markdown compares"),
        (("--against", "none", "--format", "md"), "none: no such file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, outputs: Path, options: tuple[str, ...], said: str
) -> None:
    got = run("report", outputs / "one", *options)
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.split())


@pytest.mark.slow
def test_no_text_of_the_data_without_examples(run: Run, outputs: Path, tmp_path: Path) -> None:
    beginning = " ".join(AI.split())[:60]
    for name in ("report.json", "report.html"):
        assert beginning[:30] in (outputs / "one" / name).read_text("utf-8")
    out = tmp_path / "out"
    arguments = ("filter", outputs / "one.jsonl", "-o", out, "--no-examples", "-q")
    assert run(*arguments).exit_code == 0
    for file in (path for path in out.rglob("*") if path.is_file()):
        if file.parent.name not in ("human", "ai"):
            assert beginning[:30].encode() not in file.read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize("again", ["--overwrite", "--incremental"])
def test_the_page_says_what_changed_since_the_last_run(
    run: Run, tmp_path: Path, again: str
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "one.jsonl").write_bytes(lines(*HUMAN, AI))
    assert run("filter", folder, "-o", out, "-q").exit_code == 0
    assert 'id="compared"' not in (out / "report.html").read_text("utf-8")
    before = plain(out)["totals"]["ai"]["documents"]

    (folder / "two.jsonl").write_bytes(lines(f"{AI} Or so.", f"{AI} Or not."))
    assert run("filter", folder, "-o", out, again, "-q").exit_code == 0
    now = plain(out)["totals"]["ai"]["documents"]
    assert now > before
    text = (out / "report.html").read_text("utf-8")
    section = text[text.index('id="compared"') :]
    assert f"+{now - before}" in section[: section.index("</table>")]

    # What can't be read is nothing to compare with, and no reason to fail.
    (out / "report.json").write_text("{}")
    assert run("filter", folder, "-o", out, "--overwrite", "-q").exit_code == 0
    assert 'id="compared"' not in (out / "report.html").read_text("utf-8")


def test_an_ending_of_no_format_is_refused(run: Run, outputs: Path, tmp_path: Path) -> None:
    got = run("report", outputs / "one", "-o", tmp_path / "report.pdf")
    assert got.exit_code == 2
    assert "report.pdf: .pdf isn't written" in " ".join(got.stderr.split())
    assert not (tmp_path / "report.pdf").exists()
    for name in ("summary.txt", "summary"):
        assert run("report", outputs / "one", "-o", tmp_path / name).exit_code == 0
