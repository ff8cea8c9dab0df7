"""A compressing writer that is made anew behind what it stored gives the same bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

import pytest

from lowbg.errors import FormatError
from lowbg.storage import compression
from lowbg.storage.compression import StreamState, open_output, resume_output


def content(size: int) -> bytes:
    """Hexadecimal digits: they compress by half, and nothing repeats."""
    blocks = (hashlib.sha256(str(i).encode()).hexdigest() for i in range(size // 64 + 1))
    return "".join(blocks).encode()[:size]


def resumed(path: Path, codec: str, state: StreamState, rest: bytes) -> bytes:
    """The file as it is when a writer goes on from `state` with `rest`."""

    def stored() -> BinaryIO:
        file = path.open("rb")
        file.seek(state.frame_stored)
        return file

    with path.open("r+b") as sink:
        sink.truncate(state.stored)
        sink.seek(state.stored)
        out = resume_output(sink, codec, state, stored)
        out.write(rest)
        out.finish()
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "size"), [("none", 3), ("gzip", 11), ("zstd", 11), ("bz2", 11)])
def test_beyond_what_is_kept_in_memory_the_stored_bytes_are_read_back(
    codec: str, size: int, tmp_path: Path
) -> None:
    data = content((size << 20) + 12_345)
    whole = io.BytesIO()
    out = open_output(whole, codec)
    out.write(data)
    out.finish()
    path = tmp_path / "part"
    with path.open("wb") as sink:
        part = open_output(sink, codec, resumable=True)
        half = (size << 20) - 4321
        part.write(data[:half])
        state = part.state()
        part.write(data[half:])
    assert len(state.tail) < state.content
    assert state.stored > 0
    assert resumed(path, codec, state, data[half:]) == whole.getvalue()


@pytest.mark.parametrize("codec", compression.CODECS)
@pytest.mark.parametrize("frames", [0, 1, 2, 2.5])
def test_frames_end_where_the_content_says(
    codec: str, frames: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "WRITE_CHUNK", 1 << 10)
    monkeypatch.setattr(compression, "FRAME_BYTES", dict.fromkeys(compression.CODECS, 4 << 10))
    data = content(int(frames * (4 << 10)))
    whole = io.BytesIO()
    out = open_output(whole, codec)
    for i in range(0, len(data), 777):
        out.write(data[i : i + 777])
    out.finish()
    with compression.open_input(io.BytesIO(whole.getvalue())) as stream:
        assert stream.read(len(data) + 1) == data
    path = tmp_path / "part"
    with path.open("wb") as sink:
        part = open_output(sink, codec, resumable=True)
        part.write(data)
        state = part.state()
    assert resumed(path, codec, state, b"") == whole.getvalue()


def test_other_bytes_than_were_stored_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "part"
    with path.open("wb") as sink:
        part = open_output(sink, "gzip", resumable=True)
        part.write(content(3 << 20))
        state = part.state()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError):
        resumed(path, "gzip", state, b"")


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_frames_end_where_they_are_told_to(codec: str, tmp_path: Path) -> None:
    """An empty one isn't made; what was ended before an interruption stays so."""
    data = content(40_000)
    whole = io.BytesIO()
    out = open_output(whole, codec)
    path = tmp_path / "part"
    states = []
    with path.open("wb") as sink:
        part = open_output(sink, codec, resumable=True)
        for each in (out, part):
            each.end_frame()
            for i in range(0, 40_000, 10_000):
                each.write(data[i : i + 10_000])
                states.append((part.state(), i + 10_000))
                each.end_frame()
                each.end_frame()
                states.append((part.state(), i + 10_000))
            each.finish()
    stored = whole.getvalue()
    frames = [compression.compressed(data[i : i + 10_000], codec) for i in range(0, 40_000, 10_000)]
    assert stored == path.read_bytes() == b"".join(frames)
    for state, done in states[8:]:
        path.write_bytes(stored)
        again = io.BytesIO(stored[: state.stored])
        again.seek(0, io.SEEK_END)

        def behind(at: int = state.frame_stored) -> BinaryIO:
            return io.BytesIO(stored[at:])

        out = resume_output(again, codec, state, behind)
        for i in range(done, 40_000, 10_000):
            out.end_frame()
            out.write(data[i : i + 10_000])
        out.finish()
        assert again.getvalue() == stored


def test_a_part_without_content_is_empty() -> None:
    for part, empty in ((True, True), (False, False)):
        sink = io.BytesIO()
        open_output(sink, "zstd", part=part).finish()
        assert (sink.getvalue() == b"") is empty
