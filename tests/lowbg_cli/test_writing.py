"""Outputs that are one open file, that are URLs, or that have no place beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines
from typer.testing import Result

from lowbg_cli.app import COMMANDS, find_command
from lowbg_cli.groups import Command, Option

Run = Callable[..., Result]

READ = {"--policy", "--baseline", "--against", "--human", "--ai", "--models", "--tables"}
"""Options that hold a path and are read; the rest are written."""


def _commands() -> Iterator[tuple[list[str], Command]]:
    """Every command, and the words that call it."""
    for name in COMMANDS:
        found = find_command(name)
        if isinstance(found, Command):
            yield [name], found
        else:
            yield from (([name, inner], each) for inner, each in found.commands.items())


def _options() -> Iterator[Option]:
    yield from (option for _, command in _commands() for option in command.options)


def _paths() -> set[str]:
    """The options that hold a path."""
    return {o.flag for o in _options() if o.own.kind is Path and not o.is_argument}


def test_every_path_is_declared_as_read_or_written() -> None:
    written = {option.flag for option in _options() if option.setting.written is not None}
    assert {"--output", "--ai-to", "--report", "--log-file", "--json", "--history"} <= written
    assert _paths() - written <= READ
    assert not written & READ


def test_what_does_not_go_to_stdout_refuses_a_hyphen(
    run: Run, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would write a file, or a directory, of that name."""
    monkeypatch.chdir(shard.parent)
    tried = 0
    for words, command in _commands():
        for option in command.options:
            if option.setting.written is None or option.setting.stdout:
                continue
            given = ["in.jsonl"] * any(other.is_argument for other in command.options)
            for other in command.options:
                if other.required and not other.is_argument and other is not option:
                    given += [other.flag, "out"]
            result = run(*words, *given, option.flag, "-")
            said = " ".join(result.stderr.split())
            assert result.exit_code == 2, (words, option.flag, said)
            assert f"{option.flag} -: this can't go to stdout" in said, (words, said)
            tried += 1
    assert tried > 20
    assert [*Path().iterdir()] == [Path("in.jsonl")]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(HUMAN[0], AI, HUMAN[1]))
    return path


LOCAL = [
    ("filter", "-o", "out", "--log-file"),
    ("filter", "--ai-to"),
    ("filter", "--discard-ai", "--quarantine-to"),
]
"""What is written bit by bit."""

STORED = [
    ("filter", "-o", "out", "--reserve"),
    ("filter", "--discard-ai", "--report"),
    ("eval", "--json"),
    ("gate", "--junit"),
    ("calibrate", "--human-before", "2022-01-01", "-o"),
    ("drift", "baseline", "-o"),
]
"""What may go to an object store."""


@pytest.mark.parametrize(
    ("command", "url", "why"),
    [
        *(
            (command, url, "is a URL, and this is written to local paths alone")
            for command in LOCAL
            for url in ("s3://bucket/out", "GS://bucket/x.jsonl", "file:///tmp/x")
        ),
        *((command, "file:///tmp/x", "is the URL of no store to which") for command in STORED),
        *((command, "s3://", "names no bucket") for command in STORED),
    ],
)
def test_urls_are_refused(
    command: tuple[str, ...],
    url: str,
    why: str,
    run: Run,
    shard: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shard.parent)
    result = run(*command, url, shard)
    assert result.exit_code == 2
    assert f"{url} {why}" in " ".join(result.stderr.split())
    assert [*Path().iterdir()] == [Path("in.jsonl")]


def shell(line: str, folder: Path) -> tuple[int, str]:
    """What a shell's `line` ends with, where `$L` is the program; its exit code and stderr."""
    program = f"{sys.executable} -m lowbg_cli"
    done = subprocess.run(
        ["bash", "-c", line.replace("$L", program)], cwd=folder, capture_output=True, text=True
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "to", ["--ai-to h > h", "--ai-to /dev/stdout > h", "--ai-to /dev/fd/1 >> h", "--ai-to l > h"]
)
def test_ai_lines_to_what_stdout_is_share_the_stream(to: str, shard: Path) -> None:
    (shard.parent / "h").touch()
    (shard.parent / "l").symlink_to("h")
    assert shell(f"$L filter in.jsonl -q {to}", shard.parent) == (0, "")
    assert (shard.parent / "h").read_bytes() == shard.read_bytes()


