"""What a gate says: a finding a rule and part, and what they come to together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lowbg.config import GateStatistic
from lowbg.jobs.gate.evidence import Sample
from lowbg.storage.left_out import LeftOut


class Status(StrEnum):
    """What came of a rule, the gravest last.

    UNDECIDED: the documents at hand are too few to tell. ERROR: the input was not read whole, so
    that there is no judging it.
    """

    PASS = "pass"
    UNDECIDED = "undecided"
    FAIL = "fail"
    ERROR = "error"


_GRAVITY = tuple(Status)


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is: `path` and `record` (0-based) where there are any, and what is there."""

    text: str
    path: str = ""
    record: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one rule, for the whole data set or (`part`) a part of it.

    `limit` and `value` are shares (0 … 1) where `is_share`, else counts; `value` is null where
    there is nothing to measure. `interval` is the 95 % one of `value`, null where it is exact.
    `statistic` says which share `value` is, `of` what it is a share of in words (empty: all scored
    documents), `documents` how many documents it rests on. `reason` is empty for what passes
    without a word; `places` are where to look, the worst first.
    """

    rule: str
    status: Status
    limit: float
    value: float | None
    is_share: bool
    is_minimum: bool = False
    part: str = ""
    path: str = ""
    interval: Sequence[float] | None = None
    statistic: GateStatistic | None = None
    documents: int = 0
    of: str = ""
    reason: str = ""
    places: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        """Rule and part, as findings are called."""
        return f"{self.rule}: {self.part}" if self.part else self.rule


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate came to, of `subject`: `records` in it, of which `scored` documents were judged.

    `sample` is null where all documents were. `left_out`: files that weren't looked at.
    `untabled`: documents not scored for want of tables, by language. `models`: SHA-256 of what
    judged, by name.
    """

    subject: str
    findings: tuple[Finding, ...]
    records: int
    scored: int
    sample: Sample | None
    left_out: tuple[LeftOut, ...] = ()
    untabled: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The gravest of the findings'."""
        return worst(finding.status for finding in self.findings)

    def of(self, status: Status) -> list[Finding]:
        """The findings of one status."""
        return [finding for finding in self.findings if finding.status is status]


def worst(statuses: Iterable[Status]) -> Status:
    """The gravest status; `PASS` of none."""
    return max(statuses, key=_GRAVITY.index, default=Status.PASS)
