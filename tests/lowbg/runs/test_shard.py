"""The check that nothing is lost must itself be able to fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lowbg.config import Policy, RunConfig
from lowbg.errors import ConservationError
from lowbg.formats import open_reader
from lowbg.records import Batch, Rejected
from lowbg.report.results import ShardResult
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.shard import Progress, run_shard
from lowbg.storage.files import WrittenFile


class CountingSinks:
    """Takes what it is given, less `lost` records, and says that it wrote less `unwritten`."""

    def __init__(self, lost: int = 0, unwritten: int = 0) -> None:
        self.lost, self.unwritten = lost, unwritten
        self.taken = 0
        self.aborted = self.published = False

    def write(self, batch: Batch, judged: Judged) -> int:
        self.taken += len(batch)
        return len(batch) - self.lost

    def quarantine(self, shard: str, rejected: Sequence[Rejected]) -> None:
        self.taken += sum(record.count for record in rejected)

    def end_shard(self) -> dict[str, WrittenFile]:
        return {"human": WrittenFile("human/a", self.taken - self.unwritten, 1, "00")}

    def publish(self) -> None:
        self.published = True

    def abort(self) -> None:
        self.aborted = True


def run(path: Path, sinks: CountingSinks, seen: list[Progress]) -> ShardResult:
    config = RunConfig(batch_bytes=64)
    return run_shard(
        "a.jsonl",
        str(path),
        lambda: open_reader(str(path), config, "a.jsonl"),
        lambda reader, checkpoint: sinks,
        Engine(Policy()).setup(),
        seen.append,
    )


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "document {i}"}}\n' for i in range(9)) + "broken\n")
    return path


def test_every_record_is_counted_once(shard: Path) -> None:
    sinks, seen = CountingSinks(), list[Progress]()
    result = run(shard, sinks, seen)
    assert result.records == 10
    assert result.statistics.documents() == {"human": 0, "ai": 0, "unscored": 9, "quarantined": 1}
    assert len(seen) > 2
    assert [event.consumed for event in seen] == sorted(event.consumed for event in seen)
    assert seen[-1].done
    assert seen[-1].records == 10
    assert sinks.aborted


@pytest.mark.parametrize("sinks", [CountingSinks(lost=1), CountingSinks(unwritten=1)])
def test_a_lost_record_is_noticed(shard: Path, sinks: CountingSinks) -> None:
    with pytest.raises(ConservationError, match=r"a\.jsonl: 10 records in"):
        run(shard, sinks, [])
    assert sinks.aborted
    assert not sinks.published
