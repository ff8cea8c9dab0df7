"""How much of the corpus is AI text: the raw share, corrected where the run allows it."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text, share_text
from lowbg.report.estimate import POOLED, Estimate, ShareEstimator
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table


def _collect(material: Material) -> Estimate:
    return ShareEstimator(material.statistics).overall()


def _blocks(estimate: Estimate) -> Sequence[Block]:
    if estimate.estimate is None:
        return (Note(f"No estimate: {estimate.reason}."),)
    rows = [
        (
            stratum,
            basis.trusted_documents,
            basis.called_ai,
            basis.false_positive_rate,
            basis.recall,
        )
        for stratum, basis in (estimate.basis or {}).items()
    ]
    text = (
        f"About {share_text(estimate.estimate)} of the scored documents are AI text "
        f"(95 % interval {share_text(estimate.low)} to {share_text(estimate.high)}); the "
        f"verdicts alone say {share_text(estimate.raw)}. The scores are compared with those of "
        "documents that are human by their date; share and recall are fitted. AI text that scores "
        "just like human text isn't in the estimate; the upper end allows for some of it."
    )
    columns = (
        Column("Language"),
        Column("Human by date", "count"),
        Column("Called AI", "count"),
        Column("False-positive rate", "percent"),
        Column("AI text found", "percent"),
    )
    return (Note(text), Table(columns, rows)) if rows else (Note(text),)


def _lines(estimate: Estimate) -> Sequence[Line]:
    if estimate.estimate is None:
        return ()
    known = {name: basis.trusted_documents for name, basis in (estimate.basis or {}).items()}
    # The pooled ones are those of every language, of the others in the table too.
    trusted = known.get(POOLED, sum(known.values()))
    items = [
        f"about {share_text(estimate.estimate)}",
        f"95 %: {share_text(estimate.low)} – {share_text(estimate.high)}",
        f"against {count_text(trusted)} scored documents that are human by date",
    ]
    return (Line("estimate", items),)


SECTION = Section(
    30, "estimate", "AI share, estimated", _collect, _blocks, _lines,
    weak="It can't see AI text that scores like human text, and takes human text of before the "
    "date for human text of today.",
)  # fmt: skip
