"""Why records could not be read and are in quarantine."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open


class RejectedRow(Open, frozen=True):
    """How many records could not be read for a reason, and their stored bytes."""

    reason: str
    records: Count
    bytes: Count


def _collect(material: Material) -> list[RejectedRow]:
    found = material.statistics.rejected.to_dict().items()
    rows = [RejectedRow(reason, *counts) for reason, counts in found]
    return sorted(rows, key=lambda row: (-row.records, row.reason))


def _blocks(reasons: list[RejectedRow]) -> Sequence[Block]:
    if not reasons:
        return (Note("No record was rejected.", "good"),)
    columns = (Column("Reason"), Column("Records", "count"), Column("Bytes", "bytes"))
    return (Table(columns, [astuple(row) for row in reasons]),)


SECTION = Section(100, "rejected", "In quarantine", _collect, _blocks)
