"""The phrase patterns that were found most, by category, and chat-tool residue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import VERDICTS
from lowbg.report.counting import CountTable
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table

KEPT = 50
_IN_TERMINAL = 4


def _collect(material: Material) -> dict[str, Any]:
    statistics = material.statistics
    return {
        "distinct": len(statistics.phrases),
        "top": _ranked(statistics.phrases)[:KEPT],
        "categories": _ranked(statistics.phrase_categories),
        "artifacts": _ranked(statistics.artifacts)[:KEPT],
    }


def _ranked(table: CountTable) -> list[dict[str, Any]]:
    """Documents by name and verdict, the most frequent first."""
    rows = [
        {"name": name, "documents": sum(row), **dict(zip(VERDICTS, row, strict=True))}
        for name, row in table.to_dict().items()
    ]
    return sorted(rows, key=lambda row: (-row["documents"], row["name"]))


def _table(heading: str, rows: Any, more: int = 0) -> Table:
    columns = (
        Column(heading, "code"),
        Column("Documents", "count"),
        Column("Human", "count"),
        Column("AI", "count"),
        Column("Unscored", "count"),
    )
    values = [(r["name"], r["documents"], r["human"], r["ai"], r["unscored"]) for r in rows]
    return Table(columns, values, more=more)


def _blocks(phrases: Any) -> Sequence[Block]:
    if not phrases["top"] and not phrases["artifacts"]:
        return (Note("No phrase pattern was found."),)
    blocks: list[Block] = []
    if phrases["top"]:
        blocks.append(_table("Category", phrases["categories"]))
        more = phrases["distinct"] - len(phrases["top"])
        blocks.append(_table("Phrase", phrases["top"], more))
    if phrases["artifacts"]:
        blocks.append(_table("Chat-tool residue", phrases["artifacts"]))
    return blocks


def _lines(phrases: Any) -> Sequence[Line]:
    rows = phrases["top"][:_IN_TERMINAL]
    items = [f"{row['name']} {row['documents']:,}" for row in rows]
    return (Line("top phrases", items),) if items else ()


SECTION = Section(70, "phrases", "Phrases", _collect, _blocks, _lines)
