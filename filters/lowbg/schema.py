"""What a column is, those of a row that no scorer makes, and how a run's columns are put together.

A scorer declares its columns beside its code (`scorers/`); the rows of `lowbg score`, the
histograms of a report and what `explain` lists follow from those of the scorers that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

LAST: Final = 1_000
"""The place in a row of a column that asks for none: after lowbg's own."""


class Bins(Struct, frozen=True):
    """The fixed bins in which a column's values are counted.

    `edges` rise; bin i holds edges[i] ≤ x < edges[i + 1], the last bin its upper edge too.
    `scale` says how an axis is drawn.
    """

    title: str
    edges: tuple[float, ...]
    scale: Literal["linear", "log"] = "linear"

    def count(
        self, values: NDArray[np.floating[Any]], groups: NDArray[np.int64], n_groups: int
    ) -> NDArray[np.int64]:
        """Values by group and bin: below the first edge, each bin, above the last edge.

        Shape (n_groups, bins + 2). NaN isn't counted.
        """
        # Values and edges of one type: searchsorted copies otherwise.
        edges = _as_array(self.edges, values.dtype)
        bins = np.searchsorted(edges, values, side="right")
        bins[values == edges[-1]] -= 1
        width = len(edges) + 1
        keys = groups * width + bins
        missing = np.isnan(values)
        if missing.any():
            keys = keys[~missing]
        return np.bincount(keys, minlength=n_groups * width).reshape(n_groups, width)


@lru_cache(maxsize=256)
def _as_array(edges: tuple[float, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """Edges of this type, for all who count by them; nobody writes there."""
    array = np.asarray(edges, kind)
    array.flags.writeable = False
    return array


def linear_bins(title: str, low: float, high: float, n: int) -> Bins:
    """`n` bins of equal width."""
    return Bins(title, tuple(np.round(np.linspace(low, high, n + 1), 10).tolist()))


def log_bins(title: str, low: float, high: float, n: int) -> Bins:
    """`n` bins of equal ratio."""
    edges = np.geomspace(low, high, n + 1)
    return Bins(title, tuple(float(f"{edge:.6g}") for edge in edges), "log")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it holds, in which unit, and when it is null.

    With `bins` its values are counted into a histogram of the report. `in_row`: it is part of a
    score row, not only there for the decision and for counting; `in_explanation`: `explain` lists
    it. Rows are sorted by `order`, then by scorer and declaration.
    """

    name: str
    type: pa.DataType
    _: KW_ONLY
    unit: str = ""
    meaning: str
    null: str = "never"
    bins: Bins | None = None
    in_row: bool = True
    in_explanation: bool = True
    order: int = LAST

    @property
    def field(self) -> pa.Field[pa.DataType]:
        """The column as an Arrow field."""
        return pa.field(self.name, self.type)


ID = Column(
    "id", pa.string(), meaning="the record's own identifier", null="the record has none", order=0
)
SHARD = Column("shard", pa.string(), meaning="path of the shard below its input root", order=0)
RECORD = Column(
    "record",
    pa.int64(),
    unit="records",
    meaning="0-based position of the record in its shard",
    order=0,
)
LANGUAGE = Column(
    "language",
    pa.string(),
    meaning="language that the scorers used",
    null="not recognised",
    order=0,
)
WORDS = Column(
    "words",
    pa.int64(),
    unit="words",
    meaning="words; in Chinese and Japanese, characters",
    bins=log_bins("Words in a document", 1.0, 1_000_000.0, 36),
    order=0,
)
AI_SCORE = Column(
    "ai_score",
    pa.float32(),
    unit="0 … 1",
    meaning="calibrated score; higher is more AI-like",
    null="unscored",
    bins=linear_bins("AI score", 0.0, 1.0, 50),
    order=100,
)
VERDICT = Column("verdict", pa.string(), meaning="human, ai or unscored", order=100)
REASONS = Column(
    "reasons",
    pa.list_(pa.string()),
    meaning="why the verdict: features and phrases that decided",
    order=100,
)
TEXT_DIGEST = Column(
    "text_digest",
    pa.string(),
    meaning="BLAKE2b of the text, 64 bits in hex: equal texts have equal ones",
    order=110,
)
IS_PROSE = Column(
    "is_prose",
    pa.bool_(),
    meaning="whether enough of the visible characters are letters for it to be judged",
    order=110,
)
SCORED_BY = Column(
    "scored_by",
    pa.string(),
    meaning="what the scores depend on: a digest of scorers and phrase lists, and one of the "
    "language's tables (none: it has none)",
    order=110,
)

OWN: Final = (
    *(ID, SHARD, RECORD, LANGUAGE, WORDS, AI_SCORE, VERDICT, REASONS),
    *(TEXT_DIGEST, IS_PROSE, SCORED_BY),
)
"""The columns of a row that no scorer makes."""

ONLY_IN_ROWS: Final = (SHARD, RECORD, TEXT_DIGEST, IS_PROSE, SCORED_BY)
"""Those that only `lowbg score` writes: a record's place, and what it takes to judge it anew."""


@dataclass(frozen=True)
class Columns:
    """The columns of a run: `OWN`, and the `features` that its scorers declare."""

    features: tuple[Column, ...] = ()

    @classmethod
    def of(cls, declared: Iterable[Column]) -> Columns:
        """With what the scorers declare, one after another."""
        return cls(tuple(sorted(declared, key=lambda column: column.order)))

    @cached_property
    def row(self) -> tuple[Column, ...]:
        """One row of `lowbg score`, in this order."""
        inside = (column for column in (*OWN, *self.features) if column.in_row)
        return tuple(sorted(inside, key=lambda column: column.order))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of `row`."""
        return pa.schema([column.field for column in self.row])

    @cached_property
    def bins(self) -> Mapping[str, Bins]:
        """The bins of every column that is counted by them, by its name."""
        columns = (AI_SCORE, *self.features, WORDS)
        return {column.name: column.bins for column in columns if column.bins is not None}
