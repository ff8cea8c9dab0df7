"""The pages' tables of options and of policy keys: `python docs/options.py [--write]`.

They stand between marks and say what `--help` says, from the same declarations. Without `--write`
the pages whose tables are not current are named, with exit code 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from lowbg.config import Policy
from lowbg.settings import declared, default_text, describe
from lowbg_cli.app import app

PAGES = tuple(sorted(Path(__file__).parent.rglob("*.md")))
TABLE = re.compile(
    r"<!-- (?:options of lowbg ([a-z -]+)|keys of a policy) -->\n(.*?)<!-- end of table -->\n",
    re.DOTALL,
)
"""A table with its marks; group 1 is the command, none for the policy's keys."""


def commands() -> dict[str, list[tuple[str, str, str]]]:
    """Every command that runs (`drift check`, not `drift`) → its options, as `option_rows`."""
    root = typer.main.get_command(app)
    return dict(_walk(root, root.make_context("lowbg", [], resilient_parsing=True), ()))


def _walk(
    command: Any, context: Any, path: tuple[str, ...]
) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    if not hasattr(command, "list_commands"):
        yield " ".join(path), option_rows(command, context)
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        inner = type(context)(below, info_name=name, parent=context)
        yield from _walk(below, inner, (*path, name))


def option_rows(command: Any, context: Any) -> list[tuple[str, str, str]]:
    """Heading, name and help text of every argument and option, in the order of `--help`.

    Arguments have no heading, and neither have the options that everyone needs. An argument's
    name lacks its Python type, which some versions of typer add.
    """
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        name, text = record
        if parameter.param_type_name == "argument":
            name = name.partition(" ")[0]
        heading = getattr(parameter, "rich_help_panel", None) or ""
        rows.append((heading, name, " ".join(text.split())))
    headings = list(dict.fromkeys(["", *(heading for heading, _, _ in rows)]))
    return sorted(rows, key=lambda row: headings.index(row[0]))


def table(rows: list[tuple[str, str, str]]) -> str:
    """`rows` as a Markdown table; a heading is a row of its own."""
    lines = ["| option | |", "|---|---|"]
    heading = ""
    for part, name, text in rows:
        if part != heading:
            heading = part
            lines.append(f"| **{_escaped(part)}** | |")
        lines.append(f"| `{name.replace('|', chr(92) + '|')}` | {_escaped(text)} |")
    return "\n".join(lines) + "\n"


def policy_table() -> str:
    """Every key of a policy file: what it means, what its value must be, its default."""
    lines = ["| key | | value | default |", "|---|---|---|---|"]
    parts = list(dict.fromkeys(own.key.partition(".")[0] for own in declared(Policy)))
    for own in sorted(declared(Policy), key=lambda own: parts.index(own.key.partition(".")[0])):
        meaning, kind = _escaped(own.setting.help), _escaped(describe(own.kind, own.setting))
        lines.append(f"| `{own.key}` | {meaning} | {kind} | {_escaped(default_text(own))} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([|<*_])", r"\\\1", text)


def current(text: str) -> str:
    """The page `text` with its tables made anew. `KeyError` names a command that there isn't."""
    known = commands()

    def with_rows(found: re.Match[str]) -> str:
        made = table(known[found[1]]) if found[1] else policy_table()
        return f"{found[0].partition(chr(10))[0]}\n\n{made}\n<!-- end of table -->\n"

    return TABLE.sub(with_rows, text)


def main(arguments: list[str]) -> int:
    """Checks the pages, or writes them."""
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = current(text)
        if made != text:
            stale.append(page)
            if arguments == ["--write"]:
                page.write_text(made, encoding="utf-8")
    for page in stale:
        print(page)
    return 1 if stale and arguments != ["--write"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
