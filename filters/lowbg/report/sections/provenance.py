"""What provenance decided, by rule, and the values of counted fields, such as C2PA assertions."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.counting import CountTable
from lowbg.report.sections.base import (
    Block,
    FoundRow,
    Line,
    Material,
    Note,
    Section,
    found_rows,
    found_table,
)
from lowbg.storage.typed import Open

KEPT = 200
_IN_TERMINAL = 4


class Provenance(Open, frozen=True):
    """Documents by the rule that told who wrote them, and by value of the counted fields."""

    rules: list[FoundRow]
    values: list[FoundRow]


def _collect(material: Material) -> Provenance:
    statistics = material.statistics
    return Provenance(_most(statistics.rules), _most(statistics.values))


def _most(table: CountTable) -> list[FoundRow]:
    """The most frequent first; beyond `KEPT` in one row."""
    return found_rows(table.largest(KEPT, range(table.width)))


def _blocks(provenance: Provenance) -> Sequence[Block]:
    if not provenance.rules and not provenance.values:
        return (Note("No document's provenance was known."),)
    blocks: list[Block] = []
    if provenance.rules:
        blocks.append(found_table("Known by", provenance.rules))
    if provenance.values:
        blocks.append(found_table("Counted field", provenance.values))
    return blocks


def _lines(provenance: Provenance) -> Sequence[Line]:
    lines = []
    for label, found in (("known by", provenance.rules), ("counted", provenance.values)):
        rows = found[:_IN_TERMINAL]
        if rows:
            lines.append(Line(label, [f"{row.name} {row.documents:,}" for row in rows]))
    return lines


SECTION = Section(65, "provenance", "Provenance", _collect, _blocks, _lines)
