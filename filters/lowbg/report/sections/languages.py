"""AI share by language, as the scorers took it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.report.estimate import ShareEstimator
from lowbg.report.sections.base import (
    Block,
    Line,
    Material,
    Section,
    counted_row,
    counted_table,
    share_text,
)

_IN_TERMINAL = 12


def _collect(material: Material) -> list[dict[str, Any]]:
    table = material.statistics.languages
    estimator = ShareEstimator(material.statistics)
    rows = [
        {**counted_row(name, counts), "estimate": estimator.language(name)}
        for name, counts in zip(table.names, table.counts, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["documents"], row["name"]))


def _blocks(rows: Any) -> Sequence[Block]:
    return (counted_table("Language", rows, "text"),)


def _lines(rows: Any) -> Sequence[Line]:
    known = rows[:_IN_TERMINAL]
    items = [f"{row['name']} {share_text(row['ai_share_of_scored'])}" for row in known]
    return (Line("by language", items),) if items else ()


SECTION = Section(50, "languages", "AI share by language", _collect, _blocks, _lines)
