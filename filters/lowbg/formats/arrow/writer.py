"""Writes Arrow IPC rows as they were read: schema, views, dictionaries and codec kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lowbg.formats.arrow.layout import ArrowLayout
from lowbg.formats.row_logs import with_annotation
from lowbg.formats.rows import RowWriter
from lowbg.formats.texts import decoded
from lowbg.formats.views import is_list_view, plain_kind
from lowbg.storage.files import Part


class ArrowWriter(RowWriter):
    """One Arrow IPC file or stream of kept rows, laid out as `layout` says.

    The dictionaries of an output grow by the values of its own rows, in the order in which they
    come; those that have an order of their own stay as they are.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        schema: pa.Schema,
        layout: ArrowLayout,
        annotate: bool = False,
        part: Part | None = None,
    ) -> None:
        self._layout = layout
        self._stored = with_annotation(layout.schema) if annotate else layout.schema
        self._dictionaries: dict[int, pa.Array] = {}
        super().__init__(path, root, schema, layout.rows_per_batch, annotate, part)

    def begin(self, sink: pa.NativeFile) -> None:
        """Writes the schema."""
        codec = self._layout.codec
        options = pa.ipc.IpcWriteOptions(
            compression=None if codec == "none" else codec,
            use_threads=False,
            # A file has one dictionary a column, which may grow.
            emit_dictionary_deltas=True,
        )
        new = pa.ipc.new_file if self._layout.is_file else pa.ipc.new_stream
        self._writer = new(sink, self._stored, options=options)

    def write_group(self, group: pa.Table) -> None:
        """Writes one record batch."""
        columns = []
        for i, field in enumerate(self._stored):
            column = group.column(i).combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = pa.concat_arrays(column.chunks)
            if pa.types.is_dictionary(field.type) and not field.type.ordered:
                column = self._encoded(i, column)
            elif is_list_view(field.type):
                column = _compact(column)
            columns.append(column if column.type == field.type else column.cast(field.type))
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._stored))

    def _encoded(self, i: int, column: pa.DictionaryArray) -> pa.DictionaryArray:
        """Column `i` by the dictionary that the output has so far, and what is new."""
        kind = column.type
        plain = decoded(column)
        known = self._dictionaries.get(i)
        own = plain.unique().drop_null()
        if known is not None:
            own = pa.concat_arrays([known, own.filter(pc.invert(pc.is_in(own, known)))])
        self._dictionaries[i] = own
        places = pc.index_in(plain, own).cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(places, own.cast(kind.value_type))

    def end(self) -> None:
        """Writes a file's index, and a stream's end mark."""
        self._writer.close()


def _compact(column: pa.Array) -> pa.Array:
    """A list view whose values are those of its own lists, in their order: it would otherwise be
    stored with the values of rows that were not kept."""
    kind = column.type
    values = column.flatten()
    plain = plain_kind(values.type)
    if plain is not values.type:
        values = values.cast(plain).cast(kind.value_type)
    sizes = np.asarray(pc.list_value_length(column).fill_null(0))
    places = pa.int64() if pa.types.is_large_list_view(kind) else pa.int32()
    return type(column).from_arrays(
        pa.array(np.cumsum(sizes) - sizes, places),
        pa.array(sizes, places),
        values,
        type=kind,
        mask=column.is_null(),
    )
