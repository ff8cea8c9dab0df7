"""A run that is stopped after some batches and gone on with, beside one that isn't."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lowbg.config import Durability, ExecutorName, Existing, RunConfig
from lowbg.errors import StoppedError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome
from lowbg.runs.progress import Observer, Progress
from lowbg.stopping import STOP


def whole_and_cut(
    shard: Path, folder: Path, config: RunConfig, batches: int
) -> tuple[int, Outcome]:
    """Filters the shard into `whole`, and into `cut`, stopped after so many batches and resumed.

    Both lie in `folder`. How many records were done at the stop, and how the second run ended.
    """

    def job(name: str, existing: Existing) -> FilterJob:
        return FilterJob(
            tuple(discover([str(shard)])), folder / name, config,
            executor=ExecutorName.SERIAL, existing=existing, durability=Durability(seconds=0),
        )  # fmt: skip

    filter_shards(job("whole", Existing.REFUSE))
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.records)
        if len(seen) == batches:
            STOP.ask(signal.SIGINT)

    try:
        with pytest.raises(StoppedError):
            filter_shards(job("cut", Existing.REFUSE), Observer(stop))
    finally:
        STOP.reset()
    return seen[-1], filter_shards(job("cut", Existing.RESUME))
