"""What tests of runs in an object store look at: its objects as local files."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.s3_server import S3, no_fault

from lowbg.storage.objects import ObjectStore


def fetched(url: str, folder: Path) -> Path:
    """A copy of all objects below a URL."""
    store = ObjectStore(url)
    for name in store.list():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        store.download(name, folder / name)
    return folder


def data_of(folder: Path) -> dict[str, bytes]:
    """Every file of data, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lowbg" not in path.parts and path.parent != folder
    }


def kill_while_sending(process: subprocess.Popen[bytes], s3: S3, part: str) -> None:
    """Kills a run when the second object whose path holds `part` is being sent.

    It has to be slow to send: `slow_to_send`. Nothing goes wrong with the server afterwards.
    """
    until = time.monotonic() + 120
    while sum(part in key for key in s3.requests) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    s3.plan = no_fault


def slow_to_send(s3: S3, part: str) -> None:
    """From now on objects whose path holds `part` are."""
    s3.plan = lambda method, path, _: "slow" if method == "PUT" and part in path else None
