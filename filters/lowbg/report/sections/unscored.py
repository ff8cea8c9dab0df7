"""Why documents were not scored."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from lowbg.report.estimate import share
from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open, Share


class UnscoredRow(Open, frozen=True):
    """How many documents were not scored for a reason, and their share of all such documents."""

    reason: str
    documents: Count
    share: Share | None


def _collect(material: Material) -> list[UnscoredRow]:
    counts = {name: row[0] for name, row in material.statistics.unscored.to_dict().items()}
    documents = sum(counts.values())
    return [
        UnscoredRow(name, n, share(n, documents))
        for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _blocks(reasons: list[UnscoredRow]) -> Sequence[Block]:
    if not reasons:
        return (Note("Every document was scored.", "good"),)
    columns = (Column("Reason"), Column("Documents", "count"), Column("Share", "share"))
    return (Table(columns, [astuple(row) for row in reasons]),)


SECTION = Section(90, "unscored", "Not scored", _collect, _blocks)
