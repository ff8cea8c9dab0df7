"""The check that nothing is lost must itself be able to fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lowbg.config import Policy, RunConfig
from lowbg.errors import ConservationError
from lowbg.formats.base import Reader
from lowbg.records import Batch, Rejected
from lowbg.report.results import ShardResult
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.progress import Progress
from lowbg.runs.reading import Source
from lowbg.runs.shard import ShardTask, run_shard
from lowbg.runs.sinks import Outputs, Place
from lowbg.storage.files import WrittenFile


class Counting(Outputs):
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


class Task(ShardTask):
    """Puts every record into the outputs that it is given."""

    def __init__(self, outputs: Counting) -> None:
        self.outputs = outputs

    @property
    def judge(self) -> Engine:
        return Engine(Policy()).setup()

    def source(self, shard: Shard) -> Source:
        return Source(shard, RunConfig(batch_bytes=64))

    def open_outputs(self, place: Place, reader: Reader) -> Counting:
        return self.outputs


def run(path: Path, outputs: Counting, seen: list[Progress]) -> ShardResult:
    return run_shard(Shard(str(path), "a.jsonl", 0), Task(outputs), seen.append)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "document {i}"}}\n' for i in range(9)) + "broken\n")
    return path


def test_every_record_is_counted_once(shard: Path) -> None:
    sinks, seen = Counting(), list[Progress]()
    result = run(shard, sinks, seen)
    assert result.records == 10
    assert result.statistics.documents() == {"human": 0, "ai": 0, "unscored": 9, "quarantined": 1}
    assert len(seen) > 2
    assert [event.consumed for event in seen] == sorted(event.consumed for event in seen)
    assert seen[-1].done
    assert seen[-1].records == 10
    assert sinks.aborted


@pytest.mark.parametrize("sinks", [Counting(lost=1), Counting(unwritten=1)])
def test_a_lost_record_is_noticed(shard: Path, sinks: Counting) -> None:
    with pytest.raises(ConservationError, match=r"a\.jsonl: 10 records in"):
        run(shard, sinks, [])
    assert sinks.aborted
    assert not sinks.published
