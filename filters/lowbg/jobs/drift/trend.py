"""Many checks as one HTML page: a chart a figure, with intervals and limits, and the last check.

The page loads nothing; what comes from the data is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lowbg.jobs.drift.check import Change, amount, level_text
from lowbg.jobs.drift.history import Check
from lowbg.report.render_html import render_page

WIDTH: Final = 320.0
HEIGHT: Final = 120.0
MAX_SHOWN: Final = 90
"""Checks on a page, the latest ones: three months of nights."""


@dataclass(frozen=True, slots=True)
class Point:
    """A check on a chart: estimate and interval as y (downwards) at x, and what a hover says."""

    x: float
    y: float
    low: float
    high: float
    alert: bool
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure over the checks. `limit` and `zero` are y, `ticks` y with their labels."""

    title: str
    last: str
    alert: bool
    points: Sequence[Point]
    line: str
    limit: float | None
    zero: float
    ticks: Sequence[tuple[float, str]]


def render_trend(
    checks: Sequence[Check], facts: Sequence[tuple[str, str]], title: str = "lowbg drift"
) -> str:
    """The page of one baseline's checks, oldest first; `facts` head it, label and value.

    Needs at least one check.
    """
    shown = checks[-MAX_SHOWN:]
    last = shown[-1]
    charts = [_chart(shown, change) for change in last.changes if change.limit is not None]
    nights = [(check.label, bool(check.alerts), _names(check)) for check in reversed(shown)]
    return render_page(
        "drift",
        title=title,
        facts=facts,
        charts=[chart for chart in charts if chart is not None],
        rows=[_row(change) for change in last.changes],
        alerts=[change.title for change in last.alerts],
        checks=nights,
        left_out=len(checks) - len(shown),
        first=shown[0].label,
        last=last.label,
        width=WIDTH,
        height=HEIGHT,
    )


def _names(check: Check) -> str:
    found = ", ".join(f"{c.title} {amount(c.form, c.change)}" for c in check.alerts)
    return found + (" · some input broke off" if check.incomplete else "")


def _row(change: Change) -> tuple[str, str, str, str, str, str, bool]:
    interval = ""
    if change.low is not None:
        interval = f"{amount(change.form, change.low)} … {amount(change.form, change.high)}"
    return (
        change.title,
        level_text(change.form, change.baseline),
        level_text(change.form, change.value),
        amount(change.form, change.change),
        interval,
        "" if change.limit is None else amount(change.form, change.limit),
        change.alert,
    )


def _chart(checks: Sequence[Check], last: Change) -> Chart | None:
    """The chart of the figure of `last`; null where no check has anything of it."""
    found = list(_of_name(checks, last.name))
    bounds = [b for _, c in found for b in (c.low, c.high, c.change) if b is not None]
    if not bounds:
        return None
    # The limit is always in sight, and zero, so that a height means the same every night.
    bounds += [0.0, *(c.limit for _, c in found if c.limit is not None)]
    low, high = min(bounds), max(bounds)
    room = 0.08 * (high - low or 1.0)
    low, high = low - (room if low < 0 else 0.0), high + room

    def y(value: float | None) -> float:
        return HEIGHT * (high - (value or 0.0)) / (high - low)

    step = WIDTH / max(1, len(checks))
    points = [
        Point(
            (i + 0.5) * step, y(c.change), y(c.low), y(c.high), c.alert,
            f"{checks[i].label}: {amount(c.form, c.change)} "
            f"({amount(c.form, c.low)} … {amount(c.form, c.high)})",
        )
        for i, c in found
    ]  # fmt: skip
    ends = [(y(bound), amount(last.form, bound)) for bound in (max(bounds), min(bounds))]
    return Chart(
        title=last.title,
        last=amount(last.form, last.change),
        alert=last.alert,
        points=points,
        line=" ".join(f"{p.x:.1f},{p.y:.1f}" for p in points),
        limit=None if last.limit is None else y(last.limit),
        zero=y(0.0),
        ticks=ends,
    )


def _of_name(checks: Sequence[Check], name: str) -> Iterator[tuple[int, Change]]:
    for i, check in enumerate(checks):
        for change in check.changes:
            if change.name == name and change.change is not None:
                yield i, change
