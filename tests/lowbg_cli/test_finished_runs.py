"""`verify` and `report`: what can be done with the output of a finished run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def finished(run: Run, tmp_path: Path) -> Path:
    shard = tmp_path / "a.jsonl"
    shard.write_text('{"text": "Good morning."}\n{"text": "Good night."}\n', encoding="utf-8")
    assert run("filter", shard, "-o", tmp_path / "out", "-q").exit_code == 0
    return tmp_path / "out"


def test_verify_finds_nothing(run: Run, finished: Path) -> None:
    result = run("verify", finished)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"lowbg: {finished}: as the manifest says\n"
    assert run("verify", finished, "-q").stderr == ""
    assert run("verify", finished, "--json").stdout == "[]\n"


def test_verify_finds_what_was_changed(run: Run, finished: Path) -> None:
    shard = finished / "human" / "a.jsonl"
    shard.write_bytes(shard.read_bytes().replace(b"morning", b"evening"))
    (finished / "new\n.txt").touch()
    result = run("verify", finished)
    assert result.exit_code == 1
    assert [row.split(":")[0] for row in result.stdout.splitlines()] == ["changed", "extra"]
    found = json.loads(run("verify", finished, "--json").stdout)
    assert [finding["kind"] for finding in found] == ["changed", "extra"]
    assert run("verify", finished, "--fast").stdout.startswith("extra")


def test_verify_says_what_the_run_itself_lacks(run: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jsonl").write_text('{"text": "Words."}\n')
    (source / "b.jsonl").write_bytes(b"PAR1 no Parquet PAR1")
    assert run("filter", source, "-o", out, "-q").exit_code == 3
    for more in ((), ("--fast",)):
        result = run("verify", out, *more)
        assert (result.exit_code, result.stdout) == (
            3,
            f"incomplete: b.jsonl: the run did not process {source / 'b.jsonl'} whole; nothing of "
            "it is here\n",
        )
        assert result.stderr == f"lowbg: {out}: 1 finding\n"
    # What was changed since goes first.
    (out / "new.txt").touch()
    assert run("verify", out).exit_code == 1


def test_verify_wants_an_output_directory(run: Run, tmp_path: Path) -> None:
    result = run("verify", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no manifest.json" in result.stderr


def test_report_in_every_form(run: Run, finished: Path, tmp_path: Path) -> None:
    assert "2 records" in run("report", finished).stdout.replace("\u00a0", " ")
    stored = (finished / "report.json").read_text(encoding="utf-8")
    assert run("report", finished, "--format", "json").stdout == stored
    assert run("report", finished / "report.json", "--format", "json").stdout == stored
    for name, start in (("r.html", "<!doctype html"), ("r.json", "{"), ("r.txt", "lowbg")):
        result = run("report", finished, "-o", tmp_path / name)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert written.lstrip().lower().startswith(start)


def test_reports_of_several_runs_are_one(run: Run, finished: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    assert run("filter", tmp_path / "a.jsonl", "-o", second, "-q").exit_code == 0
    result = run("report", finished, second, "--format", "json")
    merged = json.loads(result.stdout)
    assert merged["totals"]["records"] == 4
    assert len(merged["runs"]) == 2
    assert result.stderr == ""


def test_a_run_that_is_given_twice_counts_once(run: Run, finished: Path, tmp_path: Path) -> None:
    link, copy = tmp_path / "latest", tmp_path / "copy.json"
    link.symlink_to(finished)
    copy.write_bytes((finished / "report.json").read_bytes())
    once = run("report", finished, "--format", "json").stdout
    for again in (finished, f"{finished}/", finished / "report.json", link, copy):
        result = run("report", finished, again, "--format", "json")
        assert (result.exit_code, result.stdout) == (0, once)
        (line,) = result.stderr.splitlines()
        assert line.endswith(": the same report; it counts once")
        assert str(finished) in line


def test_reports_that_share_some_runs_are_no_sum(run: Run, finished: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_bytes((finished / "report.json").read_bytes())
    (tmp_path / "b.jsonl").write_text('{"text": "Good day."}\n', encoding="utf-8")
    more = ("filter", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "-o", finished, "--incremental")
    added = run(*more, "-q")
    assert added.exit_code == 0, added.stderr
    for command in (["report"], ["gate", "--max-ai-share", "1", "-q"]):
        result = run(command[0], finished, before, *command[1:])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "share some of their runs, which would count twice" in result.stderr


def test_report_wants_reports(run: Run, finished: Path, tmp_path: Path) -> None:
    assert run("report", tmp_path / "in").exit_code == 2
    own = finished / "report.json"
    assert run("report", finished, "-o", own).exit_code == 2
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    damaged = run("report", tmp_path / "x.json")
    assert (damaged.exit_code, damaged.stdout) == (3, "")
    assert "not a lowbg report" in damaged.stderr
