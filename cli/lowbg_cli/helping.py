"""How `--help` looks: plain text, the options under headings, as wide as the terminal."""

from __future__ import annotations

import shutil
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lowbg.settings import Heading
from lowbg_cli import terminal
from lowbg_cli.app import HELP

_MOST_COLUMNS = 80
_FEWEST_COLUMNS = 32
_UNCUT = 200


class PlainCommand(TyperCommand):
    """A command whose help shows each option under its `rich_help_panel`, without rich.

    What has none comes first. rich alone costs twice the time that `--help` may take.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is wrong with an option is said of this command, not of the program."""
        try:
            return list(super().parse_args(ctx, args))
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The whole page, no wider than the terminal."""
        _fit_terminal(formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments, the options without a heading, and the others by heading."""
        _write_sections(self, ctx, formatter)


class PlainGroup(TyperGroup):
    """A group of commands, likewise."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The whole page, no wider than the terminal."""
        _fit_terminal(formatter)
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without a command it shows its help, on stderr, and ends as wrong usage does.

        `help COMMAND` is `COMMAND --help`.
        """
        if not args and not ctx.resilient_parsing:
            terminal.show(f"{ctx.get_help()}\n")
            raise typer.Exit(2)
        if args[:1] == [HELP]:
            args = [*args[1:], "--help"]
        return list(super().parse_args(ctx, args))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands and what each is for, wrapped where the parser would cut it."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.get_short_help_str(_UNCUT)) for name, c in found if c])


def _fit_terminal(formatter: Any) -> None:
    """The parser itself never writes lines of less than 50 characters."""
    columns = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
    formatter.width = max(columns, _FEWEST_COLUMNS) - 2


def _write_sections(command: TyperCommand, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    sections |= {heading: [] for heading in Heading}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        if parameter.param_type_name == "argument":
            # Without the Python type, list[str], which newer versions of typer add.
            sections["Arguments"].append((name.partition(" ")[0], text))
        else:
            heading = getattr(parameter, "rich_help_panel", None) or Heading.COMMON
            sections.setdefault(heading, []).append((name, text))
    widest = max(len(name) for rows in sections.values() for name, _ in rows)
    column = min(widest, 28 if formatter.width > 70 else formatter.width // 3)
    for heading, rows in sections.items():
        if rows:
            with formatter.section(heading):
                # Padded, so that the texts of all sections begin in the same column.
                padded = [(name.ljust(column), text) for name, text in rows]
                formatter.write_dl(padded, col_max=column)
