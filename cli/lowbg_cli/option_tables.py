"""A command's options, and the keys of a policy file, as tables for the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lowbg.config import Policy
from lowbg.settings import Heading, declared, default_text, describe
from lowbg_cli.app import COMMANDS, find_command
from lowbg_cli.groups import Command, Option


def commands() -> dict[str, Command]:
    """Every command that runs (`drift check`, not `drift`), as `--help` lists them."""
    found: dict[str, Command] = {}
    for name in COMMANDS:
        one = find_command(name)
        if isinstance(one, Command):
            found[name] = one
        else:
            found |= {f"{name} {inner}": command for inner, command in one.commands.items()}
    return found


def option_table(options: Sequence[Option]) -> str:
    """Arguments and options as a Markdown table; a heading is a row of its own.

    In the order of `--help`; what has a key in a policy file names it.
    """
    keys = {own.key for own in declared(Policy)} & {option.own.key for option in options}
    rows = [("option", "", "in a policy")]
    heading = Heading.COMMON
    for option in sorted(_shown(options), key=_place):
        if option.setting.heading is not heading:
            heading = option.setting.heading
            rows.append((f"**{_escaped(heading)}**", "", ""))
        key = f"`{option.own.key}`" if option.own.key in keys else ""
        required = " [required]" if option.required else ""
        rows.append((f"`{_name(option)}`", _escaped(option.help + required), key))
    return _markdown([row if keys else row[:2] for row in rows])


def policy_table() -> str:
    """The keys of a policy file as a Markdown table: meaning, values and default of each."""
    rows: list[tuple[str, ...]] = [("key", "", "value", "default")]
    tables = list(dict.fromkeys(own.key.partition(".")[0] for own in declared(Policy)))
    for own in sorted(declared(Policy), key=lambda own: tables.index(own.key.partition(".")[0])):
        cells = (own.setting.help, describe(own.kind, own.setting), default_text(own))
        rows.append((f"`{own.key}`", *map(_escaped, cells)))
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]]) + "\n"


def _shown(options: Sequence[Option]) -> Iterator[Option]:
    return (option for option in options if not option.setting.hidden)


def _place(option: Option) -> tuple[bool, int]:
    return not option.is_argument, list(Heading).index(option.setting.heading)


def _name(option: Option) -> str:
    """As `--help` writes it: short name first, then what stands for the value."""
    names = ", ".join(sorted(option.flags, key=len)).replace("/", " / ")
    return f"{names} {option.value_name}".replace("|", "\\|").strip()


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([|<*_])", r"\\\1", text)
