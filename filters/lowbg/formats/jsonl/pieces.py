"""Where lines can be read from within a file: at line ends that lie a piece's size apart.

Plain bytes can be read from anywhere. Compressed ones from where a frame (zstd) or member (gzip)
begins; what a piece has of one that began before is decompressed and passed over. All content is
looked at once, for its lines to be counted: stretches of it at a time, by as many threads as there
are cores, but for gzip, whose members have to be read to be found.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import InputError
from lowbg.kernels.json_bytes import WIDTH
from lowbg.kernels.line_counts import (
    BLANK,
    ENDED,
    FIRST,
    IS_BLANK,
    OPENS_BLANK,
    SIZE,
    count_lines,
    nothing_counted,
)
from lowbg.kernels.machine import available_cores
from lowbg.records import Position
from lowbg.storage.compression import SNIFF_BYTES, sniff
from lowbg.storage.decompression import READ_BYTES, STEP_BYTES, Source, contents, zstd_frames

_TRIED: Final = 16
"""A gzip file without a second member in so many pieces has none, or none that is of use."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Content that begins at the stored byte `begin`, and what `count_lines` says of it."""

    begin: int
    counts: NDArray[np.int64]


class _Counter:
    """Counts the lines of content that comes in parts of at most `STEP_BYTES`."""

    def __init__(self) -> None:
        self.counts = nothing_counted()
        self._buffer = bytearray(STEP_BYTES + WIDTH)
        self.room = memoryview(self._buffer)[:STEP_BYTES]
        self._data = np.frombuffer(self._buffer, np.uint8)

    def add(self, data: bytes) -> None:
        """Counts the next content."""
        self.room[: len(data)] = data
        self.add_held(len(data))

    def add_held(self, size: int) -> None:
        """Counts what was put in `room`."""
        count_lines(self._data, size, self.counts)


class _Window:
    """The stored bytes from `begin` to before `end`, read apart from all other windows."""

    def __init__(self, raw: BinaryIO, begin: int, end: int | None) -> None:
        self._file = raw.fileno()
        self._at = begin
        self._end = end if end is not None else os.fstat(self._file).st_size

    def read(self, size: int) -> bytes:
        """The next ones, `size` at most; none at the end."""
        data = os.pread(self._file, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def readinto(self, room: memoryview) -> int:
        """The same, into `room`; how many there were."""
        size = os.preadv(self._file, [room[: self._end - self._at]], self._at)
        self._at += size
        return size

    def close(self) -> None:
        """Nothing: the file is another's."""


def piece_starts(
    raw: BinaryIO, name: str, size: int, hinted: int, frame_size: int
) -> Iterator[Position]:
    """Where pieces after the first begin, each at least `size` stored bytes behind another, or
    `frame_size` where frames are compressed: there frames of the outputs begin, too.

    `raw` is a file; `hinted` records lie behind them whose fields were noted. Raises `InputError`
    where the input is damaged or can't be read.
    """
    size = max(1, size)
    codec = sniff(_Window(raw, 0, None).read(SNIFF_BYTES), name)
    if codec == "gzip":
        return _starts([*_gzip_stretches(raw, name, frame_size)], hinted)
    if codec not in ("none", "zstd"):
        return iter(())
    begins = _plain_begins(raw, size) if codec == "none" else _frame_begins(raw, frame_size)
    if len(begins) < 2:
        return iter(())
    count = partial(_count_plain if codec == "none" else _count_zstd, raw, name)
    with ThreadPoolExecutor(min(len(begins), available_cores())) as pool:
        stretches = [*pool.map(count, begins, [*begins[1:], None])]
    return _starts(stretches, hinted, is_plain=codec == "none")


def _starts(
    stretches: Sequence[_Stretch], hinted: int, *, is_plain: bool = False
) -> Iterator[Position]:
    """Behind the first line end of each stretch but the first."""
    behind = ended = blank = 0
    is_blank = 1
    for i, stretch in enumerate(stretches):
        counts = stretch.counts.tolist()
        if counts[ENDED]:
            first_blank = is_blank & counts[OPENS_BLANK]
            if i:
                offset = behind + counts[FIRST] + 1
                place = (offset, offset) if is_plain else (stretch.begin, behind)
                lines = ended + 1
                yield Position(lines - blank - first_blank, lines + 1, offset, hinted, frame=place)
            blank += counts[BLANK] + first_blank
        is_blank = counts[IS_BLANK] & (is_blank if not counts[ENDED] else 1)
        ended += counts[ENDED]
        behind += counts[SIZE]


def _plain_begins(raw: BinaryIO, size: int) -> list[int]:
    return [*range(0, max(1, os.fstat(raw.fileno()).st_size - size + 1), size)]


def _frame_begins(raw: BinaryIO, size: int) -> list[int]:
    """Those zstd frames that begin `size` stored bytes behind another of them."""
    begins = [0]
    with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as stored:
        for frame in zstd_frames(stored):
            if frame - begins[-1] >= size:
                begins.append(frame)
    return begins


def _count_plain(raw: BinaryIO, name: str, begin: int, end: int | None) -> _Stretch:
    counter, window = _Counter(), _Window(raw, begin, end)
    try:
        while size := window.readinto(counter.room):
            counter.add_held(size)
    except OSError as error:
        raise InputError(f"{name}: reading failed ({error.strerror or error})") from error
    return _Stretch(begin, counter.counts)


def _count_zstd(raw: BinaryIO, name: str, begin: int, end: int | None) -> _Stretch:
    counter = _Counter()
    for chunk in contents(Source(cast(BinaryIO, _Window(raw, begin, end)), name), "zstd"):
        counter.add(chunk)
    return _Stretch(begin, counter.counts)


def _gzip_stretches(raw: BinaryIO, name: str, size: int) -> Iterator[_Stretch]:
    source = Source(cast(BinaryIO, _Window(raw, 0, None)), name)
    begin, counter = 0, _Counter()
    member = following = 0

    def note(stored: int) -> None:
        nonlocal member, following
        member = stored
        if stored - following >= size:
            following = stored

    for chunk in contents(source, "gzip", note):
        if following != begin:
            yield _Stretch(begin, counter.counts)
            begin, counter = following, _Counter()
        if not member and source.offset >= _TRIED * size + READ_BYTES:
            return
        counter.add(chunk)
    yield _Stretch(begin, counter.counts)
