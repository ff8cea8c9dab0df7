"""A run on a Ray cluster of two nodes, one of which is lost half way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, numbered
from tests.lowbg_cli.stored import fetched
from tests.s3_server import BUCKET, S3

from lowbg.config import ExecutorName, RunConfig
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.sources import in_ranges, table
from lowbg.jobs.sources.sources import SourcesJob, find_sources
from lowbg.runs.executors.base import Executor
from lowbg.runs.executors.ray import RayExecutor
from lowbg.runs.inputs import discover
from lowbg.runs.mapping import Workers
from lowbg.storage.objects import ObjectStore

pytestmark = pytest.mark.slow

SHARDS = 8


@pytest.fixture
def cluster() -> Iterator[Any]:
    utils = pytest.importorskip("ray.cluster_utils")
    found = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    yield found
    sys.modules["ray"].shutdown()
    found.shutdown()


def _data(folder: Path) -> dict[str, bytes]:
    paths = [p for p in folder.rglob("*") if p.is_file() and ".lowbg" not in p.parts]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if p.parent != folder}


def test_what_only_a_cluster_has_is_refused_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Good morning."}\n')
    for executor, more, message in (
        ("serial", ("--ray-address", "x:1"), "--ray-address: only with --executor ray"),
        ("ray", ("--workers", "2"), "leave out --workers"),
    ):
        run = _filter(tmp_path / "a.jsonl", tmp_path / "out", executor, *more)
        _, said = run.communicate()
        assert run.returncode == 2
        assert message in said


def _filter(source: Path | str, output: Path | str, executor: str, *more: str) -> Any:
    command = [sys.executable, "-m", "lowbg_cli", "filter", str(source), "-o", str(output), "-q"]
    return subprocess.Popen(
        [*command, "--executor", executor, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _sources(folder: Path) -> Path:
    """Shards that are large enough that none is done together with others."""
    folder.mkdir()
    prose = "".join(json.dumps({"text": text}) + "\n" for text in (*HUMAN, AI)).encode()
    for i in range(SHARDS):
        (folder / f"{i}.jsonl").write_bytes(prose * 8 + numbered(300 * (i + 1)))
    return folder


def _lose_a_node(cluster: Any, run: Any, begun: Callable[[], bool]) -> None:
    """When the first output is there; the run ends well all the same."""
    while not begun():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    assert run.wait(timeout=240) == 0, run.stderr.read()


@pytest.mark.filterwarnings("ignore")
def test_a_node_is_lost_and_the_run_goes_on(cluster: Any, tmp_path: Path) -> None:
    source = _sources(tmp_path / "in")
    serial = _filter(source, tmp_path / "serial", "serial")
    assert serial.wait() == 0, serial.stderr.read()
    run = _filter(source, tmp_path / "out", "ray", "--ray-address", cluster.address)
    done = tmp_path / "out" / "human"
    _lose_a_node(cluster, run, lambda: done.is_dir() and any(done.iterdir()))
    assert _data(tmp_path / "out") == _data(tmp_path / "serial")
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert report["runs"][0]["executor"] == "ray"
    assert all(shard["complete"] for shard in report["shards"])


@pytest.mark.filterwarnings("ignore")
def test_a_node_is_lost_while_a_store_is_written_to(s3: S3, cluster: Any, tmp_path: Path) -> None:
    source = _sources(tmp_path / "in")
    serial = _filter(source, tmp_path / "serial", "serial")
    assert serial.wait() == 0, serial.stderr.read()
    store = ObjectStore(f"s3://{BUCKET}/ray")
    for path in source.iterdir():
        store.upload(f"in/{path.name}", path)
    run = _filter(f"{store.url}/in", f"{store.url}/out", "ray", "--ray-address", cluster.address)
    _lose_a_node(cluster, run, lambda: bool(store.list("out/human")))
    copy = fetched(f"{store.url}/out", tmp_path / "copy")
    assert _data(copy) == _data(tmp_path / "serial")
    verified = subprocess.run([sys.executable, "-m", "lowbg_cli", "verify", f"{store.url}/out"])
    assert verified.returncode == 0


@pytest.mark.filterwarnings("ignore")
def test_logs_of_pieces_come_through_the_store(
    s3: S3, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    shard = _sources(tmp_path / "in") / f"{SHARDS - 1}.jsonl"
    serial = _filter(shard, tmp_path / "serial", "serial")
    assert serial.wait() == 0, serial.stderr.read()
    out, size = f"s3://{BUCKET}/pieces", shard.stat().st_size // 4
    shards = tuple(discover([str(shard)]))
    job = FilterJob(
        shards, tmp_path / "scratch", RunConfig(), executor=ExecutorName.RAY,
        piece_bytes=size, published=out,
    )  # fmt: skip
    assert filter_shards(job).complete
    assert _data(fetched(out, tmp_path / "copy")) == _data(tmp_path / "serial")
    assert any(key.startswith("PUT") and "/parts/" in key for key in s3.requests)


def test_tables_of_sources_are_added_up_by_the_cluster(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_ranges, "MIN_ROWS", 1)
    monkeypatch.setattr(table, "ROWS_A_GROUP", 2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    tables = []
    for i in range(2):
        rows = [{"text": text, "url": f"https://s{n}.example/"} for n, text in enumerate(HUMAN)]
        shard = tmp_path / f"{i}.jsonl"
        shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tables.append(tmp_path / f"{i}.parquet")
        find_sources(SourcesJob(tuple(discover([str(shard)])), tables[i], RunConfig()))
    crews: list[Workers] = []

    def noted(crew: Workers) -> Executor:
        crews.append(crew)
        return RayExecutor()

    monkeypatch.setattr(in_ranges, "executor_of", noted)
    outputs = []
    for executor in (ExecutorName.SERIAL, ExecutorName.RAY):
        outputs.append(tmp_path / f"{executor}.parquet")
        find_sources(SourcesJob((), outputs[-1], RunConfig(), tuple(tables), executor=executor))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert [crew.executor for crew in crews] == [ExecutorName.RAY]
