"""One process that loads what every worker needs, and from which workers are then forked.

Loading takes most of a second of CPU time a process. multiprocessing's fork server does it once;
it has one thread, and holds no lock, descriptor or signal handler of its caller. It belongs to
the whole process that starts it, so a program must ask for it: `lowbg` does, the library doesn't.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing as mp
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from lowbg.errors import LowbgError
from lowbg.kernels.machine import available_cores

PRELOADED = "lowbg.runs.executors.preloaded"
"""What the server imports before the first fork: it calls `prepare`."""

_HELD_BACK = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that the server never sees, and a worker only when it is ready for them."""

_PARENT_DIED = getattr(signal, "SIGRTMIN", signal.SIGTERM)
ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # Else it would import from the current folder.
    # Else numpy and pyarrow start threads as soon as they are imported.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What is set for the server, and for nothing else."""

_PARENT, _FOLDER = "LOWBG_SERVER_PARENT", "LOWBG_SERVER_FOLDER"
_COMPILING = "LOWBG_SERVER_COMPILING"
"""What the server is told through its environment: who starts it, where its socket is, and what it
says on stderr when something has to be compiled."""

_PR_SET_PDEATHSIG = 1

_MOVED = (ImportError, AttributeError, TypeError)
"""What comes of reaching into multiprocessing's insides where they have moved. Then every worker is
started afresh, and loads what it needs: slower, and the same."""

_PAUSES = (0.0, 0.02, 0.1, 0.5)
"""Seconds before each look for a server that is ready."""

_started = False


def start(*modules: str, compiling: str = "") -> bool:
    """Starts the server, which gets ready on its own; true if workers will come from it.

    It imports `modules`, where the workers' tasks are at home, and says `compiling` on stderr where
    kernels have to be compiled. Does nothing where it runs already.
    Only on Linux, where no system library forbids to fork, and only from the main thread: with the
    thread that started it the server ends.
    """
    global _started
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    try:
        _ensure_running(modules, compiling)
    except (OSError, *_MOVED):  # There is no place for its socket, or no such server.
        return False
    _started = True
    return True


def _ensure_running(modules: Sequence[str], compiling: str) -> None:
    """The one place that starts the server. Raises one of `_MOVED` where it can't be done so."""
    from multiprocessing import forkserver, resource_tracker, util  # not to be had everywhere

    if not _started:
        forkserver.set_forkserver_preload([PRELOADED, *modules])
    folder = str(util.get_temp_dir())
    if not _started:
        # multiprocessing complains at its end where the folder that it removes is gone.
        util.Finalize(None, os.makedirs, (folder, 0o700, True), exitpriority=0)
    told = {_PARENT: str(os.getpid()), _FOLDER: folder, _COMPILING: compiling}
    with _environment(**ENVIRONMENT, **told):
        with _held_back():
            resource_tracker.ensure_running()  # It lets signals through when it has started.
        with _held_back():
            forkserver.ensure_running()


def context() -> BaseContext:
    """How workers are started: from the server where one was started, else afresh."""
    return mp.get_context("forkserver" if _started else "spawn")


def ready() -> BaseContext:
    """`context`, once the server is ready, where a signal may come.

    Another is started where it was killed, or can't be reached. Raises `LowbgError` where it is
    killed each time that it gets ready.
    """
    for pause in _PAUSES:
        time.sleep(pause)  # One that was just killed may still seem to be there.
        if not _started or _is_ready() or not _started:
            return context()
    raise LowbgError("the process from which workers are started was killed")


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Within, the caller starts workers: no signal comes in between, which would lose them."""
    if not _started:
        yield
        return
    with _held_back():
        yield


def _is_ready() -> bool:
    """Whether a process could be had from the server; waits for it."""
    start()  # It does where one was killed.
    first = mp.get_context("forkserver").Process(target=_nothing)
    try:
        first.start()
    except FileNotFoundError:
        _end_unreachable()
        return False
    except (EOFError, ConnectionError):
        return False
    first.join()
    return True


def _end_unreachable() -> None:
    """Ends a server whose socket is gone, so that `start` starts another.

    Someone cleared the folder of temporary files, as many systems do by a file's age. Where it
    can't be ended, workers are started afresh from now on.
    """
    global _started
    try:
        from multiprocessing import forkserver, util

        server: Any = forkserver._forkserver
        with contextlib.suppress(FileNotFoundError):  # It removes its socket.
            server._stop()
        Path(util.get_temp_dir()).mkdir(mode=0o700, exist_ok=True)
    except _MOVED:
        _started = False


def _nothing() -> None:
    """What a process does that only shows that the server forks."""


def is_started() -> bool:
    """Whether workers come from the server, which compiles what they need."""
    return _started


def prepare() -> None:
    """Called in the server: from now on it ends with its parent; loads what every worker needs.

    That compiles the kernels that no earlier run has kept. Third parties' scorers may start
    threads, and are left to the workers; so is what can't be loaded, of which they say why.
    Python's collector of cycles never looks at what is loaded here: it would no longer be shared.
    """
    gc.disable()
    parent = int(os.environ.pop(_PARENT, os.getppid()))
    _end_with_parent(parent, os.environ.pop(_FOLDER, ""))
    compiling = os.environ.pop(_COMPILING, "")
    with contextlib.suppress(Exception):
        from lowbg.config import Policy
        from lowbg.kernels import crew
        from lowbg.runs.engine import Engine

        with crew.at_work(available_cores(), lambda: _say(compiling)):
            Engine(Policy(), third_parties=False).warm_up()
    gc.freeze()
    gc.enable()


def _say(text: str) -> None:
    if text and sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def let_signals_through() -> None:
    """Called in a worker that is ready for signals: those that came meanwhile reach it now."""
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


def wait_for(workers: Sequence[int], seconds: float) -> None:
    """Waits until these processes of the server are gone; kills those that are still there then."""
    if not _started:
        return
    until = time.monotonic() + seconds
    for pid in workers:
        while _is_running(pid):
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)


def _is_running(pid: int) -> bool:
    """Whether the process is at work: one that only waits to be noticed by its parent isn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def _end_with_parent(parent: int, folder: str) -> None:
    """Ends this process when its parent dies, however, and removes the folder of its socket."""

    def end(number: int, frame: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    signal.signal(_PARENT_DIED, end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(_PARENT_DIED))
    if os.getppid() != parent:
        end(_PARENT_DIED, None)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """With these variables set, for a process that is started."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """With these signals blocked, as a process that is started inherits it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
