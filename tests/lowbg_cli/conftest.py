from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lowbg_cli.app import app


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs the command line in this process; `stderr` and `stdout` are apart in the result."""

    def invoke(*args: object, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)

    return invoke


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the command line as a process of its own."""

    def popen(*args: object, **options: Any) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "lowbg_cli", *map(str, args)]
        return subprocess.Popen(command, **{"stdout": pipe, "stderr": pipe, **options})

    return popen
