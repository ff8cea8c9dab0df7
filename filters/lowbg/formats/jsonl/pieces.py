"""Where lines can be read from within a file: at line ends that lie a piece's size apart.

Plain bytes can be read from anywhere. Compressed ones from where a frame (zstd) or member (gzip)
begins; what a piece has of one that began before is decompressed and passed over. All bytes before
a piece are looked at once, for their lines to be counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from lowbg.records import Position
from lowbg.storage.compression import SNIFF_BYTES, sniff
from lowbg.storage.decompression import READ_BYTES, Source, contents

_SPACE: Final = rb"[ \t\r\x0b\x0c]*"
_BLANK_FIRST: Final = re.compile(_SPACE + rb"\n")
_BLANK_NEXT: Final = re.compile(rb"\n(?=" + _SPACE + rb"\n)")


class _Lines:
    """Counts the lines of content that comes in chunks, and those of them that are blank."""

    def __init__(self) -> None:
        self.ended = 0
        self.blank = 0
        self._is_blank = True

    def add(self, data: bytes) -> None:
        """Counts the next content."""
        if self._is_blank and _BLANK_FIRST.match(data):
            self.blank += 1
        self.blank += sum(1 for _ in _BLANK_NEXT.finditer(data))
        ended = data.count(b"\n")
        self.ended += ended
        tail = data[data.rfind(b"\n") + 1 :]
        self._is_blank = (bool(ended) or self._is_blank) and not tail.strip()


def piece_starts(raw: BinaryIO, name: str, size: int, hinted: int) -> Iterator[Position]:
    """Where pieces after the first begin, each at least `size` stored bytes behind another.

    `hinted` records lie behind them whose fields were noted. Raises `InputError` where the input is
    damaged.
    """
    source = Source(raw, name)
    head = source.take(SNIFF_BYTES)
    source.give_back(head)
    codec = sniff(head, name)
    if codec not in ("none", "gzip", "zstd"):
        return
    lines = _Lines()
    is_plain = codec == "none"
    behind = last = 0
    frame = 0, 0

    def begin(stored: int) -> None:
        nonlocal frame
        frame = stored, behind

    for chunk in contents(source, codec, begin):
        begins = (behind if is_plain else frame[0]) - last >= size
        end = chunk.find(b"\n") + 1 if begins else 0
        lines.add(chunk[:end])
        if end:
            offset = behind + end
            place = (offset, offset) if is_plain else frame
            last = place[0]
            yield Position(lines.ended - lines.blank, lines.ended + 1, offset, hinted, frame=place)
        lines.add(chunk[end:])
        behind += len(chunk)
        if (
            codec != "none"
            and not last
            and frame == (0, 0)
            and source.offset >= 2 * size + READ_BYTES
        ):
            return  # One frame: what is within can't be had without what comes before.
