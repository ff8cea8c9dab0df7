from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.config import Compression
from lowbg.errors import OutputError
from lowbg.formats.jsonl.writer import JsonlWriter, StreamWriter, annotated
from lowbg.formats.naming import codec_of, output_name, stem
from lowbg.formats.quarantine import QuarantineWriter
from lowbg.records import BytesPayload, Rejected, RejectReason, RowPayload
from lowbg.storage.compression import CODECS, open_input
from lowbg.storage.files import AtomicFile, Part


def payload(lines: list[bytes], between: bytes = b"") -> BytesPayload:
    """The lines in one buffer, with bytes that belong to no record between them."""
    buffer = b"".join(between + line for line in lines) + between
    lengths = np.array([len(line) for line in lines], np.int64)
    starts = np.cumsum(lengths + len(between)) - lengths
    return BytesPayload(buffer, starts, starts + lengths)


def mask(*kept: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array(kept, np.bool_)


LINES = [b'{"text":"a"}\n', b'{"text":"bb"}\r\n', b'{"text":"c"}\n', b'{"text":"last"}']


@pytest.mark.parametrize("codec", CODECS)
def test_kept_lines_are_written_as_stored(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "human" / "deep" / "s.jsonl"
    writer = JsonlWriter(path, tmp_path, codec)
    writer.write(payload(LINES), mask(1, 0, 1, 1))
    assert not path.exists()
    written = writer.commit()
    writer.abort()
    with open_input(path) as stream:
        assert stream.codec == codec
        assert stream.read(1000) == LINES[0] + LINES[2] + LINES[3]
    stored = path.read_bytes()
    assert (written.path, written.records) == ("human/deep/s.jsonl", 3)
    assert (written.bytes, written.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert [p.name for p in path.parent.iterdir()] == ["s.jsonl"]


@settings(max_examples=60)
@given(
    lines=st.lists(st.binary(min_size=1, max_size=9).map(lambda b: b + b"\n"), max_size=12),
    between=st.sampled_from([b"", b"\n"]),
    data=st.data(),
)
def test_any_mask(lines: list[bytes], between: bytes, data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    out = io.BytesIO()
    writer = StreamWriter(out)
    writer.write(payload(lines, between), np.array(keep, np.bool_))
    assert writer.commit().records == sum(keep)
    expected = b"".join(line for line, kept in zip(lines, keep, strict=True) if kept)
    assert out.getvalue() == expected


def test_neighbours_are_one_piece() -> None:
    from lowbg.formats.jsonl.writer import pieces

    assert len(list(pieces(payload(LINES), mask(1, 1, 1, 1), None))) == 1
    assert len(list(pieces(payload(LINES), mask(1, 1, 0, 1), None))) == 2
    assert len(list(pieces(payload(LINES, b"\n"), mask(1, 1, 1, 1), None))) == 4
    assert not list(pieces(payload([]), mask(), None))


def test_a_missing_line_end_is_added_only_between_records(tmp_path: Path) -> None:
    out = io.BytesIO()
    stream = StreamWriter(out)
    file = JsonlWriter(tmp_path / "a.jsonl", tmp_path, "none")
    for writer in (stream, file):
        writer.write(payload([b"1\n", b"2"]), mask(1, 1))
        writer.write(payload([]), mask())
        writer.write(payload([b"3"]), mask(0))
        writer.write(payload([b"4\n", b"5"]), mask(1, 1))
        writer.commit()
    assert out.getvalue() == b"1\n2\n4\n5"
    assert (tmp_path / "a.jsonl").read_bytes() == b"1\n2\n4\n5"


def test_flush_hands_on_what_was_written() -> None:
    out = io.BytesIO()
    writer = StreamWriter(out)
    writer.write(payload(LINES), mask(1, 0, 0, 0))
    assert out.getvalue() == b""
    writer.flush()
    assert out.getvalue() == LINES[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a":1}\n', b'{"a":1,"lowbg":{"s":1}}\n'),
        (b'{"a":1}', b'{"a":1,"lowbg":{"s":1}}'),
        (b'{"a":1}\r\n', b'{"a":1,"lowbg":{"s":1}}\r\n'),
        (b' {"a": "}" } \t\n', b' {"a": "}","lowbg":{"s":1} } \t\n'),
        (b"{}\n", b'{"lowbg":{"s":1}}\n'),
        (b"{ }\n", b'{"lowbg":{"s":1} }\n'),
        (b" { }", b' {"lowbg":{"s":1} }'),
        (b"\xef\xbb\xbf{}\n", b'\xef\xbb\xbf{"lowbg":{"s":1}}\n'),
        (b'{"a":{}}\n', b'{"a":{},"lowbg":{"s":1}}\n'),
        (b'{"a":"{"}\n', b'{"a":"{","lowbg":{"s":1}}\n'),
    ],
)
def test_annotated(line: bytes, expected: bytes) -> None:
    got = annotated(line, b'{"s":1}')
    assert got == expected
    before, after = json.loads(line.decode("utf-8-sig")), json.loads(got.decode("utf-8-sig"))
    assert after == {**before, "lowbg": {"s": 1}}


def test_annotations_follow_their_records() -> None:
    out = io.BytesIO()
    writer = StreamWriter(out)
    scores = pa.array([0.1, 0.2, 0.3, None], pa.float32())
    notes = pa.StructArray.from_arrays([scores], names=["s"])
    writer.write(payload(LINES), mask(0, 1, 0, 1), notes)
    writer.commit()
    expected = b'{"text":"bb","lowbg":{"s":0.2}}\r\n{"text":"last","lowbg":{"s":null}}'
    assert out.getvalue() == expected


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "a.jsonl", tmp_path, "zstd")
    writer.write(payload(LINES), mask(1, 1, 1, 1))
    writer.abort()
    writer.abort()
    assert not list(tmp_path.iterdir())


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / ("é" * 120 + ".jsonl"), tmp_path, "none")
    writer.commit()
    assert len(list(tmp_path.iterdir())) == 1


class _Full(io.RawIOBase):
    def __init__(self, error: OSError) -> None:
        self._error = error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise self._error


def test_a_full_disk_is_an_output_error_that_names_the_file() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    writer = StreamWriter(_Full(error), name="human.jsonl")  # type: ignore[arg-type]
    writer.write(payload(LINES), mask(1, 1, 1, 1))
    with pytest.raises(OutputError, match=r"human\.jsonl: .*No space left"):
        writer.commit()


def test_a_broken_pipe_passes() -> None:
    writer = StreamWriter(_Full(BrokenPipeError()))  # type: ignore[arg-type]
    writer.write(payload(LINES), mask(1, 1, 1, 1))
    with pytest.raises(BrokenPipeError):
        writer.commit()


class _Trickle(io.BytesIO):
    """Takes three bytes at a time, as a raw stream may."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data[:3]))


def test_short_writes_are_continued() -> None:
    out = _Trickle()
    writer = StreamWriter(out)
    writer.write(payload(LINES), mask(1, 1, 1, 1))
    writer.commit()
    assert out.getvalue() == b"".join(LINES)


def test_a_directory_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "human").write_text("a file")
    with pytest.raises(OutputError, match="human"):
        JsonlWriter(tmp_path / "human" / "a.jsonl", tmp_path, "none")
    (tmp_path / "taken").mkdir()
    file = AtomicFile(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken"):
        file.commit()
    file.abort()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["human", "taken"]


def test_rows_are_not_lines() -> None:
    rows = RowPayload(pa.record_batch({"text": ["a"]}))
    with pytest.raises(TypeError):
        StreamWriter(io.BytesIO()).write(rows, mask(1))


def test_quarantine_holds_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "quarantine" / "s.jsonl.zst.jsonl"
    writer = QuarantineWriter(path, tmp_path, max_bytes=2)
    writer.write("s.jsonl.zst", [])
    assert not path.parent.exists()
    writer.write(
        "s.jsonl.zst",
        [
            Rejected(3, 5, 77, RejectReason.INVALID_UTF8, "s:5: bad \ud800", b"\xff\n"),
            Rejected(9, None, None, RejectReason.UNREADABLE, "m", b"", "arrow-ipc", 40),
        ],
    )
    written = writer.commit()
    assert written is not None
    assert (written.path, written.records) == ("quarantine/s.jsonl.zst.jsonl", 41)
    first, second = map(json.loads, path.read_text().splitlines())
    assert base64.b64decode(first.pop("raw")) == b"\xff\n"
    assert first == {
        "shard": "s.jsonl.zst",
        "record": 3,
        "line": 5,
        "offset": 77,
        "reason": "invalid_utf8",
        "error": "s:5: bad ?",
        "encoding": "line",
        "count": 1,
    }
    assert (second["line"], second["count"], second["raw"]) == (None, 40, "")


def test_quarantine_beyond_its_bytes_keeps_digests(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    writer = QuarantineWriter(path, tmp_path, max_bytes=5)
    lines = [b"123\n", b"56\n", b"7", b"8"]
    reason = RejectReason.INVALID_JSON
    for shard in ("a", "b"):
        for i, raw in enumerate(lines):
            writer.write(shard, [Rejected(i, i + 1, 0, reason, "m", raw)])
    writer.commit()
    rows = list(map(json.loads, path.read_text().splitlines()))
    kept = {"line": lines[0]}, {"sha256": sha256(lines[1]).digest()}, {"line": b"7"}
    expected = [*kept, {"sha256": sha256(b"8").digest()}]
    assert [{row["encoding"]: base64.b64decode(row["raw"])} for row in rows] == expected * 2
    assert [row.get("bytes") for row in rows] == [None, 3, None, 1] * 2
    assert (writer.digests_of("a"), writer.digests_of("b")) == (0, 2)


def test_a_resumed_quarantine_knows_what_it_kept(tmp_path: Path) -> None:
    def rejected(i: int) -> Rejected:
        return Rejected(i, i + 1, 0, RejectReason.INVALID_JSON, "m", b"12345")

    def written(stops: bool) -> bytes:
        part = Part(tmp_path, f"part-{stops}")
        path = tmp_path / f"q-{stops}.jsonl"
        writer = QuarantineWriter(path, tmp_path, part, max_bytes=12)
        writer.write("a", [rejected(0)])
        if stops:
            state = writer.checkpoint(1)
            writer.write("a", [rejected(1)])
            writer.abort()
            writer = QuarantineWriter(path, tmp_path, replace(part, state=state), max_bytes=12)
        writer.write("a", [rejected(1), rejected(2), rejected(3)])
        writer.commit()
        assert writer.digests_of("a") == 2
        return path.read_bytes()

    assert written(stops=True) == written(stops=False)


def test_quarantine_without_records_is_no_file(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path / "q.jsonl", tmp_path, max_bytes=1)
    assert writer.commit() is None
    writer.abort()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "keep", "zstd", "bare"),
    [
        ("a/b.jsonl.zst", "a/b.jsonl.zst", "a/b.jsonl.zst", "a/b"),
        ("a.jsonl.gz", "a.jsonl.gz", "a.jsonl.zst", "a"),
        ("a.jsonl", "a.jsonl", "a.jsonl.zst", "a"),
        ("stdin", "stdin", "stdin.zst", "stdin"),
        ("a.v2.parquet", "a.v2.parquet", "a.v2.parquet.zst", "a.v2"),
    ],
)
def test_output_names(name: str, keep: str, zstd: str, bare: str) -> None:
    assert output_name(name, Compression.KEEP) == keep
    assert output_name(name, Compression.ZSTD) == zstd
    assert stem(name) == bare
    assert codec_of(Compression.KEEP, "bz2") == "bz2"
    assert codec_of(Compression.GZIP, "bz2") == "gzip"


def test_a_pipe_is_written_to_and_a_link_is_followed(tmp_path: Path) -> None:
    payload = BytesPayload(b"{}\n", np.array([0]), np.array([3]))
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "elsewhere"
    os.mkfifo(pipe)
    target.write_bytes(b"old")
    link.symlink_to(target)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (pipe, link):
        writer = JsonlWriter(path, tmp_path, "none")
        writer.write(payload, np.array([True]))
        writer.commit()
    assert os.read(reader, 100) == b"{}\n"
    os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert target.read_bytes() == b"{}\n"
