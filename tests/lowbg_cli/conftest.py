from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines, numbered
from tests.s3_server import BUCKET, S3
from typer.testing import CliRunner, Result

from lowbg.storage.objects import ObjectStore
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


@pytest.fixture
def s3(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3:
    """The server, for runs that keep their temporary files in a place of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    return s3


@pytest.fixture
def dump(s3: S3, request: pytest.FixtureRequest) -> str:
    """The URL of a dump of three shards, in a place of the test's own."""
    url = f"s3://{BUCKET}/{re.sub('[^a-z]', '-', request.node.name.lower())}"
    store = ObjectStore(url)
    store.put("in/a.jsonl", lines(*HUMAN) + b"{broken\n")
    store.put("in/sub/b.jsonl", lines(AI, *HUMAN[:3]))
    store.put("in/sub/c.jsonl", numbered(400))
    return url
