"""Compiled kernels are kept where there is a place for them; lowbg runs where there is none.

They are kept as long as nothing of what they were compiled from has changed, and however much of
numba's insides has moved.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

import lowbg.kernels
from lowbg.kernels import compiler
from lowbg.kernels.arrays import Rows, Text

SMALL = {
    "__init__.py": "",
    "loop.py": """
from lowbg.kernels.compiler import kernel
from small.helper import (
    scaled,
)

@kernel
def compute(x: int) -> int:
    return scaled(x)

if __name__ == "__main__":
    print(compute(10), sum(compute.stats.cache_hits.values()), compute.stats.cache_path)
""",
    "helper.py": """
from lowbg.kernels.compiler import inlined
from small import constants

ADDED = constants.ADDED

@inlined
def scaled(x):
    return 2 * x + ADDED
""",
    "constants.py": "ADDED = 1\n",
}

MOVED = {
    "nothing": "",
    "the results' class": "import numba.core.caching as c; del c.CompileResultCacheImpl",
    "a place's class": "import numba.core.caching as c; del c.UserWideCacheLocator",
    "the run-time system": "import numba.core.runtime.nrt as n; del n.rtsys",
    "what loads": """
from numba.core.caching import Cache
load = Cache._load_overload
del Cache._load_overload
Cache.load_overload = lambda self, sig, target: (target.refresh(), load(self, sig, target))[1]
""",
    "how it is told what to load": """
from numba.core.caching import Cache
load = Cache.load_overload
Cache.load_overload = lambda self, sig, target, why=None: load(self, sig, target)
Cache._load_overload_ = Cache._load_overload
Cache._load_overload = lambda self, one: None
Cache.load_overload = (
    lambda self, sig, target: (target.refresh(), self._load_overload_(sig, target))[1]
)
""",
    "an option": """
from numba.core.cpu import CPUTargetOptions
del CPUTargetOptions.__mro__[1].no_cfunc_wrapper
""",
    "what a dispatcher keeps": """
from numba.core.dispatcher import Dispatcher
def set_cache(self, cache):
    if type(cache).__name__ == "Kept":
        raise AttributeError("_cache")
    self._moved = cache
Dispatcher._cache = property(lambda self: self._moved, set_cache)
""",
}
"""What is done to numba before lowbg is imported."""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    package = tmp_path / "small"
    package.mkdir()
    for name, text in SMALL.items():
        write(package / name, text)
    return package


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (1_000_000_000, 1_000_000_000))


def run(package: Path, before: str = "", **environment: str) -> tuple[int, int, str]:
    """What the kernel gives, how many of its versions were found compiled, and where it is kept."""
    script = f"{before}\nimport runpy; runpy.run_module('small.loop', run_name='__main__')"
    # Without Python's own compiled files: it knows them by size and time of the source.
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", script],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment,
    )
    assert done.returncode == 0, done.stderr
    result, hits, path = done.stdout.split()
    return int(result), int(hits), path


@pytest.mark.parametrize("moved", MOVED.values(), ids=MOVED)
@pytest.mark.slow
def test_a_kernel_is_compiled_again_when_what_it_is_made_of_changes(
    small: Path, moved: str
) -> None:
    assert run(small, moved)[:2] == (21, 0)
    assert run(small, moved)[:2] == (21, 1)
    write(small / "helper.py", SMALL["helper.py"].replace("2 * x", "3 * x"))
    assert run(small, moved)[:2] == (31, 0)
    write(small / "constants.py", "ADDED = 5\n")
    assert run(small, moved)[:2] == (35, 0)
    assert run(small, moved)[:2] == (35, 1)


@pytest.mark.slow
def test_places(small: Path, tmp_path: Path) -> None:
    assert Path(run(small)[2]) == small / "__pycache__"
    own = run(small, NUMBA_CACHE_DIR=str(tmp_path / "own"))[2]
    assert Path(own).parent == tmp_path / "own"
    block(small)
    for blocked in ("HOME", "XDG_CACHE_HOME"):
        (tmp_path / blocked).write_text("")  # A path below which nothing can be made.
    homeless = {"HOME": str(tmp_path / "HOME" / "x"), "TMPDIR": str(tmp_path / "t")}
    homeless["XDG_CACHE_HOME"] = str(tmp_path / "XDG_CACHE_HOME" / "x")
    (tmp_path / "t").mkdir()
    elsewhere = run(small, **homeless)
    assert elsewhere[:2] == (21, 0)
    assert Path(elsewhere[2]).parent == tmp_path / "t" / f"lowbg-kernels-{os.getuid()}"
    assert run(small, **homeless)[:2] == (21, 1)


def block(package: Path) -> None:
    """Nothing can be made any more where the package's compiled files are, not even by root."""
    for file in (package / "__pycache__").iterdir():
        file.unlink()
    (package / "__pycache__").rmdir()
    (package / "__pycache__").write_text("")


