"""Why records could not be read and are in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table


def _collect(material: Material) -> list[dict[str, Any]]:
    rows = [
        {"reason": name, "records": records, "bytes": size}
        for name, (records, size) in material.statistics.rejected.to_dict().items()
    ]
    return sorted(rows, key=lambda row: (-row["records"], row["reason"]))


def _blocks(reasons: Any) -> Sequence[Block]:
    if not reasons:
        return (Note("No record was rejected.", "good"),)
    columns = (Column("Reason"), Column("Records", "count"), Column("Bytes", "bytes"))
    return (Table(columns, [(r["reason"], r["records"], r["bytes"]) for r in reasons]),)


SECTION = Section(100, "rejected", "In quarantine", _collect, _blocks)
