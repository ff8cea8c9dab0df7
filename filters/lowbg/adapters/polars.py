"""A Polars expression: what lowbg says of each row, for frames, lazy ones, and their streams."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from lowbg.adapters.annotate import COLUMN, Annotate


def annotation(*columns: str, annotate: Annotate | None = None) -> pl.Expr:
    """A struct a row, called `lowbg`: `frame.with_columns(annotation("text", "language"))`.

    `columns` are those of the frame that are read: text, and where there are any language, date
    and URL, as `annotate.fields` calls them. An expression doesn't see which columns a frame has;
    without `columns` only the text is read.
    """
    annotate = annotate or Annotate()
    fields = annotate.fields or annotate.detector.fields
    names = columns or (fields.text.partition(".")[0].partition("[")[0],)
    annotate.check(names)
    known = annotate

    def said(rows: pl.Series) -> pl.Series:
        column = known.column(rows.struct.unnest())
        found = pl.from_arrow(column)
        assert isinstance(found, pl.Series)
        return found.alias(COLUMN)

    kind = pl.Series(pl.from_arrow(pa.array([], annotate.type))).dtype
    return pl.struct(*names).map_batches(said, return_dtype=kind, is_elementwise=True).alias(COLUMN)
