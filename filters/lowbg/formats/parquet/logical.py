"""Parquet's logical types that Arrow has none for: which an output keeps, and which it loses."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEPT = frozenset(
    ("NONE", "STRING", "INT", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "JSON", "UUID", "FLOAT16")
)
"""Logical types of leaves that Arrow has types of its own for."""

GEOMETRIES = ("GEOMETRY", "GEOGRAPHY")


class _Wkb(pa.ExtensionType):  # type: ignore[misc]
    """A geometry as Arrow's writer knows it, by its name. It is never registered: that would
    change what the program around this library reads."""

    def __init__(self, storage: pa.DataType, described: bytes) -> None:
        self._described = described
        super().__init__(storage, "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._described

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, described: bytes) -> _Wkb:
        return cls(storage, described)


def geometries(file: pq.ParquetFile) -> dict[str, bytes]:
    """The top-level columns of geometries that Arrow can write, each with what its type says, as
    GeoArrow's metadata has it."""
    found = {}
    for i in range(len(file.schema)):
        column = file.schema.column(i)
        if column.logical_type.type not in GEOMETRIES or column.path != column.name:
            continue
        described = _described(json.loads(column.logical_type.to_json()))
        try:
            alone = pa.schema([pa.field(column.name, _Wkb(pa.binary(), described))])
            is_kept = str(_written(alone).column(0).logical_type) == str(column.logical_type)
        except pa.ArrowException:  # Arrow knows two of the algorithms between points.
            continue
        if is_kept:
            found[column.name] = described
    return found


def _described(logical: Mapping[str, Any]) -> bytes:
    described = {}
    system = logical.get("crs")
    if system is not None:
        described["crs"] = system
        if system.startswith("srid:"):
            described["crs_type"] = "srid"
    if logical["Type"] == "Geography":
        described["edges"] = logical.get("algorithm", "spherical")
    return json.dumps(described).encode()


def _written(schema: pa.Schema) -> pq.ParquetSchema:
    """The Parquet schema of a file of this Arrow schema."""
    sink = io.BytesIO()
    pq.ParquetWriter(sink, schema).close()
    return pq.ParquetFile(sink).schema


def with_geometries(schema: pa.Schema, described: Mapping[str, bytes]) -> pa.Schema:
    """`schema` as it is written, so that these columns are geometries again."""
    for i, field in enumerate(schema):
        if field.name in described:
            kind = _Wkb(field.type, described[field.name])
            schema = schema.set(i, pa.field(field.name, kind, field.nullable))
    return schema


def as_geometries(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns that `schema`, by `with_geometries`, has as such."""
    for i, field in enumerate(schema):
        if isinstance(field.type, _Wkb):
            chunks = [
                pa.ExtensionArray.from_storage(field.type, chunk)
                for chunk in table.column(i).chunks
            ]
            table = table.set_column(i, field, pa.chunked_array(chunks, field.type))
    return table


def lost(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """The columns whose logical type a file of `schema` lacks, as "iv (Interval)"."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    if all(column.logical_type.type in _KEPT for column in columns):
        return []
    written = _written(schema)
    if len(written) != len(file.schema):
        return []
    pairs = zip(columns, (written.column(i) for i in range(len(written))), strict=True)
    return [
        f"{before.path} ({before.logical_type})"
        for before, after in pairs
        if after.logical_type.type == "NONE" != before.logical_type.type
    ]
