"""How the features are distributed, by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowbg.report.sections.base import Block, Histogram, Material, Note, Section
from lowbg.schema import AI_SCORE, Bins
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


def distribution(bins: Bins, counts: NDArray[np.int64]) -> Distribution:
    """What a histogram of `Statistics` holds."""
    human, ai, unscored = (Binned(row[0], row[1:-1], row[-1]) for row in counts.tolist())
    return Distribution(bins.title, bins.scale, list(bins.edges), human, ai, unscored)


def histogram_block(own: Distribution, marks: Sequence[tuple[float, str]] = ()) -> Histogram:
    """The drawing of a distribution, with lines at the `marks`."""
    each = {"human": own.human, "ai": own.ai, "unscored": own.unscored}
    return Histogram(
        own.title,
        own.edges,
        own.scale,
        {verdict: binned.counts for verdict, binned in each.items()},
        sum(binned.below for binned in each.values()),
        sum(binned.above for binned in each.values()),
        marks,
    )


def _collect(material: Material) -> dict[str, Distribution]:
    return {
        name: distribution(bins, material.statistics.histograms[name])
        for name, bins in material.bins.items()
    }


def _blocks(histograms: dict[str, Distribution]) -> Sequence[Block]:
    drawn = [histogram_block(o) for name, o in histograms.items() if name != AI_SCORE.name]
    blocks = [
        each for each in drawn
        if each.below or each.above or any(map(any, each.series.values()))
    ]  # fmt: skip
    return blocks or (Note("No document was scored."),)


SECTION = Section(80, "histograms", "Features of the documents", _collect, _blocks)
