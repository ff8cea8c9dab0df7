"""A field that holds no text ends a shard early; its quarantine has a limit."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lowbg.config import RunConfig
from lowbg.jobs.filter import FilterStreamJob, filter_stream
from lowbg.report.results import ShardResult
from lowbg.runs import reading
from lowbg.runs.inputs import STDIN, Shard, discover
from lowbg.runs.reading import ShardReading, Source

RECORDS = {
    "other": b'{"doc": {"body": "Some words."}, "id": "a"}\n',
    "null": b'{"text": null}\n',
    "list": b'{"text": ["Some words."]}\n',
    "text": b'{"text": "Some words."}\n',
    "broken": b'{"text": "cut\n',
    "blank": b"\n",
}


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TRIED_RECORDS", 100)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def lines(*counts: tuple[str, int]) -> bytes:
    return b"".join(RECORDS[kind] * count for kind, count in counts)


def read(path: Path, config: RunConfig) -> ShardReading:
    (shard,) = discover([str(path)])
    with ShardReading(Source(shard, config)) as whole:
        for _ in whole:
            pass
    return whole


@pytest.mark.parametrize("batch_bytes", [1, 3000, 1 << 20])
@pytest.mark.parametrize(
    ("counts", "records"),
    [
        ([("other", 150)], 100),
        ([("null", 50), ("other", 30), ("list", 70)], 100),
        ([("broken", 60), ("other", 150)], 160),
        ([("other", 100), ("text", 1)], 100),
        ([("blank", 7), ("other", 120), ("text", 40)], 100),
        ([("other", 99), ("text", 1), ("other", 500)], None),
        ([("text", 1), ("other", 500)], None),
        ([("other", 99)], None),
        ([("broken", 300)], None),
    ],
)
def test_reading_ends_at_the_same_record_whatever_the_batches(
    counts: Sequence[tuple[str, int]], records: int | None, batch_bytes: int, stored: Path
) -> None:
    stored.write_bytes(lines(*counts))
    whole = read(stored, RunConfig(batch_bytes=batch_bytes))
    if records is None:
        assert whole.broken is None
        assert whole.tally.records == sum(count for kind, count in counts if kind != "blank")
    else:
        assert whole.tally.records == whole.tally.quarantined == records
        assert f"none of its first {records} records has a text in 'text'" in str(whole.broken)


def streamed(
    path: Path, folder: Path, config: RunConfig, stdin: bytes | None = None
) -> tuple[ShardResult, list[dict[str, Any]], tuple[str, ...]]:
    shards = (Shard(STDIN, "stdin", 0),) if stdin is not None else tuple(discover([str(path)]))
    job = FilterStreamJob(
        shards=shards, config=config, stdin=io.BytesIO(stdin or b""), human=io.BytesIO(),
        ai=folder / "ai.jsonl", quarantine=folder / "q.jsonl",
    )  # fmt: skip
    outcome = filter_stream(job)
    rows = [json.loads(line) for line in (folder / "q.jsonl").read_text().splitlines()]
    return outcome.shards[0], rows, outcome.notes


def test_a_stream_counts_what_it_wrote(stored: Path, tmp_path: Path) -> None:
    stored.write_bytes(lines(("other", 150)))
    shard, rows, _ = streamed(stored, tmp_path, RunConfig(batch_bytes=1000))
    assert not shard.complete
    assert shard.records == len(rows) == 100


@pytest.mark.parametrize("batch_bytes", [1, 64, 1 << 20])
@pytest.mark.parametrize(
    ("most", "from_stdin", "kept"), [(42, False, 3), (42, True, 3), (None, True, 9)]
)
def test_beyond_its_limit_quarantine_has_digests(
    most: int | None,
    from_stdin: bool,
    kept: int,
    batch_bytes: int,
    stored: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes by stdin is nowhere else, and has no limit unless one is asked for."""
    monkeypatch.setattr("lowbg.config.QUARANTINE_BYTES", 42)
    broken = RECORDS["broken"]
    content = lines(("text", 1), ("broken", 9), ("text", 1))
    stored.write_bytes(content)
    config = RunConfig(batch_bytes=batch_bytes, max_quarantine_bytes=most)
    shard, rows, notes = streamed(stored, tmp_path, config, content if from_stdin else None)
    assert shard.complete
    digest = hashlib.sha256(broken).digest()
    assert [base64.b64decode(row["raw"]) for row in rows] == [broken] * kept + [digest] * (9 - kept)
    assert [row["offset"] for row in rows] == [24 + len(broken) * i for i in range(9)]
    assert len(notes) == (kept < 9)
    assert all("of 6 unreadable records quarantine keeps place and SHA-256" in n for n in notes)


def test_without_being_asked_a_file_s_quarantine_has_a_limit(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowbg.config.QUARANTINE_BYTES", 42)
    stored.write_bytes(lines(("text", 1), ("broken", 9)))
    _, rows, notes = streamed(stored, tmp_path, RunConfig())
    assert [row["encoding"] for row in rows] == ["line"] * 3 + ["sha256"] * 6
    assert len(notes) == 1
