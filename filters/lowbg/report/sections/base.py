"""What a report section is: data out of what was counted, and how a page and a terminal show it.

A section is one file in this folder that defines `SECTION`; it is found by that alone. Its data
goes into `report.json` under its key. It shows them with the blocks below, which the HTML page
draws, and with the lines below, which the terminal draws; neither knows of HTML or terminals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_type_hints

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple
from numpy.typing import NDArray

from lowbg.amounts import share_text
from lowbg.report.counting import CountTable
from lowbg.report.estimate import Estimate, ShareEstimator, share, wilson
from lowbg.report.examples import Example
from lowbg.report.results import RunInfo, ShardRow
from lowbg.report.statistics import MEASURES, Statistics
from lowbg.schema import Bins
from lowbg.storage.typed import Count, Interval, Open, Share

Own = TypeVar("Own")
"""The type of a section's data."""


class Material(Struct, frozen=True):
    """What sections are made of: the runs, their shards, and the sum of all that these counted.

    `bins` are those of the columns that have histograms.
    """

    runs: Sequence[RunInfo]
    shards: Sequence[ShardRow]
    statistics: Statistics
    bins: Mapping[str, Bins]


ColumnKind = Literal["text", "code", "count", "bytes", "percent", "share"]


class Column(Struct, frozen=True):
    """A table column: `share` ones are drawn with a bar, `percent` ones without."""

    title: str
    kind: ColumnKind = "text"


class Facts(Struct, frozen=True):
    """Labelled values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]


class Table(Struct, frozen=True):
    """Rows of raw values, one a column; null is shown as a dash.

    A share is a number, or (value, low, high) with its interval, or text that says why there is
    none. `more` says how many rows are left out.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    more: int = 0


class Stack(Struct, frozen=True):
    """One bar of parts: (label, style, count)."""

    kind: ClassVar[str] = "stack"
    parts: Sequence[tuple[str, str, int]]


class Histogram(Struct, frozen=True):
    """Counts by bin and verdict; `edges` has one entry more than each series.

    `marks` are values that are drawn as lines, with what they are.
    """

    kind: ClassVar[str] = "histogram"
    title: str
    edges: Sequence[float]
    scale: str
    series: Mapping[str, Sequence[int]]
    below: int
    above: int
    marks: Sequence[tuple[float, str]] = ()


class Note(Struct, frozen=True):
    """A paragraph; `level` is "info", "warning" or "good"."""

    kind: ClassVar[str] = "note"
    text: str
    level: str = "info"


class Code(Struct, frozen=True):
    """Text with its line breaks, folded away under `title`."""

    kind: ClassVar[str] = "code"
    title: str
    text: str


class Documents(Struct, frozen=True):
    """Documents to be read, folded away under `title` unless `open`; `about` says what for."""

    kind: ClassVar[str] = "documents"
    title: str
    about: str
    documents: Sequence[Example]
    open: bool = False


class Shares(Struct, frozen=True):
    """Shares by name, drawn as points with their intervals, in order: (name, share, low, high, n).

    `limit` is drawn as a line; null: none.
    """

    kind: ClassVar[str] = "shares"
    title: str
    points: Sequence[tuple[str, float, float, float, int]]
    limit: float | None = None


class Grid(Struct, frozen=True):
    """Shares by row and column: `cells` has a (share, documents) each, null where there is none.

    `corner` names the rows.
    """

    kind: ClassVar[str] = "grid"
    corner: str
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Sequence[Sequence[tuple[float, int] | None]]


class Density(Struct, frozen=True):
    """How many documents lie where in a plane: (column, row, human, AI); row 0 is lowest.

    `across` and `up` are the axes: a title, and the edges of the bins, one more than there are.
    """

    kind: ClassVar[str] = "density"
    title: str
    across: tuple[str, Sequence[float]]
    up: tuple[str, Sequence[float]]
    cells: Sequence[tuple[int, int, int, int]]
    limits: Sequence[tuple[str, float | None, float | None]] = ()


Block = (
    Facts | Table | Stack | Histogram | Note | Code | Documents | Shares | Grid | Density
)  # fmt: skip


class Line(Struct, frozen=True):
    """A terminal line: a label and items, which are only broken between items."""

    label: str
    items: Sequence[str]
    style: str = ""


class BarLine(Struct, frozen=True):
    """A terminal line with a count and a bar; `style` is a verdict."""

    label: str
    count: int
    share: float | None
    style: str


def no_lines(_: Any) -> Sequence[Line | BarLine]:
    """Nothing in the terminal."""
    return ()


class Section(Struct, Generic[Own], frozen=True):
    """One section. Sections are shown by `order`; `key` is its place in the JSON.

    `weak` says where the method is weak that its figures rest on: it stands beside them.

    `collect` returns its data, whose form is what its annotation says: structs derived from
    `typed.Open`, and lists of them. `blocks` and `lines` get them back, maybe years later from a
    stored report.
    """

    order: int
    key: str
    title: str
    collect: Callable[[Material], Own]
    blocks: Callable[[Own], Sequence[Block]]
    lines: Callable[[Own], Sequence[Line | BarLine]] = no_lines
    weak: str = ""

    @property
    def type(self) -> Any:
        """The type of its data."""
        return get_type_hints(self.collect, include_extras=True)["return"]


class Measures(Open, frozen=True):
    """How many documents, how many stored bytes, how many words."""

    documents: Count
    bytes: Count
    words: Count


