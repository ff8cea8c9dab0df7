"""How many records came in, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import counted, share_text
from lowbg.config import OUTCOMES
from lowbg.report.estimate import share, wilson
from lowbg.report.sections.base import (
    BarLine,
    Block,
    Column,
    Line,
    Material,
    Note,
    Section,
    Stack,
    Table,
)
from lowbg.storage.typed import Count, Interval, Open, Share


class VerdictTotals(Open, frozen=True):
    """What became human, AI …: documents, stored bytes, words, and their shares of the whole."""

    documents: Count
    bytes: Count
    words: Count
    share_of_documents: Share | None
    share_of_bytes: Share | None
    share_of_words: Share | None


class Totals(Open, frozen=True, kw_only=True):
    """Records in all shards, and what became of them.

    `scored` documents are human and AI ones, but for those that are human by provenance and have no
    score; null in reports of versions that counted these.
    Bytes and words come in documents, so that only documents have a binomial interval.
    """

    records: Count
    documents: Count
    bytes: Count
    words: Count
    human: VerdictTotals
    ai: VerdictTotals
    unscored: VerdictTotals
    quarantined: VerdictTotals
    scored: Count | None = None
    ai_share_of_scored: Share | None
    ai_share_of_scored_bytes: Share | None
    ai_share_of_scored_words: Share | None
    ai_share_of_documents: Share | None
    ai_share_of_bytes: Share | None
    ai_share_of_words: Share | None
    ai_share_of_scored_interval: Interval | None
    ai_share_of_documents_interval: Interval | None


def _collect(material: Material) -> Totals:
    counts = material.statistics.totals
    whole = counts.sum(axis=0).tolist()

    def of(verdict: str) -> VerdictTotals:
        row = counts[OUTCOMES.index(verdict)].tolist()
        return VerdictTotals(*row, *map(share, row, whole))

    ai = of("ai")
    scored, scored_bytes, scored_words = material.statistics.scored().tolist()
    return Totals(
        records=sum(shard.records for shard in material.shards),
        documents=whole[0],
        bytes=whole[1],
        words=whole[2],
        human=of("human"),
        ai=ai,
        unscored=of("unscored"),
        quarantined=of("quarantined"),
        scored=scored,
        ai_share_of_scored=share(ai.documents, scored),
        ai_share_of_scored_bytes=share(ai.bytes, scored_bytes),
        ai_share_of_scored_words=share(ai.words, scored_words),
        ai_share_of_documents=ai.share_of_documents,
        ai_share_of_bytes=ai.share_of_bytes,
        ai_share_of_words=ai.share_of_words,
        ai_share_of_scored_interval=wilson(ai.documents, scored),
        ai_share_of_documents_interval=wilson(ai.documents, whole[0]),
    )


def _by_verdict(totals: Totals) -> list[tuple[str, VerdictTotals]]:
    return [(verdict, getattr(totals, verdict)) for verdict in OUTCOMES]


def _blocks(totals: Totals) -> Sequence[Block]:
    rows = [
        (
            verdict,
            of.documents,
            of.share_of_documents,
            of.bytes,
            of.share_of_bytes,
            of.words,
            of.share_of_words,
        )
        for verdict, of in _by_verdict(totals)
    ]
    columns = (
        Column("Verdict"),
        Column("Documents", "count"),
        Column("Share of records", "percent"),
        Column("Stored bytes", "bytes"),
        Column("Share of bytes", "percent"),
        Column("Words", "count"),
        Column("Share of words", "percent"),
    )
    return (
        Stack([(verdict, verdict, of.documents) for verdict, of in _by_verdict(totals)]),
        Table(columns, rows),
        *_shares(totals),
    )


_ABOUT_SHARES = (
    "Limits, and the shares by language, year, host and shard, are of scored documents: those with "
    "a score, and AI ones without. Documents that are too short, no prose or in a language without "
    "tables are none, even where provenance tells that they are human. The estimate is of scored "
    "documents, too, without those of denied sources."
)


def _shares(totals: Totals) -> Sequence[Block]:
    """The AI shares, each with what it is a share of."""
    columns = (
        Column("AI share"),
        Column("AI", "count"),
        Column("Of", "count"),
        Column("Share (95 % interval)", "share"),
    )
    ai, nothing = totals.ai, ()
    of_scored = totals.ai_share_of_scored_interval or nothing
    of_all = totals.ai_share_of_documents_interval or nothing
    rows = [
        ("of scored documents", ai.documents, totals.scored, totals.ai_share_of_scored, of_scored),
        ("of all records", ai.documents, totals.documents, totals.ai_share_of_documents, of_all),
        ("of their words", ai.words, totals.words, totals.ai_share_of_words, nothing),
    ]
    cells = [
        (*counts, (value, *interval) if interval else value) for *counts, value, interval in rows
    ]
    return (Table(columns, cells), Note(_ABOUT_SHARES))


def _scored(totals: Totals) -> str:
    return (
        "scored documents" if totals.scored is None else counted(totals.scored, "scored document")
    )


def _lines(totals: Totals) -> Sequence[Line | BarLine]:
    bars = [
        BarLine(verdict, of.documents, of.share_of_documents, verdict)
        for verdict, of in _by_verdict(totals)
    ]
    interval = totals.ai_share_of_scored_interval
    if interval is None:
        return (*bars, Line("AI share", ["no document was scored"]))
    items = [
        f"{share_text(totals.ai_share_of_scored)} of {_scored(totals)}",
        f"95 %: {share_text(interval[0])} – {share_text(interval[1])}",
    ]
    return (*bars, Line("AI share", items, "strong"))


SECTION = Section(
    10, "totals", "What became of the records", _collect, _blocks, _lines,
    weak="The interval is that of counting alone. That human documents are called AI, and AI ones "
    "human, moves a share by more: see the estimate.",
)  # fmt: skip
