"""AI share by host: the largest ones, and those with the most AI text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import VERDICTS
from lowbg.report.counting import CountTable
from lowbg.report.estimate import ShareEstimator
from lowbg.report.sections.base import (
    Block,
    Line,
    Material,
    Note,
    Section,
    counted_row,
    counted_table,
    share_text,
)
from lowbg.report.statistics import MEASURES
from lowbg.text.origins import NO_HOST

KEPT = 50
_ON_PAGE = 20
_IN_TERMINAL = 4
_DOCUMENTS = tuple(range(0, len(VERDICTS) * len(MEASURES), len(MEASURES)))
_AI_DOCUMENTS = (len(MEASURES),)


def largest_hosts(hosts: CountTable, n: int) -> CountTable:
    """The `n` hosts with the most documents; the rest as one row."""
    return hosts.largest(n, _DOCUMENTS)


def _collect(material: Material) -> dict[str, Any]:
    rows = _rows(material.statistics.hosts)
    other, without_url = rows.pop("(other)", None), rows.pop(NO_HOST, None)
    ranked = sorted(rows.values(), key=lambda row: (-row["documents"], row["name"]))
    by_ai = sorted(rows.values(), key=lambda row: (-row["ai"]["documents"], row["name"]))
    most_ai = [row for row in by_ai[:KEPT] if row["ai"]["documents"]]
    estimator = ShareEstimator(material.statistics)
    estimates = {
        name: estimator.host(name) for name in {r["name"] for r in ranked[:KEPT] + most_ai}
    }
    left = material.statistics.hosts.largest(0, _DOCUMENTS)
    return {
        "distinct": len(rows),
        "distinct_is_minimum": other is not None,
        "top": [{**row, "estimate": estimates[row["name"]]} for row in ranked[:KEPT]],
        "other": _rest(left, ranked[:KEPT], without_url),
        "without_url": without_url,
        "most_ai": [{**row, "estimate": estimates[row["name"]]} for row in most_ai],
    }


def _rows(hosts: CountTable) -> dict[str, dict[str, Any]]:
    pairs = zip(hosts.names, hosts.counts, strict=True)
    return {name: counted_row(name, counts) for name, counts in pairs}


def _rest(everything: CountTable, shown: list[Any], without_url: Any) -> dict[str, Any] | None:
    """All documents of hosts that are not among the ones shown."""
    rows = _rows(everything)
    if "(other)" not in rows:
        return None
    counts = everything.counts[0].copy().reshape(len(VERDICTS), len(MEASURES))
    for row in [*shown, *([without_url] if without_url else [])]:
        for i, verdict in enumerate(VERDICTS):
            counts[i] -= [row[verdict][measure] for measure in MEASURES]
    return counted_row("(other)", counts) if counts.any() else None


def _blocks(hosts: Any) -> Sequence[Block]:
    if not hosts["distinct"]:
        return (Note("The records name no URL (--url-field)."),)
    blocks: list[Block] = []
    if hosts["most_ai"]:
        blocks.append(Note("Most AI documents:"))
        blocks.append(counted_table("Host", hosts["most_ai"][:_ON_PAGE], "code"))
    rows = [*hosts["top"][:_ON_PAGE], *(row for row in (hosts["without_url"],) if row)]
    blocks.append(Note(f"Most documents (the {KEPT} largest are in report.json):"))
    blocks.append(counted_table("Host", rows, "code"))
    if hosts["distinct_is_minimum"]:
        blocks.append(
            Note("Only the largest hosts of every shard are kept: counts by host are lower bounds.")
        )
    return blocks


def _lines(hosts: Any) -> Sequence[Line]:
    items = [
        f"{row['name']} {row['ai']['documents']:,} ({share_text(row['ai_share_of_scored'])})"
        for row in hosts["most_ai"][:_IN_TERMINAL]
    ]
    return (Line("most AI from", items),) if items else ()


SECTION = Section(60, "hosts", "Hosts", _collect, _blocks, _lines)
