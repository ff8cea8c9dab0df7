"""Spark frames with what lowbg says of each row; for pyspark 3.5 and later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbg.adapters.annotate import COLUMN, Annotate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def annotated(frame: DataFrame, annotate: Annotate | None = None) -> DataFrame:
    """`frame` with a column `lowbg`, by `mapInArrow`: rows travel as Arrow, without pandas.

    Raises `ConfigError` where there is no text column. What lowbg loads stays in Spark's Python
    workers as long as these do (`spark.python.worker.reuse`, the default).
    """
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    annotate = annotate or Annotate()
    annotate.check(frame.columns)
    added = StructField(COLUMN, from_arrow_type(annotate.type))
    return frame.mapInArrow(annotate.batches, StructType([*frame.schema.fields, added]))
