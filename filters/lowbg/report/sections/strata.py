"""How often documents that are human by provenance would be called AI by their text, by stratum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lowbg.amounts import share_text
from lowbg.report.counting import CountTable
from lowbg.report.estimate import share, wilson
from lowbg.report.sections.base import Block, Column, Line, Material, Note, Section, Table
from lowbg.report.statistics import LENGTHS, TRUST_COUNTS
from lowbg.storage.typed import Count, Interval, Open, Share

_LEAST = 3
"""Fewer documents called AI say nothing: among many strata one of few documents has one easily."""


class Stratum(Open, frozen=True):
    """Documents of a language, year or length that are human by provenance and have a score.

    `beyond_target`: three or more were called AI, and all of the interval lies above the target.
    """

    by: str
    name: str
    trusted_scored: Count
    called_ai: Count
    false_positive_rate: Share | None
    interval: Interval | None
    beyond_target: bool


class Fairness(Open, frozen=True):
    """The strata of which something is known, and the rate that the policy aims at."""

    target_fpr: float | None
    strata: list[Stratum]

    @property
    def beyond(self) -> list[Stratum]:
        """Those whose rate lies above the target, the most called first."""
        found = [each for each in self.strata if each.beyond_target]
        return sorted(found, key=lambda each: -(each.false_positive_rate or 0.0))


def _collect(material: Material) -> Fairness:
    targets = {run.policy.get("target_fpr") for run in material.runs}
    target = targets.pop() if len(targets) == 1 else None
    trust, lengths = material.statistics.trust, material.statistics.lengths
    strata = [
        *_strata("language", target, _summed(trust, 0)),
        *_strata("year", target, _summed(trust, 2)),
        *_strata("words", target, ((name, lengths.row(name).tolist()) for name in LENGTHS)),
    ]
    return Fairness(target, strata)


def _summed(table: CountTable, part: int) -> Iterable[tuple[str, list[int]]]:
    """The rows of a table by one side of "language/year"."""
    sums: dict[str, list[int]] = {}
    for name, counts in table.to_dict().items():
        key = name.partition("/")[part]
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(counts)), counts, strict=True)]
    return sorted(sums.items())


def _strata(
    by: str, target: float | None, rows: Iterable[tuple[str, list[int]]]
) -> Iterable[Stratum]:
    for name, counts in rows:
        of = dict(zip(TRUST_COUNTS, counts, strict=True))
        scored, called = of["trusted_scored"], of["trusted_called_ai"]
        if scored:
            interval = wilson(called, scored)
            beyond = target is not None and interval is not None and interval[0] > target
            beyond = beyond and called >= _LEAST
            yield Stratum(by, name, scored, called, share(called, scored), interval, beyond)


def _blocks(fairness: Fairness) -> Sequence[Block]:
    if not fairness.strata:
        text = (
            "Nothing is known of how often human text is called AI here: no scored document is "
            "human by its date or source. Set trust.before, or measure it with lowbg eval."
        )
        return (Note(text),)
    columns = (
        Column("By"),
        Column("Stratum"),
        Column("Human by provenance", "count"),
        Column("Called AI by their text", "count"),
        Column("False-positive rate (95 % interval)", "share"),
        Column("Against the target"),
    )
    rows = [
        (
            each.by, each.name, each.trusted_scored, each.called_ai,
            (each.false_positive_rate, *(each.interval or ())), _said(each, fairness.target_fpr),
        )
        for each in fairness.strata
    ]  # fmt: skip
    target = share_text(fairness.target_fpr)
    if fairness.beyond:
        named = ", ".join(f"{e.by} {e.name}" for e in fairness.beyond[:5])
        note = Note(f"More often called AI than the target of {target}: {named}.", "warning")
    else:
        note = Note(f"No stratum is shown to lie above the target of {target}.", "good")
    return (note, Table(columns, rows))


def _said(stratum: Stratum, target: float | None) -> str:
    if target is None or stratum.interval is None:
        return "–"
    if stratum.beyond_target:
        return "above"
    if stratum.interval[0] > target:
        return "above, by too few"
    return "within" if stratum.interval[1] <= target else "not decided"


def _lines(fairness: Fairness) -> Sequence[Line]:
    found = [f"{e.by} {e.name} {share_text(e.false_positive_rate)}" for e in fairness.beyond[:4]]
    return (Line("above target", found, "warning"),) if found else ()


SECTION = Section(
    35, "fairness", "Human documents called AI", _collect, _blocks, _lines,
    weak="Documents that are human by their date are older than the ones in question; what is "
    "written today may score otherwise.",
)  # fmt: skip
