"""What an installation gets: the two packages, and nothing of what maintainers run."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.slow
def test_the_wheel_holds_the_two_packages_alone(wheel: zipfile.ZipFile) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {"lowbg", "lowbg_cli"}
    assert len(tops) == 3


def test_no_module_of_the_library_is_a_command(wheel: zipfile.ZipFile) -> None:
    """What has a `main` of its own is a maintainers' tool: it belongs below benchmarks/."""
    commands = [
        name
        for name in wheel.namelist()
        if name.endswith(".py") and _reads_arguments(wheel.read(name).decode("utf-8"))
    ]
    assert commands == ["lowbg_cli/__main__.py"]


def _reads_arguments(source: str) -> bool:
    """Whether a module parses its arguments or is made to be run."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and "argparse" in [name.name for name in node.names]:
            return True
        if isinstance(node, ast.Constant) and node.value == "__main__":
            return True
    return False


def test_recipes_and_figures_stay_out(wheel: zipfile.ZipFile) -> None:
    tools = {
        path.name
        for folder in ("tables", "quality")
        for path in (ROOT / "benchmarks" / folder).glob("*.py")
    }
    paths = [PurePosixPath(name) for name in wheel.namelist()]
    assert {path.name for path in paths} & tools == {"characters.py", "run.py"}, (
        "others of the name"
    )
    assert not [path for path in paths if "recipes" in path.parts]
