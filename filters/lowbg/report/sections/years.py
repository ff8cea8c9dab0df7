"""AI share by year, from the documents' own dates."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.estimate import ShareEstimator
from lowbg.report.sections.base import CountedRow, Material, counted_row, grouped_section
from lowbg.text.origins import UNKNOWN_YEAR

_IN_TERMINAL = 12


def _rows(material: Material, estimator: ShareEstimator) -> Sequence[CountedRow]:
    table = material.statistics.years
    without_score = material.statistics.years_without_score
    rows = [
        counted_row(name, counts, without_score, estimator.year(name))
        for name, counts in zip(table.names, table.counts, strict=True)
    ]
    return sorted(rows, key=lambda row: (row.name == UNKNOWN_YEAR, row.name))


def _in_terminal(rows: Sequence[CountedRow]) -> Sequence[CountedRow]:
    return [row for row in rows if row.name != UNKNOWN_YEAR][-_IN_TERMINAL:]


SECTION = grouped_section(
    40, "years", "AI share over time", _rows, _in_terminal, chart=True,
    weak="The dates are the documents' own. AI text that claims an early date counts there.",
)  # fmt: skip
