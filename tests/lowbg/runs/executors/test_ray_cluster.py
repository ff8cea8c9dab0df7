"""A run on a Ray cluster of two nodes, one of which is lost half way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, numbered

pytestmark = pytest.mark.slow

SHARDS = 8


@pytest.fixture
def cluster() -> Iterator[Any]:
    utils = pytest.importorskip("ray.cluster_utils")
    found = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    yield found
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


def _filter(source: Path, output: Path, executor: str, *more: str) -> Any:
    command = [sys.executable, "-m", "lowbg_cli", "filter", str(source), "-o", str(output), "-q"]
    return subprocess.Popen(
        [*command, "--executor", executor, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.filterwarnings("ignore")
def test_a_node_is_lost_and_the_run_goes_on(cluster: Any, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    prose = "".join(json.dumps({"text": text}) + "\n" for text in (*HUMAN, AI)).encode()
    for i in range(SHARDS):
        # Large enough that none is done together with others.
        (source / f"{i}.jsonl").write_bytes(prose * 8 + numbered(300 * (i + 1)))
    serial = _filter(source, tmp_path / "serial", "serial")
    assert serial.wait() == 0, serial.stderr.read()
    run = _filter(source, tmp_path / "out", "ray", "--ray-address", cluster.address)
    done = tmp_path / "out" / "human"
    while not done.is_dir() or not any(done.iterdir()):
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    assert run.wait(timeout=240) == 0, run.stderr.read()
    assert _data(tmp_path / "out") == _data(tmp_path / "serial")
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert report["runs"][0]["executor"] == "ray"
    assert all(shard["complete"] for shard in report["shards"])
