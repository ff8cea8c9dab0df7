"""Why documents were not scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.report.estimate import share
from lowbg.report.sections.base import Block, Column, Material, Note, Section, Table


def _collect(material: Material) -> list[dict[str, Any]]:
    counts = {name: row[0] for name, row in material.statistics.unscored.to_dict().items()}
    documents = sum(counts.values())
    return [
        {"reason": name, "documents": n, "share": share(n, documents)}
        for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _blocks(reasons: Any) -> Sequence[Block]:
    if not reasons:
        return (Note("Every document was scored.", "good"),)
    columns = (Column("Reason"), Column("Documents", "count"), Column("Share", "share"))
    return (Table(columns, [(r["reason"], r["documents"], r["share"]) for r in reasons]),)


SECTION = Section(90, "unscored", "Not scored", _collect, _blocks)
