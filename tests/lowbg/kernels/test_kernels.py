"""Compiled kernels are kept where there is a place for them; lowbg runs where there is none.

They are kept as long as nothing of what they were compiled from has changed.
"""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lowbg
from lowbg.kernels import choose_cache, sources


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A path below which nothing can be made, not even by root."""
    file = tmp_path / "file"
    file.write_text("")
    return file / "below"


def test_numba_chooses_where_it_can(
    tmp_path: Path, blocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_cache(tmp_path, blocked, blocked) is True
    assert choose_cache(blocked, tmp_path / "cache", blocked) is True
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/x")
    assert choose_cache(blocked, blocked, blocked) is True


def test_a_private_temporary_folder_else(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    assert chosen.parent == tmp_path
    assert chosen.stat().st_mode & 0o077 == 0
    assert choose_cache(blocked, blocked, tmp_path) == chosen


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    chosen.chmod(0o777)
    assert choose_cache(blocked, blocked, tmp_path) is False


def test_a_link_is_not_trusted(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    chosen.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    assert choose_cache(blocked, blocked, tmp_path) is False


def test_nowhere(blocked: Path) -> None:
    assert choose_cache(blocked, blocked, blocked) is False


SMALL = {
    "__init__.py": "",
    "kernel.py": """
from lowbg.kernels import njit
from small.helper import (
    scaled,
)

@njit(cache=True)
def compute(x):
    return scaled(x)

print(compute(10), sum(compute.stats.cache_hits.values()))
""",
    "helper.py": """
from lowbg.kernels import njit
from small import constants

ADDED = constants.ADDED

@njit(cache=False, inline="always")
def scaled(x):
    return 2 * x + ADDED
""",
    "constants.py": "ADDED = 1\n",
    "other.py": "UNUSED = 1\n",
}


@pytest.mark.slow
def test_a_kernel_is_compiled_again_when_what_it_is_made_of_changes(tmp_path: Path) -> None:
    package = tmp_path / "small"
    package.mkdir()

    def write(name: str, text: str) -> None:
        (package / name).write_text(text)
        os.utime(package / name, (1_000_000_000, 1_000_000_000))

    def run() -> tuple[int, int]:
        """What the kernel gives, and how many of its versions were found compiled."""
        # Without Python's own compiled files: it knows them by size and time of the source.
        command = [sys.executable, "-B", "-c", "import small.kernel"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        result, hits = done.stdout.split()
        return int(result), int(hits)

    for name, text in SMALL.items():
        write(name, text)
    assert run() == (21, 0)
    write("other.py", "UNUSED = 2\n")
    assert run() == (21, 1)
    write("helper.py", SMALL["helper.py"].replace("2 * x", "3 * x"))
    assert run() == (31, 0)
    write("constants.py", "ADDED = 5\n")
    assert run() == (35, 0)
    assert run() == (35, 1)


def _imports(module: str) -> set[str]:
    """The modules of lowbg that a module imports at top level, as Python itself reads it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    found = set()
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("lowbg.") and name in sys.modules}


def test_the_sources_of_every_kernel_are_known() -> None:
    root = Path(str(lowbg.__file__)).parent
    modules = [
        ".".join(file.relative_to(root.parent).with_suffix("").parts)
        for file in root.rglob("*.py")
        if "@njit(cache=True" in file.read_text("utf-8")
    ]
    assert len(modules) > 10
    for module in modules:
        importlib.import_module(module)
        known = sources(module)
        assert known[0] == module
        assert set(known) == {module}.union(*(_imports(name) for name in known))
