"""What an executor is: it maps a function over shards and knows nothing of the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lowbg.runs.progress import OnProgress

Task = TypeVar("Task")
Result = TypeVar("Result")
Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Worker(Protocol[Task_contra, Result_co]):
    """Made by a `setup` function once a worker; called once a task."""

    def __call__(self, task: Task_contra, on_progress: OnProgress | None, /) -> Result_co:
        """Runs one task; may report how far it is."""
        ...


@dataclass(frozen=True, slots=True)
class Finished(Generic[Result]):
    """A task's end: its position among the tasks, and its result or what went wrong.

    `error` is set, and `result` null, when the worker itself died or raised.
    """

    index: int
    result: Result | None
    error: BaseException | None


class Executor(Protocol):
    """Runs every task once and yields each end as it comes, in any order."""

    def run(
        self,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[Task],
        on_progress: OnProgress | None,
    ) -> Iterator[Finished[Result]]:
        """Yields one `Finished` a task. `setup`, tasks and results must pickle."""
        ...
