"""The one door to numba: what is compiled, for which types, and where it is kept.

`kernel` makes a loop that Python calls. It is compiled for the types that its annotations name, so
that it can be compiled ahead (`crew`), and kept. `part` makes a function that kernels call, and
`inlined` one whose code becomes theirs.

numba itself keeps kernels beside their modules, or else in the user's cache directory, and refuses
to compile where neither can be written: in a read-only image whose user has no home. There they go
to a private directory for temporary files; where even that can't be had they aren't kept.

numba knows a kept kernel by the file that it stands in. Here, what is compiled into it from other
files (parts, constants) has to be the same too: `source_stamp`. And before numba reads a kept
kernel it fills the registries that compiling needs, which takes longer than all the rest of loading
them; here that is left until something has to be compiled. Both reach into numba's insides. Where
these have moved, numba keeps the kernels in its own way, and loading takes longer: `_keep_plainly`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numba
import numpy as np

from lowbg.kernels import together
from lowbg.kernels.arrays import Layout

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

KERNELS: dict[str, Any] = {}
"""Every kernel of the modules that are loaded, by module and name, in the order of loading."""

SELDOM: set[str] = set()
"""Those that only few commands call."""

_MOVED = (ImportError, AttributeError, TypeError)
"""What comes of reaching into insides that have moved."""


def kernel(function: Kernel) -> Kernel:
    """A loop that Python calls, compiled for the types that its annotations name; it is kept.

    The interpreter lock is free while it runs.
    """
    made: Kernel = _kept(function)
    KERNELS[_name(function)] = made
    return made


def seldom(function: Kernel) -> Kernel:
    """A `kernel` that few commands call: where others are missing, it isn't compiled with them."""
    SELDOM.add(_name(function))
    return kernel(function)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__name__}"


def part(function: Kernel) -> Kernel:
    """A function that kernels call, compiled by itself and not kept: it is part of what is."""
    made: Any = _jit(function)
    return cast(Kernel, made)


def inlined(function: Kernel) -> Kernel:
    """A function whose code becomes part of that of the kernels that call it."""
    made: Any = _jit(function, inline="always")
    return cast(Kernel, made)


def _jit(function: Callable[..., Any], **options: Any) -> Any:
    return numba.njit(nogil=True, **_options(), **options)(function)


@cache
def _options() -> dict[str, Any]:
    """What else numba is told, where it knows of it: nobody calls kernels from C.

    Without the code for that they compile a tenth faster.
    """
    with contextlib.suppress(*_MOVED):
        from numba.core.cpu import CPUTargetOptions

        if hasattr(CPUTargetOptions, "no_cfunc_wrapper"):
            return {"no_cfunc_wrapper": True}
    return {}


def types_of(function: Callable[..., Any]) -> tuple[Any, ...]:
    """numba's types of the arguments that a function's annotations name (see `arrays`)."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    return tuple(numba.typeof(_sample(hint)) for hint in hints.values())  # type: ignore[no-untyped-call]


def _sample(hint: Any) -> Any:
    """A value such as an annotation names."""
    layout = Layout()
    if get_origin(hint) is Annotated:
        hint, layout = get_args(hint)
    if get_origin(hint) is np.ndarray:
        array = np.empty((0,) * layout.dimensions, get_args(get_args(hint)[1])[0])
        array.flags.writeable = layout.writable
        return array
    if hasattr(hint, "_fields"):
        hints = get_type_hints(hint, include_extras=True)
        return hint(*(_sample(hints[name]) for name in hint._fields))
    return hint(0)


def compile_kernel(name: str) -> bool:
    """Loads the kernel or compiles it, and keeps it; whether it had to be compiled."""
    made = KERNELS[name]
    before = sum(made.stats.cache_misses.values())
    made.compile(types_of(made.py_func))
    return bool(sum(made.stats.cache_misses.values()) > before)


def is_kept(name: str) -> bool:
    """Whether the kernel needn't be compiled. Where numba's insides have moved it then is."""
    made = KERNELS[name]
    holds = getattr(getattr(made, "_cache", None), "holds", None)
    if holds is not None:
        with contextlib.suppress(*_MOVED):
            return bool(holds(made))
    return not compile_kernel(name)


def place(name: str) -> Path | None:
    """The folder that the kernel is kept in; null where it isn't."""
    path = KERNELS[name].stats.cache_path
    return Path(path) if path else None


