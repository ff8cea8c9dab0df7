"""numba's `njit`, with a place for what it compiles wherever lowbg is installed.

numba keeps compiled kernels beside the module, or else in the user's cache directory, and refuses
to compile where neither can be written: in a read-only image whose user has no home. There they
go to a private directory for temporary files; where even that can't be had they aren't kept.

Before numba reads a kept kernel it fills the registries that compiling needs, which takes longer
than all the rest of loading them; here that is left until something has to be compiled.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _usable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private(folder: Path) -> bool:
    """Whether `folder` is this user's alone: code is loaded from it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def choose_cache(package: Path, home: Path, temporary: Path) -> Path | bool:
    """Where compiled kernels are kept: true where numba finds a place itself, false for nowhere.

    `package` is the folder of the installed package, `home` that of the user's caches, and
    `temporary` that of temporary files.
    """
    if os.environ.get("NUMBA_CACHE_DIR") or _usable(package / "__pycache__") or _usable(home):
        return True
    folder = temporary / f"lowbg-kernels-{os.getuid()}"
    return folder if _private(folder) and _usable(folder) else False


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(base) / "numba"  # Path.expanduser would raise where there is no home.


_KEPT = choose_cache(Path(__file__).parent, _user_cache(), Path(tempfile.gettempdir()))

if isinstance(_KEPT, Path):
    numba.config.CACHE_DIR = str(_KEPT)  # type: ignore[attr-defined]


class _Kept(FunctionCache):
    """The kept versions of one kernel; only where one is missing, what compiling needs is made."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled version for these types of arguments; null where it isn't kept."""
        rtsys.initialize(target_context)  # What allocates arrays is called from compiled code.
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is not None:
            return found
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def njit(*, cache: bool, **options: Any) -> Callable[[Kernel], Kernel]:
    """`numba.njit`; with `cache`, the compiled kernel is kept where there is a place for it."""
    compile_it = numba.njit(**options)

    def decorate(function: Kernel) -> Kernel:
        kernel: Any = compile_it(function)
        if cache and _KEPT:
            kernel._cache = _Kept(function)  # type: ignore[no-untyped-call]
        compiled: Kernel = kernel
        return compiled

    return decorate
