"""numba's `njit`, with a place for what it compiles wherever lowbg is installed.

numba keeps compiled kernels beside the module, or else in the user's cache directory, and refuses
to compile where neither can be written: in a read-only image whose user has no home. There they
go to a private directory for temporary files; where even that can't be had they aren't kept.

numba knows a kept kernel by the file that it stands in. Here, what is compiled into it from other
files (helpers, constants) has to be the same too: `source_stamp`.

Before numba reads a kept kernel it fills the registries that compiling needs, which takes longer
than all the rest of loading them; here that is left until something has to be compiled.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
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


@cache
def _read(module: str) -> tuple[bytes, list[str]]:
    """The SHA-256 of a loaded module's file, and the modules that the file imports at top level.

    Only those of its own package and of lowbg, and absolute imports. Nothing where there is no file
    that can be read.
    """
    try:
        source = Path(str(getattr(sys.modules.get(module), "__file__", None))).read_bytes()
    except OSError:
        return b"", []
    packages = "|".join(re.escape(name.partition(".")[0]) for name in (module, __name__))
    imports = rf"^(?:from|import) ((?:{packages})\b[\w.]*)(?: import (\([^)]*\)|.*))?"
    found = set()
    for package, names in re.findall(imports, source.decode("utf-8", "replace"), re.M):
        found |= {package, *(f"{package}.{name}" for name in re.findall(r"\w+", names))}
    return hashlib.sha256(source).digest(), sorted(found & sys.modules.keys())


def sources(module: str) -> list[str]:
    """Every module of which something can be compiled into a kernel of this one, itself first.

    These are those that it imports from, of its package and of lowbg, and that they import from:
    few enough to be read whenever a process starts.
    """
    reached = [module]
    for name in reached:
        reached += [other for other in _read(name)[1] if other not in reached]
    return reached


@cache
def source_stamp(module: str) -> str:
    """The SHA-256 of the files of all `sources`: a change of another leaves the kernel as it is."""
    return hashlib.sha256(b"".join(_read(name)[0] for name in sources(module))).hexdigest()


class _Kept(FunctionCache):
    """The kept versions of one kernel; only where one is missing, what compiling needs is made."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = self._impl.locator.get_source_stamp(), source_stamp(function.__module__)
        self._cache_file = IndexDataCacheFile(  # type: ignore[no-untyped-call]
            self.cache_path, self._impl.filename_base, stamp
        )

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
            kernel._cache = _Kept(function)
        compiled: Kernel = kernel
        return compiled

    return decorate
