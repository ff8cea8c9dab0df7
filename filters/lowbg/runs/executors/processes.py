"""Shards over several processes of this machine.

Workers come from a process of their own (`server`) or are started afresh (`spawn`), so that no
lock or thread of the caller is inherited. They ignore SIGINT: the parent alone decides when a run
ends, and ends them. A worker that loses its parent ends at once.
"""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from lowbg.errors import ConfigError, LowbgError, StoppedError
from lowbg.kernels.machine import switch_often
from lowbg.runs.executors import server
from lowbg.runs.executors.base import Finished, Result, Task, Worker
from lowbg.runs.progress import OnProgress, Progress
from lowbg.stopping import STOP

GRACE_S = 30.0
"""How long a worker that was told to stop may take for its batch and a checkpoint, in seconds."""

_worker: Worker[Any, Any] | None = None
_progress: Any = None
_busy = False


class _Stop(BaseException):
    """The parent wants this worker to end; unwinds the task, which removes what is unfinished."""


def _start(setup: Callable[[], Worker[Any, Any]], progress: Any) -> None:
    global _worker, _progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_terminate)
    server.let_signals_through()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    switch_often()
    _worker = setup()
    _progress = progress
    # What is loaded stays: the collector need not walk over it again.
    gc.freeze()


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_terminate(number: int, frame: object) -> None:
    if STOP.ask(number):
        return
    if _busy:
        raise _Stop
    os._exit(128 + number)


def _run(task: Any) -> Any:
    global _busy
    if _worker is None:
        raise RuntimeError("the worker was not set up")
    _busy = True
    try:
        return _worker(task, _progress.put if _progress is not None else None)
    except (_Stop, StoppedError):
        # The pool would report it as the task's result and go on.
        os._exit(128 + signal.SIGTERM)
    finally:
        _busy = False


class _Recorded:
    """A way of starting processes that remembers those that it started."""

    def __init__(self, context: BaseContext) -> None:
        self._context: Any = context
        self._made: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def Process(self, *args: Any, **options: Any) -> Any:  # noqa: N802 - as in multiprocessing
        process = self._context.Process(*args, **options)
        self._made.append(process)
        return process

    @property
    def started(self) -> list[Any]:
        """What was started, and may have ended."""
        return [process for process in self._made if process.pid is not None]


class ProcessExecutor:
    """Runs tasks in `workers` processes; they are handed out in the tasks' order."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(
        self,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[Task],
        on_progress: OnProgress | None,
    ) -> Iterator[Finished[Result]]:
        """Yields one `Finished` a task, as they end.

        A worker that is killed takes the tasks under way with it: they, and those that were
        waiting, are run again one at a time, and the one that kills its worker again is reported.
        """
        progress: Any = server.context().Queue() if on_progress is not None else None
        stop = threading.Event()
        listener = threading.Thread(target=_listen, args=(progress, on_progress, stop), daemon=True)
        if on_progress is not None:
            listener.start()
        try:
            left = yield from self._run_pool(self.workers, setup, list(enumerate(tasks)), progress)
            for index, task in left:
                rest = yield from self._run_pool(1, setup, [(index, task)], progress)
                if rest:
                    yield Finished(index, None, LowbgError("the worker process was killed"))
        finally:
            stop.set()
            if on_progress is not None:
                listener.join(timeout=5)
                progress.close()
                progress.cancel_join_thread()

    def _run_pool(
        self,
        workers: int,
        setup: Callable[[], Worker[Task, Result]],
        tasks: Sequence[tuple[int, Task]],
        progress: Any,
    ) -> Generator[Finished[Result], None, list[tuple[int, Task]]]:
        """Runs tasks in one pool; returns those that a broken pool left unfinished."""
        left: list[tuple[int, Task]] = []
        recorded: Any = _Recorded(server.ready())
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)), mp_context=recorded, initializer=_start,
            initargs=(setup, progress),
        )  # fmt: skip
        done = False
        futures: dict[Future[Result], tuple[int, Task]] = {}
        try:
            try:
                with server.starting():
                    for index, task in tasks:
                        futures[pool.submit(_run, task)] = index, task
            except (EOFError, ConnectionError, FileNotFoundError, BrokenProcessPool):
                # What had been started is ended below.
                return list(tasks)
            for future in as_completed(futures):
                index, task = futures[future]
                try:
                    yield Finished(index, future.result(), None)
                except BrokenProcessPool:
                    left.append((index, task))
                except ConfigError:
                    raise
                except Exception as error:  # a defect, too, costs its own shard only
                    yield Finished(index, None, error)
            done = True
        finally:
            if not done:
                _end(recorded.started)
            pool.shutdown(wait=done, cancel_futures=True)
            if left or not done:
                # A pool whose server was killed breaks while its workers still write.
                server.wait_for([process.pid for process in recorded.started], GRACE_S)
        return left


def _end(processes: Sequence[Any]) -> None:
    """Tells the workers to stop, waits while they clean up, and kills those that don't."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()


def _listen(progress: Any, on_progress: OnProgress | None, stop: threading.Event) -> None:
    while not stop.is_set() and on_progress is not None:
        try:
            event: Progress = progress.get(timeout=0.2)
        except (queue.Empty, EOFError, OSError, ValueError):
            continue
        on_progress(event)
