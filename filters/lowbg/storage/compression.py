"""Compressed streams in and out: plain, gzip, zstd, bz2 and xz, told apart by content.

Reading never ends early in silence (see `decompression`). Writing is deterministic: equal
content gives equal bytes, however it was chunked.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from msgspec import Struct
from zlib_ng import zlib_ng

from lowbg.errors import ConfigError, CutStreamError, FormatError, InputError
from lowbg.storage import zstd
from lowbg.storage.decompression import (
    STEP_BYTES,
    ZSTD_MAGIC,
    Codec,
    Source,
    contents,
    is_skippable,
)
from lowbg.storage.left_out import broken_link
from lowbg.storage.objects import is_object_url, open_object

CODECS: tuple[Codec, ...] = ("none", "gzip", "zstd", "bz2", "xz")
SNIFF_BYTES = 512
WRITE_CHUNK = 1 << 20

FRAMED: tuple[Codec, ...] = ("gzip", "zstd")
"""Codecs whose frames can be told apart, so that each may be read by itself."""

FRAME_BYTES: dict[Codec, int] = {
    "none": WRITE_CHUNK,
    "gzip": 16 << 30,
    "zstd": 16 << 30,
    "bz2": 64 << 20,
    "xz": 64 << 20,
}
"""Content after which a frame of an output ends: so much at most is compressed again when an
interrupted run goes on. Many readers of zstd and gzip stop at the end of the first frame, and lose
the rest in silence; so a frame is longer than nearly all shards, though two minutes of resuming
are the price at its end. Where the input has several, an output has, too."""

TAIL_CHUNKS = 8
"""How many latest chunks are kept: more than a compressor holds back."""

_UNREADABLE: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\x00\x00", "UTF-32 text; convert it first: iconv -f UTF-32 -t UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32 text; convert it first: iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8"),
    (b"{\x00", "UTF-16 text; convert it first: iconv -f UTF-16LE -t UTF-8"),
    (b"\x00{", "UTF-16 text; convert it first: iconv -f UTF-16BE -t UTF-8"),
    (b"\x04\x22\x4d\x18", "lz4-compressed; decompress it first: lz4 -dc"),
)


def sniff(head: bytes, name: str = "input") -> Codec:
    """The codec of a stream that starts with `head` (`SNIFF_BYTES` are enough).

    Raises `FormatError` for what is recognised and is neither such a codec nor of 8 bits: UTF-16,
    UTF-32, and codecs that aren't read.
    """
    # 1F 8B alone is enough: a foreign method byte is then reported as damaged gzip, not read as
    # text.
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:4] == ZSTD_MAGIC or is_skippable(head):
        return "zstd"
    # Bare "BZh" could start a text; with a level digit and a block (or end) magic it cannot.
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and _is_prefix_of_bz2(head[4:10]):
        return "bz2"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    if head[1:4] == ZSTD_MAGIC[1:] and 0x22 <= head[0] <= 0x27:
        raise FormatError(f"{name}: zstd of a version before 0.8; recompress it first")
    for magic, what in _UNREADABLE:
        if head.startswith(magic):
            raise FormatError(f"{name}: {what}")
    return "none"


def _is_prefix_of_bz2(block: bytes) -> bool:
    return any(magic.startswith(block) for magic in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"))


class InputStream:
    """The decompressed bytes of an input.

    `codec` is how it is stored, `name` what messages call it. Close it when done.
    """

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        self._source = Source(raw, name)
        head = self._source.take(SNIFF_BYTES)
        self._source.give_back(head)
        self.codec: Codec = sniff(head, name)
        self.on_frame: Callable[[int], None] | None = None
        """Told the stored offset of a zstd frame or gzip member before its content is returned."""
        self._chunks = contents(self._source, self.codec, self._begin_frame)
        self._fault: InputError | None = None
        self._held = b""
        self._at = 0

    def _begin_frame(self, stored: int) -> None:
        if self.on_frame is not None:
            self.on_frame(stored)

    @property
    def consumed(self) -> int:
        """Stored (compressed) bytes read so far, for progress."""
        return self._source.offset

    def seek_frame(self, stored: int) -> None:
        """Goes on with the content that the stored byte begins: a frame's, or plain bytes.

        Raises `InputError` where it can't.
        """
        self._source.seek(stored)
        self._chunks = contents(self._source, self.codec, self._begin_frame)
        self._fault, self._held, self._at = None, b"", 0

    def read_chunk(self, limit: int = STEP_BYTES) -> bytes:
        """The next bytes, as they come and at most `limit` of them; empty at the end.

        Raises `CutStreamError` where the stored data ends early or is damaged, `InputError` when
        reading itself fails. Both come after all bytes before the fault have been returned.
        """
        held, at = self._held, self._at
        if at == len(held):
            if self._fault is not None:
                raise self._fault
            try:
                held, at = next(self._chunks, b""), 0
            except InputError as error:
                # Kept, so that a second call does not take the exhausted generator for the end.
                self._fault = error
                raise
        end = at + limit
        if at == 0 and len(held) <= limit:
            self._held, self._at = b"", 0
            return held
        self._held, self._at = held, min(end, len(held))
        return held[at:end]

    def read(self, n: int) -> bytes:
        """The next `n` bytes, fewer only at the end or in front of a fault; raises as above."""
        parts: list[bytes] = []
        missing = n
        while missing > 0:
            try:
                part = self.read_chunk(missing)
            except InputError:
                if not parts:
                    raise
                break  # What was read comes first; the next call meets the fault.
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def peek(self, n: int) -> bytes:
        """The next `n` bytes, which stay to be read; fewer at the end or before a fault."""
        try:
            head = self.read(n)
        except InputError:
            return b""
        self.give_back(head)
        return head

    def give_back(self, data: bytes) -> None:
        """Puts content that was returned in front again."""
        self._held, self._at = data + self._held[self._at :], 0

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fills `buffer` as `read` would; returns how many bytes were written."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Closes the underlying file; safe to call twice."""
        self._source.close()

    def __enter__(self) -> InputStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_binary(path: str | os.PathLike[str]) -> BinaryIO:
    """The stored bytes of a local path or a URL, opened for reading; not every URL can seek.

    Raises `InputError` when it cannot be opened and `ConfigError` when the package that a URL
    needs is not installed.
    """
    text = os.fspath(path)
    if "://" not in text:
        try:
            return Path(text).open("rb", buffering=0)
        except OSError as error:
            why = broken_link(text) or f"cannot be opened ({error.strerror})"
            raise InputError(f"{text}: {why}") from error
    try:
        if is_object_url(text):
            return open_object(text)
        import fsspec

        return cast(BinaryIO, fsspec.open(text, "rb").open())
    except ConfigError:
        raise
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{text}: {error}") from error
    except Exception as error:
        # Every fsspec backend brings its own errors (botocore, aiohttp, …).
        raise InputError(f"{text}: cannot be opened ({why_not_opened(error)})") from error


