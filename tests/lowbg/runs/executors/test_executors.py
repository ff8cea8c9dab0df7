"""Executors give the same bytes, in any number, and outlive a worker that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lowbg.config import ExecutorName, RunConfig
from lowbg.errors import InputError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.executors import server
from lowbg.runs.executors.base import Executor
from lowbg.runs.executors.processes import ProcessExecutor
from lowbg.runs.executors.serial import SerialExecutor
from lowbg.runs.inputs import discover
from lowbg.runs.progress import OnProgress, Progress


@dataclass(frozen=True)
class Setup:
    """Makes a worker that doubles, fails or dies as the task says."""

    def __call__(self) -> Setup.Worker:
        return Setup.Worker()

    class Worker:
        def __call__(self, task: str, on_progress: OnProgress | None) -> str:
            if task == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if task == "fail":
                raise InputError("no such thing")
            if task == "defect":
                raise KeyError("nobody thought of this")
            if on_progress is not None:
                on_progress(Progress(task, 1, 1, 0, done=True))
            return task * 2


@pytest.mark.parametrize("executor", [SerialExecutor(), ProcessExecutor(2)])
def test_every_task_ends_once(executor: Executor) -> None:
    seen: list[Progress] = []
    tasks = ["a", "fail", "b", "defect"]
    ends = sorted(executor.run(Setup(), tasks, seen.append), key=lambda end: end.index)
    assert [end.index for end in ends] == [0, 1, 2, 3]
    assert [end.result for end in ends] == ["aa", None, "bb", None]
    assert isinstance(ends[1].error, InputError)
    assert isinstance(ends[3].error, KeyError)


@pytest.mark.slow
def test_a_killed_worker_costs_only_its_own_task() -> None:
    tasks = ["a", "die", "b", "c"]
    ends = sorted(ProcessExecutor(2).run(Setup(), tasks, None), key=lambda end: end.index)
    assert [end.result for end in ends] == ["aa", None, "bb", "cc"]
    assert "killed" in str(ends[1].error)


@pytest.mark.slow
@pytest.mark.parametrize("error", [EOFError, BrokenProcessPool])
def test_what_dies_while_workers_start_costs_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, dead = server.starting, [error]

    @contextmanager
    def dying() -> Iterator[None]:
        with starting():
            yield
            if dead:
                raise dead.pop()

    monkeypatch.setattr(server, "starting", dying)
    ends = sorted(ProcessExecutor(2).run(Setup(), ["a", "b"], None), key=lambda end: end.index)
    assert [end.result for end in ends] == ["aa", "bb"]
    assert not dead


@pytest.mark.slow
def test_any_number_of_workers_and_threads_and_any_batch_size_give_the_same_bytes(
    tmp_path: Path,
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for shard in range(3):
        lines = [
            f'{{"id": {i}, "text": "{"Words of shard and record, again. " * (i % 37)}"}}\n'
            for i in range(shard * 50 + 40)
        ]
        (source / f"part-{shard}.jsonl").write_text("".join(lines) + "{broken\n")
    files: list[dict[str, bytes]] = []
    for name, workers, threads, batch in (
        ("serial", 1, 1, 4 << 20),
        ("two", 2, 1, 1000),
        ("three", 3, 2, 4 << 20),
        ("threads", 1, 3, 1000),
    ):
        out = tmp_path / name
        config = RunConfig(batch_bytes=batch, threads=threads)
        job = FilterJob(
            tuple(discover([str(source)], output=out)),
            out,
            config,
            workers=workers,
            executor=ExecutorName.SERIAL if workers == 1 else ExecutorName.PROCESSES,
        )
        outcome = filter_shards(job)
        assert [shard.shard for shard in outcome.shards] == [f"part-{i}.jsonl" for i in range(3)]
        files.append(
            {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.jsonl"))}
        )
    assert files[0] == files[1] == files[2] == files[3]
    assert len(files[0]) == 9
