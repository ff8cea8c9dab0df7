"""`lowbg learn`: options, exit codes, what is told and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.make_language import make_dumps
from typer.testing import CliRunner, Result

from lowbg_cli.app import app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dumps that the page has, and what was learned of them."""
    folder = tmp_path_factory.mktemp("learn")
    make_dumps(folder)
    moved = (folder / "new.jsonl").read_text().replace("https://", "https://other-")
    (folder / "moved.jsonl").write_text(moved)
    args = [folder / "old.jsonl", "--unlabelled", folder / "new.jsonl", "--lang", "eo"]
    args += ["-o", folder / "tables", "--json", folder / "figures.json"]
    ended = CliRunner().invoke(app, ["learn", *map(str, args)])
    assert ended.exit_code == 0, ended.stderr
    (folder / "stderr.txt").write_text(ended.stderr)
    return folder


@pytest.mark.slow
def test_learned_tables_judge_the_new_dump(run: Run, desk: Path, tmp_path: Path) -> None:
    new = desk / "new.jsonl"
    ended = run("filter", new, "--tables", desk / "tables", "-o", tmp_path / "out")
    assert ended.exit_code == 0, ended.stderr
    rows = (tmp_path / "out" / "ai" / "new.jsonl").read_text().splitlines()
    found = [json.loads(row) for row in rows]
    ai = [row for row in found if row["id"].startswith("news-") or int(row["id"][-2:]) > 14]
    assert len(found) <= 152
    assert len(ai) >= 140  # of 145


@pytest.mark.slow
def test_what_is_told(desk: Path) -> None:
    told = (desk / "stderr.txt").read_text()
    assert "held out: dated 2020 or later" in told
    assert "called AI at 1 %: old" in told
    assert "each without its source" in told
    assert "embedded" not in told  # Esperanto has no such tables
    figures = json.loads((desk / "figures.json").read_text())
    assert figures["tables"] == str(desk / "tables" / "eo.safetensors")
    assert figures["documents"] == {"old": 540, "held_out": 360, "new": 595}
    assert figures["refused"] == []
    share = figures["figures"]["share"]
    assert share["low"] <= 145 / 595 <= share["high"]


@pytest.mark.slow
def test_new_text_without_ai_is_refused(run: Run, desk: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    ended = run(
        "learn", desk / "old.jsonl", "--unlabelled", desk / "human.jsonl", "--lang", "eo", "-o", out
    )
    assert ended.exit_code == 1
    assert "error: no tables written: no AI text shows" in ended.stderr
    assert not out.exists()


@pytest.mark.slow
def test_embedded_tables_are_shown_beside(run: Run, desk: Path, tmp_path: Path) -> None:
    for name in ("old", "new"):
        text = (desk / f"{name}.jsonl").read_text().replace('"language": "eo"', '"language": "es"')
        (tmp_path / f"{name}.jsonl").write_text(text)
    args = [tmp_path / "old.jsonl", "--unlabelled", tmp_path / "new.jsonl", "--lang", "es"]
    ended = run("learn", *args, "-o", tmp_path, "--json", tmp_path / "figures.json")
    assert ended.exit_code == 0, ended.stderr
    assert "beside the embedded tables, of the new text: both call AI" in ended.stderr
    beside = json.loads((tmp_path / "figures.json").read_text())["embedded"]
    counts = [beside[name] for name in ("both", "only_learned", "only_embedded", "neither")]
    assert sum(counts) == 595
    assert 0 < len(beside["look_at"]["learned"]) <= 5 or not beside["only_learned"]


def test_several_new_inputs_follow_one_option(run: Run, desk: Path, tmp_path: Path) -> None:
    rows = (desk / "new.jsonl").read_text().splitlines()
    for i, name in enumerate(("a", "b")):
        (tmp_path / f"{name}.jsonl").write_text(rows[i] + "\n")
    new = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    args = ("learn", desk / "old.jsonl", "--unlabelled", *new, "--lang", "eo", "-o", tmp_path)
    ended = run(*args)
    assert ended.exit_code == 2
    assert "2 new documents of 75 words or more" in ended.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--unlabelled", "new.jsonl", "--lang", "eo", "-o", "t"], "missing argument 'OLD"),
        (["old.jsonl", "--lang", "eo", "-o", "t"], "missing option '--unlabelled'"),
        (["old.jsonl", "--unlabelled", "new.jsonl", "--lang", "xx", "-o", "t"], "no language 'xx'"),
        (
            ["old.jsonl", "--unlabelled", "new.jsonl", "--lang", "eo", "-o", "tables"],
            "already exists. Use --overwrite",
        ),
        (
            ["old.jsonl", "--unlabelled", "new.jsonl", "--lang", "eo", "-o", "old.jsonl"],
            "old.jsonl is a file; -o takes the directory",
        ),
        (
            ["old.jsonl", "--unlabelled", "moved.jsonl", "--lang", "eo", "-o", "t"],
            "only 0 old documents are of a source that both dumps have",
        ),
    ],
)
def test_usage(
    run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(desk)
    ended = run("learn", *args)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert not (desk / "t").exists()