def why_not_opened(error: BaseException) -> str:
    """What a store says, in words: fsspec raises "not found" for whatever went wrong below it."""
    while error.__cause__ is not None:
        error = error.__cause__
    status = getattr(error, "status", None)
    if isinstance(status, int):
        said = getattr(error, "message", "")
        return f"the server answers {status} {said}".rstrip()
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error).partition("\n")[0].strip() or type(error).__name__


def open_input(
    source: str | os.PathLike[str] | BinaryIO | IO[bytes], name: str | None = None
) -> InputStream:
    """The decompressed bytes of a path, an fsspec URL or an open binary stream.

    The content decides the codec, not the name. Closing the result closes a given stream too.
    Raises `InputError` when it cannot be opened, `FormatError` when it is a format that lowbg
    does not read.
    """
    if isinstance(source, (str, os.PathLike)):
        raw, name = open_binary(source), name or os.fspath(source)
    else:
        raw, name = cast(BinaryIO, source), name or "stdin"
    try:
        return InputStream(raw, name)
    except BaseException:
        raw.close()
        raise


class _Sink(Protocol):
    """What compressed bytes are written to."""

    def write(self, data: bytes, /) -> object: ...


class _Compressor(Protocol):
    """What zlib-ng, bz2, lzma and zstd compressors share."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _new_compressor(codec: Codec) -> _Compressor | None:
    if codec == "zstd":
        # No workers: with them, output depends on their number.
        parameter = zstd.CompressionParameter
        return zstd.ZstdCompressor(
            options={parameter.compression_level: 3, parameter.checksum_flag: 1}
        )
    if codec == "gzip":
        # wbits=31 writes a header without name and with time 0. Level 3 takes a quarter less time
        # than 6, for 1.5 % more bytes (`benchmarks/speed/gzip_codecs.py`).
        return zlib_ng.compressobj(3, zlib_ng.DEFLATED, 31)
    if codec == "bz2":
        return bz2.BZ2Compressor(9)
    if codec == "xz":
        return lzma.LZMACompressor(lzma.FORMAT_XZ)
    return None


def compressed(data: bytes | memoryview, codec: str) -> bytes:
    """`data` as one whole frame (gzip member, bz2 or xz stream) of its own."""
    compressor = _new_compressor(_codec(codec))
    if compressor is None:
        return bytes(data)
    return compressor.compress(cast(bytes, data)) + compressor.flush()


class StreamState(Struct, frozen=True):
    """Where an output stands: bytes of content and stored bytes, and those in ended frames.

    `tail` is the latest content, of which a part may not be stored yet.
    """

    content: int
    stored: int
    frame_content: int
    frame_stored: int
    tail: bytes


class OutputStream:
    """A compressing writer over a binary file object.

    The compressor always gets chunks of exactly 1 MiB (the last one shorter), and a frame (gzip
    member, bz2 or xz stream) ends after `FRAME_BYTES` of content, so that equal content gives
    equal bytes however it was written. `finish` must be called; the file object stays open. With
    `resumable` the latest content is kept in memory, for `state`. Without content there is a frame
    with none, but in a `part` of another stream.
    """

    def __init__(
        self, sink: _Sink, codec: Codec, *, resumable: bool = False, part: bool = False
    ) -> None:
        self.codec = codec
        self.stored = 0
        """Bytes handed to the sink."""
        self._sink = sink
        self._compressor = _new_compressor(codec)
        self._pending = bytearray()
        self._finished = False
        self._resumable = resumable
        self._part = part
        # Content handed to the compressor, and what of it and of `stored` lies in ended frames.
        self._content = 0
        self._frame_content = 0
        self._frame_stored = 0
        self._recent: deque[bytes] = deque(maxlen=TAIL_CHUNKS)

    def write(self, data: bytes | memoryview) -> None:
        """Appends `data`; whatever the sink raises passes through."""
        view = memoryview(data)
        if self._pending:
            room = WRITE_CHUNK - len(self._pending)
            self._pending += view[:room]
            view = view[room:]
            if len(self._pending) < WRITE_CHUNK:
                return
            self._emit(self._pending)
            self._pending = bytearray()
        whole = len(view) - len(view) % WRITE_CHUNK
        for start in range(0, whole, WRITE_CHUNK):
            self._emit(view[start : start + WRITE_CHUNK])
        self._pending += view[whole:]

    def finish(self) -> None:
        """Writes what is pending and the end of the compressed stream; safe to call twice."""
        if self._finished:
            return
        self._finished = True
        if self._part and self.codec != "none":
            self.end_frame()
            self._compressor = None
            return
        self._emit(self._pending)
        self._pending = bytearray()
        if self._compressor is not None:
            self._put(self._compressor.flush())
        self._compressor = None
        self._recent.clear()

    def flush(self) -> None:
        """Hands pending bytes on where there is no codec; a codec's chunks stay as they are."""
        if self.codec == "none" and self._pending:
            self._emit(self._pending)
            self._pending = bytearray()

    def pass_by(self, size: int) -> None:
        """Notes bytes that were written to the sink by another way: whole frames."""
        assert not self._pending
        if size:
            self._content += size
            self.stored += size
            self._compressor = None
            self._end_frame()

    def end_frame(self) -> None:
        """Ends the frame, if there is any content in it; what follows begins another."""
        if self.codec == "none" or self._content + len(self._pending) == self._frame_content:
            return
        if self._pending:
            self._emit(self._pending)
            self._pending = bytearray()
        if self._compressor is not None:
            self._put(self._compressor.flush())
            self._compressor = None
        self._end_frame()

    def state(self) -> StreamState:
        """What `resume_output` needs to go on from here, once the sink's bytes are safe."""
        return StreamState(
            content=self._content + len(self._pending),
            stored=self.stored,
            frame_content=self._frame_content,
            frame_stored=self._frame_stored,
            tail=b"".join((*self._recent, self._pending)),
        )

    def _emit(self, data: bytearray | memoryview) -> None:
        if not data and self._content:
            return
        if self.codec == "none":
            self._put(bytes(data))
            self._content += len(data)
            self._end_frame()
            return
        if self._compressor is None:
            self._compressor = _new_compressor(self.codec)
        assert self._compressor is not None
        self._put(self._compressor.compress(cast(bytes, data)))
        self._content += len(data)
        if self._resumable:
            self._recent.append(bytes(data))
        if self._content - self._frame_content == FRAME_BYTES[self.codec]:
            self._put(self._compressor.flush())
            self._compressor = None
            self._end_frame()

    def _end_frame(self) -> None:
        self._frame_content, self._frame_stored = self._content, self.stored
        self._recent.clear()

    def _put(self, out: bytes) -> None:
        if out:
            self._sink.write(out)
            self.stored += len(out)


