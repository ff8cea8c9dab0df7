"""The figures of `lowbg eval` as one HTML page: tables, ROC curves, and scores by label.

The page loads nothing; what comes from the data is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.eval.evaluate import MIN_CLASS, Floats, GroupResult, Interval, LabelledScores
from lowbg.report.render_html import render_page
from lowbg.report.statistics import SCORE_BINS

MIN_FPR: Final = 1e-3
"""Where the axis of false-positive rates begins; it is logarithmic: low rates are what matters."""

PLOTTED: Final = ("all", "language", "domain", "dataset")
"""Groupings that have curves; the others have tables alone."""

WIDTH, HEIGHT = 240.0, 150.0
_RATES = ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %"))
_SCORES = ((0.01, ".01"), (0.1, ".1"), (0.5, ".5"), (0.9, ".9"), (0.99, ".99"))
_MAX_POINTS = 160


@dataclass(frozen=True, slots=True)
class Plot:
    """One group's curve and histogram, as SVG coordinates in a box of `WIDTH` × `HEIGHT`.

    `curve` are the points of a polyline; `human` and `ai` bars (x, y, width, height); `note` says
    how many documents, and of which human ones where the group has too few of its own.
    """

    name: str
    note: str
    auroc: str
    curve: str
    human: Sequence[tuple[float, float, float, float]]
    ai: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """One grouping: a table, and plots where it has them.

    A cell is what it shows, and the number that it is sorted by; null: by what it shows.
    """

    title: str
    rows: Sequence[Sequence[tuple[str, float | None]]]
    plots: Sequence[Plot]


def roc(human: Floats, ai: Floats) -> tuple[Floats, Floats]:
    """False- and true-positive rates from the strictest threshold to none, (0, 0) to (1, 1).

    One point a distinct score; both inputs hold at least one.
    """
    scores = np.concatenate([human, ai])
    falling = np.argsort(-scores, kind="stable")
    is_ai = np.repeat([False, True], [len(human), len(ai)])[falling]
    ends = np.flatnonzero(np.append(np.diff(scores[falling]) != 0, True))
    fpr = np.cumsum(~is_ai)[ends] / len(human)
    tpr = np.cumsum(is_ai)[ends] / len(ai)
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def as_html(
    j: LabelledScores,
    results: Sequence[GroupResult],
    facts: Sequence[tuple[str, str]],
    data: str = "labelled text",
) -> str:
    """The page; `data` is what was judged, in its title; `facts` head it, label and value."""
    parts = []
    for grouping in dict.fromkeys(result.grouping for result in results):
        own = [result for result in results if result.grouping == grouping]
        plots = [plot for r in own for plot in _plots(j, r)] if grouping in PLOTTED else []
        title = "All documents" if grouping == "all" else f"By {grouping}"
        parts.append(Part(title, [_row(result) for result in own], plots))
    axes = {
        "width": WIDTH,
        "height": HEIGHT,
        "rates": [(_x_of_rate(np.array([rate]))[0], label) for rate, label in _RATES],
        "guides": [_x_of_rate(np.array([rate]))[0] for rate in (0.01, 0.05)],
        "scores": [(_x_of_score(score), label) for score, label in _SCORES],
    }
    whole = next(result for result in results if result.grouping == "all")
    return render_page(
        "eval", parts=parts, facts=facts, axes=axes, data=data, verdict=_verdict(whole)
    )


def _verdict(r: GroupResult) -> str:
    """What the figures come to, in a sentence."""
    documents = f"{r.human:,} human and {r.ai:,} AI documents"
    if r.fpr is None or r.recall is None:
        return f"Of {documents}, {100 * r.coverage:.0f} % could be scored."
    return (
        f"Of {documents}, {_rate(r.recall)} of the AI text was found, and "
        f"{_rate(r.fpr)} of the human text was called AI."
    )


def _rate(interval: Interval) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.value:.1f} % (95 % interval {low:.1f} to {high:.1f})"


def _plots(j: LabelledScores, result: GroupResult) -> Iterator[Plot]:
    """The group's plot, if it has enough scored documents of both labels to compare."""
    scored = ~np.isnan(j.score)
    inside = np.ones(len(j), np.bool_)
    if result.grouping != "all":
        inside = j.groups[result.grouping] == result.group
    human = inside & scored & ~j.is_ai
    note = ""
    if human.sum() < MIN_CLASS:
        # As in the table: with all human text of its languages.
        language = j.groups.get("language")
        human = scored & ~j.is_ai
        if language is not None:
            human &= np.isin(language, np.unique(language[inside]))
        note = " of its language"
    ai = inside & scored & j.is_ai
    if human.sum() < MIN_CLASS or ai.sum() < MIN_CLASS:
        return
    yield Plot(
        name=result.group if result.grouping != "all" else "all documents",
        note=f"{int(ai.sum()):,} AI, {int(human.sum()):,} human{note}",
        auroc=_cell(result.auroc, 1, 3).partition(" ")[0],
        curve=_curve(*roc(j.score[human], j.score[ai])),
        human=_bars(j.score[human]),
        ai=_bars(j.score[ai]),
    )


def _x_of_rate(fpr: Floats) -> Floats:
    low = np.log10(MIN_FPR)
    return np.asarray(WIDTH * (np.log10(np.maximum(fpr, MIN_FPR)) - low) / -low)


def _curve(fpr: Floats, tpr: Floats) -> str:
    """A polyline's points; where there are many, those at evenly spaced places on the axis."""
    x = _x_of_rate(fpr)
    keep = np.arange(len(x))
    if len(x) > _MAX_POINTS:
        # The last point at or before each place: the best rate that it allows.
        places = np.searchsorted(x, np.linspace(0.0, WIDTH, _MAX_POINTS), side="right") - 1
        keep = np.unique(places)
    # A step rises where it is, not before.
    points = [f"{x[i]:.1f},{HEIGHT * (1.0 - tpr[i]):.1f}" for i in keep]
    return " ".join(points)


def _x_of_score(score: float) -> float:
    low, high = SCORE_BINS.edges[0], SCORE_BINS.edges[-1]
    odds = [float(np.log(s) - np.log1p(-s)) for s in (low, score, high)]
    return WIDTH * (odds[1] - odds[0]) / (odds[2] - odds[0])


def _bars(scores: Floats) -> list[tuple[float, float, float, float]]:
    """The share of the documents in each bin of log-odds; half the box high is 25 %."""
    counts: NDArray[Any] = SCORE_BINS.count(scores, np.zeros(len(scores), np.int64), 1)[0]
    inside = counts[1:-1].astype(np.float64)
    inside[0] += counts[0]
    inside[-1] += counts[-1]
    heights = np.minimum(1.0, inside / len(scores) / 0.25) * HEIGHT / 2
    step = WIDTH / len(inside)
    return [(i * step, h, step, h) for i, h in enumerate(heights.tolist()) if h > 0.05]


def _row(r: GroupResult) -> list[tuple[str, float | None]]:
    rates = (r.tpr_at_1, r.tpr_at_5, r.fpr, r.recall)
    return [
        (r.group, None),
        (f"{r.human:,}", r.human),
        (f"{r.ai:,}", r.ai),
        (f"{100 * r.coverage:.0f} %", r.coverage),
        (_cell(r.auroc, 1, 3), r.auroc.value if r.auroc is not None else None),
        *((_cell(rate), rate.value if rate is not None else None) for rate in rates),
    ]


def _cell(interval: Interval | None, scale: float = 100.0, digits: int = 1) -> str:
    if interval is None:
        return "–"
    low, high = scale * interval.low, scale * interval.high
    return f"{scale * interval.value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
