"""What provenance decided, by rule, and the values of counted fields, such as C2PA assertions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import VERDICTS
from lowbg.report.counting import CountTable
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table

KEPT = 200
_IN_TERMINAL = 4


def _collect(material: Material) -> dict[str, Any]:
    statistics = material.statistics
    return {"rules": _ranked(statistics.rules), "values": _ranked(statistics.values)}


def _ranked(table: CountTable) -> list[dict[str, Any]]:
    """Documents by name and verdict, the most frequent first; beyond `KEPT` in one row."""
    kept = table.largest(KEPT, range(len(VERDICTS)))
    rows = [
        {"name": name, "documents": sum(row), **dict(zip(VERDICTS, row, strict=True))}
        for name, row in kept.to_dict().items()
    ]
    return sorted(
        rows, key=lambda row: (row["name"] == table.other, -row["documents"], row["name"])
    )


def _table(heading: str, rows: Any) -> Table:
    columns = (
        Column(heading, "code"),
        Column("Documents", "count"),
        Column("Human", "count"),
        Column("AI", "count"),
        Column("Unscored", "count"),
    )
    values = [(r["name"], r["documents"], r["human"], r["ai"], r["unscored"]) for r in rows]
    return Table(columns, values)


def _blocks(provenance: Any) -> Sequence[Block]:
    if not provenance["rules"] and not provenance["values"]:
        return (Note("No document's provenance was known."),)
    blocks: list[Block] = []
    if provenance["rules"]:
        blocks.append(_table("Known by", provenance["rules"]))
    if provenance["values"]:
        blocks.append(_table("Counted field", provenance["values"]))
    return blocks


def _lines(provenance: Any) -> Sequence[Line]:
    lines = []
    for label, key in (("known by", "rules"), ("counted", "values")):
        rows = provenance[key][:_IN_TERMINAL]
        if rows:
            lines.append(Line(label, [f"{row['name']} {row['documents']:,}" for row in rows]))
    return lines


SECTION = Section(65, "provenance", "Provenance", _collect, _blocks, _lines)
