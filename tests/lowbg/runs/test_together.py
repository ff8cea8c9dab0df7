"""Small shards that are done together come to what they come to alone."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import Durability, ExecutorName, Existing, RunConfig
from lowbg.errors import LowbgError, StoppedError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.gate.scan import GateJob, scan
from lowbg.jobs.score import ScoreJob, score_shards
from lowbg.report.results import ShardResult
from lowbg.runs import together
from lowbg.runs.checkpoints import key_of
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.executors.base import Finished
from lowbg.runs.inputs import Shard, discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify
from lowbg.runs.mapping import Ended, Workers, largest_first, map_shards
from lowbg.runs.progress import Observer, OnProgress, Progress
from lowbg.stopping import STOP

PROSE = (
    "the river was low that summer and we walked across on the stones with our shoes in our hands "
    "while the dogs ran ahead and somebody behind us kept singing the same two lines of a song "
)
EXAMPLES = Path(__file__).parents[3] / "examples" / "ai_styled.txt"
AI = EXAMPLES.read_text(encoding="utf-8").split("=====")
CONFIG = RunConfig(annotate=True)
REPORTS = ("report.json", "report.html", "manifest.json")


class Killed(BaseException):
    """Ends a run as a SIGKILL would: nothing below may catch it."""


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These runs die by exceptions: nothing is lost that isn't on the disk, so nothing waits."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    yield
    STOP.reset()


def record(i: int) -> dict[str, object]:
    text = AI[i % len(AI)] if i % 3 == 0 else f"{PROSE[i % 50 :]} {PROSE} {i}"
    return {"id": i, "text": text, "date": f"20{10 + i % 15}-03-01", "url": f"http://h{i % 4}.org/"}


def line(i: int) -> bytes:
    return json.dumps(record(i)).encode() + b"\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Forty shards: of several formats, broken, cut, empty, and one that is not small."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for i in range(30):
        (folder / f"{i:02}.jsonl").write_bytes(line(i) + (line(i + 1) if i % 4 else b""))
    (folder / "30.jsonl").write_bytes(b"")
    (folder / "31.jsonl").write_bytes(b"\n\n")
    (folder / "32.jsonl").write_bytes(line(1) + b"{broken\n" + line(2))
    (folder / "33.jsonl").write_bytes(b"{broken\n")
    (folder / "34.jsonl.gz").write_bytes(gzip.compress(line(3) + line(4), mtime=0)[:-20])
    (folder / "35.jsonl.gz").write_bytes(gzip.compress(line(3) + line(4), mtime=0))
    pq.write_table(pa.Table.from_pylist([record(i) for i in range(5)]), folder / "36.parquet")
    (folder / "37.parquet").write_bytes(b"PAR1 and no more")
    (folder / "38.jsonl").write_bytes(line(1) * 800)
    (folder / "deep" / "39.jsonl").write_bytes(line(9))
    return folder


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "BUNDLE_SHARDS", 0)


def job(
    source: Path,
    out: Path,
    existing: Existing = Existing.REFUSE,
    executor: ExecutorName = ExecutorName.SERIAL,
    durability: Durability | None = None,
) -> FilterJob:
    return FilterJob(
        tuple(discover([str(source)], output=out)), out, CONFIG, workers=2, executor=executor,
        existing=existing, durability=durability or Durability(),
    )  # fmt: skip


def run(source: Path, out: Path, on_progress: OnProgress | None = None, **more: Any) -> Outcome:
    return filter_shards(job(source, out, **more), Observer(on_progress))


def outputs(out: Path) -> dict[str, bytes]:
    """Every output by its path, but for reports, which hold times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".lowbg" not in path.parts and path.name not in REPORTS
    }


BROKEN = {"34.jsonl.gz", "37.parquet"}


def lacking(out: Path) -> set[str]:
    """What the run could not process whole; all else is as its manifest says."""
    found = verify(out)
    assert {finding.kind for finding in found} <= {"incomplete"}
    return {finding.path for finding in found}


