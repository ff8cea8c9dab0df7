"""How a Parquet file is laid out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParquetLayout:
    """How a Parquet file is laid out, so that an output can be laid out alike.

    `compression` holds one codec name ("zstd", "snappy", "none", …) a leaf column, in schema
    order, or nothing: then zstd is used. `rows_per_group` is how many rows an output's row groups
    have; `created_by` is what the file says wrote it. `int96` says that its timestamps are stored
    in 96 bits, as older Spark, Hive and Impala do, all of them. `geometries` are columns that hold
    such, with what `logical.geometries` says of them.
    """

    compression: tuple[str, ...] = ()
    rows_per_group: int = 100_000
    created_by: str = ""
    int96: bool = False
    geometries: tuple[tuple[str, bytes], ...] = ()
