"""Runs that share the shards out: which part of them this one takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lowbg.errors import ConfigError
from lowbg.settings import Heading, setting

if TYPE_CHECKING:
    from lowbg.runs.splitting import Split

SLURM: Final = "slurm"
_TASK = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """Which part of the shards is done; null: all."""

    shard_index: str | None = setting(
        "Do one part of the shards, from 0, into an output of its own; slurm: the array task's.",
        None,
        unit="I",
        heading=Heading.RUNNING,
    )
    shard_count: int | None = setting(
        "Into how many parts they are shared out.",
        None,
        unit="N",
        heading=Heading.RUNNING,
        least=1,
        shown="with slurm: the array's tasks",
    )

    def resolve(self, environment: Mapping[str, str] = os.environ) -> Split | None:
        """The part; null where all is to be done. Raises `ConfigError`."""
        from lowbg.runs.splitting import Split

        index, count = self.shard_index, self.shard_count
        if index is None:
            if count is not None:
                raise ConfigError("--shard-count: only with --shard-index, which of them it is")
            return None
        if index == SLURM:
            return Split(*_array_task(environment, count))
        if not index.strip().isdecimal():
            raise ConfigError(f"--shard-index: {index!r} is no whole number, nor {SLURM}")
        if count is None:
            raise ConfigError("--shard-index: only with --shard-count, how many parts there are")
        return Split(int(index), count)


def _array_task(environment: Mapping[str, str], count: int | None) -> tuple[int, int]:
    """Index and count of a Slurm array's task.

    With a `count` the task's number is the index, so that single tasks can be submitted again.
    Without, tasks are counted from the array's first, whatever its number and step.
    """
    task = _number(environment, "ID")
    if count is not None:
        return task, count
    tasks, first = _number(environment, "COUNT"), _number(environment, "MIN")
    last, step = _number(environment, "MAX"), _number(environment, "STEP", "1")
    if (last - first) // step + 1 != tasks:
        raise ConfigError(
            f"--shard-index {SLURM}: the array has {tasks} tasks between {first} and {last}, which "
            "aren't numbered in even steps; add --shard-count with the number of all parts"
        )
    return (task - first) // step, tasks


def _number(environment: Mapping[str, str], what: str, default: str = "") -> int:
    name = f"{_TASK}{what}"
    said = environment.get(name, default)
    if not said.isdecimal():
        raise ConfigError(
            f"--shard-index {SLURM}: {name} is {said!r}, so this is no task of a Slurm array; "
            "submit it with sbatch --array=0-63, or give a number"
        )
    return int(said)
