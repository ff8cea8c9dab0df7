"""AI share by host: the largest ones, and those with the most AI text."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lowbg.amounts import share_text
from lowbg.config import VERDICTS
from lowbg.report.counting import CountTable
from lowbg.report.estimate import ShareEstimator
from lowbg.report.naming import for_pages
from lowbg.report.sections.base import (
    Block,
    CountedRow,
    Line,
    Material,
    Note,
    Section,
    counted_row,
    counted_table,
)
from lowbg.report.statistics import MEASURES, Statistics
from lowbg.storage.typed import Count, Open
from lowbg.text.origins import NO_HOST

KEPT = 50
_ON_PAGE = 20
_IN_TERMINAL = 3
_DOCUMENTS = tuple(range(0, len(VERDICTS) * len(MEASURES), len(MEASURES)))


class Hosts(Open, frozen=True):
    """The hosts with the most documents, and with the most AI documents.

    There may be more `distinct` ones than that where `distinct_is_minimum`. `other` are all that
    `top` doesn't name; null where there are none, as `without_url`.
    """

    distinct: Count
    distinct_is_minimum: bool
    top: list[CountedRow]
    other: CountedRow | None
    without_url: CountedRow | None
    most_ai: list[CountedRow]


def largest_hosts(hosts: CountTable, n: int) -> CountTable:
    """The `n` hosts with the most documents; the rest as one row."""
    return hosts.largest(n, _DOCUMENTS)


def _collect(material: Material) -> Hosts:
    statistics = material.statistics
    rows = _rows(statistics.hosts, statistics.hosts_without_score)
    other, without_url = rows.pop("(other)", None), rows.pop(NO_HOST, None)
    ranked = sorted(rows.values(), key=lambda row: (-row.documents, row.name))
    by_ai = sorted(rows.values(), key=lambda row: (-row.ai.documents, row.name))
    most_ai = [row for row in by_ai[:KEPT] if row.ai.documents]
    estimator = ShareEstimator(statistics)
    shown = {row.name for row in ranked[:KEPT] + most_ai}
    estimated = {name: replace(rows[name], estimate=estimator.host(name)) for name in shown}
    return Hosts(
        distinct=len(rows),
        distinct_is_minimum=other is not None,
        top=[estimated[row.name] for row in ranked[:KEPT]],
        other=_rest(statistics, ranked[:KEPT], without_url),
        without_url=without_url,
        most_ai=[estimated[row.name] for row in most_ai],
    )


def _rows(hosts: CountTable, without_score: CountTable) -> dict[str, CountedRow]:
    pairs = zip(hosts.names, hosts.counts, strict=True)
    return {name: counted_row(name, counts, without_score) for name, counts in pairs}


def _rest(
    statistics: Statistics, shown: list[CountedRow], without_url: CountedRow | None
) -> CountedRow | None:
    """All documents of hosts that are not among the ones shown."""
    counts, lacking = (
        table.counts.sum(axis=0) for table in (statistics.hosts, statistics.hosts_without_score)
    )
    for row in [*shown, *([without_url] if without_url else [])]:
        counts -= statistics.hosts.row(row.name)
        lacking -= statistics.hosts_without_score.row(row.name)
    without_score = CountTable(len(MEASURES))
    without_score.add([without_score.other], lacking[None])
    return counted_row("(other)", counts, without_score) if counts.any() else None


def _blocks(hosts: Hosts) -> Sequence[Block]:
    if not hosts.distinct:
        return (Note(for_pages("The records name no URL in the field that `fields.url` says.")),)
    blocks: list[Block] = []
    if hosts.most_ai:
        blocks.append(Note("Most AI documents:"))
        blocks.append(counted_table("Host", hosts.most_ai[:_ON_PAGE], "code"))
    rows = [*hosts.top[:_ON_PAGE], *(row for row in (hosts.without_url,) if row)]
    blocks.append(Note(f"Most documents (the {KEPT} largest are in report.json):"))
    blocks.append(counted_table("Host", rows, "code"))
    if hosts.distinct_is_minimum:
        blocks.append(
            Note("Only the largest hosts of every shard are kept: counts by host are lower bounds.")
        )
    return blocks


def _lines(hosts: Hosts) -> Sequence[Line]:
    items = [
        f"{row.name} {row.ai.documents:,} ({share_text(row.ai_share_of_scored)})"
        for row in hosts.most_ai[:_IN_TERMINAL]
    ]
    return (Line("most AI from", items),) if items else ()


SECTION = Section(60, "hosts", "Hosts", _collect, _blocks, _lines)
