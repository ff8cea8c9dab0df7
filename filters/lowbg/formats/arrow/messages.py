"""What Arrow's IPC messages say of themselves in their headers (FlatBuffers), without their bodies.

https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format; pyarrow reads the
messages, but doesn't tell how a batch is compressed.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

FILE_MARK: Final = b"ARROW1"
FILE_HEADER_BYTES: Final = 8
"""A file is such a header, a stream, and an index."""

CONTINUATION: Final = b"\xff\xff\xff\xff"
END: Final = CONTINUATION + bytes(4)
OLD_END: Final = bytes(4)
"""What a stream ends with; before version 0.15 there was no continuation mark."""

_SCHEMA: Final = 1
_CODECS: Final = ("lz4", "zstd")
_MOST_METADATA: Final = 1 << 30


class BatchHeader(Struct, frozen=True):
    """A record batch's number of rows, and the codec of its buffers ("none", "lz4", "zstd")."""

    rows: int
    codec: str


def begins_stream(head: bytes) -> bool:
    """Whether bytes begin as a stream: with a message that holds a schema."""
    at = 4 if head.startswith(CONTINUATION) else 0
    if len(head) < at + 8:
        return False
    (size,) = struct.unpack_from("<i", head, at)
    if not 8 <= size <= _MOST_METADATA:
        return False
    try:
        message = _Table.root(head[at + 4 :])
        # The types of message are 1 … 5; the version is at most 4.
        return message.number(1, "<B") == _SCHEMA and message.number(0, "<h") <= 4
    except (struct.error, ValueError):
        return False


def batch_header(metadata: bytes) -> BatchHeader:
    """What the header of a record batch's message says. Raises `ValueError` for another's."""
    try:
        batch = _Table.root(metadata).table(2)
        if batch is None:
            raise ValueError("a message without a header")
        compression = batch.table(3)
        codec = "none" if compression is None else _CODECS[compression.number(0, "<b")]
        return BatchHeader(batch.number(0, "<q"), codec)
    except (struct.error, IndexError) as error:
        raise ValueError("not the header of a record batch") from error


class _Table(Struct, frozen=True):
    """A FlatBuffers table in `data` at `at`."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data)[0])

    def _place(self, field: int) -> int | None:
        """Where a field's value is; null where it has its default."""
        table = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if table < 0:
            raise ValueError("a table without its fields")
        (size,) = struct.unpack_from("<H", self.data, table)
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, table + entry)[0] if entry < size else 0
        return self.at + offset if offset else None

    def number(self, field: int, form: str) -> int:
        """A number; 0 where there is none."""
        place = self._place(field)
        return 0 if place is None else int(struct.unpack_from(form, self.data, place)[0])

    def table(self, field: int) -> _Table | None:
        """A table; null where there is none."""
        place = self._place(field)
        if place is None:
            return None
        return _Table(self.data, place + struct.unpack_from("<I", self.data, place)[0])
