"""The phrase patterns that were found most, by category, and chat-tool residue."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from lowbg.report.sections.base import (
    Block,
    Column,
    FoundRow,
    Line,
    Material,
    Note,
    Section,
    Table,
    found_rows,
    found_table,
)
from lowbg.storage.typed import Count, Open

KEPT = 50
_IN_TERMINAL = 2
_CATEGORY = re.compile(r"^contains '.*' \((\w+)\)")


class Phrases(Open, frozen=True):
    """How many `distinct` phrases were found, the most frequent ones, and their categories.

    `examples` are documents, of those that the report shows, by a category that they are of.
    """

    distinct: Count
    top: list[FoundRow]
    categories: list[FoundRow]
    artifacts: list[FoundRow]
    examples: dict[str, str] = msgspec.field(default_factory=dict)


def _collect(material: Material) -> Phrases:
    statistics = material.statistics
    return Phrases(
        distinct=len(statistics.phrases),
        top=found_rows(statistics.phrases)[:KEPT],
        categories=found_rows(statistics.phrase_categories),
        artifacts=found_rows(statistics.artifacts)[:KEPT],
        examples=_examples(material),
    )


def _examples(material: Material) -> dict[str, str]:
    found: dict[str, str] = {}
    for examples in material.statistics.examples.to_plain().values():
        for example in examples:
            for reason in example.reasons:
                if match := _CATEGORY.search(reason):
                    found.setdefault(match[1], f"{example.shard}:{example.record}")
    return dict(sorted(found.items()))


def _blocks(phrases: Phrases) -> Sequence[Block]:
    if not phrases.top and not phrases.artifacts:
        return (Note("No phrase pattern was found."),)
    blocks: list[Block] = []
    if phrases.top:
        blocks.append(_categories(phrases))
        more = phrases.distinct - len(phrases.top)
        blocks.append(found_table("Phrase", phrases.top, more))
    if phrases.artifacts:
        blocks.append(found_table("Near-certain phrase", phrases.artifacts))
    return blocks


def _categories(phrases: Phrases) -> Table:
    table = found_table("Category", phrases.categories)
    if not phrases.examples:
        return table
    rows = [(*row, phrases.examples.get(row[0])) for row in table.rows]
    return Table((*table.columns, Column("For example, below", "code")), rows)


def _lines(phrases: Phrases) -> Sequence[Line]:
    rows = phrases.top[:_IN_TERMINAL]
    items = [f"{row.name} {row.documents:,}" for row in rows]
    return (Line("top phrases", items),) if items else ()


SECTION = Section(
    70, "phrases", "Phrases", _collect, _blocks, _lines,
    weak="People use these phrases, too. Alone only near-certain ones decide, and not where they "
    "are quoted.",
)  # fmt: skip
