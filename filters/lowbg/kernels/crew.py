"""Kernels that aren't kept are compiled by several processes at once.

One process compiles one kernel at a time. So once one is missing, others are sent to processes
beside this one, the longest first, while this one compiles what it needs next; it waits only for
what is under way elsewhere. Each keeps what it compiles, and the rest load it.
"""

from __future__ import annotations

import atexit
import importlib
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType
from typing import Any

from lowbg import kernels
from lowbg.kernels import compiler

_ASSISTANT = "import sys; sys.path[:] = {path!r}; from lowbg.kernels import crew; crew.assist()"


class Crew:
    """Compiles kernels in up to `helpers` processes beside this one."""

    def __init__(self, helpers: int) -> None:
        self._helpers = helpers
        self._known: set[str] = set()
        self._waiting: list[str] = []
        self._under_way: set[str] = set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[str]] = []

    def add(self, names: Iterable[str]) -> None:
        """More kernels that have to be compiled."""
        with self._changed:
            new = [name for name in names if name not in self._known]
            self._known.update(new)
            # The longest last: they are taken from the end.
            self._waiting = sorted([*self._waiting, *new], key=_length)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for _ in range(min(self._helpers - len(self._threads), len(new))):
                thread = threading.Thread(target=self._send, name="lowbg-compile", daemon=True)
                self._threads.append(thread)
                thread.start()

    def unknown(self, names: Iterable[str]) -> set[str]:
        """Those of the names that it wasn't told of."""
        return set(names) - self._known

    def claim(self, name: str) -> bool:
        """Before a kernel is compiled here: false where it has to be; else it now is kept.

        Waits where it is under way elsewhere.
        """
        with self._changed:
            self._known.add(name)
            if name in self._waiting:
                self._waiting.remove(name)
                return False
            if name not in self._under_way:
                return False
            while name in self._under_way:
                self._changed.wait()
            return True

    def compile_all(self) -> None:
        """Compiles here, too, until nothing waits and nothing is under way."""
        while True:
            with self._changed:
                while not self._waiting and self._under_way:
                    self._changed.wait()
                if not self._waiting:
                    return
                name = self._waiting.pop()
            compiler.compile_kernel(name)

    def finish(self) -> None:
        """Nothing more is begun; waits for what is under way."""
        with self._changed:
            self._waiting.clear()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """Ends the processes, at whatever they are."""
        for process in self._processes:
            process.kill()
        self.finish()

    def _send(self) -> None:
        """One process: sends it what waits, one after the other."""
        command = [sys.executable, "-c", _ASSISTANT.format(path=sys.path)]
        with (
            suppress(OSError),
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process,
        ):
            self._processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            answered = True
            while answered and (name := self._next()) is not None:
                try:
                    process.stdin.write(f"{name}\n")
                    process.stdin.flush()
                    answered = bool(process.stdout.readline())
                except OSError:
                    answered = False
                finally:
                    with self._changed:
                        self._under_way.discard(name)
                        self._changed.notify_all()

    def _next(self) -> str | None:
        with self._changed:
            if not self._waiting:
                return None
            name = self._waiting.pop()
            self._under_way.add(name)
            return name


_crew: Crew | None = None


@contextmanager
def at_work(processes: int, announce: Callable[[], None]) -> Iterator[None]:
    """Within, kernels are compiled together; behind it, nobody is at it any more."""
    global _crew
    kernels.compile_together(processes, announce)
    try:
        yield
    finally:
        kernels.compile_alone()
        if _crew is not None:
            _crew.finish()
            _crew = None


def compile_ahead(names: list[str], processes: int) -> None:
    """Compiles those that aren't kept, in so many processes."""
    crew = Crew(processes - 1)
    crew.add(missing(names))
    try:
        with _alone():
            crew.compile_all()
    finally:
        crew.stop()


@contextmanager
def _alone() -> Iterator[None]:
    asked = kernels.together()
    kernels.compile_alone()
    try:
        yield
    finally:
        if asked is not None:
            kernels.compile_together(*asked)


def before_compiling(name: str) -> bool:
    """Called before a kernel is compiled: true where another process has done it meanwhile."""
    global _crew
    asked = kernels.together()
    if asked is None:
        return False
    if _crew is None:
        asked.announce()
        _crew = Crew(asked.processes - 1)
        atexit.register(_crew.stop)
    _crew.add(missing(_crew.unknown({*compiler.KERNELS} - {name} - compiler.SELDOM)))
    return _crew.claim(name)


def missing(names: Iterable[str]) -> list[str]:
    """Those that have to be compiled."""
    return [name for name in names if not compiler.is_kept(name)]


def every_kernel() -> list[str]:
    """Every kernel of this room, whose modules are loaded."""
    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"{kernels.__name__}.{module.name}")
    return [name for name in compiler.KERNELS if name.startswith(f"{kernels.__name__}.")]


def assist() -> None:
    """A process that compiles the kernels that it is sent, a name a line, and says when it has."""
    for line in sys.stdin:
        name = line.strip()
        importlib.import_module(name.partition(":")[0])
        compiler.compile_kernel(name)
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()


def _length(name: str) -> int:
    """Bytes of Python's code of a kernel and its parts: what compiling it takes goes with that."""
    return _code_length(compiler.KERNELS[name].py_func, set())


def _code_length(function: Callable[..., Any], seen: set[CodeType]) -> int:
    code = function.__code__
    if code in seen:
        return 0
    seen.add(code)
    called = (getattr(function.__globals__.get(name), "py_func", None) for name in code.co_names)
    return len(code.co_code) + sum(_code_length(other, seen) for other in called if other)
