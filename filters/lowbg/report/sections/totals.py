"""How many records came in, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import OUTCOMES
from lowbg.report.estimate import share, wilson
from lowbg.report.sections.base import (
    BarLine,
    Block,
    Column,
    Line,
    Material,
    Section,
    Stack,
    Table,
    share_text,
)
from lowbg.report.statistics import MEASURES


def _collect(material: Material) -> dict[str, Any]:
    measured = material.statistics.measured()
    whole = {name: sum(measured[verdict][name] for verdict in OUTCOMES) for name in MEASURES}
    totals: dict[str, Any] = {
        "records": sum(shard["records"] for shard in material.shards),
        **whole,
    }
    for verdict in OUTCOMES:
        totals[verdict] = {
            **measured[verdict],
            **{
                f"share_of_{name}": share(measured[verdict][name], whole[name]) for name in MEASURES
            },
        }
    for name in MEASURES:
        ai, scored = measured["ai"][name], measured["ai"][name] + measured["human"][name]
        of_scored = "ai_share_of_scored" if name == "documents" else f"ai_share_of_scored_{name}"
        totals[of_scored] = share(ai, scored)
        totals[f"ai_share_of_{name}"] = share(ai, whole[name])
    # Bytes and words come in documents, so only documents have a binomial interval.
    ai, human = measured["ai"]["documents"], measured["human"]["documents"]
    totals["ai_share_of_scored_interval"] = wilson(ai, ai + human)
    totals["ai_share_of_documents_interval"] = wilson(ai, whole["documents"])
    return totals


def _blocks(totals: Any) -> Sequence[Block]:
    rows = [
        (
            verdict,
            totals[verdict]["documents"],
            totals[verdict]["share_of_documents"],
            totals[verdict]["bytes"],
            totals[verdict]["share_of_bytes"],
            totals[verdict]["words"],
            totals[verdict]["share_of_words"],
        )
        for verdict in OUTCOMES
    ]
    columns = (
        Column("Verdict"),
        Column("Documents", "count"),
        Column("Share", "percent"),
        Column("Stored bytes", "bytes"),
        Column("Share", "percent"),
        Column("Words", "count"),
        Column("Share", "percent"),
    )
    return (
        Stack([(verdict, verdict, totals[verdict]["documents"]) for verdict in OUTCOMES]),
        Table(columns, rows),
    )


def _lines(totals: Any) -> Sequence[Line | BarLine]:
    bars = [
        BarLine(
            verdict,
            totals[verdict]["documents"],
            totals[verdict]["share_of_documents"],
            verdict,
        )
        for verdict in OUTCOMES
    ]
    interval = totals["ai_share_of_scored_interval"]
    if interval is None:
        return (*bars, Line("AI share", ["no document was scored"]))
    items = [
        f"{share_text(totals['ai_share_of_scored'])} of scored documents",
        f"95 %: {share_text(interval[0])} – {share_text(interval[1])}",
    ]
    return (*bars, Line("AI share", items, "strong"))


SECTION = Section(10, "totals", "What became of the records", _collect, _blocks, _lines)