@pytest.mark.slow
@pytest.mark.parametrize("moved", ["nothing", "a place's class"])
def test_nowhere(small: Path, tmp_path: Path, moved: str) -> None:
    (small / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "x")
    before = f"import tempfile; tempfile.tempdir = {nowhere!r}\n{MOVED[moved]}"
    for _ in range(2):
        assert run(small, before, HOME=nowhere, XDG_CACHE_HOME=nowhere) == (21, 0, "None")


def test_a_private_temporary_folder(tmp_path: Path) -> None:
    chosen = compiler.private_folder(tmp_path)
    assert chosen is not None
    assert chosen.parent == tmp_path
    assert chosen.stat().st_mode & 0o077 == 0
    assert compiler.private_folder(tmp_path) == chosen
    assert compiler.private_folder(tmp_path / "none") is None


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path) -> None:
    chosen = compiler.private_folder(tmp_path)
    assert chosen is not None
    chosen.chmod(0o777)
    assert compiler.private_folder(tmp_path) is None


def test_a_link_is_not_trusted(tmp_path: Path) -> None:
    chosen = compiler.private_folder(tmp_path)
    assert chosen is not None
    chosen.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    assert compiler.private_folder(tmp_path) is None


class Pair(NamedTuple):
    """Two arrays."""

    first: Text
    second: Rows[np.uint64]


def test_types_are_those_of_the_annotations() -> None:
    def function(a: int, b: NDArray[np.int8], c: Pair, d: np.uint64, e: float) -> None: ...

    frozen = np.frombuffer(b"ab", np.uint8)
    given: tuple[Any, ...] = (
        1, np.zeros(3, np.int8), Pair(frozen, np.zeros((2, 2), np.uint64)), np.uint64(1), 1.5,
    )  # fmt: skip
    assert compiler.types_of(function) == tuple(map(numba.typeof, given))


def test_everything_compiled_lies_in_this_room() -> None:
    root = Path(str(lowbg.kernels.__file__)).parent
    for file in root.parent.rglob("*.py"):
        if file.parent != root:
            text = file.read_text("utf-8")
            assert "numba" not in text.replace("numba's", ""), file
            assert "llvmlite" not in text, file


def all_kernels() -> dict[str, Any]:
    for module in pkgutil.iter_modules(lowbg.kernels.__path__):
        importlib.import_module(f"lowbg.kernels.{module.name}")
    return {name: made for name, made in compiler.KERNELS.items() if name.startswith("lowbg.")}


def test_importing_changes_nothing_of_numba() -> None:
    script = """
import json, sys, numba
def settings():
    return {k: repr(v) for k, v in vars(numba.config).items() if k.isupper()}
before = settings(), sys.getswitchinterval()
import lowbg, lowbg.jobs.filter, lowbg.jobs.score, lowbg.jobs.explain
print(json.dumps(before == (settings(), sys.getswitchinterval())))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(done.stdout) is True


def test_every_kernel_compiles_for_its_annotations_alone() -> None:
    """What a run compiles is what is compiled ahead."""
    for name, made in all_kernels().items():
        compiler.compile_kernel(name)
        assert compiler.is_kept(name), name
        assert set(made.overloads) == {compiler.types_of(made.py_func)}, name
