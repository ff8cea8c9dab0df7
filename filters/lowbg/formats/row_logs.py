"""Kept rows as they are while they are not yet a file: logs that can be cut and appended to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.errors import FormatError
from lowbg.formats.base import Annotations, Writer
from lowbg.records import Payload, RowPayload
from lowbg.schema import AI_SCORE, REASONS, VERDICT
from lowbg.storage.files import Adler32, Part, PartState, WrittenFile, end_file, naming

ANNOTATION_COLUMN = "lowbg"


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

    def append(self, rows: pa.RecordBatch) -> memoryview:
        """Adds rows; they are safe after `sync`. Returns what was written."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=self._options) as stream:
            stream.write_batch(rows)
        rest = written = memoryview(sink.getvalue())
        self.bytes += len(rest)
        with naming(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]
        return written

    def sync(self) -> None:
        """Makes what was added durable."""
        with naming(self.path):
            os.fsync(self._file.fileno())

    def end(self) -> None:
        """Makes it durable, and closes it."""
        end_file(self._file, self.path)

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with suppress(OSError):
            self._file.close()


class RowLogWriter(Writer):
    """The log of a piece's kept rows, at `part`, below `root`; `schema` is that of the reader."""

    def __init__(self, part: Part, root: Path, schema: pa.Schema, annotate: bool) -> None:
        self.records = part.state.records if part.state is not None else 0
        self._annotated = with_annotation(schema) if annotate else None
        self._root = root
        with naming(part.folder):
            part.folder.mkdir(parents=True, exist_ok=True)
        kept = part.state.rows if part.state is not None else 0
        self._log = RowLog(part.path, kept)
        self._digest = Adler32.of(part.path) if kept else Adler32()

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the rows of `payload` where `keep` is true, in order."""
        rows = kept_rows(payload, keep, annotations, self._annotated)
        if len(rows):
            self._digest.update(self._log.append(rows))
            self.records += len(rows)

    def join(self) -> None:
        """Nothing: rows of several shards are as those of one."""

    def checkpoint(self, turn: int) -> PartState:
        """Makes the log durable and says how far it is."""
        self._log.sync()
        return PartState(records=self.records, rows=self._log.bytes)

    def finish(self) -> WrittenFile:
        """Ends the log; it is read under the name that it has."""
        path = self._log.path.relative_to(self._root).as_posix()
        self._log.end()
        return WrittenFile(path, self.records, self._log.bytes, "", self._digest.hexdigest())

    def publish(self) -> None:
        """Nothing: a log gets no other name."""

    def commit(self) -> WrittenFile:
        """Ends the log."""
        return self.finish()

    def abort(self) -> None:
        """Closes the log, which stays."""
        self._log.close()


def kept_rows(
    payload: Payload, keep: NDArray[np.bool_], annotations: Annotations, schema: pa.Schema | None
) -> pa.RecordBatch:
    """The rows of `payload` where `keep` is true, annotated where `schema` is that of such rows."""
    if not isinstance(payload, RowPayload):
        raise TypeError("lines of a JSONL shard cannot be written as stored rows")
    rows = payload.rows
    if schema is not None:
        rows = _annotate(rows, annotations, schema)
    return rows if keep.all() else rows.filter(pa.array(keep))


def with_annotation(schema: pa.Schema) -> pa.Schema:
    """`schema` with the column `lowbg`, in the place of one of that name or last."""
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
