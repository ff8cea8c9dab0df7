"""Burstiness against perplexity: where human and AI documents lie, and the limits."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.report.sections.base import Block, Density, Material, Note, Section
from lowbg.report.statistics import PLANE
from lowbg.storage.typed import Count, Open

_LIMITS = 3


class PlaneLimit(Open, frozen=True):
    """What `rule = "thresholds"` wants of a human document of a language."""

    language: str
    min_perplexity: float
    min_burstiness: float


class Plane(Open, frozen=True):
    """Documents by perplexity and burstiness.

    `cells` have the bin of each, counted from the lowest, and how many documents there are human
    and AI; what lies beyond the edges is in the outer bins. `limits` are of the languages with most
    documents, under `rule = "thresholds"` alone.
    """

    perplexity_edges: list[float]
    burstiness_edges: list[float]
    cells: list[list[Count]]
    limits: list[PlaneLimit]


def _collect(material: Material) -> Plane:
    cells = []
    for name, counts in material.statistics.plane.to_dict().items():
        column, _, row = name.partition("/")
        cells.append([int(column), int(row), *counts])
    table = material.statistics.languages
    sizes = {name: int(table.row(name).sum()) for name in table.names}
    limits = {code: own for run in material.runs for code, own in run.limits.items()}
    ranked = sorted((c for c in limits if c in sizes), key=lambda code: (-sizes[code], code))
    return Plane(
        list(PLANE[0][1]),
        list(PLANE[1][1]),
        sorted(cells),
        [
            PlaneLimit(code, limits[code].min_perplexity.value, limits[code].min_burstiness.value)
            for code in ranked[:_LIMITS]
        ],
    )


def _blocks(plane: Plane) -> Sequence[Block]:
    if not plane.cells:
        return (Note("No scored document has both figures."),)
    return (
        Density(
            "Burstiness against perplexity",
            ("perplexity per word", plane.perplexity_edges),
            ("burstiness", plane.burstiness_edges),
            [(c[0], c[1], c[2], c[3]) for c in plane.cells],
            [(own.language, own.min_perplexity, own.min_burstiness) for own in plane.limits],
        ),
    )


SECTION = Section(
    79, "plane", "Burstiness and perplexity", _collect, _blocks,
    weak="Both say little by themselves: plain and edited human text lies where AI text does, and "
    "perplexity means something else in every language.",
)  # fmt: skip
