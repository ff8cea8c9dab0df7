"""Input that is made to do harm: it costs neither memory nor the rest, and steers nothing."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import zstandard
from typer.testing import Result

Run = Callable[..., Result]

PROSE = topics["exceptions"]
GOOD = json.dumps({"id": "good", "text": PROSE}).encode() + b"\n"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What steers a terminal, but for the line end."""

HARM = '\x1b]0;title\x07\x1b[2J<script>alert("x")</script>\u202e'


class Tags(HTMLParser):
    """The tags of a page and the values of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]


def shown_safely(result: Result, out: Path) -> None:
    """Nothing of the data steers the terminal, the page, or the log."""
    assert not CONTROL.search(result.stderr)
    page = Tags((out / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 1  # its own: the policy allows no other
    assert not any("alert" in value and "<" in value for value in page.values)
    assert not CONTROL.search((out / "report.html").read_text(encoding="utf-8").replace("\t", ""))


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "kept"),
    [
        pytest.param(b'{"text": ' + b"[" * 10**6 + b"]" * 10**6 + b"}\n", False, id="deep list"),
        pytest.param(b'{"text": "x", "y": ' + b'{"a":' * 10**6 + b"\n", False, id="deep, open"),
        pytest.param(
            b'{"text": "x", ' + b", ".join(b'"k%d": 0' % i for i in range(10**6)) + b"}\n",
            True,
            id="a million keys",
        ),
        pytest.param(b'{"text": "x"' + b', "k": 1' * 10**6 + b"}\n", True, id="one key repeated"),
        pytest.param(b'{"text": "x", "n": ' + b"9" * 10**6 + b"}\n", False, id="a million digits"),
        pytest.param(b'{"text": "x", "n": 1e' + b"9" * 10**6 + b"}\n", True, id="a long exponent"),
        pytest.param(b'{"text": "' + b"\\ud800" * 10**6 + b'"}\n', True, id="lone surrogates"),
        pytest.param(b'{"text": "' + "e\u0301".encode() * 10**6 + b'"}\n', True, id="combining"),
        pytest.param(b'{"text": "' + b"a" * 10**7 + b'"}\n', True, id="one long word"),
        pytest.param(b'{"text": "' + b". " * 10**6 + b'"}\n', True, id="a million sentences"),
        pytest.param(b"\0" * 10**6 + b"\n", False, id="NUL bytes"),
    ],
)
def test_a_hostile_record_costs_only_itself(
    line: bytes, kept: bool, run: Run, tmp_path: Path
) -> None:
    shard, out = tmp_path / "a.jsonl", tmp_path / "out"
    shard.write_bytes(GOOD + line + GOOD)
    result = run("filter", shard, "-o", out, "-q")
    assert result.exit_code == 0, result.stderr[:500]
    stored = lines_of(out / "human" / "a.jsonl") + lines_of(out / "ai" / "a.jsonl")
    assert stored == [GOOD, *([line] if kept else []), GOOD]
    assert len(lines_of(out / "quarantine" / "a.jsonl.jsonl")) == (not kept)
    assert len(result.stderr) < 1000


def peak_mb(shard: Path, out: Path) -> float:
    """The peak resident set of a run that quarantines one record and keeps two."""
    command = [sys.executable, "-m", "lowbg_cli", "filter", str(shard), "-o", str(out), "-q"]
    with subprocess.Popen([*command, "--max-record-bytes", "4M"]) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    totals = json.loads((out / "manifest.json").read_bytes())["totals"]
    assert (totals["records"], totals["quarantined"]) == (3, 1)
    return usage.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_a_bomb_and_a_line_without_end_stay_out_of_memory(codec: str, tmp_path: Path) -> None:
    """400 MB in a few kilobytes; benchmarks/memory measures a line of 1 GB."""
    pack = gzip.compress if codec == "gz" else zstandard.compress
    small, bomb = tmp_path / f"small.jsonl.{codec}", tmp_path / f"bomb.jsonl.{codec}"
    small.write_bytes(pack(GOOD + b"{\n" + GOOD))
    piece = pack(b"x" * (50 << 20))
    bomb.write_bytes(pack(GOOD) + piece * 8 + pack(b"\n" + GOOD))
    assert bomb.stat().st_size < 1 << 20
    before = peak_mb(small, tmp_path / "small")
    assert peak_mb(bomb, tmp_path / "bomb") < before + 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        HARM.replace("/", ":"),
        "a\nb",
        "x\\..\\y",
        "-rf",
        " ",
        "%2E%2E",
        "$(touch x);`touch x`",
        "\udcff\udcfe",
        "x" * 240,
    ],
)
def test_a_hostile_name_stays_inside_and_steers_nothing(
    name: str, run: Run, tmp_path: Path
) -> None:
    source, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
    source.mkdir()
    (source / f"{name}.jsonl").write_bytes(GOOD + b"broken\n")
    (source / "b.jsonl").write_bytes(GOOD)
    result = run("filter", source, "-o", out, "--log-file", log)
    assert result.exit_code == 0
    shown_safely(result, out)
    for row in log.read_bytes().splitlines():
        json.loads(row)
    kept = [path for path in (out / "human").iterdir() if path.name != "b.jsonl"]
    assert [path.read_bytes() for path in kept] == [GOOD]
    assert not CONTROL.search(kept[0].name)
    assert "\n" not in kept[0].name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "log", "out"]
    verified = run("verify", out)
    assert verified.exit_code == 0
    assert not CONTROL.search(verified.stderr)
    resumed = run("filter", source, "-o", out, "--resume")
    assert resumed.exit_code == 0
    assert not CONTROL.search(resumed.stderr)


@pytest.mark.slow
def test_data_steers_neither_terminal_nor_page(run: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    fields = {"id": HARM, "language": HARM, "date": HARM, "url": f"https://{HARM}/{HARM}"}
    rows = [
        {**fields, "text": f"{PROSE} {HARM}"},
        {**fields, "text": None},
        {**fields, HARM: "x"},
    ]
    data = "".join(f"{json.dumps(row)}\n" for row in rows)
    (source / "a.jsonl").write_text(data + HARM + "\n", encoding="utf-8")
    result = run("filter", source, "-o", out, "--policy", "/dev/null")
    assert result.exit_code == 0, result.stderr
    shown_safely(result, out)
    wrong = run("filter", source, "-o", tmp_path / "wrong", "--text-field", f"no{HARM}")
    assert wrong.exit_code == 3, wrong.stderr  # Nothing in it can be read.
    shown_safely(wrong, tmp_path / "wrong")
    for command in (["explain", str(source / "a.jsonl")], ["score", str(source), "-o", "-", "-q"]):
        shown = run(*command)
        assert not CONTROL.search(shown.stderr)
        # Rows are JSON, which escapes what steers; a direction mark is a letter of the data.
        assert not CONTROL.search(shown.stdout.replace("\u202e", ""))
