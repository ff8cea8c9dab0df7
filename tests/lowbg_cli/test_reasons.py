"""`docs/reasons.md`: every row of its table is run as it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.pages import DOCS, read
from tests.reason_inputs import FOLDERS, MAKERS, make
from typer.testing import Result

ROW = re.compile(r"^\| (?P<input>.+?) \| `lowbg (?P<command>[^`]+)` \| (?P<rest>.+) \|$", re.M)


@dataclass(frozen=True)
class Row:
    """What a row says: the command without `lowbg`, the message, the exit code."""

    command: str
    message: str
    exit_code: int


def _row(found: re.Match[str]) -> Row:
    message, code = found["rest"].rsplit(" | ", 1)
    unquoted = message.removeprefix("`").removesuffix("`").replace("\\|", "|")
    return Row(found["command"].replace("\\|", "|"), unquoted, int(code))


ROWS = [_row(found) for found in ROW.finditer(read(DOCS / "reasons.md"))]


def test_every_row_was_parsed_and_every_input_is_of_a_row() -> None:
    lines = [line for line in read(DOCS / "reasons.md").splitlines() if line.startswith("| ")]
    assert len(ROWS) == len([line for line in lines if not line.startswith("| input |")])
    named = {word.partition("/")[0] for row in ROWS for word in shlex.split(row.command)}
    assert {*MAKERS, *FOLDERS} <= named


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)
def test_a_row_is_what_happens(
    row: Row, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, _, stdin = row.command.partition(" < ")
    words = shlex.split(command)
    for name in {word.partition("/")[0] for word in (*words, stdin)} & {*MAKERS, *FOLDERS}:
        make(tmp_path, name)

    ended = run(*words, stdin=Path(stdin).read_bytes() if stdin else b"")

    assert ended.exit_code == row.exit_code, ended.stderr
    expected = ".*".join(re.escape(part) for part in row.message.split("…"))
    assert re.search(expected, ended.stderr + ended.stdout), ended.stderr
    assert not (tmp_path / "out" / "quarantine").exists()
