"""Writes Parquet rows as they were read: schema, nesting, metadata and codecs kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lowbg.errors import FormatError
from lowbg.formats.base import Annotations
from lowbg.formats.parquet.layout import ParquetLayout
from lowbg.records import Payload, RowPayload
from lowbg.schema import AI_SCORE, REASONS, VERDICT
from lowbg.storage.files import AtomicFile, Part, PartState, WrittenFile, naming

ANNOTATION_COLUMN = "lowbg"

CHUNK_ROWS = 1024
"""Rows that are joined at once: a whole row group at once would be held twice."""


class ParquetWriter:
    """One Parquet file of kept rows.

    Row groups hold exactly `layout.rows_per_group` rows (the last one fewer) whatever the sizes
    of the batches, so that equal rows give equal bytes. With `annotate` the struct column `lowbg`
    is added, in the place of a column of that name if there is one. The file appears under its
    name at `commit`; until then it is at `part`, if given, beside a log of its rows, with which
    it is made anew when a run goes on. Raises `OutputError` where the system refuses, and
    `FormatError` when a part isn't what its state says.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        schema: pa.Schema,
        layout: ParquetLayout,
        annotate: bool = False,
        part: Part | None = None,
    ) -> None:
        self.records = 0
        self._root = root
        self._rows_per_group = layout.rows_per_group
        self._schema = _with_annotation(schema) if annotate else schema
        self._annotate = annotate
        # The row group under way: joined chunks, and the rows of the chunk that is not full yet.
        self._chunks: list[pa.RecordBatch] = []
        self._chunked_rows = 0
        self._loose: list[pa.RecordBatch] = []
        self._loose_rows = 0
        self._file = AtomicFile(path, part.path if part is not None else None)
        self._closed = False
        self._log: RowLog | None = None
        try:
            self._sink = pa.PythonFile(_Sink(self._file), mode="w")
            self._writer = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression=_codecs(schema, self._schema, layout),
                use_deprecated_int96_timestamps=layout.int96,
                # An input's lists keep the element name that they have ("element", "item", …).
                use_compliant_nested_type=not layout.compression,
            )
            if part is not None:
                self._log = self._replay(part)
        except BaseException:
            self._file.abort()
            raise

    def _replay(self, part: Part) -> RowLog:
        """The rows' log; those that are in it already are written again."""
        kept = part.state.rows if part.state is not None else 0
        log = RowLog(part.beside("rows"), kept)
        try:
            for rows in log.stored(self._schema):
                self._append(rows)
            if part.state is not None and part.state.records != self.records:
                raise FormatError(f"{log.path}: {self.records} rows, not {part.state.records}")
        except BaseException:
            log.close()
            raise
        return log

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the rows of `payload` where `keep` is true, in order.

        `annotations` is a struct array with one entry a row of `payload`, kept or not.
        """
        if not isinstance(payload, RowPayload):
            raise TypeError("lines of a JSONL shard cannot be written as stored Parquet rows")
        rows = payload.rows
        if self._annotate:
            rows = _annotate(rows, annotations, self._schema)
        if not keep.all():
            rows = rows.filter(pa.array(keep))
        if not len(rows):
            return
        if self._log is not None:
            self._log.append(rows)
        self._append(rows)

    def _append(self, rows: pa.RecordBatch) -> None:
        self.records += len(rows)
        while len(rows):
            left = self._rows_per_group - self._chunked_rows
            room = min(CHUNK_ROWS, left) - self._loose_rows
            self._loose.append(rows.slice(0, room))
            self._loose_rows += len(self._loose[-1])
            rows = rows.slice(room)
            if self._loose_rows == min(CHUNK_ROWS, left):
                self._join_loose()
            if self._chunked_rows == self._rows_per_group:
                self._write_group()

    def _join_loose(self) -> None:
        """Makes one chunk of the loose rows: its bounds depend on no batch's, nor do the bytes."""
        joined = pa.Table.from_batches(self._loose, self._schema).combine_chunks()
        self._chunks += joined.to_batches()
        self._chunked_rows += self._loose_rows
        self._loose, self._loose_rows = [], 0

    def _write_group(self) -> None:
        """Writes the chunks as one row group."""
        group = _canonical(pa.Table.from_batches(self._chunks, self._schema))
        with naming(self._file.path):
            self._writer.write_table(group, row_group_size=self._chunked_rows)
        self._chunks, self._chunked_rows = [], 0

    def join(self) -> None:
        """Nothing: rows of several shards are as those of one."""

    def checkpoint(self, turn: int) -> PartState:
        """Makes the rows' log durable and says how far it is; only with a part."""
        assert self._log is not None
        self._log.sync()
        return PartState(records=self.records, rows=self._log.bytes)

    def finish(self) -> WrittenFile:
        """Writes the last row group and the footer and syncs; the file lacks only its name."""
        if self._loose:
            self._join_loose()
        if self._chunks:
            self._write_group()
        if not self._closed:
            with naming(self._file.path):
                self._closed = True
                self._writer.close()
                self._sink.close()
        self._file.seal()
        return self._file.written(self._root, self.records)

    def publish(self) -> None:
        """Renames to the final name."""
        self._file.publish()

    def commit(self) -> WrittenFile:
        """Writes the last row group and the footer, syncs and renames to the final name."""
        written = self.finish()
        self.publish()
        return written

    def abort(self) -> None:
        """Removes the temporary file, unless it is a part; safe after `commit` and twice."""
        self._file.abort()
        if self._log is not None:
            self._log.close()
        if not self._closed:
            self._closed = True
            self._writer.is_open = False