def resume_output(
    sink: _Sink,
    codec: str,
    state: StreamState,
    stored: Callable[[], BinaryIO],
    *,
    part: bool = False,
) -> OutputStream:
    """The writer whose `state` was taken, made anew; `sink` appends behind `state.stored` bytes.

    `stored` opens the bytes that are there already, at the first one that is in no ended frame.
    They are read back, and compressed again to bring the compressor to where it was: so a resumed
    file is, byte for byte, the one of a run that was never interrupted. Raises `FormatError` when
    they are not what they were.
    """
    replay = _Replay(sink, stored(), state.stored - state.frame_stored)
    out = OutputStream(replay, _codec(codec), resumable=True, part=part)
    out._content = out._frame_content = state.frame_content
    if out._content:
        out._compressor = None  # No empty frame, should nothing follow.
    out.stored = out._frame_stored = state.frame_stored
    at = state.frame_content
    try:
        for data in _unfinished(stored(), codec, state.stored - state.frame_stored):
            data = data[: state.content - at]
            out.write(data)
            at += len(data)
        missing = state.content - at
        if missing > len(state.tail):
            raise FormatError(f"{missing} bytes of content are missing")
        out.write(state.tail[len(state.tail) - missing :])
    finally:
        replay.close()
    if replay.left or out.stored != state.stored:
        raise FormatError(f"{replay.left} stored bytes too many")
    return out


