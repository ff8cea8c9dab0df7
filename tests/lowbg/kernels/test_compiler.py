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
from lowbg.kernels import building, compiler, objects, places
from lowbg.kernels.arrays import Rows, Text

SMALL = {
    "__init__.py": "",
    "loop.py": """
from lowbg.kernels import objects
from lowbg.kernels.compiler import is_kept, kernel, place
from small.helper import (
    scaled,
)

@kernel
def compute(x: int) -> int:
    return scaled(x)

if __name__ == "__main__":
    kept = is_kept("__main__:compute")
    result = compute(10)
    found = objects.find(compute.py_func)
    way = found and ("numba" if found.header.plain else "LLVM" if found.header.symbol else "own")
    print(result, int(kept), place("__main__:compute"), way)
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
    "nothing": ("own", ""),
    "an option": (
        "own",
        """
from numba.core.cpu import CPUTargetOptions
del CPUTargetOptions.__mro__[1].no_cpython_wrapper
""",
    ),
    "what compiles": (
        "numba",
        """
from numba.core.dispatcher import Dispatcher
def moved(self):
    if "building" in sys._getframe(1).f_code.co_filename:
        raise AttributeError("_compiler")
    return self._moved
Dispatcher._compiler = property(moved, lambda self, made: setattr(self, "_moved", made))
""",
    ),
    "how functions are called": (
        "numba",
        """
from numba.core.callconv import CPUCallConv
import llvmlite.ir as ir
own = CPUCallConv.get_function_type
def moved(self, restype, argtypes):
    kind = own(self, restype, argtypes)
    if "building" in sys._getframe(1).f_code.co_filename:
        return ir.FunctionType(kind.return_type, [ir.IntType(32), *kind.args])
    return kind
CPUCallConv.get_function_type = moved
""",
    ),
    "what LLVM writes": (
        "LLVM",
        """
import lowbg.kernels.building as building
building._X86_64 = -1
""",
    ),
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


def run(
    package: Path, before: str = "", way: str | None = None, **environment: str
) -> tuple[int, int, str]:
    """What the kernel gives, whether it was found compiled, and where it is kept."""
    script = (
        f"import sys\n{before}\nimport runpy; runpy.run_module('small.loop', run_name='__main__')"
    )
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
    result, kept, path, by = done.stdout.split()
    assert by == way or way is None
    return int(result), int(kept), path


@pytest.mark.parametrize(("way", "moved"), MOVED.values(), ids=MOVED)
@pytest.mark.slow
def test_a_kernel_is_compiled_again_when_what_it_is_made_of_changes(
    small: Path, way: str, moved: str
) -> None:
    assert run(small, moved, way=way)[:2] == (21, 0)
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


@pytest.mark.slow
def test_a_kept_kernel_that_a_machine_forbids_to_load(small: Path) -> None:
    """Kept by another machine, or before that was forbidden."""
    assert run(small, way="own")[:2] == (21, 0)
    forbidden = """
import lowbg.kernels.objects as objects
def refuse(found): raise PermissionError(13, "no memory for compiled code")
objects.loaded = refuse
"""
    assert run(small, forbidden, way="numba")[0] == 21


def block(package: Path) -> None:
    """Nothing can be made any more where the package's compiled files are, not even by root."""
    for file in (package / "__pycache__").iterdir():
        file.unlink()
    (package / "__pycache__").rmdir()
    (package / "__pycache__").write_text("")


@pytest.mark.slow
@pytest.mark.parametrize("moved", ["nothing", "what compiles"])
def test_nowhere(small: Path, tmp_path: Path, moved: str) -> None:
    (small / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "x")
    before = f"import tempfile; tempfile.tempdir = {nowhere!r}\n{MOVED[moved][1]}"
    for _ in range(2):
        assert run(small, before, HOME=nowhere, XDG_CACHE_HOME=nowhere) == (21, 0, "None")


def test_a_private_temporary_folder(tmp_path: Path) -> None:
    chosen = places.private_folder(tmp_path)
    assert chosen is not None
    assert chosen.parent == tmp_path
    assert chosen.stat().st_mode & 0o077 == 0
    assert places.private_folder(tmp_path) == chosen
    assert places.private_folder(tmp_path / "none") is None


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path) -> None:
    chosen = places.private_folder(tmp_path)
    assert chosen is not None
    chosen.chmod(0o777)
    assert places.private_folder(tmp_path) is None


def test_a_link_is_not_trusted(tmp_path: Path) -> None:
    chosen = places.private_folder(tmp_path)
    assert chosen is not None
    chosen.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    assert places.private_folder(tmp_path) is None


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
    assert building.types_of(function) == tuple(map(numba.typeof, given))


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


def test_every_kernel_is_kept_as_machine_code_that_loads_without_numba() -> None:
    """What a run compiles is what is compiled ahead."""
    for name, made in all_kernels().items():
        compiler.compile_kernel(name)
        assert compiler.is_kept(name), name
        found = objects.find(made.py_func)
        assert found is not None
        assert not found.header.plain, name
    script = """
import sys
from lowbg.kernels import sentences
import numpy as np
out = np.empty(1, np.float32)
sentences.goh_barabasi(np.array([1, 5], np.int32), np.array([0, 2]), out)
assert abs(out[0] + 0.2) < 1e-6, out
assert not {"numba", "llvmlite"} & {*sys.modules}
"""
    subprocess.run([sys.executable, "-c", script], check=True)
