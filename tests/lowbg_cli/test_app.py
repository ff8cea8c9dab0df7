from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer.main
from typer.testing import Result

import lowbg
from lowbg_cli.app import app

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
COMMANDS = [
    "filter",
    "score",
    "explain",
    "report",
    "verify",
    "train",
    "eval",
    "calibrate",
    "scorers",
]


def test_the_commands_there_are() -> None:
    assert list(typer.main.get_group(app).commands) == COMMANDS


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


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from lowbg_cli.app import app
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


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"lowbg {lowbg.__version__}\n")


@pytest.mark.parametrize(
    "args",
    [
        ["no-such-command"], ["filter"], ["filter", "--no-such-option", "x"],
        ["filter", "x", "--workers", "0"], ["filter", "x", "--fail-above", "1.5"],
        ["filter", "x", "--trust-before", "soon"], ["filter", "x", "--max-record-bytes", "-3"],
        ["filter", "x", "--executor", "ray"], ["score", "x"], ["verify"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(args: list[str], run: Run) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""


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
