"""Writes JSON lines as they were stored, to a file or to an open stream."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.formats.base import Annotations
from lowbg.formats.blocks import BlockWriter, runs
from lowbg.formats.jsonl.rows import json_values
from lowbg.records import BytesPayload, Payload
from lowbg.storage.compression import WRITE_CHUNK, OutputStream, open_output
from lowbg.storage.files import WrittenFile, naming

ANNOTATION_KEY = b"lowbg"

_CLOSING = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


class _LineWriter:
    """What both writers share: kept lines to a compressing stream."""

    records: int
    open_end: bool
    _out: OutputStream
    _joins = False

    def join(self) -> None:
        """Says that a shard ends here and another may follow in the same output."""
        self._joins = True

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the records of `payload` where `keep` is true, in order.

        `annotations` holds one struct a record of `payload`, kept or not; it becomes the record's
        last field, `lowbg`, the other bytes staying as they are. Where the last record
        so far lacks its line end (it was the last of its shard) and another follows, it is added.
        """
        for piece in pieces(payload, keep, annotations):
            if self._joins:
                # A byte-order mark belongs at the start of a file, and nowhere else.
                piece = piece[len(_BOM) :] if self.records and piece[:3] == _BOM else piece
                self._joins = False
            if self.open_end:
                self._out.write(b"\n")
            self._out.write(piece)
            self.open_end = piece[-1] != ord("\n")
        self.records += int(np.count_nonzero(keep))

    def write_lines(self, lines: bytes, count: int = 1) -> None:
        """Appends so many lines, which have their line ends."""
        self._out.write(lines)
        self.records += count


class JsonlWriter(_LineWriter, BlockWriter):
    """One JSON Lines file of kept records, byte for byte as they were stored.

    It is written as `BlockWriter` says.
    """

    has_framed_logs = False
    """Whether the logs of a shard's pieces are in frames, as this file is."""

    def append_log(self, log: Path, records: int) -> None:
        """Appends a file of so many lines: plain ones, or frames where `has_framed_logs`."""
        if self.has_framed_logs:
            self._out.pass_by(self._file.append_file(log))
            self.records += records
            return
        with naming(log), log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            self.open_end = file.read() not in (b"", b"\n")
            file.seek(0)
            if self._out.codec != "none":
                while data := file.read(WRITE_CHUNK):
                    self._out.write(data)
        if self._out.codec == "none":
            self._out.flush()
            self._out.pass_by(self._file.append_file(log))
        self.records += records


class StreamWriter(_LineWriter):
    """Kept records to an open binary stream, such as standard output, one shard after the other.

    `name` is what messages call the stream. `BrokenPipeError` passes through; another `OSError`
    becomes an `OutputError`.
    """

    def __init__(self, stream: BinaryIO, compression: str = "none", name: str = "stdout") -> None:
        self._name = name
        self._sink = _CountingSink(stream, name)
        self.records, self.open_end = 0, False
        self._out = open_output(self._sink, compression)

    def flush(self) -> None:
        """Hands on what is pending; under a codec only whole chunks of it go out."""
        self._out.flush()
        self._sink.flush()

    def commit(self) -> WrittenFile:
        """Ends the compressed stream and flushes; the stream itself stays open."""
        self._out.finish()
        self._sink.flush()
        return WrittenFile(self._name, self.records, self._sink.bytes, self._sink.sha256)

    def abort(self) -> None:
        """Nothing: what went down a stream cannot be taken back."""


class _CountingSink:
    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.bytes = 0
        self._stream = stream
        self._name = name
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        with naming(self._name):
            rest = memoryview(data)
            while rest:  # A raw stream may take less than it is given.
                rest = rest[self._stream.write(rest) or 0 :]
        self._digest.update(data)
        self.bytes += len(data)

    def flush(self) -> None:
        with naming(self._name):
            self._stream.flush()


def pieces(
    payload: Payload, keep: NDArray[np.bool_], annotations: Annotations
) -> Iterator[bytes | memoryview]:
    """The kept lines' bytes in order; kept neighbours come as one piece, without a copy."""
    if not isinstance(payload, BytesPayload):
        raise TypeError("rows of a Parquet shard cannot be written as stored JSON lines")
    if annotations is None:
        yield from runs(payload, keep)
        return
    kept = np.flatnonzero(keep)
    rows = pa.RecordBatch.from_struct_array(annotations.take(pa.array(kept)))
    for i, value in zip(kept.tolist(), json_values(rows), strict=True):
        yield annotated(payload.buffer[payload.starts[i] : payload.ends[i]], value)


def annotated(line: bytes, annotation: bytes) -> bytes:
    """The JSON object in `line` with `annotation` (JSON) as its last field, `lowbg`.

    White space and line end stay. A field of that name that the line already has stays too: JSON
    readers take the last one.
    """
    body = line.rstrip(_CLOSING)
    inside = body[:-1].rstrip(_CLOSING)
    comma = (
        b"" if inside.endswith(b"{") and not inside[:-1].strip(b"\xef\xbb\xbf" + _CLOSING) else b","
    )
    return b"".join(
        (
            inside,
            comma,
            b'"',
            ANNOTATION_KEY,
            b'":',
            annotation,
            line[len(inside) :],
        )
    )
