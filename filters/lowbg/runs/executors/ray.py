"""Tasks on a Ray cluster: actors on all nodes, which load once and do a task at a time."""

from __future__ import annotations

import gc
import importlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from lowbg.errors import ConfigError, LowbgError, StoppedError
from lowbg.kernels.machine import switch_often
from lowbg.runs.executors.base import Finished, Result, Task, Worker
from lowbg.runs.progress import OnProgress, Progress

RETRIES: Final = 3
"""Times that a task is done again when its node or process is lost."""

_LOOK_S: Final = 5.0
"""How often it is looked whether nodes came or went, in seconds."""

_TELL_S: Final = 0.5
"""Seconds between two reports of a task on how far it is, and between two looks at them."""


class Share(Struct, frozen=True):
    """What a task takes of its node: cores, GPUs (parts of one, too), and bytes of memory.

    Ray counts, and keeps to it when it hands out work; no task is held to it.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0

    def fits(self, resources: dict[str, float]) -> int:
        """How many such tasks a node with these resources takes."""
        asked = (("CPU", self.cpus), ("GPU", self.gpus), ("memory", float(self.memory)))
        return min(int(resources.get(name, 0.0) / each) for name, each in asked if each)


class _Actor:
    """A worker on some node; it keeps what it has loaded."""

    def __init__(self, setup: Callable[[], Any], board: Any) -> None:
        self._setup = setup
        self._board = board
        self._worker: Any = None
        self._told = 0.0

    def load(self) -> None:
        """Makes ready."""
        switch_often()
        self._worker = self._setup()
        # What is loaded stays, Ray's own too: the collector need not walk over it again.
        gc.freeze()

    def do(self, task: Any) -> Any:
        """Does a task."""
        return self._worker(task, None if self._board is None else self._tell)

    def _tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done or now - self._told >= _TELL_S:
            self._told = now
            self._board.put.remote(progress)


class _Board:
    """Where tasks say how far they are, until somebody looks."""

    def __init__(self) -> None:
        self._latest: dict[str, Progress] = {}

    def put(self, progress: Progress) -> None:
        """Notes how far a shard is."""
        self._latest[progress.shard] = progress

    def take(self) -> list[Progress]:
        """What came since it was looked at last."""
        latest, self._latest = self._latest, {}
        return [*latest.values()]


def slots(share: Share) -> int:
    """How many tasks the cluster does at a time that `RayExecutor` would use; joins it.

    Raises `ConfigError` where there is none, and where no node has what a task takes.
    """
    ray = _ray()
    _join(ray)
    return _slots(ray, share)


def _slots(ray: Any, share: Share) -> int:
    found = sum(share.fits(node["Resources"]) for node in ray.nodes() if node["Alive"])
    if not found:
        raise ConfigError(
            f"no node of the Ray cluster has what a task takes: {share.cpus:g} cores, "
            f"{share.gpus:g} GPUs and {share.memory:,} bytes of memory"
        )
    return found


def _join(ray: Any) -> bool:
    """Joins the cluster; false where this process had. Raises `ConfigError` where there is none."""
    if ray.is_initialized():
        return False
    try:
        ray.init(configure_logging=False, log_to_driver=False)
    except Exception as error:  # Ray has many for an address where there is no cluster.
        raise ConfigError(f"there is no Ray cluster to be had: {error}") from error
    return True


class RayExecutor:
    """Runs tasks on the cluster at `RAY_ADDRESS`, on the one of this machine, or on a new one here.

    Every node must have lowbg, and find inputs and outputs under the same names: in a store, or on
    a file system that all share. A task takes its `share` of a node.
    """

    def __init__(self, share: Share | None = None) -> None:
        self.share = share or Share()

    def run(
        self,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[Task],
        on_progress: OnProgress | None,
    ) -> Iterator[Finished[Result]]:
        """Yields one `Finished` a task, as they end; the cluster stays if it ran already.

        What a lost node or process had at work is done again elsewhere, up to `RETRIES` times.
        """
        ray = _ray()
        own = _join(ray)
        try:
            crew = _Crew(ray, setup, self.share, on_progress)
            try:
                yield from crew.run(deque(enumerate(tasks)))
            finally:
                crew.close()
        finally:
            if own:
                ray.shutdown()


class _Crew:
    """The actors of a run: those that load, those that wait and those that have a task."""

    def __init__(
        self,
        ray: Any,
        setup: Callable[[], Any],
        share: Share,
        on_progress: OnProgress | None,
    ) -> None:
        self._ray = ray
        self._share = share
        self._setup = ray.put(setup)
        self._actor = ray.remote(_Actor).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            memory=share.memory or None,
            scheduling_strategy="SPREAD",
        )
        self._loading: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, int, Any]] = {}
        self._most = 0
        self._looked = 0.0
        self._board: Any = None
        self._ended = threading.Event()
        if on_progress is not None:
            # On this node: what is lost with it ends the run anyway.
            here = ray.get_runtime_context().get_node_id()
            strategies = importlib.import_module("ray.util.scheduling_strategies")
            self._board = (
                ray.remote(_Board)
                .options(
                    num_cpus=0,
                    scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(here, soft=False),
                )
                .remote()
            )
            self._listener = threading.Thread(target=self._listen, args=[on_progress], daemon=True)
            self._listener.start()

    def run(self, left: deque[tuple[int, Any]]) -> Generator[Finished[Any], None, None]:
        """Does what is `left`; the end of each task as it comes."""
        ray, tries = self._ray, Counter[int]()
        while left or self._busy:
            self._hire(len(left) + len(self._busy))
            while left and self._idle:
                actor, (index, task) = self._idle.pop(), left.popleft()
                self._busy[actor.do.remote(task)] = actor, index, task
            under_way = [*self._loading, *self._busy]
            for ended in ray.wait(under_way, num_returns=1, timeout=_LOOK_S)[0]:
                if ended in self._loading:
                    self._loaded(ended)
                    continue
                actor, index, task = self._busy.pop(ended)
                finished = _finished(ray, index, ended)
                if finished is None and tries[index] < RETRIES:
                    tries[index] += 1
                    left.appendleft((index, task))
                elif finished is None:
                    lost = LowbgError(f"its node or process was lost {RETRIES + 1} times")
                    yield Finished(index, None, lost)
                else:
                    self._idle.append(actor)
                    yield finished

    def _hire(self, tasks: int) -> None:
        """Starts actors, as many as there are tasks, or as the cluster takes."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked, self._most = now, _slots(self._ray, self._share)
        there = len(self._loading) + len(self._idle) + len(self._busy)
        for _ in range(min(self._most, tasks) - there):
            actor = self._actor.remote(self._setup, self._board)
            self._loading[actor.load.remote()] = actor

    def _loaded(self, ended: Any) -> None:
        actor = self._loading.pop(ended)
        try:
            self._ray.get(ended)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LowbgError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError:
            return  # Its node was lost; another is hired.
        self._idle.append(actor)

    def _listen(self, on_progress: OnProgress) -> None:
        while not self._ended.wait(_TELL_S):
            self._look(on_progress)
        self._look(on_progress)

    def _look(self, on_progress: OnProgress) -> None:
        try:
            told = self._ray.get(self._board.take.remote(), timeout=30)
        except self._ray.exceptions.RayError:
            return
        for progress in told:
            on_progress(progress)

    def close(self) -> None:
        """Ends all actors."""
        self._ended.set()
        if self._board is not None:
            self._listener.join(timeout=30)
        actors = [*self._loading.values(), *self._idle, *(each[0] for each in self._busy.values())]
        for actor in [*actors, *([self._board] if self._board is not None else [])]:
            self._ray.kill(actor)


def _finished(ray: Any, index: int, ended: Any) -> Finished[Any] | None:
    """How a task ended; null where it was lost."""
    try:
        return Finished(index, ray.get(ended), None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (ConfigError, StoppedError)):
            raise cause from error
        return Finished(index, None, cause)
    except ray.exceptions.RayError:
        return None


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f'`executor="ray"` needs the extra ray ({error}): pip install "lowbg[ray]"'
        ) from error
