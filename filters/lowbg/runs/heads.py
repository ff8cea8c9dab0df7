"""What a stream begins with, taken to be looked at, and still there to be read from its beginning.

A stream can't be read twice. What is to be known of it beforehand is learnt from its first bytes,
which are kept in memory until they are read.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final, cast

from msgspec import Struct

HEAD_BYTES: Final = 64 << 20
"""Stored bytes of a stream that are looked at: some ten thousand documents, plain."""


class Head(Struct, frozen=True):
    """The first bytes of a stream, and the stream from its beginning.

    `whole`: there is no more of it.
    """

    data: bytes
    whole: bool
    stream: BinaryIO


def take_head(stream: BinaryIO, size: int | None = None) -> Head:
    """The first `size` bytes (`HEAD_BYTES`) of a stream that was not read from.

    It waits for as many, or the end. Raises `OSError` where the stream can't be read.
    """
    size = HEAD_BYTES if size is None else size
    start = stream.tell() if stream.seekable() else None
    parts: list[bytes] = []
    missing, whole = size, False
    while missing > 0:
        part = _next(stream, missing)
        if not part:
            whole = part is not None
            break
        parts.append(part)
        missing -= len(part)
    data = b"".join(parts)
    if start is not None:
        stream.seek(start)
        return Head(data, whole, stream)
    return Head(data, whole, cast(BinaryIO, io.BufferedReader(_Rejoined(data, stream))))


def _next(stream: BinaryIO, most: int) -> bytes | None:
    """The next bytes, as they come; null where a stream that doesn't block has none yet."""
    read = getattr(stream, "read1", stream.read)
    found: bytes | None = read(most)
    return found


class _Rejoined(io.RawIOBase):
    """A stream with what was taken from it in front again, which is let go of once it is read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head: memoryview | None = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        if self._head is not None:
            part = self._head[: len(buffer)]
            self._head = self._head[len(part) :] if len(part) < len(self._head) else None
            if len(part):
                buffer[: len(part)] = part
                return len(part)
        found = _next(self._rest, len(buffer))
        if found is None:
            return None
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        super().close()
        self._head = None
        self._rest.close()
