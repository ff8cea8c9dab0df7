"""Parquet's old timestamps of 96 bits, as Spark, Hive and Impala write them: what Arrow may do.

They reach further than Arrow's 64 bits of nanoseconds: there a date before 1677-09-21 or after
2262-04-11 (9999-12-31 as "never") silently becomes another one. In microseconds every date fits.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq


def paths(file: pq.ParquetFile) -> list[str]:
    """The paths of the leaf columns that hold them."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    return [column.path for column in columns if column.physical_type == "INT96"]


def only(file: pq.ParquetFile) -> bool:
    """Whether the file has them, and no timestamps of 64 bits; Arrow writes all of a file alike."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    return bool(paths(file)) and all(c.logical_type.type != "TIMESTAMP" for c in columns)


def fit_nanoseconds(file: pq.ParquetFile) -> bool:
    """Whether every one, at any depth, fits in 64 bits of nanoseconds; they are all read.

    `file` reads them as microseconds. A row group that cannot be decoded is passed over. Raises
    `OSError` where the system refuses to read.
    """
    for group in range(file.num_row_groups):
        try:
            for rows in file.iter_batches(
                row_groups=[group], columns=paths(file), use_threads=False
            ):
                if not all(map(_fits, _timestamps(rows))):
                    return False
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
    return True


def _timestamps(rows: pa.RecordBatch) -> Iterator[pa.Array]:
    """The timestamps of all columns, at any depth."""
    columns = list(rows.columns)
    while columns:
        column = columns.pop()
        if pa.types.is_timestamp(column.type):
            yield column
        elif pa.types.is_map(column.type):
            columns += [column.keys, column.items]
        elif pa.types.is_nested(column.type):
            flat = column.flatten()
            columns += flat if isinstance(flat, list) else [flat]


def _fits(column: pa.Array) -> bool:
    try:
        column.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return False
    return True
