"""`lowbg scorers`: what is installed, in which version, for which languages, with which models."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from lowbg_cli import terminal
from lowbg_cli.configure import AsJson, ConfigOptions
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command

if TYPE_CHECKING:
    from lowbg.scorers.base import Scorer


@command
def scorers_command(
    *, options: Annotated[ConfigOptions, Only(("file", "decision.tables"))], as_json: AsJson = False
) -> ExitCode:
    """List the installed scorers, their columns and models."""
    from lowbg.runs.engine import language_tables
    from lowbg.scorers import available

    models = language_tables(options.resolve().policy)
    rows = [_described(factory(models)) for factory in available().values()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return ExitCode.FINISHED
    for row in rows:
        print(terminal.printable(f"{row['name']} {row['version']}"))
        _print_item("languages", row["languages"] or ["all"])
        for column in row["columns"]:
            unit = f" [{column['unit']}]" if column["unit"] else ""
            _print_item("column", [f"{column['name']}{unit}: {column['meaning']}"])
        if row["settings"] is not None:
            _print_item("settings", row["settings"] or ["none"])
        if row["second_look"]:
            _print_item("cost", ["a second look: what is unsure or too short"])
        for name, digest in row["models"].items():
            _print_item("model", [f"{name} sha256:{digest[:12]}"])
    return ExitCode.FINISHED


def _described(scorer: Scorer) -> dict[str, Any]:
    """A scorer as plain JSON values; `settings` is null where it runs without any."""
    settings = scorer.settings
    return {
        "name": scorer.name,
        "version": scorer.version,
        "languages": sorted(scorer.languages),
        "min_words": scorer.min_words,
        "columns": [
            {
                "name": c.name,
                "type": str(c.type),
                "unit": c.unit,
                "meaning": c.meaning,
                "null": c.null,
                "in_row": c.in_row,
            }
            for c in scorer.columns
        ],
        "settings": None if settings is None else [field.name for field in fields(settings)],
        "second_look": scorer.second_look is not None,
        "models": dict(sorted(scorer.models.items())),
    }


def _print_item(label: str, values: list[str]) -> None:
    print(terminal.printable(f"  {label:<10} {', '.join(values)}"))
