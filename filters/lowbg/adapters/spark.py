"""Spark frames with what lowbg says of each row; for pyspark 3.5 and later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowbg.adapters.annotate import COLUMN, Annotate

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType


def annotated(frame: DataFrame, annotate: Annotate | None = None) -> DataFrame:
    """`frame` with a column `lowbg`, by `mapInArrow`: rows travel as Arrow, without pandas.

    Raises `ConfigError` where there is no text column. What lowbg loads stays in Spark's Python
    workers as long as these do (`spark.python.worker.reuse`, the default).
    """
    from pyspark.sql.types import StructField, StructType

    annotate = annotate or Annotate()
    annotate.check(frame.columns)
    added = StructField(COLUMN, _type(annotate))
    return frame.mapInArrow(annotate.batches, StructType([*frame.schema.fields, added]))


def annotation(*columns: str, annotate: Annotate | None = None) -> Column:
    """The column `lowbg`, as an expression: what lowbg says of a row with these columns.

    Name those that hold text, language, date and URL; without names only the text is read. From
    pyspark 4.1 on columns travel as Arrow, many rows at a time, without pandas; before, a row at a
    time, which takes many times as long: there `annotated` is for more than a few rows. Raises
    `ConfigError` where none of the columns is the text.
    """
    from pyspark.sql import functions

    annotate = annotate or Annotate()
    names = columns or ((annotate.fields or annotate.detector.fields).text.partition(".")[0],)
    annotate.check(names)
    said = _of_rows if hasattr(functions, "arrow_udf") else _of_a_row
    return said(annotate)(functions.struct(*names)).alias(COLUMN)


def _of_rows(annotate: Annotate) -> Any:
    """A function of a column of structs."""
    from pyspark.sql.pandas.functions import ArrowUDFType, arrow_udf

    def say(rows: Any) -> Any:
        import pyarrow as pa

        return annotate.column(pa.Table.from_struct_array(rows)).combine_chunks()

    return arrow_udf(say, _type(annotate), ArrowUDFType.SCALAR)


def _of_a_row(annotate: Annotate) -> Any:
    """A function of one struct: plain Python."""
    from pyspark.sql.functions import udf

    def say(row: Any) -> dict[str, Any]:
        columns = {name: [value] for name, value in row.asDict().items()}
        said: dict[str, Any] = annotate(columns)[COLUMN][0]
        return said

    # Without annotations, from which pyspark would guess that it takes columns, and warn.
    return udf(lambda row: say(row), _type(annotate))


def _type(annotate: Annotate) -> DataType:
    from pyspark.sql.pandas.types import from_arrow_type

    return from_arrow_type(annotate.type)
