"""Runs a command and says what it cost: wall and CPU seconds, memory of all its processes."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

SAMPLE_S = 0.1
"""How often memory is looked at."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: seconds of wall and CPU time with all children, peak PSS in bytes, stdout."""

    wall: float
    cpu: float
    memory: int
    output: str


class CommandError(Exception):
    """A command that failed: its exit code and the end of its stderr."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs to the end; raises `CommandError` where the exit code isn't 0."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        peak = _Peak(child.pid)
        peak.start()
        # Popen.wait would not tell what it used; wait4 counts the children that it waited for.
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        cpu = usage.ru_utime + usage.ru_stime + _of_orphans()
        peak.stop()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            message = err.read().decode(errors="replace").strip()[-500:]
            raise CommandError(child.returncode, message or f"{command[0]}: no message")
        return Cost(wall, cpu, peak.bytes, out.read().decode())


_PR_SET_CHILD_SUBREAPER = 36
# A server of workers isn't waited for by the command that started it: it becomes a child of ours.
ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _of_orphans() -> float:
    """CPU seconds of what a command left, and of all that it waited for; waits for its end."""
    cpu = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return cpu
        cpu += usage.ru_utime + usage.ru_stime


class _Peak(threading.Thread):
    """The largest sum of the proportional set sizes of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            self.bytes = max(self.bytes, sum(map(_pss, _tree(self._pid))))
            self._done.wait(SAMPLE_S)

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(child))]


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line[:4] == "Pss:")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        platform.processor() or "unknown",
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if "MemTotal" in line), "0")
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gb": f"{int(memory) / 1e6:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{
            name: metadata.version(name)
            for name in ("lowbg", "numba", "numpy", "orjson", "pyarrow", "zstandard")
        },
    }


def load() -> float:
    """Processes that want a core, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
