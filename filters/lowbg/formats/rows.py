"""What formats share whose records are Arrow rows: batches of them in, and their writers."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import FieldNames
from lowbg.errors import FormatError, InputError
from lowbg.formats.base import Annotations, Reader, Writer
from lowbg.formats.columns import metadata_of, text_at
from lowbg.formats.row_logs import RowLog, kept_rows, with_annotation
from lowbg.formats.row_sizes import part_ends, row_sizes
from lowbg.formats.texts import text_of, utf8_lengths
from lowbg.records import Batch, Payload, Rejected, RejectReason, RowPayload
from lowbg.storage.files import AtomicFile, Part, PartState, WrittenFile, naming

ANNOTATION_COLUMN = "lowbg"

CHUNK_ROWS = 1024
CHUNK_BYTES = 1 << 20
"""Rows and bytes that are joined at once: a whole group at once would be held twice. A page of a
Parquet output ends with such a chunk."""

GROUP_BYTES = 32 << 20
"""An output's group of rows ends with the row with which it reaches so many bytes."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Consecutive rows of a file, as it stores or decodes them.

    `consumed` stored bytes lie behind the last of them.
    """

    rows: pa.RecordBatch
    consumed: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that cannot be decoded: the part that they are in, how many, and what is wrong."""

    where: str
    count: int
    error: str
    consumed: int


class RowReader(Reader):
    """What readers of rows share. `schema` is that of the rows, `records` how many lie behind."""

    schema: pa.Schema

    def __init__(
        self, name: str, fields: FieldNames, *, batch_bytes: int, max_record_bytes: int
    ) -> None:
        self.name = name
        self.fields = fields
        self.records = 0
        self._batch_bytes = max(1, batch_bytes)
        self._max_record_bytes = max_record_bytes

    def batches(self, portions: Iterator[Portion | Gap]) -> Iterator[Batch]:
        """The records of consecutive portions, with those of small ones in one batch.

        What iterating `portions` raises as an `InputError` comes behind the records before it.
        """
        joins = not any(map(has_dictionary, self.schema.types))
        small: list[Portion] = []
        size = 0
        fault: InputError | None = None
        while True:
            try:
                portion = next(portions, None)
            except InputError as error:
                portion, fault = None, error
            bytes = portion.rows.nbytes if isinstance(portion, Portion) else 0
            joins_on = isinstance(portion, Portion) and joins and bytes < self._batch_bytes // 2
            if small and (not joins_on or size + bytes > self._batch_bytes):
                yield self.batch(_joined(small, self.schema), small[-1].consumed)
                small, size = [], 0
            if fault is not None:
                raise fault
            if portion is None:
                return
            if isinstance(portion, Gap):
                yield self._unreadable(portion)
            elif joins_on:
                small.append(portion)
                size += bytes
            else:
                yield from self._sliced(portion)

    def _sliced(self, portion: Portion) -> Iterator[Batch]:
        """The records of a portion in batches of about `batch_bytes`."""
        rows = portion.rows
        start = 0
        for end in part_ends(row_sizes(rows), self._batch_bytes):
            part = cast_rows(rows.slice(start, end - start), self.schema)
            start = end
            yield self.batch(part, portion.consumed)

    def batch(self, rows: pa.RecordBatch, consumed: int) -> Batch:
        """The records of `rows`; those without a readable text are rejected."""
        text, refused = text_of(text_at(rows, self.fields.text))
        ordinals = self.records + np.arange(len(rows), dtype=np.int64)
        sizes = utf8_lengths(text)
        for i in np.flatnonzero(sizes > self._max_record_bytes).tolist():
            refused[i] = (
                RejectReason.TOO_LARGE,
                f"text of {sizes[i]} bytes is above the limit of {self._max_record_bytes} bytes a "
                "record",
            )
        rejected = [
            self._reject(rows, int(ordinals[i]), i, reason, error)
            for i, (reason, error) in sorted(refused.items())
        ]
        self.records += len(rows)
        if refused:
            keep = np.ones(len(rows), np.bool_)
            keep[list(refused)] = False
            mask = pa.array(keep)
            rows, text = rows.filter(mask), text.filter(mask)
            ordinals, sizes = ordinals[keep], sizes[keep]
        return Batch(
            records=ordinals,
            text=text,
            metadata=metadata_of(rows, self.fields),
            sizes=sizes,
            payload=RowPayload(rows),
            rejected=rejected,
            consumed=consumed,
        )

    def _reject(
        self, rows: pa.RecordBatch, record: int, i: int, reason: RejectReason, error: str
    ) -> Rejected:
        message = f"{self.name}: row {record}: {error}. Record quarantined."
        raw = b"" if reason is RejectReason.TOO_LARGE else one_row_stream(rows, i)
        return Rejected(record, None, None, reason, message, raw, "arrow-ipc")

    def _unreadable(self, gap: Gap) -> Batch:
        """An empty batch with one `Rejected` for the rows of a part that cannot be decoded."""
        message = (
            f"{self.name}: {gap.where}: {gap.count} rows from row {self.records} on cannot be "
            f"decoded ({gap.error}). Records quarantined."
        )
        rejected = Rejected(
            self.records, None, None, RejectReason.UNREADABLE, message, b"", "arrow-ipc", gap.count
        )
        self.records += gap.count
        none = [pa.nulls(0, kind) for kind in self.schema.types]
        rows = pa.RecordBatch.from_arrays(none, schema=self.schema)
        empty = np.zeros(0, np.int64)
        return Batch(
            records=empty,
            text=pa.array([], pa.large_string()),
            metadata=metadata_of(rows, self.fields),
            sizes=empty,
            payload=RowPayload(rows),
            rejected=[rejected],
            consumed=gap.consumed,
        )


