"""Stored bytes → content, codec by codec, with every early end found.

Reading never ends early in silence: a cut or damaged stream raises `CutStreamError`, after the
bytes before the damage have been returned. Output per step is bounded whatever the input
expands to.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, Literal, Protocol, cast

from zlib_ng import zlib_ng

from lowbg.errors import CutStreamError, FormatError, InputError
from lowbg.storage import zstd

Codec = Literal["none", "gzip", "zstd", "bz2", "xz"]

READ_BYTES = 1 << 18
"""Stored bytes read at a time."""

STEP_BYTES = 1 << 18
"""The most content that one step returns."""

MAX_WINDOW = 1 << 31
"""The largest zstd window, in bytes: what `zstd --long=31` writes."""

_LIMITS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW.bit_length() - 1}

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

# The types that zlib-ng ships take its exception for an instance, and lack `copy`.
_GzipError = cast(type[Exception], zlib_ng.error)


class Source:
    """The stored bytes of an input: reads ahead in chunks and counts."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self.total = 0
        self._raw = raw
        # One system call a chunk: `read` of a buffered pipe would wait for the whole chunk.
        self._read = getattr(raw, "read1", raw.read)
        self._held = b""
        self._at = 0

    @property
    def offset(self) -> int:
        """Stored bytes handed out so far."""
        return self.total - (len(self._held) - self._at)

    def chunk(self) -> bytes:
        """The next stored bytes, of any length; empty at the end."""
        if self._at < len(self._held):
            rest = self._held[self._at :] if self._at else self._held
            self._held, self._at = b"", 0
            return rest
        return self._fetch()

    def take(self, n: int) -> bytes:
        """The next `n` stored bytes, fewer only at the end."""
        end = self._at + n
        if end <= len(self._held):
            part = self._held[self._at : end]
            self._at = end
            return part
        parts = [self._held[self._at :]]
        missing = n - len(parts[0])
        self._held, self._at = b"", 0
        while missing:
            more = self._fetch()
            if not more:
                break
            parts.append(more[:missing])
            if len(more) > missing:
                self._held, self._at = more, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    def give_back(self, data: bytes) -> None:
        """Puts bytes that were handed out in front again."""
        rest = self._held[self._at :]
        self._held, self._at = (data + rest if rest else data), 0

    def seek(self, offset: int) -> None:
        """Makes the stored byte at `offset` the next one. Raises `InputError` where it can't."""
        try:
            self._raw.seek(offset)
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{self.name}: can't be read from byte {offset} on ({why})") from error
        self.total, self._held, self._at = offset, b"", 0

    def _fetch(self) -> bytes:
        try:
            data = self._read(READ_BYTES)
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{self.name}: reading failed at byte {self.total} ({why})") from error
        if data is None:
            raise InputError(f"{self.name}: a non-blocking stream; lowbg needs a blocking one")
        self.total += len(data)
        return cast(bytes, data)

    def close(self) -> None:
        """Closes the underlying file; safe to call twice."""
        self._raw.close()


def _cut(source: Source, codec: str, what: str) -> CutStreamError:
    return CutStreamError(
        f"{source.name}: {codec} data {what} at byte {source.offset} of the stored file. "
        "The complete records before it were processed; fetch the file again to get the rest."
    )


def _plain(source: Source) -> Iterator[bytes]:
    while data := source.chunk():
        yield data


def _no_frame(stored: int) -> None:
    """Nobody asks where frames begin."""


def _gunzip(source: Source, on_frame: Callable[[int], None] = _no_frame) -> Iterator[bytes]:
    """The content of every gzip member; zero padding after the last one is tolerated."""
    while True:
        on_frame(source.offset)
        yield from _gunzip_member(source)
        head = source.take(2)
        if not head:
            return
        if head == b"\x1f\x8b":
            source.give_back(head)
            continue
        while head:
            if head.strip(b"\x00"):
                raise _cut(source, "gzip", "is followed by bytes that are not gzip")
            head = source.chunk()
        return


_GZIP_SAYS = {
    "incorrect data check": "its content isn't that of its checksum",
    "incorrect length check": "its content isn't as long as it says",
}


