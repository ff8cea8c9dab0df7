"""The phrase patterns that were found most, by category, and chat-tool residue."""

from __future__ import annotations

from collections.abc import Sequence

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
from lowbg.storage.typed import Count, Open

KEPT = 50
_IN_TERMINAL = 4


class Phrases(Open, frozen=True):
    """How many `distinct` phrases were found, the most frequent ones, and their categories."""

    distinct: Count
    top: list[FoundRow]
    categories: list[FoundRow]
    artifacts: list[FoundRow]


def _collect(material: Material) -> Phrases:
    statistics = material.statistics
    return Phrases(
        distinct=len(statistics.phrases),
        top=found_rows(statistics.phrases)[:KEPT],
        categories=found_rows(statistics.phrase_categories),
        artifacts=found_rows(statistics.artifacts)[:KEPT],
    )


def _blocks(phrases: Phrases) -> Sequence[Block]:
    if not phrases.top and not phrases.artifacts:
        return (Note("No phrase pattern was found."),)
    blocks: list[Block] = []
    if phrases.top:
        blocks.append(found_table("Category", phrases.categories))
        more = phrases.distinct - len(phrases.top)
        blocks.append(found_table("Phrase", phrases.top, more))
    if phrases.artifacts:
        blocks.append(found_table("Near-certain phrase", phrases.artifacts))
    return blocks


def _lines(phrases: Phrases) -> Sequence[Line]:
    rows = phrases.top[:_IN_TERMINAL]
    items = [f"{row.name} {row.documents:,}" for row in rows]
    return (Line("top phrases", items),) if items else ()


SECTION = Section(70, "phrases", "Phrases", _collect, _blocks, _lines)