def _unfinished(stored: BinaryIO, codec: str, size: int) -> Iterator[bytes]:
    """The content of a frame that has no end yet, as far as it can be had."""
    with closing(stored), suppress(CutStreamError):
        if size and codec != "none":
            limited = cast(BinaryIO, _Limited(stored, size))
            yield from contents(Source(limited, "a partial output"), _codec(codec))


class _Limited(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, n: int = -1) -> bytes:
        data = self._file.read(self._size if n < 0 else min(n, self._size))
        self._size -= len(data)
        return data


class _Replay:
    """A sink that compares its first `left` bytes to those of `stored` and passes on the rest."""

    def __init__(self, sink: _Sink, stored: BinaryIO, left: int) -> None:
        self.left = left
        self._sink = sink
        self._stored = stored

    def write(self, data: bytes) -> None:
        if self.left:
            again, data = data[: self.left], data[self.left :]
            if self._stored.read(len(again)) != again:
                raise FormatError("the stored bytes are not those that were written")
            self.left -= len(again)
        if data:
            self._sink.write(data)

    def close(self) -> None:
        self._stored.close()


def open_output(
    sink: _Sink, codec: str, *, resumable: bool = False, part: bool = False
) -> OutputStream:
    """A compressing writer that appends to `sink` (a binary file object): `OutputStream`.

    Raises `ConfigError` when `codec` is none of `CODECS`.
    """
    return OutputStream(sink, _codec(codec), resumable=resumable, part=part)


def _codec(name: str) -> Codec:
    if name not in CODECS:
        raise ConfigError(f"no codec {name!r}; there are {', '.join(CODECS)}")
    return name