def test_ai_lines_share_a_pipe_in_order(shard: Path) -> None:
    shard.write_bytes(lines(*[HUMAN[0], AI, HUMAN[1]] * 40))
    code, _ = shell("$L filter in.jsonl -q --ai-to /dev/stdout | cat > h", shard.parent)
    assert (code, (shard.parent / "h").read_bytes()) == (0, shard.read_bytes())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("filter in.jsonl --discard-ai --report /dev/stdout > h", "stdout goes there, too"),
        ("filter in.jsonl --discard-ai --report h >> h", "stdout goes there, too"),
        ("filter in.jsonl --discard-ai --quarantine-to /dev/fd/1 > h", "stdout goes there, too"),
        ("filter in.jsonl --discard-ai --quarantine-to /dev/stdout | cat", "human lines"),
        ("filter in.jsonl --discard-ai --report h 2> h", "stderr goes there, too"),
        ("filter in.jsonl --ai-to h.zst > h.zst", "not compressed"),
        ("filter in.jsonl --ai-to h --report l", "--ai-to writes to it"),
        ("filter in.jsonl --ai-to in.jsonl", "in.jsonl is read"),
        ("filter - --ai-to in.jsonl < in.jsonl", "stdin is read"),
        ("filter . --discard-ai >> in.jsonl", "is both input and stdout"),
        ("filter . --ai-to in.jsonl", "in.jsonl is read"),
        ("filter in.jsonl -o out --log-file h 2> h", "send it there with 2>>"),
        ("score in.jsonl -o - >> in.jsonl", "is both input and stdout"),
        ("score . -o - >> in.jsonl", "is both input and stdout"),
        ("gate in.jsonl --json h --junit l", "--junit writes to it"),
        ("gate in.jsonl --json /dev/stdout > h", "stdout goes there, too"),
        ("gate in.jsonl --json in.jsonl", "in.jsonl is read"),
        ("eval in.jsonl --json h --markdown h", "--json writes to it"),
        ("drift baseline in.jsonl -o in.jsonl", "in.jsonl is read"),
    ],
)
def test_outputs_that_are_one_file_are_refused(line: str, message: str, shard: Path) -> None:
    (shard.parent / "h").touch()
    (shard.parent / "l").symlink_to("h")
    before = shard.read_bytes()
    code, stderr = shell(f"set -o pipefail; $L {line}", shard.parent)
    told = stderr if "2> h" not in line else (shard.parent / "h").read_text()
    assert code == 2, told
    assert message in told
    assert shard.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        "calibrate in.jsonl --label-field label -o there.safetensors",
        "drift baseline in.jsonl -o there.safetensors",
        "train --human in.jsonl --ai in.jsonl --lang en -o there.safetensors",
    ],
)
def test_what_other_commands_use_is_not_replaced(line: str, shard: Path) -> None:
    there = shard.parent / "there.safetensors"
    there.write_bytes(b"the work of a day")
    code, stderr = shell(f"$L {line}", shard.parent)
    assert code == 2
    assert "there.safetensors already exists. Use --" in stderr
    assert stderr.endswith("--overwrite to replace it, or choose another -o.\n")
    # Said, it goes on to what else is wrong: one document is too few.
    _, stderr = shell(f"$L {line} --overwrite", shard.parent)
    assert "already exists" not in stderr
    code, stderr = shell(f"$L {line.replace('there.safetensors', '.')}", shard.parent)
    assert (code, "already" in stderr) == (2, False)


