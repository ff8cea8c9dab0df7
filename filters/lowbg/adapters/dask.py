"""Dask frames and bags with what lowbg says of each row or record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from lowbg.adapters.annotate import COLUMN, Annotate

if TYPE_CHECKING:
    from dask.bag import Bag
    from dask.dataframe import DataFrame

_AT_ONCE: Final = 1_000
"""Records of a bag that are judged together."""


def annotated(frame: DataFrame, annotate: Annotate | None = None) -> DataFrame:
    """`frame` with a column `lowbg`, by `map_partitions`; it is of Arrow's type, a struct.

    Raises `ConfigError` where there is no text column. A worker's processes load lowbg once each.
    """
    annotate = annotate or Annotate()
    annotate.check(frame.columns)
    return frame.map_partitions(_partition, annotate, meta=_partition(frame._meta, annotate))


def annotated_bag(bag: Bag, annotate: Annotate | None = None) -> Bag:
    """A bag of the same records (dicts), each with a key `lowbg`, by `map_partitions`."""
    return bag.map_partitions(_records, annotate or Annotate())


def _partition(frame: Any, annotate: Annotate) -> Any:
    import pandas as pd
    import pyarrow as pa

    said = annotate.column(pa.Table.from_pandas(frame, preserve_index=False))
    column = pd.Series(said, frame.index, pd.ArrowDtype(said.type))
    return frame.assign(**{COLUMN: column})


def _records(rows: Iterable[Mapping[str, Any]], annotate: Annotate) -> Iterator[dict[str, Any]]:
    rows = iter(rows)
    while some := list(itertools.islice(rows, _AT_ONCE)):
        names = dict.fromkeys(name for row in some for name in row)
        columns = {name: [row.get(name) for row in some] for name in names}
        for row, said in zip(some, annotate(columns)[COLUMN], strict=True):
            yield {**row, COLUMN: said}