def _gunzip_member(source: Source) -> Iterator[bytes]:
    member: Any = zlib_ng.decompressobj(wbits=31)
    while not member.eof:
        data = source.chunk()
        if not data:
            raise _cut(source, "gzip", "ends early")
        full = True
        while (data or full) and not member.eof:
            # zlib-ng drops what a failing call had already decoded; the copy (40 KB) lets it be
            # decoded again, byte by byte, up to the damage.
            before = member.copy()
            try:
                out = member.decompress(data, STEP_BYTES)
            except _GzipError as error:
                taken = yield from _inflate_up_to_damage(before, data)
                source.give_back(data[taken:])
                why = str(error).rpartition(": ")[2]
                raise _cut(source, "gzip", f"is damaged ({_GZIP_SAYS.get(why, why)})") from error
            data = member.unconsumed_tail
            full = len(out) == STEP_BYTES
            if out:
                yield out
    source.give_back(member.unused_data)


def _inflate_up_to_damage(member: Any, data: bytes) -> Generator[bytes, None, int]:
    """The content in front of the damage; returns how many of the bytes are sound."""
    for i in range(len(data)):
        byte = data[i : i + 1]
        try:
            while out := member.decompress(byte, STEP_BYTES):
                yield out
                byte = member.unconsumed_tail
        except _GzipError:
            return i
    return len(data)


class _Decompressor(Protocol):
    """What bz2 and lzma decompressors share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _new_decompressor(codec: Codec) -> _Decompressor:
    if codec == "bz2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_WINDOW)


def _streams(source: Source, codec: Codec) -> Iterator[bytes]:
    """The content of every bz2 or xz stream.

    Both libraries drop the output of a failing call, so damage (not a mere cut) can take up to
    one step of bytes before it along; steps are fed in small portions to keep that short.
    """
    magic = b"BZh" if codec == "bz2" else b"\xfd7zXZ\x00"
    while True:
        stream = _new_decompressor(codec)
        while not stream.eof:
            data = source.take(4096) if stream.needs_input else b""
            if stream.needs_input and not data:
                raise _cut(source, codec, "ends early")
            try:
                out = stream.decompress(data, STEP_BYTES)
            except (OSError, lzma.LZMAError, ValueError) as error:
                raise _cut(source, codec, f"is damaged ({error})") from error
            if out:
                yield out
        source.give_back(stream.unused_data)
        head = source.take(len(magic))
        # xz allows zero padding between streams, in fours.
        while codec == "xz" and head[:4] == b"\x00\x00\x00\x00":
            source.give_back(head[4:])
            head = source.take(len(magic))
        if not head:
            return
        if head != magic:
            raise _cut(source, codec, f"is followed by bytes that are not {codec}")
        source.give_back(head)


class _ZstdFrames:
    """Walks zstd frames block by block (RFC 8878, section 3.1).

    The library's own readers lose the last blocks before a cut, and a decompressor fed 128 KiB
    may return 2 GiB. The walk settles both: a block holds at most 128 KiB of content, and the
    last block of a frame says so.
    """

    def __init__(self, source: Source, on_frame: Callable[[int], None] = _no_frame) -> None:
        self._source = source
        self._on_frame = on_frame

    def __iter__(self) -> Iterator[bytes]:
        while True:
            magic = self._source.take(4)
            if not magic:
                return
            if magic == ZSTD_MAGIC:
                self._on_frame(self._source.offset - len(magic))
                yield from self._frame()
            elif is_skippable(magic):
                self._skip(int.from_bytes(self._exactly(4), "little"))
            elif len(magic) < 4 and _could_start_frame(magic):
                raise _cut(self._source, "zstd", "ends early")
            else:
                self._source.give_back(magic)
                raise _cut(self._source, "zstd", "is followed by bytes that are not zstd")

    def _frame(self) -> Iterator[bytes]:
        header, checksum = self._header()
        frame = zstd.ZstdDecompressor(options=_LIMITS)
        self._feed(frame, header)
        take = self._source.take
        last = 0
        while not last:
            head = take(3)
            if len(head) < 3:
                raise _cut(self._source, "zstd", "ends early")
            word = head[0] | head[1] << 8 | head[2] << 16
            last = word & 1
            size = 1 if word & 6 == 2 else word >> 3
            body = take(size)
            # What there is of a cut block cannot be decoded; the blocks before it can.
            if len(body) < size:
                raise _cut(self._source, "zstd", "ends early")
            out = self._feed(frame, head + body)
            if out:
                yield out
        if checksum:
            self._feed(frame, self._exactly(4))
        if not frame.eof:
            raise _cut(self._source, "zstd", "is damaged (frame not ended by its last block)")

    def _header(self) -> tuple[bytes, bool]:
        """The frame header with its magic, and whether a checksum ends the frame."""
        descriptor = self._exactly(1)
        flags = descriptor[0]
        window_bytes, dictionary_bytes, size_bytes = _header_sizes(flags)
        rest = self._exactly(window_bytes + dictionary_bytes + size_bytes)
        if any(dictionary := rest[window_bytes : window_bytes + dictionary_bytes]):
            number = int.from_bytes(dictionary, "little")
            raise FormatError(
                f"{self._source.name}: compressed with the zstd dictionary {number}, which lowbg "
                "does not have. Decompress it first: zstd -dc -D DICTIONARY"
            )
        return ZSTD_MAGIC + descriptor + rest, bool(flags & 4)

    def _feed(self, frame: zstd.ZstdDecompressor, data: bytes) -> bytes:
        try:
            return frame.decompress(data)
        except zstd.ZstdError as error:
            raise _cut(self._source, "zstd", f"is damaged ({error})") from error

    def _exactly(self, n: int) -> bytes:
        data = self._source.take(n)
        if len(data) < n:
            raise _cut(self._source, "zstd", "ends early")
        return data

    def _skip(self, n: int) -> None:
        while n:
            n -= len(self._exactly(min(n, READ_BYTES)))


def _header_sizes(flags: int) -> tuple[int, int, int]:
    """How long a zstd frame's window, dictionary and content size are, as its descriptor says."""
    single_segment = flags >> 5 & 1
    return 1 - single_segment, (0, 1, 2, 4)[flags & 3], (single_segment, 2, 4, 8)[flags >> 6]


