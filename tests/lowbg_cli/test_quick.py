"""What is read without typer is read as typer reads it, and the rest is left to typer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any

import pytest
from typer.main import get_command

from lowbg_cli import quick
from lowbg_cli.app import COMMANDS, find_command
from lowbg_cli.groups import Command, Option
from lowbg_cli.parser import program
from lowbg_cli.values import parser_of

READ = (
    "filter in -o out",
    "filter a b c -o out --quiet",
    "filter - --discard-ai",
    "filter in --output=out --trust-before 2022-11-30 --workers 1,024 --target-fpr 1%",
    "filter in -o out --no-examples --overwrite --examples",
    "filter in -o s3://bucket/out --unscored separate --fail-above 0.05 --fail-above 1/10",
    "filter in -o out --text-field a.b --count-field x --count-field y --count-field x",
    "filter in -q",
    "score in -o out --as parquet",
    "score in --output out --as jsonl --overwrite",
    "explain essay.txt --html essay.html",
    "explain dump.jsonl.zst --record 17 --json",
    "explain -",
    "gate out --junit gate.xml",
    "warm-up --check",
    "scorers",
    "verify out",
)

LEFT = (
    "filter --help",
    "filter in -o",
    "filter in -o out --overwrit",
    "filter in -oout",
    "filter in -o out -- more",
    "filter in -o --quiet",
    "filter in -o out --workers many",
    "filter in -o out --workers 0",
    "filter in -o out --target-fpr nan",
    "filter in -o out --target-fpr 2",
    "filter in -o out --unscored nowhere",
    "filter in -o ftp://host/out",
    "filter in -o out --quiet=yes",
    "filter in -o out --trust-before yesterday",
    "filter -o out",
    "explain",
    "explain a b",
    "calibrate in",
    "verify",
    "learn old --unlabelled new --lang xx -o out",
)


def command_of(line: str) -> tuple[Command, list[str]]:
    name, *words = shlex.split(line)
    found = find_command(name)
    assert isinstance(found, Command)
    return found, words


def by_typer(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options and values that typer hands to the command."""
    got: list[Mapping[Option, Any]] = []

    def run(self: Command, said: Mapping[Option, Any]) -> int:
        got.append(said)
        return 0

    monkeypatch.setattr(Command, "run", run)
    assert program_of(words[0]).main(words, "lowbg", standalone_mode=False) in (0, None)
    (said,) = got
    return {option.name: value for option, value in said.items()}


@pytest.mark.parametrize("line", READ)
def test_what_is_plain(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, words = command_of(line)
    said = quick.read(command, words)
    assert said is not None
    own = {option.name: value for option, value in said.items()}
    other = by_typer(shlex.split(line), monkeypatch)
    assert own == other
    assert list(own) == list(other)
    assert [*map(type, own.values())] == [*map(type, other.values())]


@pytest.mark.parametrize("line", LEFT)
def test_what_is_left_to_typer(line: str) -> None:
    command, words = command_of(line)
    assert quick.read(command, words) is None


@cache
def program_of(name: str) -> Any:
    """The program with one command; making it takes longer than using it."""
    return get_command(program([name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("drift", "reserve")])
def test_every_option_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read of an option and a value is what typer reads."""
    command = find_command(name)
    assert isinstance(command, Command)
    needed = [word for option in command.options if option.required
              for word in ([option.flag] if not option.is_argument else [])
              + [values_of(option)[0]]]  # fmt: skip
    for option in command.options:
        if option.is_argument or option.own.kind is bool:
            continue
        for value in values_of(option):
            words = [*needed, option.flag, value]
            said = quick.read(command, words)
            if said is not None:
                own = {option.name: value for option, value in said.items()}
                assert own == by_typer([name, *words], monkeypatch), words


def values_of(option: Option) -> list[str]:
    kind = option.own.kind
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [str(value) for value in kind]
    if parser_of(option.own) is None and kind is not float:
        return ["a", "en=1", " ", ""]
    return ["1", "a", "0.5", "2022-11-30", "1%", "64M", "en", "a=b", "en=1", "1e-3", "-1", "", " 1"]
