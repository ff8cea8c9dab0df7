"""Writes WARC records as they were stored, each compressed by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.formats.base import Annotations, Output
from lowbg.formats.blocks import BlockWriter, runs
from lowbg.formats.jsonl.rows import json_values
from lowbg.records import BytesPayload, Payload
from lowbg.storage.compression import compressed

ANNOTATION_HEADER = b"lowbg: "

_HEADER_END = b"\r\n\r\n"


class WetWriter(BlockWriter):
    """One file of kept records, byte for byte; what is no document is always written.

    With a codec each record is a gzip member or a frame of its own, so that tools can go to it by
    its offset. With annotations a record gets a last header `lowbg`, in JSON.
    """

    def __init__(self, output: Output) -> None:
        # The stream itself is plain: what is written to it has been compressed.
        super().__init__(output.path, output.root, "none", output.part)
        self._codec = output.codec

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the records of `payload` where `keep` is true, and those that aren't documents.

        `annotations` holds one struct a document, kept or not.
        """
        pieces: Iterator[bytes | memoryview]
        if annotations is not None:
            pieces = _annotated(payload, keep, annotations)
        elif self._codec == "none":
            pieces = runs(payload, keep)
        else:
            pieces = _records(payload, keep)
        for piece in pieces:
            self._out.write(compressed(piece, self._codec))
        self.records += int(np.count_nonzero(keep))

    def _end(self) -> None:
        # No bytes at all are no compressed file.
        if not self._out.state().content:
            self._out.write(compressed(b"", self._codec))
        super()._end()


def _records(payload: Payload, keep: NDArray[np.bool_]) -> Iterator[memoryview]:
    assert isinstance(payload, BytesPayload)
    chosen = payload.chosen(keep)
    view = memoryview(payload.buffer)
    starts, ends = payload.starts[chosen].tolist(), payload.ends[chosen].tolist()
    for start, end in zip(starts, ends, strict=True):
        yield view[start:end]


def _annotated(
    payload: Payload, keep: NDArray[np.bool_], annotations: pa.StructArray
) -> Iterator[bytes | memoryview]:
    assert isinstance(payload, BytesPayload)
    kept = annotations.take(pa.array(np.flatnonzero(keep)))
    values = iter(json_values(pa.RecordBatch.from_struct_array(kept)))
    chosen = payload.chosen(keep)
    documents = chosen if payload.documents is None else payload.documents
    kinds = documents[chosen].tolist()
    for record, is_document in zip(_records(payload, keep), kinds, strict=True):
        if not is_document:
            yield record
            continue
        stored = bytes(record)
        at = stored.index(_HEADER_END) + 2
        yield b"".join((stored[:at], ANNOTATION_HEADER, next(values), b"\r\n", stored[at:]))
