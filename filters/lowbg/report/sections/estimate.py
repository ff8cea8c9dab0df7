"""How much of the corpus is AI text: the raw share, corrected where the run allows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.report.estimate import ShareEstimator
from lowbg.report.sections.base import (
    Block,
    Column,
    Line,
    Material,
    Note,
    Section,
    Table,
    count_text,
    share_text,
)


def _collect(material: Material) -> dict[str, Any]:
    trust = material.statistics.trust
    return ShareEstimator(trust.to_dict()).overall()


def _blocks(estimate: Any) -> Sequence[Block]:
    if estimate["estimate"] is None:
        return (Note(f"No estimate: {estimate['reason']}."),)
    rows = [
        (rate, basis["trusted_documents"], basis["called_ai"], basis["false_positive_rate"])
        for rate, basis in estimate["basis"].items()
    ]
    text = (
        f"At least {share_text(estimate['estimate'])} of the scored documents are AI text "
        f"(95 % interval {share_text(estimate['low'])} to {share_text(estimate['high'])}); the "
        f"verdicts alone say {share_text(estimate['raw'])}. The verdicts are corrected by how many "
        "documents that are human by their date the score calls AI. It is a lower estimate: AI "
        "text that the score misses is not in it."
    )
    columns = (
        Column("Language"),
        Column("Human by date", "count"),
        Column("Called AI", "count"),
        Column("False-positive rate", "share"),
    )
    return (Note(text), Table(columns, rows)) if rows else (Note(text),)


def _lines(estimate: Any) -> Sequence[Line]:
    if estimate["estimate"] is None:
        return ()
    trusted = sum(basis["trusted_documents"] for basis in estimate["basis"].values())
    items = [
        f"at least {share_text(estimate['estimate'])}",
        f"95 %: {share_text(estimate['low'])} – {share_text(estimate['high'])}",
        f"corrected by {count_text(trusted)} documents that are human by date",
    ]
    return (Line("estimate", items),)


SECTION = Section(30, "estimate", "AI share, corrected for false alarms", _collect, _blocks, _lines)
