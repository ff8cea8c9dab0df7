"""What the first command compiles is said, and can be compiled ahead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from lowbg.jobs import warm_up
from lowbg.kernels import crew

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a command in a process of its own, where no kernel is kept yet."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lowbg_cli", *args],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")},
        )

    return run


@pytest.mark.slow
def test_first_use(command: Command, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("It was late. We went home along the river, in the rain.")
    first = command("explain", str(tmp_path / "one.txt"))
    assert first.returncode == 0, first.stderr
    assert "compiling for this processor, once" in first.stderr.splitlines()[0]
    second = command("explain", str(tmp_path / "one.txt"))
    assert (second.stdout, second.stderr) == (first.stdout, "")

    kernels = len(crew.every_kernel())
    checked = command("warm-up", "--check")
    assert checked.returncode == 1
    assert f"of {kernels} kernels kept" in checked.stderr
    warm = command("warm-up")
    assert warm.returncode == 0, warm.stderr
    assert f"{kernels} of {kernels} kernels kept, " in warm.stderr
    assert f"kept in {tmp_path / 'kernels'}" in warm.stderr
    assert "once" not in warm.stderr
    again = command("warm-up", "--check", "--quiet")
    assert (again.returncode, again.stderr) == (0, "")

    # Everything that the main command calls is there.
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "It was late."}) + "\n")
    filtered = command("filter", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"))
    assert filtered.returncode == 0
    assert "compiling" not in filtered.stderr


@pytest.mark.slow
def test_quiet(command: Command, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "It was late."}) + "\n")
    done = command("filter", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "-q")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_workers_server_says_it(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": "It was late."}) + "\n")
    inputs = [str(tmp_path / f"{name}.jsonl") for name in ("a", "b")]
    options = ["-o", str(tmp_path / "out"), "--workers", "2"]
    done = command("filter", *inputs, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiling for this processor, once") == 1


def test_where_nothing_can_be_kept(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "look", lambda: warm_up.Kept(3, ("a", "b"), None))
    for args in ((), ("--check",)):
        done = run("warm-up", *args)
        assert done.exit_code == 1
        assert "1 of 3 kernels kept" in done.stderr
        assert "kept in nowhere" in done.stderr
