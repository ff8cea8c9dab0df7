"""Writes JSON lines as they were stored, to a file or to an open stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.errors import FormatError
from lowbg.formats.base import Annotations
from lowbg.formats.jsonl.rows import json_values
from lowbg.records import BytesPayload, Payload
from lowbg.storage.compression import OutputStream, StreamState, open_output, resume_output
from lowbg.storage.files import AtomicFile, Part, PartState, WrittenFile, naming, replace_file

ANNOTATION_KEY = b"lowbg"

_CLOSING = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


class _LineWriter:
    """What both writers share: kept lines to a compressing stream."""

    def __init__(self, out: OutputStream) -> None:
        self.records = 0
        self._out = out
        self._open_line = False
        self._joins = False

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
            if self._open_line:
                self._out.write(b"\n")
            self._out.write(piece)
            self._open_line = piece[-1] != ord("\n")
        self.records += int(np.count_nonzero(keep))

    def write_line(self, line: bytes) -> None:
        """Appends one line, which has its line end."""
        self._out.write(line)
        self.records += 1


class JsonlWriter(_LineWriter):
    """One JSON Lines file of kept records, byte for byte as they were stored.

    `root` is the output directory that `path` lies in; `compression` is a codec. The file appears
    under its name at `commit`; until then it is at `part`, if given, and goes on from the state
    that this has. Raises `OutputError` where the system refuses, and `FormatError` when a part
    isn't what its state says.
    """

    def __init__(self, path: Path, root: Path, compression: str, part: Part | None = None) -> None:
        self._root = root
        self._part = part
        state = part.state if part is not None else None
        kept = state.stored if state is not None else 0
        self._file = AtomicFile(path, part.path if part is not None else None, kept)
        try:
            super().__init__(self._open(compression, part))
        except BaseException:
            self._file.abort()
            raise
        if state is not None:
            self.records, self._open_line = state.records, state.open_line

    def _open(self, compression: str, part: Part | None) -> OutputStream:
        if part is None or part.state is None:
            return open_output(self._file, compression, resumable=part is not None)
        state = part.state
        if state.stored and self._file.sha256 != state.sha256:
            raise FormatError(f"{part.path}: isn't what was written")
        with naming(part.path):
            tail = (part.folder / state.tail).read_bytes()
        stream = StreamState(
            state.content, state.stored, state.frame_content, state.frame_stored, tail
        )
        return resume_output(self._file, compression, stream, self._stored)

    def _stored(self) -> BinaryIO:
        assert self._part is not None
        assert self._part.state is not None
        file = self._part.path.open("rb")
        file.seek(self._part.state.frame_stored)
        return file

    def checkpoint(self, turn: int) -> PartState:
        """Makes what was written durable and says how far it is; only with a part."""
        assert self._part is not None
        state = self._out.state()
        tail = self._part.beside(f"tail-{turn % 2}")
        replace_file(tail, state.tail)
        self._file.sync()
        return PartState(
            records=self.records,
            stored=state.stored,
            sha256=self._file.sha256,
            content=state.content,
            frame_content=state.frame_content,
            frame_stored=state.frame_stored,
            open_line=self._open_line,
            tail=tail.name,
        )

    def finish(self) -> WrittenFile:
        """Ends the compressed stream and syncs to disk; the file lacks only its name."""
        self._out.finish()
        self._file.seal()
        return self._file.written(self._root, self.records)

    def publish(self) -> None:
        """Renames to the final name."""
        self._file.publish()

    def commit(self) -> WrittenFile:
        """Ends the compressed stream, syncs to disk and renames to the final name."""
        written = self.finish()
        self.publish()
        return written

    def abort(self) -> None:
        """Removes the temporary file, unless it is a part; safe after `commit` and twice."""
        self._file.abort()


class StreamWriter(_LineWriter):
    """Kept records to an open binary stream, such as standard output, one shard after the other.

    `name` is what messages call the stream. `BrokenPipeError` passes through; another `OSError`
    becomes an `OutputError`.
    """

    def __init__(self, stream: BinaryIO, compression: str = "none", name: str = "stdout") -> None:
        self._name = name
        self._sink = _CountingSink(stream, name)
        super().__init__(open_output(self._sink, compression))

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
    kept = np.flatnonzero(keep)
    if not len(kept):
        return
    if annotations is not None:
        rows = pa.RecordBatch.from_struct_array(annotations.take(pa.array(kept)))
        for i, value in zip(kept.tolist(), json_values(rows), strict=True):
            yield annotated(payload.buffer[payload.starts[i] : payload.ends[i]], value)
        return
    starts, ends = payload.starts[kept], payload.ends[kept]
    # A run ends where the next kept line does not start at this one's end.
    last = np.append(np.flatnonzero(starts[1:] != ends[:-1]), len(kept) - 1)
    first = np.append(0, last[:-1] + 1)
    view = memoryview(payload.buffer)
    for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
        yield view[start:end]


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
