"""Why documents were not scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lowbg.amounts import count_text, counted
from lowbg.report.estimate import share
from lowbg.report.naming import for_pages
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table
from lowbg.report.statistics import NO_TABLES, UNKNOWN_LANGUAGE, Statistics
from lowbg.storage.typed import Count, Open, Share

_NAMED = 6
_PLAIN = {
    "too_short": (
        "too few words for a verdict",
        "longer documents, or a causal LM: `extras.lm.model`",
    ),
    "language": ("no tables of the language", "tables of it: lowbg train"),
    "not_prose": ("no prose: code, lists, numbers", "nothing: a verdict would mean nothing"),
    "empty": ("no words", "nothing"),
}
"""What each reason means, and what it would take."""


class UnscoredRow(Open, frozen=True, omit_defaults=True):
    """How many documents were not scored for a reason, and their share of all such documents.

    Of the reason `language`, `languages` has them by language: "und" was not recognised, the others
    have no tables.
    """

    reason: str
    documents: Count
    share: Share | None
    languages: dict[str, Count] = msgspec.field(default_factory=dict)


def _collect(material: Material) -> list[UnscoredRow]:
    counts = {name: row[0] for name, row in material.statistics.unscored.to_dict().items()}
    documents = sum(counts.values())
    untabled = by_language(material.statistics)
    return [
        UnscoredRow(name, n, share(n, documents), untabled if name == NO_TABLES else {})
        for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def by_language(statistics: Statistics) -> dict[str, int]:
    """Documents not scored for want of tables, by language, the most frequent first."""
    return _ordered({name: row[0] for name, row in statistics.untabled.to_dict().items()})


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first; a stored report has its keys by the alphabet."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def named(languages: Mapping[str, int]) -> list[str]:
    """The languages in which most documents are, with their number: "pl 20 documents", "cs 2"."""
    shown = [
        f"{'not recognised' if name == UNKNOWN_LANGUAGE else name} "
        f"{count_text(n) if i else counted(n, 'document')}"
        for i, (name, n) in enumerate(languages.items())
    ]
    more = len(shown) - _NAMED
    return [*shown[:_NAMED], *([f"and {counted(more, 'more language')}"] if more > 0 else [])]


def _blocks(reasons: list[UnscoredRow]) -> Sequence[Block]:
    if not reasons:
        return (Note("Every document was scored.", "good"),)
    columns = (
        Column("Reason"),
        Column("Meaning"),
        Column("What it would take"),
        Column("Documents", "count"),
        Column("Share", "share"),
    )
    rows = [
        (row.reason, *map(for_pages, _PLAIN.get(row.reason, ("–", "–"))), row.documents, row.share)
        for row in reasons
    ]
    return (Table(columns, rows), *_by_language(reasons))


def _by_language(reasons: list[UnscoredRow]) -> Sequence[Block]:
    rows = [row for reason in reasons for row in _ordered(reason.languages).items()]
    if not rows:
        return ()
    columns = (Column("Language without tables"), Column("Documents", "count"))
    return (Table(columns, rows, f"{UNKNOWN_LANGUAGE}: not recognised."),)


def _lines(reasons: list[UnscoredRow]) -> Sequence[Line]:
    found = [named(_ordered(row.languages)) for row in reasons if row.languages]
    return [Line("no tables for", items, "warning") for items in found]


SECTION = Section(
    90, "unscored", "Not scored", _collect, _blocks, _lines,
    weak="No AI share is known of these documents: it may be anything from 0 to 100 %. A "
    "near-certain phrase makes one AI, whatever its length.",
)  # fmt: skip
