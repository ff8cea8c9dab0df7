"""AI share by language, as the scorers took it."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.estimate import ShareEstimator
from lowbg.report.sections.base import CountedRow, Material, counted_row, grouped_section

_IN_TERMINAL = 12


def _rows(material: Material, estimator: ShareEstimator) -> Sequence[CountedRow]:
    table = material.statistics.languages
    without_score = material.statistics.languages_without_score
    rows = [
        counted_row(name, counts, without_score, estimator.language(name))
        for name, counts in zip(table.names, table.counts, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.documents, row.name))


def _in_terminal(rows: Sequence[CountedRow]) -> Sequence[CountedRow]:
    return rows[:_IN_TERMINAL]


SECTION = grouped_section(50, "languages", "AI share by language", _rows, _in_terminal)
