from __future__ import annotations

import gzip
import io

import pytest
import zstandard

from lowbg.runs.inputs import Shard
from lowbg.runs.stdin import named_by_content

LINES = b'{"text": "a line"}\n' * 50


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (LINES, "stdin.jsonl"),
        (b"", "stdin.jsonl"),
        (b"[1, 2]", "stdin.jsonl"),
        (gzip.compress(LINES, mtime=0), "stdin.jsonl.gz"),
        (zstandard.compress(LINES), "stdin.jsonl.zst"),
        (zstandard.compress(LINES)[:20], "stdin.jsonl.zst"),
    ],
)
def test_standard_input_is_called_as_its_content(content: bytes, name: str) -> None:
    shards = (Shard("-", "stdin", 0), Shard("a", "a", 3))
    for stream in (io.BytesIO(content), io.BufferedReader(io.BytesIO(content))):
        found = named_by_content(shards, stream)
        assert [shard.name for shard in found] == [name, "a"]
        assert stream.read() == content
