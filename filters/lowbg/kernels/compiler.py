"""What is compiled, for which types, and where it is kept; numba is imported to compile alone.

`kernel` makes a loop that Python calls. It is compiled for the types that its annotations name, so
that it can be compiled ahead (`crew`), and kept as machine code (`objects`). `part` makes a
function that kernels call, `inlined` one whose code becomes theirs, and `intrinsic` one that is
made of LLVM's own terms. None of them does anything until something has to be compiled
(`building`): to import numba takes longer than all the rest of a start.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from lowbg.kernels import objects, together

Function = TypeVar("Function", bound=Callable[..., Any])

KERNELS: dict[str, Kernel] = {}
"""Every kernel of the modules that are loaded, by module and name, in the order of loading."""

SELDOM: set[str] = set()
"""Those that only few commands call."""

_LOADING = threading.RLock()


class Late:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


class Part:
    """A function that kernels call: numba takes it for one of its own.

    Called from Python it is compiled for whatever it is called with.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self.targetoptions = options

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What numba makes of it."""
        from lowbg.kernels import building

        return building.dispatcher(self.py_func, **self.targetoptions)

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_

    def __call__(self, *args: Any) -> Any:
        """What it gives, compiled."""
        return self.dispatcher(*args)


class Kernel(Part):
    """A loop that Python calls; it is loaded, or compiled and kept, when it is called first."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.name = _name(function)
        self._call: Callable[..., Any] | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether it was called in this process."""
        return self._call is not None

    def __call__(self, *args: Any) -> Any:
        """What it gives. Raises `TypeError` for arguments that its annotations don't name."""
        return (self._call or self._loaded())(*args)

    def _loaded(self) -> Callable[..., Any]:
        with _LOADING:
            if self._call is None:
                self._call = self._kept() or self.compiled()
            return self._call

    def _kept(self) -> Callable[..., Any] | None:
        found = objects.find(self.py_func)
        if found is None and together() is not None:
            from lowbg.kernels import crew

            found = objects.find(self.py_func) if crew.before_compiling(self.name) else None
        if found is None:
            return None
        if found.header.plain:
            from lowbg.kernels import building

            return cast(Callable[..., Any], building.plain(self.py_func))
        try:
            return objects.loaded(found)
        except OSError:  # Of a machine that lets nobody load code: numba has other ways.
            return None

    def compiled(self) -> Callable[..., Any]:
        """It, compiled now, and kept where there is a place for it."""
        from lowbg.kernels import building

        return building.compiled(self.py_func)


class Intrinsic:
    """What `intrinsic` returns: numba's own is made once something is compiled."""

    def __init__(self, typed: Callable[..., Any], **options: Any) -> None:
        self._typed, self._options = typed, options

    @functools.cached_property
    def _numba_type_(self) -> Any:
        from lowbg.kernels import building

        return building.intrinsic_type(self._typed, **self._options)


def kernel(function: Function) -> Function:
    """A loop that Python calls, compiled for the types that its annotations name; it is kept.

    The interpreter lock is free while it runs. It allocates nothing: its caller gives it room.
    """
    made = Kernel(function)
    KERNELS[made.name] = made
    return cast(Function, made)


def seldom(function: Function) -> Function:
    """A `kernel` that few commands call: where others are missing, it isn't compiled with them."""
    SELDOM.add(_name(function))
    return kernel(function)


def part(function: Function) -> Function:
    """A function that kernels call, compiled by itself and not kept: it is part of what is."""
    return cast(Function, Part(function))


def inlined(function: Function) -> Function:
    """A function whose code becomes part of that of the kernels that call it."""
    return cast(Function, Part(function, inline="always"))


def intrinsic(typed: Callable[..., Any], **options: Any) -> Any:
    """A function of numba's `extending.intrinsic`: what `typed` says of its types and its code."""
    return Intrinsic(typed, **options)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__name__}"


def compile_kernel(name: str) -> bool:
    """Loads the kernel or compiles it, and keeps it; whether it had to be compiled."""
    if is_kept(name):
        return False
    KERNELS[name].compiled()
    return True


def is_kept(name: str) -> bool:
    """Whether the kernel needn't be compiled."""
    return objects.find(KERNELS[name].py_func) is not None


def place(name: str) -> Path | None:
    """The folder that the kernel is kept in; null where it isn't and can't be."""
    return objects.place(KERNELS[name].py_func)
