"""Writes Parquet rows as they were read: schema, nesting, metadata and codecs kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lowbg.formats.parquet.layout import ParquetLayout
from lowbg.formats.parquet.logical import as_geometries, with_geometries
from lowbg.formats.rows import RowWriter
from lowbg.storage.files import Part


class ParquetWriter(RowWriter):
    """One Parquet file of kept rows, laid out as `layout` says; its groups are row groups."""

    def __init__(
        self,
        path: Path,
        root: Path,
        schema: pa.Schema,
        layout: ParquetLayout,
        annotate: bool = False,
        part: Part | None = None,
    ) -> None:
        self._layout = layout
        self._read = schema
        super().__init__(path, root, schema, layout.rows_per_group, annotate, part)

    def begin(self, sink: pa.NativeFile) -> None:
        """Nothing is written yet: the index comes last."""
        layout = self._layout
        self._written = with_geometries(self.schema, dict(layout.geometries))
        self._writer = pq.ParquetWriter(
            sink,
            self._written,
            compression=_codecs(self._read, self.schema, layout),
            use_deprecated_int96_timestamps=layout.int96,
            # An input's lists keep the element name that they have ("element", "item", …).
            use_compliant_nested_type=not layout.compression,
        )

    def held(self, rows: pa.Table) -> pa.Table:
        """Dictionary columns as their values: each chunk would keep a dictionary of its own."""
        for i, field in enumerate(rows.schema):
            if pa.types.is_dictionary(field.type):
                plain = rows.column(i).cast(field.type.value_type)
                rows = rows.set_column(i, field.with_type(plain.type), plain)
        return rows

    def write_group(self, group: pa.Table) -> None:
        """Writes a row group."""
        group = as_geometries(_encoded(group, self.schema), self._written)
        self._writer.write_table(group, row_group_size=len(group))

    def end(self) -> None:
        """Writes the index."""
        self._writer.close()

    def let_go(self) -> None:
        """Keeps the writer from ending a file that is gone."""
        self._writer.is_open = False


def _encoded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table`, held as plain values, with the dictionary columns of `schema`, in order of first
    appearance.

    A combined column's dictionary would otherwise depend on which batches it was made of, and
    hold values of rows that were not kept.
    """
    for i, field in enumerate(schema):
        if pa.types.is_dictionary(field.type):
            encoded = table.column(i).dictionary_encode().cast(field.type)
            table = table.set_column(i, field, encoded)
    return table


def _codecs(read: pa.Schema, written: pa.Schema, layout: ParquetLayout) -> dict[str, str] | str:
    """The codec of each leaf column of the output, by its path."""
    before = [path for field in read for path in leaf_paths(field)]
    if not layout.compression:
        return "zstd"
    if len(before) != len(layout.compression):
        # Types that we do not know how to walk: one codec for all.
        return layout.compression[0]
    codecs = dict(zip(before, layout.compression, strict=True))
    return {
        path: codecs.get(path, layout.compression[0])
        for field in written
        for path in leaf_paths(field)
    }


def leaf_paths(field: pa.Field) -> Iterator[str]:
    """The paths of the Parquet columns that an Arrow field becomes, in schema order."""
    yield from _leaves(field.name, field.type)


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            child = kind.field(i)
            yield from _leaves(f"{path}.{child.name}", child.type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", kind.key_type)
        yield from _leaves(f"{path}.key_value.value", kind.item_type)
    elif any(is_kind(kind) for is_kind in _LISTS):
        yield from _leaves(f"{path}.list.{kind.value_field.name}", kind.value_type)
    else:
        yield path
