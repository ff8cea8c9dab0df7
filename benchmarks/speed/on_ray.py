"""The same shards on Ray and on this machine's own processes: `python benchmarks/speed/on_ray.py`.

A local cluster of one node is started by each run on Ray, and ended with it, as `lowbg filter
--executor ray` does where there is none. As many tasks as there are cores and twice as many are
measured, each beside as many local workers, in turns; medians of the rounds. What each takes to
start is measured by a run over next to nothing, and taken off: a MB's cost is that of the rest.

CPU time is looked at twenty times a second, and told apart: that of the tasks (workers, and the
command itself), and that of Ray's own daemons. Outputs are compared byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import corpus
import measuring
import numpy as np
import orjson

from lowbg.storage.compression import compressed

LOOK_S = 0.05

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one run: wall-clock seconds, and CPU seconds of the tasks and of Ray's daemons."""

    wall: float
    tasks: float
    daemons: float


class _Watch(threading.Thread):
    """Notes the CPU time of all processes below this one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._cpu: dict[int, float] = {}
        self._is_daemon: dict[int, bool] = {}
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(LOOK_S):
            for pid in _below(os.getpid()):
                self._look(pid)

    def _look(self, pid: int) -> None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return
        self._cpu[pid] = (int(fields[11]) + int(fields[12])) / _TICK
        if command:  # A process that has ended has none.
            own = b"/lowbg" in command or b"ray::" in command or b"default_worker" in command
            self._is_daemon[pid] = b"ray" in command and not own

    def end(self) -> tuple[float, float]:
        """Stops; the CPU seconds of all other processes, and of Ray's daemons."""
        self._done.set()
        self.join()
        daemons = sum(cpu for pid, cpu in self._cpu.items() if self._is_daemon.get(pid))
        return sum(self._cpu.values()) - daemons, daemons


def _below(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *_below(child))]


def make(folder: Path, prose: Path, shards: int, size: int) -> int:
    """Writes so many shards of about `size` bytes of content; how much all hold."""
    folder.mkdir()
    documents = corpus.documents(corpus.read_prose(prose), np.random.default_rng(0))
    total = 0
    for i in range(shards):
        held = bytearray()
        while len(held) < size:
            held += orjson.dumps(next(documents)) + b"\n"
        (folder / f"{i:02}.jsonl.zst").write_bytes(compressed(bytes(held), "zstd"))
        total += len(held)
    return total


def run(source: Path, output: Path, executor: str, tasks: int) -> Spent:
    """Filters a folder with so many tasks at a time."""
    command = [str(Path(sys.executable).with_name("lowbg")), "filter", str(source), "-o"]
    command += [str(output), "--overwrite", "--quiet", "--threads", "1", "--executor", executor]
    if executor == "ray":
        command += ["--ray-cpus", str((os.cpu_count() or 1) / tasks)]
    else:
        command += ["--workers", str(tasks)]
    watch = _Watch()
    watch.start()
    started = time.perf_counter()
    # Ray's workers give way to all other processes, which says nothing of what they cost.
    measuring.run(command, {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"})
    wall = time.perf_counter() - started
    return Spent(wall, *watch.end())


def digest(folder: Path) -> str:
    """SHA-256 of an output's data, in the order of its paths."""
    found = hashlib.sha256()
    for path in sorted([*folder.glob("human/*"), *folder.glob("ai/*")]):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def measure(work: Path, prose: Path, size: int, rounds: int) -> dict[str, Any]:
    """What each contender takes, in seconds, and for a MB of content."""
    cores = os.cpu_count() or 1
    shards = 8 * cores
    content = make(work / "shards", prose, shards, size // shards)
    make(work / "little", prose, 2 * cores, 1)
    contenders = [(name, n) for n in (cores, 2 * cores) for name in ("processes", "ray")]
    spent: dict[tuple[str, int, str], list[Spent]] = {}
    outputs = set()
    for i in range(rounds):
        for name, tasks in contenders:
            for folder in ("little", "shards"):
                one = run(work / folder, work / "out", name, tasks)
                spent.setdefault((name, tasks, folder), []).append(one)
                print(i, name, tasks, folder, asdict(one), flush=True)
            outputs.add(digest(work / "out"))
    found: dict[str, Any] = {"content_mb": round(content / 1e6), "outputs_equal": len(outputs) == 1}
    for name, tasks in contenders:
        start, whole = (_median(spent[name, tasks, folder]) for folder in ("little", "shards"))
        found[f"{name}, {tasks} tasks"] = {
            "start_cpu_s": {"tasks": round(start.tasks, 2), "daemons": round(start.daemons, 2)},
            "cpu_s": {"tasks": round(whole.tasks, 2), "daemons": round(whole.daemons, 2)},
            "wall_s": round(whole.wall, 1),
            "cpu_ms_a_mb": round((whole.tasks - start.tasks) / content * 1e9, 2),
        }
    return found


def _median(spent: list[Spent]) -> Spent:
    return Spent(
        statistics.median(each.wall for each in spent),
        statistics.median(each.tasks for each in spent),
        statistics.median(each.daemons for each in spent),
    )


def main(argv: list[str]) -> int:
    """Measures, prints and stores what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prose", type=Path, required=True, help="a folder of JSONL files")
    parser.add_argument("--bytes", type=int, default=240_000_000, help="content of all shards")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", type=Path, help="where the result goes, as JSON")
    options = parser.parse_args(argv)
    found = {"machine": measuring.machine(), "load": measuring.load()}
    with tempfile.TemporaryDirectory() as folder:
        found |= measure(Path(folder), options.prose, options.bytes, options.rounds)
    print(json.dumps(found, indent=1))
    if options.store is not None:
        options.store.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["outputs_equal"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
