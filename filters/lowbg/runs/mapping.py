"""Shards → workers → results: how every command spreads its work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Protocol, Self, TypeVar, runtime_checkable

from msgspec import Struct

from lowbg.config import ExecutorName
from lowbg.errors import LowbgError, ProblemKind
from lowbg.report.results import Problem, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.engine import Engine
from lowbg.runs.executors.base import Executor, Finished
from lowbg.runs.executors.ray import RayExecutor, Share, slots
from lowbg.runs.executors.serial import SerialExecutor
from lowbg.runs.inputs import Shard
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.shards import Piece
from lowbg.runs.together import bundled

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Task(Protocol[Result_co]):
    """What is done with every shard. It pickles, and so do its results: both travel."""

    def start(self) -> Self:
        """The task with what it needs loaded; called once a worker."""
        ...

    def __call__(self, shard: Shard, on_progress: OnProgress | None, /) -> Result_co:
        """Does it with one shard; may report how far it is."""
        ...


@runtime_checkable
class BundleTask(Task[Result], Protocol[Result]):
    """A task that does many small shards in less time than one by one."""

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None, /
    ) -> Iterator[Finished[Result]]:
        """Does it with each: its place among them, and its result or what went wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work: `count` processes, where there is more than one shard.

    A shard that fails is tried `retries` times more. On a Ray cluster each takes its `share` of a
    node.
    """

    count: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    retries: int = 0
    share: Share = field(default_factory=Share)

    def cores(self) -> int:
        """How many shards are done at a time."""
        if self.executor is ExecutorName.RAY:
            return slots(self.share)
        return 1 if self.executor is ExecutorName.SERIAL else self.count

    def settled(self, shards: Sequence[Shard]) -> Workers:
        """Those that there will really be: no worker has a stream of this process."""
        count = max(1, min(self.count, len(shards)))
        if own_streams(shards):
            return replace(self, count=1, executor=ExecutorName.SERIAL)
        if self.executor is ExecutorName.RAY:
            return self
        if self.executor is ExecutorName.SERIAL or count == 1:
            return replace(self, count=1, executor=ExecutorName.SERIAL)
        return replace(self, count=count)


ALONE: Final = Workers()
"""This process."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[Result]):
    """A shard's end: the result, or what the worker died of or raised. Exactly one is set."""

    shard: Shard
    result: Result | None
    error: BaseException | None


def map_shards(
    task: Task[Result],
    shards: Sequence[Shard],
    workers: Workers,
    observer: Observer = NOBODY,
    engine: Engine | None = None,
) -> Iterator[Ended[Result]]:
    """Every shard's end as it comes, the largest shards first; close it to end the workers.

    A worker that fails costs its own shard only. A shard that is tried again ends each time; the
    last end counts. `engine` is what the workers will load: it is compiled once for all of them.
    Raises `ConfigError`, and `StoppedError` where the run was asked to stop.
    """
    settled = workers.settled(shards)
    here = settled.executor is ExecutorName.PROCESSES
    if engine is not None and here:
        from lowbg.runs.executors import server

        if not server.is_started():
            engine.warm_up()
    executor = executor_of(settled)
    waiting = largest_first(shards)
    for _ in range(1 + workers.retries):
        again = []
        if not waiting:
            return
        bundles: list[tuple[Shard, ...]] = [(shard,) for shard in waiting]
        if isinstance(task, BundleTask):
            bundles = bundled(waiting, settled.count)
        for ended in _ends(executor, task, bundles, observer):
            if _may_be_retried(ended):
                again.append(ended.shard)
            yield ended
        waiting = largest_first(again)


def executor_of(workers: Workers) -> Executor:
    """What runs tasks that aren't shards; of shards `map_shards` does."""
    if workers.executor is ExecutorName.SERIAL:
        return SerialExecutor()
    if workers.executor is ExecutorName.RAY:
        return RayExecutor(workers.share)
    from lowbg.runs.executors.processes import ProcessExecutor

    return ProcessExecutor(workers.count)


def _ends(
    executor: Executor,
    task: Task[Result],
    bundles: Sequence[tuple[Shard, ...]],
    observer: Observer,
) -> Iterator[Ended[Result]]:
    """Every shard's end. Where a bundle killed its worker its shards are done one by one."""
    while bundles:
        alone: list[tuple[Shard, ...]] = []
        with _closing(executor.run(_Bundles(task).start, bundles, observer.progress)) as finished:
            for end in finished:
                bundle = bundles[end.index]
                if end.result is not None:
                    for each in end.result:
                        yield Ended(bundle[each.index], each.result, each.error)
                elif len(bundle) == 1:
                    yield Ended(bundle[0], None, end.error)
                else:
                    alone += [(shard,) for shard in bundle]
        bundles = alone


class _Bundles(Struct, Generic[Result], frozen=True):
    """A task as an executor runs it: with a bundle of shards at a time."""

    task: Task[Result]

    def start(self) -> _Bundles[Result]:
        """The task in a worker."""
        return _Bundles(self.task.start())

    def __call__(
        self, bundle: tuple[Shard, ...], on_progress: OnProgress | None
    ) -> list[Finished[Result]]:
        """Does it with every shard."""
        if len(bundle) == 1:
            return [Finished(0, self.task(bundle[0], on_progress), None)]
        assert isinstance(self.task, BundleTask)
        return [_portable(end) for end in self.task.together(bundle, on_progress)]


def _portable(end: Finished[Result]) -> Finished[Result]:
    """With an error that travels between processes: any other would take the bundle with it."""
    if end.error is None or isinstance(end.error, LowbgError):
        return end
    return Finished(end.index, None, LowbgError(str(end.error)))


def largest_first(shards: Sequence[Shard]) -> tuple[Shard, ...]:
    """The shards in the order in which they are handed out: the last one to end is a small one."""
    return tuple(sorted(shards, key=_order))


def _order(shard: Shard) -> tuple[int, str, int]:
    """Pieces come in the order in which they are put together, as the shard that they are of."""
    number = shard.number if isinstance(shard, Piece) else 0
    return -shard.whole.size, shard.name, number


def own_streams(shards: Sequence[Shard]) -> bool:
    """Whether a shard is standard input or what a shell's <(…) stands for: no worker has it."""
    return any(shard.path.startswith(("-", "/dev/fd/", "/proc/self/")) for shard in shards)


def failed_shard(shard: Shard, error: BaseException | None) -> ShardResult:
    """The result of a shard whose worker died or gave up: nothing of it was put in place."""
    message = f"{shard.name}: {error}. Nothing of this shard was written."
    return ShardResult(
        shard=shard.name, source=shard.path, format="unknown", compression="unknown", records=0,
        complete=False, statistics=Statistics(), outputs=(),
        problems=(Problem(ProblemKind.WORKER, message, 0),), read_bytes=0, text_bytes=0, lenient=0,
        blank=0, seconds=0.0, cpu_seconds=0.0,
    )  # fmt: skip


def _may_be_retried(ended: Ended[Result]) -> bool:
    """Whether another try may end better: not where the input's bytes themselves are damaged."""
    if not ended.shard.resumable:
        return False
    if not isinstance(ended.result, ShardResult):
        return ended.result is None
    return any(not problem.count and not problem.kind.lasting for problem in ended.result.problems)


@contextlib.contextmanager
def _closing(ends: Iterator[Finished[Result]]) -> Iterator[Iterator[Finished[Result]]]:
    """Ends the executor when its caller is interrupted."""
    try:
        yield ends
    finally:
        close: Callable[[], None] | None = getattr(ends, "close", None)
        if close is not None:
            close()
