"""What a run loads before its first document: nothing that another kind of run would need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import json, sys
from lowbg_cli.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
import gc
print()
print(json.dumps([sorted(sys.modules), gc.isenabled()]))
"""

COMPILING = ("numba", "llvmlite", "lowbg.kernels.building")
"""What kernels that aren't kept are compiled with."""

PARSING = ("typer", "lowbg_cli.parser")
"""What command lines that aren't plain are left to."""

BESIDE = ("pandas", "numpy.ma", "multiprocessing", "importlib.metadata")
"""What others import, where there is such, and a run of one process has no use for."""

SELDOM = ("pyarrow.compute", "lowbg.scorers.phrases.quoting")
"""What documents without a URL, an odd date or a near-certain phrase have no use for."""

PARQUET = ("pyarrow.parquet", "pyarrow.dataset", "pyarrow.fs", "lowbg.formats.parquet.reader")

UNASKED = ("torch", "fsspec", "asyncio", "http.client", "rich.console", "lowbg.jobs.reserve")
"""Urls, causal LMs and tables on a terminal."""


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A small JSONL shard, with all that lowbg reads of a record by default."""
    shard = tmp_path / "in" / "a.jsonl"
    shard.parent.mkdir()
    record = {
        "id": "1",
        "text": "Words of a document, read once. " * 30,
        "language": "en",
        "url": "https://www.example.com/a",
        "date": "2021-04-05",
    }
    shard.write_text(json.dumps(record) + "\n")
    return shard


def modules(*args: object) -> set[str]:
    """What is imported at the end of a run of the command line."""
    command = [sys.executable, "-c", REPORT, *map(str, args)]
    ended = subprocess.run(command, capture_output=True, check=True)
    found, collects = json.loads(ended.stdout.splitlines()[-1])
    assert collects
    return set(found)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["filter", "score"])
def test_lines_need_no_parquet_and_kept_kernels_no_compiler(
    command: str, lines: Path, tmp_path: Path
) -> None:
    modules(command, lines, "-o", tmp_path / "first", "-q")  # compiles, where nothing is kept
    found = modules(command, lines, "-o", tmp_path / "second", "-q")
    assert "lowbg.kernels.objects" in found
    assert not found & {*COMPILING, *PARSING, *PARQUET, *UNASKED, *BESIDE}


@pytest.mark.slow
def test_a_document_needs_no_page_and_no_report(lines: Path) -> None:
    modules("explain", lines, "--record", 0)  # compiles, where nothing is kept
    found = modules("explain", lines, "--record", 0)
    assert "lowbg.kernels.objects" in found
    assert not found & {*COMPILING, *PARSING, *PARQUET, *BESIDE, "jinja2", "lowbg.runs.run"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["filter", "score", "explain"])
def test_plain_text_needs_no_functions_of_arrow(command: str, lines: Path, tmp_path: Path) -> None:
    record = json.loads(lines.read_bytes())
    del record["url"]
    lines.write_text(json.dumps(record) + "\n")
    asked = ["--record", 0] if command == "explain" else ["-o", tmp_path / "out", "-q"]
    assert not modules(command, lines, *asked) & {*SELDOM}


@pytest.mark.slow
def test_with_two_workers_the_run_itself_loads_no_kernels(lines: Path, tmp_path: Path) -> None:
    (lines.parent / "b.jsonl").write_bytes(lines.read_bytes())
    # Examples are judged sentence by sentence, for the page, in the run itself.
    out = ["-o", tmp_path / "out", "--no-examples"]
    found = modules("filter", lines.parent, *out, "-q", "--workers", "2")
    assert not found & {*COMPILING, *PARSING}


@pytest.mark.slow
def test_workers_started_afresh_import_nothing_from_the_current_folder(
    lines: Path, tmp_path: Path
) -> None:
    """So they are where the server's socket has no place: its path would be too long."""
    (lines.parent / "b.jsonl").write_bytes(lines.read_bytes())
    (lines.parent / "pickle.py").write_text("raise SystemExit('the wrong module')")
    script = tmp_path / "script.py"
    script.write_text(
        "from lowbg_cli.__main__ import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    temporary = tmp_path / ("long" * 30)
    temporary.mkdir()
    ended = subprocess.run(
        [sys.executable, script, "filter", "a.jsonl", "b.jsonl", "-o", tmp_path / "out", "-q",
         "--workers", "2"],
        cwd=lines.parent, env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_all_commands_are_there_beside_the_one_that_runs(lines: Path) -> None:
    for args, said in ((["--help"], b"calibrate"), (["drift", "--help"], b"baseline")):
        command = [sys.executable, "-m", "lowbg_cli", *args]
        assert said in subprocess.run(command, capture_output=True, check=True).stdout