def _joined(portions: list[Portion], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of all portions in one, with the types of `schema`."""
    parts = [cast_rows(portion.rows, schema) for portion in portions]
    if len(parts) == 1:
        return parts[0]
    table = pa.Table.from_batches(parts, schema)
    (rows,) = table.combine_chunks().to_batches()
    return rows


def has_dictionary(kind: pa.DataType) -> bool:
    """Whether there are dictionaries in a column: joined, they are no longer each row's own."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        return True
    return any(has_dictionary(kind.field(i).type) for i in range(kind.num_fields))


def check_reading(error: Exception, name: str) -> None:
    """Raises `InputError` where reading failed; Arrow's own errors have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise InputError(f"{name}: reading failed ({error.strerror})") from error


def in_a_line(error: Exception) -> str:
    """What Arrow says is wrong, on one line and not too long."""
    return " ".join(str(error).split())[:300]


def cast_rows(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`rows` with the types of `schema`; the very same where they have them."""
    if rows.schema.equals(schema):
        return rows
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def one_row_stream(rows: pa.RecordBatch, i: int) -> bytes:
    """Row `i` as an Arrow IPC stream of its own."""
    # `take` copies the one row; a slice would carry its neighbours' buffers along.
    row = rows.take(pa.array([i]))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, row.schema) as stream:
        stream.write_batch(row)
    return sink.getvalue()


