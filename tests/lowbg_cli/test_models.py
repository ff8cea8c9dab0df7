"""`scorers`, `train` and `eval`: what judges, how it is made, and how good it is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from typer.testing import Result

from lowbg_cli.several import repeat_options

Run = Callable[..., Result]
HUMAN = sorted(topics.values(), key=len)[-30:]
AI_FILE = Path(__file__).parents[2] / "examples" / "ai_styled.txt"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    ai = [text for text in AI_FILE.read_text(encoding="utf-8").split("=====") if text.strip("= \n")]
    rows = [{"text": text, "label": "human", "domain": "docs"} for text in HUMAN]
    rows += [{"text": text, "label": "AI", "domain": "advice", "generator": "x"} for text in ai]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_scorers(run: Run) -> None:
    result = run("scorers")
    assert result.exit_code == 0
    for name in ("perplexity", "burstiness", "phrases"):
        assert f"\n{name} " in f"\n{result.stdout}"
    listed = json.loads(run("scorers", "--json").stdout)
    told = {"name", "version", "languages", "min_words", "second_look", "settings"}
    assert {*told, "columns", "models"} == set(listed[0])
    assert all(len(digest) == 64 for row in listed for digest in row["models"].values())


def test_eval(run: Run, labelled: Path, tmp_path: Path) -> None:
    figures, table = tmp_path / "f.json", tmp_path / "f.md"
    result = run("eval", labelled, "--json", figures, "--markdown", table)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split()[:4] == ["human", "AI", "scored", "AUROC"]
    assert "by domain" in result.stdout
    content = json.loads(figures.read_bytes())
    (everything,) = (row for row in content["results"] if row["grouping"] == "all")
    assert everything["human"] == len(HUMAN)
    assert everything["ai"] > 0
    assert len(content["data"]["labelled.jsonl"]) == 64
    assert table.read_text(encoding="utf-8").startswith("### All")


def test_eval_reads_a_pipe(run: Run, labelled: Path) -> None:
    result = run("eval", "-", stdin=labelled.read_bytes())
    assert (result.exit_code, result.stdout) == (0, run("eval", labelled).stdout)


def test_eval_of_a_cut_stream(run: Run, labelled: Path, tmp_path: Path) -> None:
    whole, cut = gzip.compress(labelled.read_bytes()), tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) * 9 // 10])
    figures = tmp_path / "f.json"
    page = tmp_path / "f.html"
    result = run("eval", cut, "--json", figures, "--html", page)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0].split()[:2] == ["human", "AI"]
    assert "complete records before it were processed" in result.stderr
    assert "the metrics are of what was read" in result.stderr
    content = json.loads(figures.read_bytes())
    assert content["cut"] == ["cut.jsonl.gz"]
    assert "Read in part" in page.read_text(encoding="utf-8")
    assert 0 < content["results"][0]["human"] <= len(HUMAN)
    cut.write_bytes(whole[:20])
    nothing = run("eval", cut)
    assert (nothing.exit_code, nothing.stdout) == (3, "")
    assert "cut.jsonl.gz" in nothing.stderr


@pytest.mark.parametrize(
    ("row", "args", "message"),
    [
        ({"text": "a", "label": "cat"}, [], "labelled 'cat'; a label is human or ai"),
        ({"text": "a"}, [], "--label-field"),
        ({"text": "a", "label": "ai"}, ["--label-field", "meta.kind"], "--label-field"),
    ],
)
def test_eval_wants_labels(
    row: object, args: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    result = run("eval", path, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lang", "en", "-o", "en.bin"], ".safetensors"),
        (["--lang", "tlh", "-o", "x.safetensors"], "no language 'tlh'"),
        (["--lang", "en", "-o", "x.safetensors"], "30 human documents of 75 words or more, each"),
    ],
)
def test_train_wants_sense(args: list[str], message: str, run: Run, labelled: Path) -> None:
    result = run("train", "--human", labelled, "--ai", labelled, *args)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("args", "repeated"),
    [
        ("--x a", "--x a"),
        ("--x a b c --y d e -o f", "--x a --x b --x c --y d --y e -o f"),
        ("--x a --x b - --z c", "--x a --x b --x - --z c"),
        ("a --z b c", "a --z b c"),
    ],
)
def test_an_option_takes_several_values(args: str, repeated: str) -> None:
    assert repeat_options(args.split(), {"--x", "--y"}) == repeated.split()
