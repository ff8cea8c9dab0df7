"""How the features are distributed, by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowbg.config import VERDICTS
from lowbg.report.sections.base import Block, Histogram, Material, Note, Section


def _collect(material: Material) -> dict[str, Any]:
    histograms = {}
    for name, bins in material.bins.items():
        counts = material.statistics.histograms[name].tolist()
        histograms[name] = {
            "title": bins.title,
            "scale": bins.scale,
            "edges": list(bins.edges),
            **{
                verdict: {"below": row[0], "counts": row[1:-1], "above": row[-1]}
                for verdict, row in zip(VERDICTS, counts, strict=True)
            },
        }
    return histograms


def _blocks(histograms: Any) -> Sequence[Block]:
    blocks = []
    for histogram in histograms.values():
        series = {verdict: histogram[verdict]["counts"] for verdict in VERDICTS}
        below = sum(histogram[verdict]["below"] for verdict in VERDICTS)
        above = sum(histogram[verdict]["above"] for verdict in VERDICTS)
        if below or above or any(map(any, series.values())):
            blocks.append(
                Histogram(
                    histogram["title"],
                    histogram["edges"],
                    histogram["scale"],
                    series,
                    below,
                    above,
                )
            )
    return blocks or (Note("No document was scored."),)


SECTION = Section(80, "histograms", "Features of the documents", _collect, _blocks)
