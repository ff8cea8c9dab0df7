"""Tasks on a Ray cluster: each is one of Ray's, in whatever process of whatever node has a core."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lowbg.errors import ConfigError, LowbgError, StoppedError
from lowbg.runs.executors.base import Finished, Result, Task, Worker
from lowbg.runs.progress import OnProgress

RETRIES: Final = 3
"""Times that a task is done again when its node or process is lost."""

_AHEAD: Final = 2
"""Tasks a core that are handed to Ray at a time: what it knows of, it keeps in memory."""

_workers: dict[bytes, Any] = {}


def _do(name: bytes, setup: Callable[[], Any], task: Any) -> Any:
    """A task in one of Ray's processes, which keeps what it has loaded for this run."""
    if name not in _workers:
        _workers.clear()
        _workers[name] = setup()
    return _workers[name](task, None)


def cluster_cores() -> int:
    """The cores of the cluster that `RayExecutor` would use; this process joins it.

    Raises `ConfigError` where there is none.
    """
    ray = _ray()
    _join(ray)
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


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
    a file system that all share. What progress there is shows when tasks end.
    """

    def run(
        self,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[Task],
        on_progress: OnProgress | None,
    ) -> Iterator[Finished[Result]]:
        """Yields one `Finished` a task, as they end; the cluster stays if it ran already."""
        ray = _ray()
        own = _join(ray)
        waiting: dict[Any, int] = {}
        try:
            most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
            do = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_do)
            name = uuid.uuid4().bytes
            shared = ray.put(setup)
            left = list(enumerate(tasks))[::-1]
            while left or waiting:
                while left and len(waiting) < most:
                    index, task = left.pop()
                    waiting[do.remote(name, shared, task)] = index
                (ended, *_), _ = ray.wait([*waiting], num_returns=1)
                yield _finished(ray, waiting.pop(ended), ended)
        finally:
            for under_way in waiting:
                ray.cancel(under_way, force=True)
            if own:
                ray.shutdown()


def _finished(ray: Any, index: int, ended: Any) -> Finished[Any]:
    try:
        return Finished(index, ray.get(ended), None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (ConfigError, StoppedError)):
            raise cause from error
        return Finished(index, None, cause)
    except ray.exceptions.RayError as error:
        told = str(error).partition("\n")[0]
        return Finished(index, None, LowbgError(f"its node or process was lost ({told})"))


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f'`executor="ray"` needs the extra ray ({error}): pip install "lowbg[ray]"'
        ) from error
