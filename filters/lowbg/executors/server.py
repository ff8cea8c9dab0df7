"""One process that loads what every worker needs, and from which workers are then forked.

Loading takes most of a second of CPU time a process. multiprocessing's fork server does it once;
it has one thread, and holds no lock, descriptor or signal handler of its caller. It belongs to
the whole process that starts it, so a program must ask for it: `lowbg` does, the library doesn't.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing as mp
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, util
from multiprocessing.context import BaseContext

PRELOADED = "lowbg.executors.preloaded"
"""What the server imports before the first fork: it calls `prepare`."""

HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} if os.name == "posix" else set()
"""Signals that the server never sees, and a worker only when it is ready for them."""

_PARENT_DIED = "SIGRTMIN"
_FOLDER = "LOWBG_SERVER_FOLDER"
_PR_SET_PDEATHSIG = 1

_started = False


def start(*modules: str) -> bool:
    """Starts the server, which gets ready on its own; true if workers will come from it.

    It imports `modules`, where the workers' tasks are at home. Does nothing where it runs already.
    Only on Linux, where no system library forbids to fork, and only from the main thread: with the
    thread that started it the server ends.
    """
    global _started
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    if not _started:
        forkserver.set_forkserver_preload([PRELOADED, *modules])
    try:
        # Python takes it as an order to import nothing from the current folder.
        with _environment(PYTHONSAFEPATH="1", **{_FOLDER: str(util.get_temp_dir())}), _held_back():
            forkserver.ensure_running()
    except OSError:  # There is no place for its socket.
        return False
    _started = True
    return True


def context() -> BaseContext:
    """How workers are started: from the server where there is one, which may have died; or afresh."""
    return mp.get_context("forkserver" if _started and start() else "spawn")


def is_started() -> bool:
    """Whether workers come from the server, which compiles what they need."""
    return _started


def prepare() -> None:
    """Called in the server: from now on it ends with its parent; loads what every worker needs.

    That compiles the kernels that no earlier run has kept. Third parties' scorers may start
    threads, and are left to the workers; so is what can't be loaded, of which they say why.
    """
    _end_with_parent(os.environ.pop(_FOLDER, ""))
    os.environ.pop("PYTHONSAFEPATH", None)
    with contextlib.suppress(Exception):
        from lowbg.config import Policy
        from lowbg.engine import Engine

        Engine(Policy(), third_parties=False).warm_up()


def _end_with_parent(folder: str) -> None:
    """Ends this process when its parent dies, however, and removes the folder of its socket."""

    def end(number: int, frame: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    number = getattr(signal, _PARENT_DIED)
    signal.signal(number, end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


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
    """With `HELD_BACK` blocked, as a process that is started inherits it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
