"""Places within a file at which lines can be read from, with all that lies before them counted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.config import FieldNames
from lowbg.errors import CutStreamError
from lowbg.formats.jsonl import pieces
from lowbg.formats.jsonl.reader import JsonlReader
from lowbg.records import Position
from lowbg.storage.compression import compressed
from lowbg.storage.decompression import zstd_frames

LINES = st.lists(
    st.sampled_from(
        [b"{}", b"", b" ", b"\t\r", b"\x0b\x0c", b" x" * 40, b"y" * 300, b"\xef\xbb\xbf"]
    ),
    max_size=60,
)


def starts(path: Path, size: int) -> list[Position]:
    with path.open("rb", buffering=0) as raw:
        return [*pieces.piece_starts(raw, "a", size, 0, size)]


def check(found: Sequence[Position], data: bytes) -> None:
    for position in found:
        before = data[: position.offset]
        assert before.endswith(b"\n")
        assert position.line == before.count(b"\n") + 1
        assert position.record == sum(1 for line in before.split(b"\n") if line.strip())


@settings(deadline=None)
@given(LINES, st.integers(1, 200), st.sampled_from([b"", b"\n", b" \n"]))
def test_what_lies_before_a_piece_is_counted(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int, last: bytes
) -> None:
    data = b"\n".join(lines) + last
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data)
    found = starts(path, size)
    check(found, data)
    offsets = [position.offset for position in found]
    assert offsets == sorted(offsets)
    longest = max((len(line) for line in lines), default=0) + 1
    assert len(found) >= len(data) // (size + longest) - 1
    for codec in ("zstd", "gzip"):
        parts = [compressed(data[i : i + 37], codec) for i in range(0, len(data), 37)]
        path.write_bytes(b"".join(parts))
        found = starts(path, size)
        check(found, data)
        for position in found:
            stored, content = position.frame
            assert stored == sum(map(len, parts[: content // 37]))


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4_000), min_size=1, max_size=40),
    st.integers(100, 2_000),
    st.integers(1, 9_000),
    st.sampled_from(["zstd", "gzip"]),
)
def test_a_reader_ends_frames_where_pieces_may_begin(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size: int, block: int, codec: str
) -> None:
    data = b"".join(random.Random(n).randbytes(n).hex().encode() + b"\n" for n in sizes)
    frames = [compressed(data[i : i + 1_000], codec) for i in range(0, len(data), 1_000)]
    path = tmp_path_factory.getbasetemp() / "frames"
    path.write_bytes(b"".join(frames))
    ended, behind = [], 0
    with JsonlReader(
        str(path), FieldNames(), batch_bytes=block, max_record_bytes=6_000, name="a",
        frame_bytes=size,
    ) as reader:  # fmt: skip
        for batch in reader:
            behind = reader.position().offset
            if batch.ends_frame:
                ended.append(behind)
    assert behind == len(data)
    assert ended == [position.offset for position in starts(path, size)]


def test_lines_longer_than_a_read_are_counted(tmp_path: Path) -> None:
    lines = [b" " * 700_000, b"a" * 600_000, b"", b"b", b" " * 300_000, b"c" * 400_000,
             b"d" + b" " * 400_000, b"e" * 300_000]  # fmt: skip
    data = b"\n".join(lines)
    (tmp_path / "a").write_bytes(data)
    found = starts(tmp_path / "a", 100_000)
    assert len(found) >= 3
    check(found, data)


def test_frames_are_found_by_their_blocks() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    # Of many blocks, of one that repeats a byte, and of none.
    frames = [compressed(content, "zstd") for content in (b"ab" * 300_000, bytes(200_000), b"")]
    data = skipped + b"".join(frames) + skipped + frames[0]
    behind = len(skipped) + sum(map(len, frames)) + len(skipped)
    places = [len(skipped), len(skipped + frames[0]), len(skipped + frames[0] + frames[1]), behind]
    assert [*zstd_frames(data)] == places
    assert [*zstd_frames(data[:-5])] == places
    assert [*zstd_frames(data[: behind - 3])] == places[:3]
    assert [*zstd_frames(data + b"odd" * 4)] == places


def test_a_damaged_frame_is_an_error(tmp_path: Path) -> None:
    frames = [compressed(b"line\n" * 1_000 + bytes([i]), "zstd") for i in range(9)]
    frames[5] = frames[5][:-1] + bytes([frames[5][-1] ^ 1])
    (tmp_path / "a").write_bytes(b"".join(frames))
    with pytest.raises(CutStreamError):
        starts(tmp_path / "a", 1)
