"""Why records could not be read and are in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple

from lowbg.errors import ProblemKind
from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table
from lowbg.storage.typed import Count, Open

_PLAIN: Final[dict[str, str]] = {
    ProblemKind.INVALID_JSON: "the line is no JSON",
    ProblemKind.INVALID_UTF8: "its bytes are no UTF-8",
    ProblemKind.NOT_AN_OBJECT: "JSON, but no object with fields",
    ProblemKind.MISSING_TEXT: "the text field isn't there",
    ProblemKind.NULL_TEXT: "the text field is null",
    ProblemKind.TEXT_NOT_STRING: "the text field holds no text",
    ProblemKind.TOO_LARGE: "larger than the largest record that is read",
    ProblemKind.CUT: "the file ends within it",
    ProblemKind.UNREADABLE: "its row group can't be decoded",
    ProblemKind.MALFORMED: "no record of the format",
}


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
    columns = (
        Column("Cause"),
        Column("Reason in files", "code"),
        Column("Records", "count"),
        Column("Bytes", "bytes"),
    )
    rows = [(_PLAIN.get(row.reason, "–"), *astuple(row)) for row in reasons]
    where = "Each is in quarantine/ with its place and its bytes; nothing is thrown away."
    return (Table(columns, rows), Note(where))


SECTION = Section(100, "rejected", "In quarantine", _collect, _blocks)
