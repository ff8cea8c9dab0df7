"""Where the parts of a drawing lie: what blocks hold, as coordinates of SVG (y downwards)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import log, sqrt
from typing import Final

from msgspec import Struct

from lowbg.amounts import count_text, share_text
from lowbg.config import VERDICTS
from lowbg.report.examples import Example
from lowbg.report.sections.base import Density, Histogram, Shares

_HEAT: Final = (0.0, 0.01, 0.05, 0.15, 0.35)
_SHADES: Final = (0.25, 0.75, 1.4)
"""Nats a word from which on a sentence is shaded, and more."""


def histogram_bars(
    histogram: Histogram, width: float, height: float
) -> Sequence[tuple[str, float, float, float, float, str]]:
    """Stacked bars as (verdict, x, y, width, height, title)."""
    series = [(verdict, histogram.series[verdict]) for verdict in VERDICTS]
    peak = max((sum(bin) for bin in zip(*(counts for _, counts in series), strict=True)), default=0)
    bars = []
    bins = len(histogram.edges) - 1
    for i in range(bins):
        top = height
        span = f"{_tick(histogram.edges[i])} – {_tick(histogram.edges[i + 1])}"
        for verdict, counts in series:
            if counts[i]:
                size = height * counts[i] / peak
                top -= size
                title = f"{span}: {count_text(counts[i])} {verdict}"
                bars.append((verdict, i * width / bins, top, width / bins, size, title))
    return bars


def histogram_ticks(histogram: Histogram, width: float) -> Sequence[tuple[float, str]]:
    """About five places on the axis, (x, label), at bin edges."""
    bins = len(histogram.edges) - 1
    count = next((n for n in (4, 5, 6) if bins % n == 0), 1)
    places = range(0, bins + 1, bins // count)
    return [(i * width / bins, _tick(histogram.edges[i])) for i in places]


def histogram_marks(histogram: Histogram, width: float) -> Sequence[tuple[float, str]]:
    """The marked values, (x, label); between two edges by their distance."""
    return [(width * _place(histogram.edges, value), label) for value, label in histogram.marks]


def _place(edges: Sequence[float], value: float) -> float:
    """Where a value lies among edges, 0 to 1."""
    bins = len(edges) - 1
    i = min(max(bisect_right(edges, value) - 1, 0), bins - 1)
    inside = (value - edges[i]) / (edges[i + 1] - edges[i])
    return (i + min(max(inside, 0.0), 1.0)) / bins


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class PointChart(Struct, frozen=True):
    """Points with intervals: (x, y, y of the low end, of the high end, name, title)."""

    width: int
    points: Sequence[tuple[float, float, float, float, str, str]]
    line: str
    ticks: Sequence[tuple[float, str]]


def share_points(shares: Shares) -> PointChart:
    """Shares from left to right in a box 190 high; names where there is room for them."""
    count = len(shares.points)
    width = max(320, min(880, 60 + 34 * count))
    step = (width - 56) / count
    every = max(1, round(40 / step + 0.499))
    top = max(high for _, _, _, high, _ in shares.points)
    top = next(
        t for t in (0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1.0) if top <= t or t == 1.0
    )

    def y(value: float) -> float:
        return 164 - 152 * value / top

    points = []
    for i, (name, value, low, high, documents) in enumerate(shares.points):
        title = (
            f"{name}: {share_text(value)} ({share_text(low)} – {share_text(high)}) "
            f"of {count_text(documents)}"
        )
        shown = name if i % every == 0 else ""
        points.append((50 + (i + 0.5) * step, y(value), y(low), y(high), shown, title))
    line = " ".join(f"{p[0]:.1f},{p[1]:.1f}" for p in points)
    return PointChart(width, points, line, [(y(v), share_text(v)) for v in (0.0, top / 2, top)])


def heat(value: float) -> int:
    """How strongly a share is shown, 0 to 5."""
    return 0 if value <= 0 else bisect_right(_HEAT, value)


class Plane(Struct, frozen=True):
    """One side of a density: cells by how many documents they have (1 to 5), as paths."""

    title: str
    style: str
    levels: Sequence[tuple[int, str]]
    across: Sequence[tuple[float, str]]
    up: Sequence[tuple[float, str]]
    limits: Sequence[tuple[float, float, float, float, str]]


def density_planes(density: Density) -> Iterator[Plane]:
    """Human and AI documents side by side, each in a box 400 × 200."""
    columns, rows = len(density.across[1]) - 1, len(density.up[1]) - 1
    wide, tall = 400 / columns, 200 / rows
    limits = []
    for language, low_x, low_y in density.limits:
        if low_x is not None:
            x = 400 * _log_place(density.across[1], low_x)
            limits.append((x, 0.0, x, 200.0, f"{language}: perplexity {low_x:.4g}"))
        if low_y is not None:
            y = 200 - 200 * _place(density.up[1], low_y)
            limits.append((0.0, y, 400.0, y, f"{language}: burstiness {low_y:.2g}"))
    for name, style, at in (("human-likely", "human", 2), ("AI-likely", "ai", 3)):
        total = sum(cell[at] for cell in density.cells)
        peak = max((cell[at] for cell in density.cells), default=0)
        paths: dict[int, list[str]] = {}
        for cell in density.cells:
            if cell[at]:
                level = min(5, 1 + int(5 * sqrt(cell[at] / peak)))
                x, y = cell[0] * wide, 200 - (cell[1] + 1) * tall
                path = f"M{x:.4g} {y:.4g}h{wide:.4g}v{tall:.4g}H{x:.4g}z"
                paths.setdefault(level, []).append(path)
        yield Plane(
            f"{count_text(total)} {name}",
            style,
            [(level, "".join(parts)) for level, parts in sorted(paths.items())],
            [(i * wide, _tick(density.across[1][i])) for i in range(0, columns + 1, columns // 4)],
            [(200 - i * tall, _tick(density.up[1][i])) for i in range(0, rows + 1, rows // 5)],
            limits,
        )


def _log_place(edges: Sequence[float], value: float) -> float:
    place = log(max(value, edges[0]) / edges[0]) / log(edges[-1] / edges[0])
    return min(1.0, place)


def shading(example: Example) -> Iterator[tuple[str, int, float | None]]:
    """The excerpt in parts: (text, −3 … 3: how human or AI-like it is, its log-odds)."""
    at = 0
    for shade in example.shades:
        if shade.start > at:
            yield example.excerpt[at : shade.start], 0, None
        odds = shade.log_odds
        yield example.excerpt[shade.start : shade.end], shade_of(odds), odds
        at = shade.end
    if at < len(example.excerpt):
        yield example.excerpt[at:], 0, None


def shade_of(log_odds: float | None) -> int:
    """How strongly log-odds (nats a word) are shaded, −3 (human-like) to 3 (AI-like)."""
    if log_odds is None:
        return 0
    level = bisect_right(_SHADES, abs(log_odds))
    return level if log_odds > 0 else -level
