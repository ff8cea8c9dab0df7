"""The program as typer knows it: help, completion, and what is wrong with the options.

What is right with them `quick` reads without it: to import typer takes longer than many a command.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

import lowbg
from lowbg_cli.app import COMMANDS, find_command
from lowbg_cli.exits import usage_errors_in_a_line
from lowbg_cli.groups import Command
from lowbg_cli.helping import PlainCommand, PlainGroup
from lowbg_cli.several import TakesSeveral

EPILOG = (
    "Exit codes: 0 finished; 1 asked to judge, and it failed; 2 usage or configuration; "
    "3 some input could not be processed whole; 130, 143 interrupted; 141 the reader of stdout "
    "left."
)


class Program(PlainGroup):
    """All commands, in their order; what is wrong with the options is said in one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names; typer itself puts groups after all commands."""
        return sorted(self.commands, key=list(COMMANDS).index)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parses what stands before the command's name."""
        with usage_errors_in_a_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parses the command's options, and runs it."""
        with usage_errors_in_a_line():
            return super().invoke(ctx)


def program(names: Iterable[str] = COMMANDS, *, options: bool = True) -> typer.Typer:
    """The program with these commands; their modules are loaded, and typer is slow to make more.

    Without `options` it can only list them: telling typer all options takes half of `--help`.
    """
    made = typer.Typer(
        name="lowbg",
        cls=Program,
        epilog=EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    for name in names:
        found = find_command(name)
        if isinstance(found, Command):
            _add(made, name, found, options)
            continue
        group = typer.Typer(cls=PlainGroup, help=found.help, rich_markup_mode=None)
        group.callback()(_nothing)
        for inner, command in found.commands.items():
            _add(group, inner, command, options)
        made.add_typer(group, name=name)
    made.callback()(_lowbg)
    return made


def _add(to: typer.Typer, name: str, command: Command, options: bool) -> None:
    kind = TakesSeveral if command.takes_loose_words else PlainCommand
    text = command.function.__doc__
    to.command(name, cls=kind, help=text)(command.callback() if options else _nothing)


def _nothing() -> None:
    """A group by itself does nothing."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lowbg {lowbg.__version__}")
        raise typer.Exit


def _lowbg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keep training data low-background: split crawl dumps into human-likely and AI-likely.

    lowbg help COMMAND, or lowbg COMMAND --help, lists a command's options.
    """