class RowLog:
    """The rows of an unfinished Parquet file in a form that can be cut and appended to.

    A Parquet file without its footer can't be read again; this is one Arrow IPC stream a batch,
    end to end, of which the first `kept` bytes stay. Raises `OutputError` where the system refuses.
    """

    def __init__(self, path: Path, kept: int) -> None:
        self.path = path
        self.bytes = kept
        compression = "lz4" if pa.Codec.is_available("lz4") else None
        self._options = pa.ipc.IpcWriteOptions(compression=compression)
        with naming(path):
            self._file = path.open("r+b" if kept else "wb", buffering=0)
            self._file.truncate(kept)
            self._file.seek(kept)

    def stored(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows that are kept. Raises `FormatError` when they can't be read."""
        if not self.bytes:
            return
        try:
            with pa.OSFile(str(self.path), "rb") as file:
                while file.tell() < self.bytes:
                    for rows in pa.ipc.open_stream(file):
                        yield pa.RecordBatch.from_arrays(rows.columns, schema=schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FormatError(f"{self.path}: cannot be read back ({error})") from error

    def append(self, rows: pa.RecordBatch) -> None:
        """Adds rows; they are safe after `sync`."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=self._options) as stream:
            stream.write_batch(rows)
        rest = memoryview(sink.getvalue())
        self.bytes += len(rest)
        with naming(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        """Makes what was added durable."""
        with naming(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with suppress(OSError):
            self._file.close()


class _Sink:
    """An `AtomicFile` as the file object that Arrow wants."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.bytes

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _with_annotation(schema: pa.Schema) -> pa.Schema:
    # "element" is the name that the Parquet specification gives to a list's values.
    reasons = pa.field(REASONS.name, pa.list_(pa.field("element", pa.string())))
    added = pa.field(ANNOTATION_COLUMN, pa.struct([AI_SCORE.field, VERDICT.field, reasons]))
    index = schema.get_field_index(ANNOTATION_COLUMN)
    return schema.append(added) if index < 0 else schema.set(index, added)


def _annotate(rows: pa.RecordBatch, annotations: Annotations, schema: pa.Schema) -> pa.RecordBatch:
    index = schema.get_field_index(ANNOTATION_COLUMN)
    kind = schema.field(index).type
    column = pa.nulls(len(rows), kind) if annotations is None else annotations.cast(kind)
    columns = list(rows.columns)
    columns[index : index + 1] = [column]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _canonical(table: pa.Table) -> pa.Table:
    """`table` with dictionary columns encoded anew, in order of first appearance.

    A combined column's dictionary would otherwise depend on which batches it was made of, and
    hold values of rows that were not kept.
    """
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(i).cast(field.type.value_type)
            table = table.set_column(i, field, plain.dictionary_encode().cast(field.type))
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
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        yield from _leaves(f"{path}.list.{kind.value_field.name}", kind.value_type)
    else:
        yield path
