"""One run at a time in an output directory: a lock that a dead process doesn't keep.

The run holds `.lowbg/lock`, and every worker a share of `.lowbg/workers`: a worker that outlives
its run for a moment must not write beside the next one's.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lowbg.errors import ConfigError, LockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)

WORKERS_S = 20.0
"""How long a run waits for the workers of one that was killed, in seconds."""

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def run_lock(output: Path) -> Iterator[None]:
    """Holds the output directory for this process alone.

    Raises `LockedError`, which names the holder's pid and host, where another one holds it. On a
    file system without locks the holder's note is believed, with a warning.
    """
    path = output / ".lowbg" / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}. Choose another `output`.") from error
    with file:
        if not _take(file):
            raise LockedError(_held(output, _note(file)))
        _wait_for_workers(output)
        file.truncate(0)
        file.write(json.dumps(_own_note()) + "\n")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def share_of_worker(output: Path) -> int:
    """A worker's share of the output directory: a descriptor that is held until the process ends.

    Negative in the run's own process, which holds the lock itself.
    """
    processes = sys.modules.get("multiprocessing")  # A worker has it.
    if processes is None or processes.parent_process() is None:
        return -1
    try:
        descriptor = os.open(output / ".lowbg" / "workers", os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return -1  # What is wrong with the directory will be said by who writes there.
    return descriptor


def _take(file: IO[str]) -> bool:
    """Whether the lock could be had; on a file system without locks, whether nobody seems to."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            return False
    _log.warning("%s: this file system has no locks; don't start two runs there", file.name)
    return not _seems_alive(_note(file))


def _wait_for_workers(output: Path) -> None:
    """Returns when no worker of an earlier run is left."""
    until = time.monotonic() + WORKERS_S
    with (output / ".lowbg" / "workers").open("a+", encoding="utf-8") as file:
        while fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    return
                if time.monotonic() > until:
                    message = f"{output}: workers of a run that was killed still write there"
                    raise LockedError(f"{message}; try again in a moment") from error
                time.sleep(0.05)
            else:
                return


def _own_note() -> dict[str, Any]:
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": started}


def _note(file: IO[str]) -> dict[str, Any]:
    """What the holder wrote into its lock; empty where it can't be read."""
    try:
        file.seek(0)
        note = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _held(output: Path, note: dict[str, Any]) -> str:
    who = ", ".join(
        f"{what} {note[key]}"
        for what, key in (("pid", "pid"), ("host", "host"), ("since", "started"))
        if key in note
    )
    return (
        f"{output}: another run is writing there ({who or 'it just started'}). "
        "Wait for it, or choose another `output`."
    )


def _seems_alive(note: dict[str, Any]) -> bool:
    """Whether the process of a note runs, as far as this host can tell."""
    pid = note.get("pid")
    if note.get("host") != socket.gethostname() or not isinstance(pid, int):
        return bool(note)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()
