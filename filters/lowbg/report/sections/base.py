"""What a report section is: data out of what was counted, and how a page and a terminal show it.

A section is one file in this folder that defines `SECTION`; it is found by that alone. Its data
goes into `report.json` under its key. It shows them with the blocks below, which the HTML page
draws, and with the lines below, which the terminal draws; neither knows of HTML or terminals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lowbg.report.estimate import ShareEstimator, share, wilson
from lowbg.report.statistics import MEASURES, Statistics
from lowbg.schema import Bins


@dataclass(frozen=True, slots=True)
class Material:
    """What sections are made of: the runs, their shards, and everything counted in them.

    `runs` are `RunInfo`s and `shards` rows of the section "shards", both as plain JSON values.
    `statistics` is the sum over all shards, `bins` those of its histograms.
    """

    runs: Sequence[Mapping[str, Any]]
    shards: Sequence[Mapping[str, Any]]
    statistics: Statistics
    bins: Mapping[str, Bins]


ColumnKind = Literal["text", "code", "count", "bytes", "percent", "share"]


@dataclass(frozen=True, slots=True)
class Column:
    """A table column: `share` ones are drawn with a bar, `percent` ones without."""

    title: str
    kind: ColumnKind = "text"


@dataclass(frozen=True, slots=True)
class Facts:
    """Labelled values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values, one a column; null is shown as a dash.

    A share is a number, or (value, low, high) with its interval, or text that says why there is
    none. `more` says how many rows are left out.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts: (label, style, count)."""

    kind: ClassVar[str] = "stack"
    parts: Sequence[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bin and verdict; `edges` has one entry more than each series."""

    kind: ClassVar[str] = "histogram"
    title: str
    edges: Sequence[float]
    scale: str
    series: Mapping[str, Sequence[int]]
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; `level` is "info", "warning" or "good"."""

    kind: ClassVar[str] = "note"
    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Code:
    """Text with its line breaks, folded away under `title`."""

    kind: ClassVar[str] = "code"
    title: str
    text: str


Block = Facts | Table | Stack | Histogram | Note | Code


@dataclass(frozen=True, slots=True)
class Line:
    """A terminal line: a label and items, which are only broken between items."""

    label: str
    items: Sequence[str]
    style: str = ""


@dataclass(frozen=True, slots=True)
class BarLine:
    """A terminal line with a count and a bar; `style` is a verdict."""

    label: str
    count: int
    share: float | None
    style: str


def no_lines(_: Any) -> Sequence[Line | BarLine]:
    """Nothing in the terminal."""
    return ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section. Sections are shown by `order`; `key` is its place in the JSON.

    `collect` returns plain JSON values; `blocks` and `lines` get them back, maybe years later from
    a stored report.
    """

    order: int
    key: str
    title: str
    collect: Callable[[Material], Any]
    blocks: Callable[[Any], Sequence[Block]]
    lines: Callable[[Any], Sequence[Line | BarLine]] = no_lines


def counted_row(name: str, counts: NDArray[np.int64]) -> dict[str, Any]:
    """A row of a table by verdict and measure, as plain JSON values with its AI shares."""
    values = counts.reshape(-1, len(MEASURES)).tolist()
    human, ai, unscored = (dict(zip(MEASURES, row, strict=True)) for row in values)
    scored = human["documents"] + ai["documents"]
    documents = scored + unscored["documents"]
    return {
        "name": name,
        **{measure: human[measure] + ai[measure] + unscored[measure] for measure in MEASURES},
        "human": human,
        "ai": ai,
        "unscored": unscored,
        "ai_share_of_scored": share(ai["documents"], scored),
        "ai_share_of_scored_interval": wilson(ai["documents"], scored),
        "ai_share_of_documents": share(ai["documents"], documents),
    }


def interval_cell(row: Mapping[str, Any]) -> Any:
    """The AI share of a row with its interval, for a share column."""
    if row["ai_share_of_scored"] is None:
        return None
    return (row["ai_share_of_scored"], *row["ai_share_of_scored_interval"])


def estimate_cell(row: Mapping[str, Any]) -> Any:
    """The estimated AI share of a row with its interval, or why there is none."""
    estimate = row.get("estimate")
    if estimate is None:
        return None
    if estimate["estimate"] is None:
        return estimate["reason"].partition(";")[0]
    return estimate["estimate"], estimate["low"], estimate["high"]


def counted_table(heading: str, rows: Sequence[Mapping[str, Any]], kind: ColumnKind) -> Table:
    """A table of rows made by `counted_row`; their estimates, where one of them has one."""
    estimated = any((row.get("estimate") or {}).get("estimate") is not None for row in rows)
    return Table(
        (
            Column(heading, kind),
            Column("Documents", "count"),
            Column("Human", "count"),
            Column("AI", "count"),
            Column("Unscored", "count"),
            Column("AI share of scored (95 % interval)", "share"),
            *([Column("Estimated AI share (95 % interval)", "share")] if estimated else []),
        ),
        [
            (
                row["name"],
                row["documents"],
                row["human"]["documents"],
                row["ai"]["documents"],
                row["unscored"]["documents"],
                interval_cell(row),
                *([estimate_cell(row)] if estimated else []),
            )
            for row in rows
        ],
    )


def grouped_section(
    order: int,
    key: str,
    title: str,
    rows: Callable[[Material, ShareEstimator], Sequence[dict[str, Any]]],
    in_terminal: Callable[[Sequence[Any]], Sequence[Any]],
) -> Section:
    """A section of rows by language, year, … : a table, and a terminal line of a few AI shares.

    `key` is a plural such as "years". `rows` gives the rows in their order, each made by
    `counted_row` with its estimate; `in_terminal` picks those for the terminal.
    """
    singular = key.removesuffix("s")

    def collect(material: Material) -> list[dict[str, Any]]:
        return [*rows(material, ShareEstimator(material.statistics))]

    def blocks(own: Any) -> Sequence[Block]:
        return (counted_table(singular.capitalize(), own, "text"),)

    def lines(own: Any) -> Sequence[Line]:
        shown = in_terminal(own)
        items = [f"{row['name']} {share_text(row['ai_share_of_scored'])}" for row in shown]
        return (Line(f"by {singular}", items),) if items else ()

    return Section(order, key, title, collect, blocks, lines)


def count_text(value: int) -> str:
    """1234567 → 1,234,567."""
    return f"{value:,}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 record`, `2,000 records`."""
    return f"{count_text(count)} {noun}{'s' * (count != 1)}"


def share_text(value: float | None) -> str:
    """0.1234 → 12.3 %; small shares keep two digits; a dash for null."""
    if value is None:
        return "–"
    percent = 100 * value
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if 0 < percent < 1 else f"{percent:.1f} %"


def bytes_text(value: float) -> str:
    """Bytes in decimal units: 1500000 → 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} PB"


# C0 and C1 controls, line separators, and what reorders text: none of it may act in a report.
_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str, keep: str = "") -> str:
    """Text from data with its control characters written out (ESC as \\x1b), except `keep`."""
    return _ACTIVE.sub(lambda match: match[0] if match[0] in keep else _written(match[0]), text)


def _written(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
