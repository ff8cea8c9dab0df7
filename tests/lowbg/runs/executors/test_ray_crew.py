"""What the Ray executor does with its actors; the cluster is one of this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lowbg.errors import ConfigError, InputError
from lowbg.runs.executors.ray import RayExecutor, Share, slots
from lowbg.runs.progress import OnProgress, Progress

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes with a core each, which this process has joined."""
    ray = pytest.importorskip("ray")
    utils = pytest.importorskip("ray.cluster_utils")
    found = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    ray.init(address=found.address, configure_logging=False, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


@dataclass(frozen=True)
class Setup:
    """Makes a worker that notes in `folder` that it was loaded, and does what a task says."""

    folder: Path
    broken: bool = False

    def __call__(self) -> Setup.Worker:
        if self.broken:
            raise ConfigError("there is no such model")
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return Setup.Worker(self)

    @dataclass(frozen=True)
    class Worker:
        made: Setup

        def __call__(self, task: str, on_progress: OnProgress | None) -> str:
            if task == "fail":
                raise InputError("no such thing")
            lost = self.made.folder / "lost"
            if task == "die" or (task == "die once" and not lost.exists()):
                lost.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if on_progress is not None:
                on_progress(Progress(task, 1, 1, 0, done=True))
            return task * 2


def _run(setup: Setup, tasks: list[str], share: Share | None = None) -> tuple[list[Any], set[str]]:
    told: set[str] = set()
    executor = RayExecutor(share)
    ends = [*executor.run(setup, tasks, lambda progress: told.add(progress.shard))]
    return sorted(ends, key=lambda end: end.index), told


def test_a_worker_loads_once_and_tells_how_far_it_is(cluster: Any, tmp_path: Path) -> None:
    tasks = [f"{i}" for i in range(12)]
    ends, told = _run(Setup(tmp_path), [*tasks, "fail"])
    assert [end.result for end in ends] == [*(task * 2 for task in tasks), None]
    assert isinstance(ends[-1].error, InputError)
    assert 1 <= len([*tmp_path.iterdir()]) <= 2
    assert told == {*tasks}


def test_a_lost_task_is_done_again_and_one_that_kills_is_given_up(
    cluster: Any, tmp_path: Path
) -> None:
    ends, _ = _run(Setup(tmp_path), ["a", "die once", "b", "die", "c"])
    assert [end.result for end in ends] == ["aa", "die oncedie once", "bb", None, "cc"]
    assert "lost 4 times" in str(ends[3].error)


def test_what_a_task_takes_is_kept_to(cluster: Any, tmp_path: Path) -> None:
    assert slots(Share()) == 2
    assert slots(Share(cpus=0.5)) == 4
    ends, _ = _run(Setup(tmp_path), ["a", "b", "c"], Share(cpus=0.5))
    assert [end.result for end in ends] == ["aa", "bb", "cc"]
    for share in (Share(cpus=2), Share(gpus=1), Share(memory=1 << 60)):
        with pytest.raises(ConfigError, match="no node of the Ray cluster"):
            slots(share)


def test_what_cannot_be_loaded_ends_the_run(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such model"):
        _run(Setup(tmp_path, broken=True), ["a"])
