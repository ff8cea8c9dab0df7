"""AI share by year, from the documents' own dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.origins import UNKNOWN_YEAR
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
    table = material.statistics.years
    estimator = ShareEstimator(material.statistics)
    rows = [
        {**counted_row(name, counts), "estimate": estimator.year(name)}
        for name, counts in zip(table.names, table.counts, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["name"] == UNKNOWN_YEAR, row["name"]))


def _blocks(rows: Any) -> Sequence[Block]:
    return (counted_table("Year", rows, "text"),)


def _lines(rows: Any) -> Sequence[Line]:
    known = [row for row in rows if row["name"] != UNKNOWN_YEAR]
    known = known[-_IN_TERMINAL:]
    items = [f"{row['name']} {share_text(row['ai_share_of_scored'])}" for row in known]
    return (Line("by year", items),) if items else ()


SECTION = Section(40, "years", "AI share by year", _collect, _blocks, _lines)
