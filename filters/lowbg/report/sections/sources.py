"""What the evidence of sources did: documents by the verdict on their source, verdicts changed."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text
from lowbg.report.sections.base import (
    Block,
    Column,
    Line,
    Material,
    Note,
    Section,
    Table,
)
from lowbg.storage.typed import Count, Open

NO_EVIDENCE = "(no evidence)"
ROWS = ("human", "ai", "mixed", "unknown", NO_EVIDENCE)
"""What a document's source may be; the last: the table has too few documents of it, or it has
none."""


class SourceRow(Open, frozen=True):
    """Documents whose source has this verdict, by their own; `called` and `spared`: those that
    became AI by their source, and those that their own score alone would call AI."""

    verdict: str
    documents: Count
    human: Count
    ai: Count
    unscored: Count
    called: Count
    spared: Count


class SourcesFound(Open, frozen=True):
    """Documents by the verdict on their source."""

    rows: list[SourceRow]


def _collect(material: Material) -> SourcesFound | None:
    counts = {name: row[0] for name, row in material.statistics.sources.to_dict().items()}
    if not counts:
        return None
    rows = []
    for verdict in ROWS:
        human, ai, unscored, called, spared = (
            counts.get(f"{verdict}/{what}", 0)
            for what in ("human", "ai", "unscored", "called", "spared")
        )
        if human + ai + unscored:
            total = human + ai + unscored
            rows.append(SourceRow(verdict, total, human, ai, unscored, called, spared))
    return SourcesFound(rows)


def _blocks(found: SourcesFound | None) -> Sequence[Block]:
    if found is None:
        return (Note("No evidence of sources was used: each document was judged alone."),)
    columns = (
        Column("Source is", "text"),
        *(Column(title, "count") for title in ("Documents", "Human", "AI", "Unscored")),
        Column("AI by their source", "count"),
        Column("Spared by their source", "count"),
    )
    rows = [
        (r.verdict, r.documents, r.human, r.ai, r.unscored, r.called, r.spared) for r in found.rows
    ]
    return (Table(columns, rows),)


def _lines(found: SourcesFound | None) -> Sequence[Line]:
    if found is None:
        return ()
    called, spared = (sum(getattr(row, n) for row in found.rows) for n in ("called", "spared"))
    items = [f"{row.verdict} {count_text(row.documents)}" for row in found.rows]
    return (
        Line("by source", items),
        Line("changed", [f"{count_text(called)} to AI", f"{count_text(spared)} to human"]),
    )


SECTION = Section(62, "sources", "Sources", _collect, _blocks, _lines)
