"""A report's counts as CSV, for a spreadsheet: a row a language, year, host and shard."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lowbg.report.collect import Report
from lowbg.report.sections.base import CountedRow, visible
from lowbg.report.sections.hosts import SECTION as HOSTS
from lowbg.report.sections.languages import SECTION as LANGUAGES
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.report.sections.totals import SECTION as TOTALS
from lowbg.report.sections.years import SECTION as YEARS

HEAD: Final = (
    "by", "name", "documents", "human", "ai", "unscored", "quarantined", "scored",
    "ai_share_of_scored", "low", "high",
)  # fmt: skip
"""The columns: counts of documents, and the AI share with its 95 % interval."""


def render_csv(report: Report) -> str:
    """The counts. Names from the data can't be formulas: one that looks like one gets a `'`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for row in _rows(report):
        writer.writerow(["" if cell is None else cell for cell in row])
    return text.getvalue()


def _rows(report: Report) -> Iterator[Sequence[Any]]:
    totals = report[TOTALS]
    counts = [
        getattr(totals, name).documents for name in ("human", "ai", "unscored", "quarantined")
    ]
    share = (totals.ai_share_of_scored, *(totals.ai_share_of_scored_interval or (None, None)))
    yield ("all", "all", totals.documents, *counts, totals.scored, *share)
    hosts = report[HOSTS]
    others = [row for row in (hosts.without_url, hosts.other) if row is not None]
    for by, rows in (
        ("language", report[LANGUAGES]), ("year", report[YEARS]), ("host", [*hosts.top, *others]),
    ):  # fmt: skip
        for row in rows:
            yield (by, *_counted(row))
    for shard in report[SHARDS]:
        own = shard.documents
        yield (
            "shard", _name(shard.shard), shard.records, own.human, own.ai, own.unscored,
            own.quarantined, shard.scored, shard.ai_share_of_scored,
            *(shard.ai_share_of_scored_interval or (None, None)),
        )  # fmt: skip


def _counted(row: CountedRow) -> Sequence[Any]:
    return (
        _name(row.name), row.documents, row.human.documents, row.ai.documents,
        row.unscored.documents, None, row.scored, row.ai_share_of_scored,
        *(row.ai_share_of_scored_interval or (None, None)),
    )  # fmt: skip


def _name(name: str) -> str:
    shown = visible(name)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