def told(results: Sequence[ShardResult]) -> list[object]:
    """What there is to say of shards, but for times."""
    untimed = {"seconds", "cpu_seconds", "statistics"}
    return [
        (
            {name: getattr(r, name) for name in r.__struct_fields__ if name not in untimed},
            r.statistics.to_plain(),
        )
        for r in sorted(results, key=lambda result: result.shard)
    ]


@pytest.mark.parametrize("executor", [ExecutorName.SERIAL, ExecutorName.PROCESSES])
def test_it_comes_to_the_same(
    executor: ExecutorName, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = run(source, tmp_path / "many", executor=executor)
    alone(monkeypatch)
    one = run(source, tmp_path / "one")
    assert outputs(tmp_path / "many") == outputs(tmp_path / "one")
    assert told(many.shards) == told(one.shards)
    assert lacking(tmp_path / "many") == BROKEN
    assert not any((tmp_path / "many" / ".lowbg" / "parts").glob("*"))
    broken = {shard.shard for shard in many.shards if not shard.complete}
    assert broken == BROKEN


def test_scores_and_gates_come_to_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(out: Path) -> tuple[dict[str, bytes], object]:
        shards = tuple(discover([str(source)], output=out))
        score_shards(ScoreJob(shards, out, CONFIG, executor=ExecutorName.SERIAL))
        evidence = scan(GateJob(shards, CONFIG, executor=ExecutorName.SERIAL))
        seen = replace(evidence, results=(), statistics=evidence.statistics)
        return outputs(out), seen

    many = both(tmp_path / "many")
    alone(monkeypatch)
    assert many == both(tmp_path / "one")


def test_they_are_one_batch(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    judge = Engine.judge

    def counting(self: Engine, text: pa.LargeStringArray, *rest: Any) -> Judged:
        batches.append(len(text))
        return judge(self, text, *rest)

    monkeypatch.setattr(Engine, "judge", counting)
    # The examples of the report are judged once more, to shade them.
    monkeypatch.setattr("lowbg.runs.run.shaded", lambda report, engine: report)
    outcome = run(source, tmp_path / "many")
    assert len(batches) < 15
    assert sum(batches) == sum(s.records - s.statistics.documents()["quarantined"]
                               for s in outcome.shards)  # fmt: skip


def test_a_sync_that_fails_costs_its_own_shard(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: set[int] = set()
    key = key_of("07.jsonl")

    def failing(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().name == f"{key}.human":
            broken.add(file)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    outcome = run(source, tmp_path / "out")
    assert len(broken) == 1
    (failed,) = [s for s in outcome.shards if s.shard == "07.jsonl"]
    assert not failed.complete
    assert "07.jsonl: cannot be written (Input/output error)" in failed.problems[0].message
    assert not (tmp_path / "out" / "human" / "07.jsonl").exists()
    assert (tmp_path / "out" / "human" / "08.jsonl").exists()
    monkeypatch.setattr(os, "fsync", lambda _: None)
    whole = run(source, tmp_path / "whole")
    run(source, tmp_path / "out", existing=Existing.RESUME)
    assert whole.shards
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


@pytest.mark.parametrize("count", [1, 20, 40, 77, 101])
def test_a_run_that_is_killed_at_any_sync_goes_on(
    count: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = count

    def killing(_: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    monkeypatch.setattr(os, "fsync", killing)
    with pytest.raises(Killed):
        run(source, tmp_path / "out")
    monkeypatch.setattr(os, "fsync", lambda _: None)
    run(source, tmp_path / "out", existing=Existing.RESUME)
    run(source, tmp_path / "whole")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert lacking(tmp_path / "out") == BROKEN


def test_a_stop_finishes_what_is_under_way(source: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def stopping(progress: Progress) -> None:
        if progress.shard not in seen:
            seen.append(progress.shard)
        if len(seen) == 5:
            STOP.ask(signal.SIGTERM)

    with pytest.raises(StoppedError):
        run(source, tmp_path / "out", stopping)
    done = sorted(path.name for path in (tmp_path / "out" / "human").iterdir())
    assert done == sorted(seen[:4])
    STOP.reset()
    run(source, tmp_path / "out", existing=Existing.RESUME)
    run(source, tmp_path / "whole")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_a_batch_that_cannot_be_judged_costs_its_own_shard(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Engine.judge

    def failing(self: Engine, text: pa.LargeStringArray, *rest: Any) -> Judged:
        if any(each.endswith(" 13") for each in text.to_pylist()):
            raise LowbgError("a scorer failed")
        return judge(self, text, *rest)

    monkeypatch.setattr(Engine, "judge", failing)
    outcome = run(source, tmp_path / "out")
    failed = {s.shard for s in outcome.shards if "a scorer failed" in str(s.problems)}
    assert failed == {"13.jsonl"}
    assert (tmp_path / "out" / "human" / "14.jsonl").exists()


def test_a_file_that_changes_before_its_turn_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_BUNDLES_A_WORKER", 1)
    out = tmp_path / "out"
    # The first is not small; this one is read ahead with those before it.
    changed = largest_first(tuple(discover([str(source)], output=out)))[10]

    def changing(progress: Progress) -> None:
        if progress.shard not in ("38.jsonl", changed.name):
            Path(changed.path).touch()

    outcome = run(source, out, changing)
    (found,) = [s for s in outcome.shards if s.shard == changed.name]
    assert not found.complete
    assert "changed while it was read" in found.problems[0].message


def test_times_add_up(source: Path, tmp_path: Path) -> None:
    started = os.times()
    outcome = run(source, tmp_path / "out")
    ended = os.times()
    spent = ended.user + ended.system - started.user - started.system
    assert 0 < sum(shard.cpu_seconds for shard in outcome.shards) <= spent + 0.05


@dataclass(frozen=True)
class _Deadly:
    """Does shards together; one of them kills whoever does it."""

    def start(self) -> _Deadly:
        return self

    def __call__(self, shard: Shard, _: OnProgress | None) -> str:
        if shard.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return shard.name

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[str]]:
        for i, shard in enumerate(shards):
            yield Finished(i, self(shard, on_progress), None)


def test_a_shard_that_kills_its_worker_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    names = [f"s{i}" for i in range(20)]
    names[7] = "deadly"
    shards = [Shard(str(path), name, 1) for name in names]
    ends: list[Ended[str]] = list(map_shards(_Deadly(), shards, Workers(2)))
    assert sorted(str(end.result) for end in ends if end.error is None) == sorted(
        name for name in names if name != "deadly"
    )
    (failed,) = [end for end in ends if end.error is not None]
    assert failed.shard.name == "deadly"
    assert "killed" in str(failed.error)


def test_bundles_hold_small_neighbours() -> None:
    here = str(Path(__file__))
    small = [Shard(here, f"s{i}", 10) for i in range(201)]
    large = [Shard(here, f"l{i}", 1 << 30) for i in range(2)]
    shards = [large[0], *small[:200], large[1], Shard("-", "-", 0), small[200]]
    bundles = together.bundled(shards, 1)
    assert [shard for bundle in bundles for shard in bundle] == shards
    assert max(map(len, bundles)) == together.BUNDLE_SHARDS
    assert all(len(bundle) == 1 for bundle in bundles if bundle[0] in (shards[0], shards[-3]))
    assert all(len(bundle) == 1 for bundle in together.bundled(shards, 100))
    heavy = [Shard(here, f"h{i}", together.SMALL_BYTES) for i in range(200)]
    most = together.TEXT_BYTES // together.SMALL_BYTES
    assert max(map(len, together.bundled(heavy, 1))) == most