@cache
def source_stamp(folder: Path) -> str:
    """The SHA-256 of all Python files of a folder: what its kernels are compiled from."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _stamp_of(function: Callable[..., Any]) -> str:
    return source_stamp(Path(function.__code__.co_filename).parent)


def private_folder(temporary: Path) -> Path | None:
    """A folder below that of temporary files which is this user's alone: code is loaded from it."""
    folder = temporary / f"lowbg-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    alone = found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if stat.S_ISDIR(found.st_mode) and alone else None


def _kept(function: Callable[..., Any]) -> Any:
    """The function, compiled when it is called, and kept where there is a place for it."""
    made: Any = _jit(function)
    try:
        made._cache  # noqa: B018 - that it is there.
        made._cache = _cache_class()(function)
    except RuntimeError:  # There is no place.
        return made
    except _MOVED:
        return _keep_plainly(function)
    return made


def _keep_plainly(function: Callable[..., Any]) -> Any:
    """`_kept` by what numba makes public: it knows a kernel by its own file alone.

    So it is compiled again where a file beside the kernels tells of another stamp.
    """
    try:
        made: Any = _jit(function, cache=True)
        folder = Path(made.stats.cache_path)
        told = folder / f"{function.__module__}.{function.__name__}.stamp"
        stamp = f"{numba.__version__} {_stamp_of(function)}"
        if not told.exists() or told.read_text() != stamp:
            made.recompile()  # Of what is loaded there is nothing yet: it forgets what is kept.
            told.write_text(stamp)
    except (RuntimeError, OSError):  # There is no place.
        return _jit(function)
    return made


@cache
def _cache_class() -> Any:
    """The class of what keeps one kernel's versions. Raises one of `_MOVED` where it can't be."""
    from numba.core import caching
    from numba.core.runtime.nrt import rtsys

    class Elsewhere(caching.UserWideCacheLocator):
        """Where numba finds no place itself."""

        def __init__(self, function: Any, file: str) -> None:
            super().__init__(function, file)  # type: ignore[no-untyped-call]
            folder = private_folder(Path(tempfile.gettempdir()))
            if folder is None:
                raise RuntimeError("no private folder for temporary files")
            self._cache_path = str(folder / Path(self._cache_path).name)

    class Results(caching.CompileResultCacheImpl):
        _locator_classes = [  # noqa: RUF012 - as in numba
            *caching.CompileResultCacheImpl._locator_classes,
            Elsewhere,
        ]

    class Kept(caching.FunctionCache):
        _impl_class = Results

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)  # type: ignore[no-untyped-call]
            self._kernel = _name(function)
            self._cache_file = caching.IndexDataCacheFile(  # type: ignore[no-untyped-call]
                self.cache_path, self._impl.filename_base, _stamp_of(function)
            )

        def load_overload(self, *told: Any) -> Any:
            """The compiled version for these types of arguments; null where it isn't kept."""
            try:
                found = self._load(*told)
                if found is None and together() is not None:
                    from lowbg.kernels import crew

                    found = self._load(*told) if crew.before_compiling(self._kernel) else None
            except _MOVED:
                found = None
            if found is not None:
                return found
            return super().load_overload(*told)  # type: ignore[no-untyped-call]

        def _load(self, sig: Any, target_context: Any) -> Any:
            # What allocates arrays is called from compiled code.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]

        def holds(self, made: Any) -> bool:
            key = self._index_key(  # type: ignore[no-untyped-call]
                types_of(made.py_func), made.targetctx.codegen()
            )
            return key in self._cache_file._load_index()  # type: ignore[no-untyped-call]

    return Kept