class RowWriter(Writer):
    """One file of kept rows.

    They are written in groups of exactly `rows_per_group` rows (the last one fewer) whatever the
    sizes of the batches, so that equal rows give equal bytes. With `annotate` the struct column
    `lowbg` is added, in the place of a column of that name if there is one. The file appears under
    its name at `commit`; until then it is at `part`, if given, beside a log of its rows, with which
    it is made anew when a run goes on. Raises `OutputError` where the system refuses, and
    `FormatError` when a part isn't what its state says. A format says how the file is begun, a
    group written, and the file ended or let go.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        schema: pa.Schema,
        rows_per_group: int,
        annotate: bool = False,
        part: Part | None = None,
    ) -> None:
        self.records = 0
        self.schema = with_annotation(schema) if annotate else schema
        self._root = root
        self._rows_per_group = rows_per_group
        self._annotate = annotate
        # The group under way: joined chunks, and the rows of the chunk that is not full yet.
        self._chunks: list[pa.RecordBatch] = []
        self._chunked_rows = self._chunked_bytes = 0
        self._loose: list[pa.RecordBatch] = []
        self._loose_rows = self._loose_bytes = 0
        self._file = AtomicFile(path, part.path if part is not None else None)
        self._closed = False
        self._log: RowLog | None = None
        try:
            self._sink = pa.PythonFile(_Sink(self._file), mode="w")
            self.begin(self._sink)
            if part is not None:
                self._log = self._replay(part)
        except BaseException:
            self._file.abort()
            raise

    @abstractmethod
    def begin(self, sink: pa.NativeFile) -> None:
        """Begins the file."""

    def held(self, rows: pa.Table) -> pa.Table:
        """A chunk of rows as it waits for the rest of its group."""
        return rows

    @abstractmethod
    def write_group(self, group: pa.Table) -> None:
        """Writes a group of rows, which came through `held`."""

    @abstractmethod
    def end(self) -> None:
        """Writes what the file ends with."""

    def let_go(self) -> None:
        """Makes sure that nothing is written any more."""

    def _replay(self, part: Part) -> RowLog:
        """The rows' log; those that are in it already are written again."""
        kept = part.state.rows if part.state is not None else 0
        log = RowLog(part.beside("rows"), kept)
        try:
            for rows in log.stored(self.schema):
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
        rows = kept_rows(payload, keep, annotations, self.schema if self._annotate else None)
        if not len(rows):
            return
        if self._log is not None:
            self._log.append(rows)
        self._append(rows)

    def _append(self, rows: pa.RecordBatch) -> None:
        self.records += len(rows)
        behind = np.cumsum(row_sizes(rows))
        start = before = 0
        while start < len(rows):
            left = self._rows_per_group - self._chunked_rows
            end = start + min(CHUNK_ROWS, left) - self._loose_rows
            room = min(CHUNK_BYTES, GROUP_BYTES - self._chunked_bytes) - self._loose_bytes
            end = min(end, int(np.searchsorted(behind, before + room)) + 1, len(rows))
            self._loose.append(rows.slice(start, end - start))
            self._loose_rows += end - start
            self._loose_bytes += int(behind[end - 1]) - before
            start, before = end, int(behind[end - 1])
            full = self._chunked_bytes + self._loose_bytes >= GROUP_BYTES
            if (
                full
                or self._loose_bytes >= CHUNK_BYTES
                or self._loose_rows >= min(CHUNK_ROWS, left)
            ):
                self._join_loose()
            if full or self._chunked_rows == self._rows_per_group:
                self._write_group()

    def append_log(self, log: Path, records: int) -> None:
        """Appends the rows of a log. Raises `FormatError` where there aren't so many."""
        before = self.records
        stored = RowLog(log, log.stat().st_size)
        try:
            for rows in stored.stored(self.schema):
                self._append(rows)
        finally:
            stored.close()
        if self.records - before != records:
            raise FormatError(f"{log}: {self.records - before} rows, not {records}")

    def _join_loose(self) -> None:
        """Makes one chunk of the loose rows: its bounds depend on no batch's, nor do the bytes."""
        joined = pa.Table.from_batches(self._loose, self.schema).combine_chunks()
        self._chunks += self.held(joined).to_batches()
        self._chunked_rows += self._loose_rows
        self._chunked_bytes += self._loose_bytes
        self._loose, self._loose_rows, self._loose_bytes = [], 0, 0

    def _write_group(self) -> None:
        """Writes the chunks as one group."""
        with naming(self._file.path):
            self.write_group(pa.Table.from_batches(self._chunks))
        self._chunks, self._chunked_rows, self._chunked_bytes = [], 0, 0

    def join(self) -> None:
        """Nothing: rows of several shards are as those of one."""

    def checkpoint(self, turn: int) -> PartState:
        """Makes the rows' log durable and says how far it is; only with a part."""
        assert self._log is not None
        self._log.sync()
        return PartState(records=self.records, rows=self._log.bytes)

    def finish(self) -> WrittenFile:
        """Writes the last group and the file's end and syncs; the file lacks only its name."""
        if self._loose:
            self._join_loose()
        if self._chunks:
            self._write_group()
        if not self._closed:
            with naming(self._file.path):
                self._closed = True
                self.end()
                self._sink.close()
        self._file.seal()
        return self._file.written(self._root, self.records)

    def publish(self) -> None:
        """Renames to the final name."""
        self._file.publish()

    def commit(self) -> WrittenFile:
        """Writes the last group and the file's end, syncs and renames to the final name."""
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
            self.let_go()


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
