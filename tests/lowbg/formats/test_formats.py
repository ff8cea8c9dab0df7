"""The registry: what a file is by its first bytes, and what its outputs are called."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lowbg.config import RunConfig
from lowbg.errors import FormatError
from lowbg.formats import (
    available,
    described_endings,
    endings,
    is_shard,
    open_reader,
    open_text,
    recognise_file,
    titles,
)


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (parquet(), "a.jsonl", ("parquet", "none")),
        (b'{"text":"a"}', "a.anything", ("jsonl", "none")),
        (zstandard.compress(b'{"text":"a"}'), "a", ("jsonl", "zstd")),
        (b"", "a.jsonl", ("jsonl", "none")),
        (gzip.compress(b"", mtime=0), "a.jsonl.gz", ("jsonl", "gzip")),
    ],
)
def test_the_first_bytes_say_what_a_file_is(
    data: bytes, name: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    found, codec = recognise_file(tmp_path / name)
    assert (found.name, codec) == expected


def test_a_file_inside_a_codec_that_it_cannot_be_read_through_is_refused() -> None:
    data = gzip.compress(parquet())
    with pytest.raises(FormatError, match=r"inside its gzip compression\): Parquet, .* as a file"):
        open_reader(io.BytesIO(data), RunConfig(), "a.parquet.gz")


def test_text_is_no_other_format(tmp_path: Path) -> None:
    with open_text(io.BytesIO(b"Some words."), "stdin") as stream:
        assert stream.read(100) == b"Some words."
    with pytest.raises(FormatError, match="stdin: Parquet, not text"):
        open_text(io.BytesIO(parquet()), "stdin")
    (tmp_path / "essay").write_text("Some words.")
    assert not is_shard(str(tmp_path / "essay"))
    (tmp_path / "rows").write_bytes(parquet())
    assert is_shard(str(tmp_path / "rows"))


def test_endings_come_from_the_formats() -> None:
    assert {".jsonl", ".ndjson.zst", ".json.xz", ".parquet", ".pq"} <= set(endings())
    assert not {".parquet.gz", ".arrow.zst"} & set(endings())
    assert all(ending in described_endings() for each in available() for ending in each.endings)
    assert available()[-1].name == "jsonl"
    assert titles() == "JSONL, WET, Parquet or Arrow IPC"
