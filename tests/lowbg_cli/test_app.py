from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from typer.testing import Result

import lowbg
from lowbg_cli.app import _run, app
from lowbg_cli.groups import Option

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
COMMANDS = [
    "filter",
    "score",
    "explain",
    "sources",
    "report",
    "merge",
    "review",
    "verify",
    "calibrate",
    "eval",
    "train",
    "learn",
    "gate",
    "drift",
    "mix",
    "reserve",
    "scorers",
    "warm-up",
]


def test_the_commands_there_are(run: Run) -> None:
    listed = run("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\S+)", listed, re.MULTILINE) == COMMANDS
    assert sorted(typer.main.get_group(app).commands) == sorted(COMMANDS)


@pytest.mark.parametrize("group", ["", "drift", "reserve"])
def test_no_command_s_summary_is_cut(group: str, run: Run) -> None:
    assert "..." not in run(*group.split(), "--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_is_documented(name: str) -> None:
    command = typer.main.get_group(app).commands[name]
    assert command.help
    assert command.get_short_help_str(200).endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str, run: Run) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_plain_text_within_the_terminal(
    name: str, columns: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    page = run(*name.split(), "--help").stdout
    for line in page.splitlines():
        example = line.startswith("    ") and "lowbg " in line
        # The name of an option is longer than the narrowest line, and is never broken.
        option = line.startswith("  -")
        assert len(line) <= columns or example or option, line
    assert not set(page) & set("\x1b╭│╰─")
    assert "..." not in page.partition("Commands:")[2]


@pytest.mark.parametrize("name", ["filter", "score", "gate"])
def test_help_shows_every_option_once_under_its_heading(name: str, run: Run) -> None:
    shown: list[tuple[str, str]] = []
    heading = ""
    for line in run(name, "--help").stdout.splitlines():
        heading = line[:-1] if re.fullmatch(r"[A-Z].*:", line) else heading
        if re.match(r"  -", line):
            shown += [(option, heading) for option in re.findall(r"(?<= )--[a-z-]+", line[:29])]
    declared = {
        option: getattr(parameter, "rich_help_panel", None) or "Options"
        for parameter in typer.main.get_group(app).commands[name].params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
        for option in [*parameter.opts, *parameter.secondary_opts]
        if option.startswith("--")
    }
    assert sorted(shown) == sorted([*declared.items(), ("--help", "Options")])
    headings = [heading for _, heading in shown]
    assert headings[0] == "Options"
    assert headings.count("Options") <= 12, "what everyone needs is a short list"


@pytest.mark.slow
def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from lowbg_cli.app import _run, app
from lowbg_cli.groups import Option
for args in (["--help"], ["--version"], *([name, "--help"] for name in {COMMANDS!r})):
    try:
        app(args)
    except SystemExit as end:
        assert end.code == 0, args
heavy = {{"torch", "numba", "pyarrow", "numpy", "rich", "zstandard", "orjson", "jinja2", "fsspec"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = """
import lowbg, sys
assert not {"torch", "numba", "pyarrow", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str, run: Run) -> None:
    result = run(option)
    assert (result.exit_code, result.stdout) == (0, f"lowbg {lowbg.__version__}\n")


@pytest.mark.parametrize("asked", ["", *COMMANDS, "drift check", "reserve remove"])
def test_help_is_a_word_too(asked: str, run: Run) -> None:
    page = run(*asked.split(), "--help")
    result = run("help", *asked.split())
    assert (result.exit_code, result.stdout, result.stderr) == (0, page.stdout, "")
    assert result.stdout.startswith(f"Usage: lowbg {asked}".rstrip())


def test_help_on_nothing_there_is_wrong_usage(run: Run) -> None:
    assert run("drift", "help", "check").stdout == run("drift", "check", "--help").stdout
    result = run("help", "filtr")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no such command" in result.stderr


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"], []], ids=" ".join)
def test_the_commands_are_listed_alike_without_their_options(
    args: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = run(*args)
    told: list[Option] = []
    monkeypatch.setattr(Option, "parameter_of_parser", told.append)
    monkeypatch.setattr("sys.argv", ["lowbg", *args])
    with pytest.raises(SystemExit) as ended:
        _run()
    assert ended.value.code == whole.exit_code
    assert capfd.readouterr() == (whole.stdout, whole.stderr)
    assert not told


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_works_in_a_shell(run: Run, tmp_path: Path) -> None:
    page = run("--help").stdout
    assert "--install-completion" in page
    assert "--show-completion" in page
    program = tmp_path / "lowbg"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowbg_cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def bash(script: str) -> list[str]:
        ran = subprocess.run(
            ["bash", "--norc", "-c", f"{script}; true"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ran.stderr == ""
        return ran.stdout.split()

    assert "_lowbg_completion" in bash("lowbg --show-completion")
    for words, found in (
        ("lowbg fil", ["filter"]),
        ("lowbg drift ", ["baseline", "check", "canary"]),
        ("lowbg filter --trust-b", ["--trust-before"]),
        ("lowbg filter --fpr-bound ", ["mean", "every"]),
    ):
        said = f"COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}"
        script = f'eval "$(lowbg --show-completion)"; {said}; _lowbg_completion lowbg'
        assert bash(f'{script}; echo "${{COMPREPLY[@]}}"') == found
    assert "installed" in bash("lowbg --install-completion")
    assert (tmp_path / ".bashrc").is_file()


@pytest.mark.parametrize(
    "args",
    [
        ["no-such-command"], ["filter"], ["filter", "--no-such-option", "x"],
        ["filter", "x", "--workers", "0"], ["filter", "x", "--fail-above", "1.5"],
        ["filter", "x", "--trust-before", "soon"], ["filter", "x", "--max-record-bytes", "-3"],
        ["filter", "x", "--executor", "rey"], ["score", "x"], ["verify"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(args: list[str], run: Run) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("lowbg: error: ")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["filter"], ("missing argument", "INPUT", "lowbg filter --help")),
        (["drift", "check", "x"], ("missing option", "--baseline", "lowbg drift check --help")),
        (["filter", "x", "-o"], ("requires an argument", "see lowbg filter --help")),
        (["filter", "x", "--quiet=1"], ("--quiet", "see lowbg filter --help")),
        (["mix", "--output"], ("requires an argument", "see lowbg mix --help")),
        (["filtr"], ("no such command", "filtr")),
        (["--no"], ("no such option", "--no", "lowbg --help")),
        (["filter", "x", "--trust-before", "soon"], ("--trust-before", "'soon' is no day")),
    ],
)
def test_wrong_usage_names_the_option_and_the_help(
    args: list[str], line: tuple[str, ...], run: Run
) -> None:
    said = run(*args).stderr
    assert all(part in said for part in line), said


@pytest.mark.parametrize("args", [[], ["drift"], ["reserve"]])
def test_a_group_alone_shows_its_help(args: list[str], run: Run) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: lowbg ")
    assert "Commands:" in result.stderr


def test_a_real_process_agrees_on_usage(start: Start) -> None:
    process = start("filter", "--no-such-option")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"--no-such-option" in err


def test_a_defect_is_one_line_unless_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("lowbg_cli.commands.filter.find_shards", broken)
    monkeypatch.delenv("LOWBG_TRACEBACK", raising=False)
    result = run("filter", "x", "--discard-ai")
    assert result.exit_code == 70
    assert result.stderr.startswith("lowbg: internal error: ZeroDivisionError: a b; please report")
    assert result.stderr.count("\n") == 1
    monkeypatch.setenv("LOWBG_TRACEBACK", "1")
    assert "Traceback" in run("filter", "x", "--discard-ai").stderr


def closed(descriptor: int) -> Callable[[], None]:
    """What a shell does for `>&-` (1) and `<&-` (0)."""
    return lambda: os.close(descriptor)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": "One line."}\n', encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_closed_stdout_is_no_defect(start: Start, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for args in (
        ["filter", shard, "-o", out, "-q"],
        ["report", out, "--format", "json"],
        ["explain", shard, "--record", 0],
        ["--help"],
    ):
        process = start(*args, preexec_fn=closed(1))
        _, err = process.communicate()
        assert (process.returncode, err) == (0, b""), args
    assert (out / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "descriptor", "message"),
    [
        (["score", "{shard}", "-o", "-"], 1, b"stdout is closed"),
        (["score", "-", "-o", "{out}"], 0, b"stdin is closed; there is nothing to read from -"),
        (["filter", "-", "-o", "{out}"], 0, b"stdin is closed; there is nothing to read from -"),
    ],
)
def test_data_cannot_take_a_closed_stream(
    args: list[str], descriptor: int, message: bytes, start: Start, shard: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(
        *(arg.format(shard=shard, out=out) for arg in args), preexec_fn=closed(descriptor)
    )
    _, err = process.communicate()
    assert process.returncode == 2
    assert message in err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "args", [["scorers"], ["scorers", "--json"], ["--help"], ["--version"]], ids=" ".join
)
def test_a_full_disk_below_stdout_ends_with_3(args: list[str], start: Start) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(*args, stdout=full)
        _, err = process.communicate()
    assert process.returncode == 3
    assert err == b"lowbg: error: output: cannot be written (No space left on device)\n"


@pytest.mark.parametrize("args", [["--help"], ["filter", "--help"], ["--version"]], ids=" ".join)
def test_help_for_a_reader_that_left_ends_with_141(args: list[str], start: Start) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(*args, stdout=write)
    os.close(write)
    _, err = process.communicate()
    assert (process.returncode, err) == (141, b"")


def test_what_the_system_refuses_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "x.jsonl")

    monkeypatch.setattr("lowbg_cli.commands.filter.find_shards", refused)
    result = run("filter", "x", "--discard-ai")
    assert (result.exit_code, result.stderr) == (3, "lowbg: error: x.jsonl: Permission denied\n")


@pytest.mark.parametrize("option", ["--min-perplexity", "--min-burstiness"])
def test_a_bound_is_a_finite_number(option: str, run: Run, shard: Path) -> None:
    for number in ("nan", "inf", "-inf"):
        args = ("--discard-ai", "--rule", "thresholds", f"{option}={number}")
        result = run("filter", shard, *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{number} is no finite number" in result.stderr
