"""Shards one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lowbg.errors import ConfigError, StoppedError
from lowbg.runs.executors.base import Finished, Result, Task, Worker
from lowbg.runs.progress import OnProgress


class SerialExecutor:
    """Runs the tasks in their order."""

    def run(
        self,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[Task],
        on_progress: OnProgress | None,
    ) -> Iterator[Finished[Result]]:
        """Yields one `Finished` a task, in the tasks' order."""
        worker = setup()
        for index, task in enumerate(tasks):
            try:
                yield Finished(index, worker(task, on_progress), None)
            except (ConfigError, StoppedError):
                raise
            except Exception as error:  # a defect, too, costs its own shard only
                yield Finished(index, None, error)
