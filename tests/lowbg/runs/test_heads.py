"""What a stream begins with, and the stream from its beginning."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

import pytest

from lowbg.runs import heads
from lowbg.runs.heads import take_head

DATA = bytes(range(256)) * 40


class Pipe(io.RawIOBase):
    """What can't be sought in and gives `step` bytes at a time."""

    def __init__(self, data: bytes, step: int = 100) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        part = self._data.read(min(len(buffer), self._step))
        buffer[: len(part)] = part
        return len(part)


def pipe(data: bytes, step: int = 100) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(Pipe(data, step), 64))


@pytest.mark.parametrize("step", [1, 100, 5000])
@pytest.mark.parametrize(("size", "whole"), [(1, False), (1000, False), (10_240, False),
                                             (10_241, True), (1 << 20, True)])  # fmt: skip
def test_a_stream_stays_to_be_read(step: int, size: int, whole: bool) -> None:
    for stream in (pipe(DATA, step), io.BytesIO(DATA)):
        head = take_head(stream, size)
        assert head.data == DATA[:size]
        assert head.whole == whole
        assert head.stream.read() == DATA
        assert head.stream.read() == b""
        head.stream.close()
        assert stream.closed


def test_it_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is behind the head no more is waited for than a read gives."""
    monkeypatch.setattr(heads, "HEAD_BYTES", 150)
    head = take_head(pipe(DATA, 100))
    assert head.data == DATA[:150]
    first = head.stream.read1(1000)  # type: ignore[attr-defined]
    second = head.stream.read1(1000)  # type: ignore[attr-defined]
    assert DATA.startswith(first + second)
    assert len(first) == 150
    assert 0 < len(second) <= 100
    assert not head.stream.seekable()


def test_a_stream_without_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    head = take_head(pipe(b""))
    assert (head.data, head.whole, head.stream.read()) == (b"", True, b"")


def test_where_a_stream_has_nothing_yet_it_is_not_whole() -> None:
    class Waiting(Pipe):
        def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
            return None

    head = take_head(cast(BinaryIO, Waiting(b"")))
    assert (head.data, head.whole) == (b"", False)