def zstd_frames(stored: bytes | mmap.mmap) -> Iterator[int]:
    """Where zstd frames begin, by their blocks' sizes: nothing is decompressed, or checked.

    It ends where no frame follows, and within a frame that is cut.
    """
    at = 0
    while True:
        head = stored[at : at + 8]
        if len(head) == 8 and is_skippable(head):
            at += 8 + int.from_bytes(head[4:], "little")
            continue
        if head[:4] != ZSTD_MAGIC or len(head) < 5:
            return
        yield at
        flags, last = head[4], 0
        at += 5 + sum(_header_sizes(flags))
        while not last:
            block = int.from_bytes(stored[at : at + 3], "little")
            if at + 3 > len(stored):
                return
            last = block & 1
            at += 3 + (1 if block & 6 == 2 else block >> 3)
        at += 4 if flags & 4 else 0


def _could_start_frame(magic: bytes) -> bool:
    skippable = 0x50 <= magic[0] <= 0x5F and b"\x2a\x4d\x18".startswith(magic[1:])
    return skippable or ZSTD_MAGIC.startswith(magic)


def contents(
    source: Source, codec: Codec, on_frame: Callable[[int], None] = _no_frame
) -> Iterator[bytes]:
    """The decompressed bytes of `source` in steps of at most `STEP_BYTES`.

    `on_frame` is told the stored offset of each zstd frame and gzip member, before its content.
    Raises `CutStreamError` in place of the first bytes that cannot be had, `FormatError` where a
    zstd frame needs a dictionary, `InputError` when reading fails.
    """
    if codec == "none":
        return _plain(source)
    if codec == "gzip":
        return _gunzip(source, on_frame)
    if codec == "zstd":
        return iter(_ZstdFrames(source, on_frame))
    return _streams(source, codec)


def is_skippable(head: bytes) -> bool:
    """Whether `head` starts a zstd skippable frame."""
    return len(head) >= 4 and 0x50 <= head[0] <= 0x5F and head[1:4] == b"\x2a\x4d\x18"