def test_reports_are_replaced_and_keep_permissions(shard: Path) -> None:
    old = shard.parent / "old.json"
    for line in (
        "gate in.jsonl --max-ai-share 1 --json old.json",
        "filter in.jsonl --discard-ai --report old.json > human",
    ):
        old.write_text("old")
        old.chmod(0o640)
        code, stderr = shell(f"$L {line}", shard.parent)
        assert code in (0, 1), stderr
        assert old.read_bytes().startswith(b"{")
        assert old.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("to", "name"),
    [(">(cat > x)", "ai-pipe"), ("/dev/null", "null"), ("./ai.jsonl", "ai.jsonl")],
)
def test_what_is_written_has_a_name_that_says_what_it_is(to: str, name: str, shard: Path) -> None:
    code, stderr = shell(f"$L filter in.jsonl --ai-to {to} --report r.json > h", shard.parent)
    assert code == 0
    assert f"written {name} 1 record" in " ".join(stderr.split())
    report = json.loads((shard.parent / "r.json").read_bytes())
    assert [each["path"] for each in report["outputs"]] == [name]


def test_a_pipe_is_no_report_to_see(shard: Path) -> None:
    shard.write_bytes(b"{bad\n" * 9)
    for to, seen in ((">(cat > r)", False), ("r.json", True)):
        _, stderr = shell(f"$L filter in.jsonl --discard-ai --report {to} > h", shard.parent)
        assert "and 8 more (invalid json)" in stderr
        assert ("; see " in stderr) is seen


def test_a_log_goes_where_stderr_is_appended(shard: Path) -> None:
    code, _ = shell("$L filter in.jsonl -o out --log-file log 2>> log", shard.parent)
    log = (shard.parent / "log").read_text()
    assert code == 0
    assert log.startswith("{")
    assert "lowbg" in log
    assert '"event": "end"' in log


def test_devices_take_any_number_of_outputs(shard: Path) -> None:
    line = "$L filter in.jsonl -q --ai-to /dev/null --report /dev/null > /dev/null"
    assert shell(line, shard.parent) == (0, "")


@pytest.mark.parametrize("to", ["/dev/null", ">(cat > ai)", "/dev/stdout"])
def test_quarantine_is_not_put_beside_what_is_no_file(to: str, shard: Path) -> None:
    shard.write_bytes(b"{bad\n" + shard.read_bytes())
    code, stderr = shell(f"cat in.jsonl | $L filter - -q --ai-to {to} > h", shard.parent)
    assert code == 3
    assert "1 record could not be read and went nowhere; --quarantine-to FILE keeps" in stderr
    assert (shard.parent / "h").read_bytes().count(b"\n") == (3 if "stdout" in to else 2)
    assert not Path("/dev/null.quarantine.jsonl").exists()


@pytest.mark.parametrize("given", ["{folder}", "{folder}/*.jsonl", "{folder}/."])
@pytest.mark.parametrize(
    "words",
    [
        ("eval", "--json"),
        ("eval", "--html"),
        ("gate", "--max-ai-share", "0.9", "--junit"),
        ("sources", "-o", "{out}.parquet", "--list"),
        ("filter", "-o", "{out}", "--log-file"),
    ],
    ids=" ".join,
)
def test_no_shard_of_an_input_is_written_to(
    words: tuple[str, ...], given: str, run: Run, shard: Path, tmp_path: Path
) -> None:
    """Whatever stands for it: it would be read, and then be a report."""
    folder = tmp_path / "folder"
    folder.mkdir()
    before = shard.read_bytes()
    (folder / "a.jsonl").write_bytes(before)
    (tmp_path / "link.jsonl").symlink_to(folder / "a.jsonl")
    name, *more = (word.format(out=tmp_path / "out") for word in words)
    for place in (folder / "a.jsonl", tmp_path / "link.jsonl"):
        result = run(name, given.format(folder=folder), *more, place)
        assert result.exit_code == 2, result.stderr
        assert "a.jsonl is read; name another file" in result.stderr
        assert (folder / "a.jsonl").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_table_and_its_list_are_two_files(run: Run, shard: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    result = run("sources", shard, "-o", table, "--list", table)
    assert result.exit_code == 2
    assert "--output writes to it" in result.stderr
    assert not table.exists()