class CountedRow(Open, frozen=True, kw_only=True, omit_defaults=True):
    """The documents of a language, year, host … by verdict; estimated, where it is asked for.

    `scored`: human and AI documents, but for those that are human by provenance and have no score;
    null in reports of versions that counted these.
    """

    name: str
    documents: Count
    bytes: Count
    words: Count
    human: Measures
    ai: Measures
    unscored: Measures
    scored: Count | None = None
    ai_share_of_scored: Share | None
    ai_share_of_scored_interval: Interval | None
    ai_share_of_documents: Share | None
    estimate: Estimate | None = None


class FoundRow(Open, frozen=True):
    """How many documents something was found in, by verdict."""

    name: str
    documents: Count
    human: Count
    ai: Count
    unscored: Count


def counted_row(
    name: str,
    counts: NDArray[np.int64],
    without_score: CountTable,
    estimate: Estimate | None = None,
) -> CountedRow:
    """A row of counts by verdict and measure, with its AI shares.

    `without_score` has the human documents that are no part of them.
    """
    human, ai, unscored = (Measures(*row) for row in counts.reshape(-1, len(MEASURES)).tolist())
    scored = human.documents + ai.documents - int(without_score.row(name)[0])
    documents, size, words = counts.reshape(-1, len(MEASURES)).sum(axis=0).tolist()
    return CountedRow(
        name=name,
        documents=documents,
        bytes=size,
        words=words,
        human=human,
        ai=ai,
        unscored=unscored,
        scored=scored,
        ai_share_of_scored=share(ai.documents, scored),
        ai_share_of_scored_interval=wilson(ai.documents, scored),
        ai_share_of_documents=share(ai.documents, documents),
        estimate=estimate,
    )


def found_rows(table: CountTable) -> list[FoundRow]:
    """Documents by name and verdict, the most frequent first; what isn't named apart last."""
    rows = [FoundRow(name, sum(row), *row) for name, row in table.to_dict().items()]
    return sorted(rows, key=lambda row: (row.name == table.other, -row.documents, row.name))


def found_table(heading: str, rows: Sequence[FoundRow], more: int = 0) -> Table:
    """A table of what was found; `more` rows are left out."""
    columns = (
        Column(heading, "code"),
        *(Column(title, "count") for title in ("Documents", "Human", "AI", "Unscored")),
    )
    return Table(columns, [astuple(row) for row in rows], more=more)


def interval_cell(row: CountedRow | ShardRow) -> Any:
    """The AI share of a row with its interval, for a share column."""
    if row.ai_share_of_scored is None:
        return None
    return (row.ai_share_of_scored, *(row.ai_share_of_scored_interval or ()))


def estimate_cell(row: CountedRow) -> Any:
    """The estimated AI share of a row with its interval, or why there is none."""
    estimate = row.estimate
    if estimate is None:
        return None
    if estimate.estimate is None:
        return str(estimate.reason).partition(";")[0]
    return estimate.estimate, estimate.low, estimate.high


def counted_table(heading: str, rows: Sequence[CountedRow], kind: ColumnKind) -> Table:
    """A table of rows made by `counted_row`; their estimates, where one of them has one."""
    estimated = any(row.estimate and row.estimate.estimate is not None for row in rows)
    return Table(
        (
            Column(heading, kind),
            Column("Documents", "count"),
            Column("Human", "count"),
            Column("AI", "count"),
            Column("Unscored", "count"),
            Column("Scored", "count"),
            Column("AI share of scored (95 % interval)", "share"),
            *([Column("Estimated AI share (95 % interval)", "share")] if estimated else []),
        ),
        [
            (
                row.name,
                row.documents,
                row.human.documents,
                row.ai.documents,
                row.unscored.documents,
                row.scored,
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
    rows: Callable[[Material, ShareEstimator], Sequence[CountedRow]],
    in_terminal: Callable[[Sequence[CountedRow]], Sequence[CountedRow]],
    *,
    chart: bool = False,
    weak: str = "",
) -> Section[list[CountedRow]]:
    """A section of rows by language, year, … : a table, and a terminal line of a few AI shares.

    `key` is a plural such as "years". `rows` gives the rows in their order, each made by
    `counted_row` with its estimate; `in_terminal` picks those for the terminal. With a `chart` the
    shares are drawn, too; `weak` as in `Section`.
    """
    singular = key.removesuffix("s")

    def collect(material: Material) -> list[CountedRow]:
        return [*rows(material, ShareEstimator(material.statistics))]

    def blocks(own: list[CountedRow]) -> Sequence[Block]:
        table = counted_table(singular.capitalize(), own, "text")
        return (_shares(own), table) if chart else (table,)

    def lines(own: list[CountedRow]) -> Sequence[Line]:
        # Where nothing was scored there is no share to show.
        items = [
            f"{row.name} {share_text(row.ai_share_of_scored)}"
            for row in in_terminal(own)
            if row.ai_share_of_scored is not None
        ]
        return (Line(f"by {singular}", items),) if items else ()

    return Section(order, key, title, collect, blocks, lines, weak)


def _shares(rows: Sequence[CountedRow]) -> Shares:
    """The AI shares of rows as a drawing."""
    points = []
    for row in rows:
        value, interval = row.ai_share_of_scored, row.ai_share_of_scored_interval
        if value is not None and interval is not None:
            points.append((row.name, value, interval[0], interval[1], row.scored or row.documents))
    return Shares("AI share of scored documents, with 95 % intervals", points)


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
