"""How the features are distributed, by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lowbg.report.sections.base import Block, Histogram, Material, Note, Section
from lowbg.storage.typed import Count, Open


class Binned(Open, frozen=True):
    """Documents of a verdict below the first edge, in each bin, and above the last edge."""

    below: Count
    counts: list[Count]
    above: Count


class Distribution(Open, frozen=True):
    """Documents by bins of a feature; `edges` has one entry more than there are bins."""

    title: str
    scale: Literal["linear", "log"]
    edges: list[float]
    human: Binned
    ai: Binned
    unscored: Binned


def _collect(material: Material) -> dict[str, Distribution]:
    histograms = {}
    for name, bins in material.bins.items():
        counts = material.statistics.histograms[name].tolist()
        human, ai, unscored = (Binned(row[0], row[1:-1], row[-1]) for row in counts)
        edges = list(bins.edges)
        histograms[name] = Distribution(bins.title, bins.scale, edges, human, ai, unscored)
    return histograms


def _blocks(histograms: dict[str, Distribution]) -> Sequence[Block]:
    blocks = []
    for histogram in histograms.values():
        each = {"human": histogram.human, "ai": histogram.ai, "unscored": histogram.unscored}
        series = {verdict: binned.counts for verdict, binned in each.items()}
        below = sum(binned.below for binned in each.values())
        above = sum(binned.above for binned in each.values())
        if below or above or any(map(any, series.values())):
            blocks.append(
                Histogram(
                    histogram.title,
                    histogram.edges,
                    histogram.scale,
                    series,
                    below,
                    above,
                )
            )
    return blocks or (Note("No document was scored."),)


SECTION = Section(80, "histograms", "Features of the documents", _collect, _blocks)
