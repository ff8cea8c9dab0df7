"""What a run under the chaos harness does beside its work: it dies at a named point.

The process (the run's own or a worker) that passes the point CHAOS_POINT for the CHAOS_COUNTth time
kills itself with SIGKILL, before it or after. First it leaves a file in the folder CHAOS_MARKERS,
so that kills are counted that happened, not those that were planned. The product knows nothing of
this: the points are wrapped from outside.

`python faults.py` reads orders on stdin, a JSON object a line: `args` of the command line, `env`,
and `stderr`, a file. It forks a run for each, prints its pid, and how it ended. Modules and
compiled kernels are loaded once, so that a run costs what it does and not what Python's start does.
Workers are started afresh as ever.
"""

from __future__ import annotations

import importlib
import itertools
import json
import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lowbg.runs.checkpoints
import lowbg.runs.engine
import lowbg.runs.shard
import lowbg.storage.compression
import lowbg.storage.files
from lowbg.config import Policy
from lowbg.formats.jsonl.reader import JsonlReader
from lowbg.formats.parquet.reader import ParquetReader
from lowbg_cli.app import main

POINTS: dict[str, list[tuple[Any, str]]] = {
    "read": [(JsonlReader, "_batch"), (ParquetReader, "_batch")],
    "score": [(lowbg.runs.engine.Engine, "judge")],
    "write": [(lowbg.storage.files.AtomicFile, "write")],
    "sync": [(lowbg.storage.files.AtomicFile, "sync")],
    "seal": [(lowbg.runs.checkpoints.Journal, "seal")],
    "rename": [(lowbg.storage.files.AtomicFile, "publish"), (Path, "replace")],
    "checkpoint": [(lowbg.runs.checkpoints.Journal, "save"), (lowbg.runs.shard, "Checkpoint")],
    "discard": [(lowbg.runs.checkpoints.Journal, "discard")],
}


def arm(point: str, count: int, markers: Path, *, before: bool) -> None:
    """Makes this process die at its `count`th passage of `point`, before it or after."""
    passages = itertools.count(1)  # Threads share it: one step, which nothing comes between.

    def die() -> None:
        role = "run" if mp.parent_process() is None else "worker"
        (markers / f"{role}-{os.getpid()}").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **kwargs: Any) -> Any:
            last = next(passages) == count
            if last and before:
                die()
            result = original(*args, **kwargs)
            if last:
                die()
            return result

        return dying

    for owner, name in POINTS[point]:
        setattr(owner, name, wrapped(getattr(owner, name)))


def arm_as_told() -> None:
    """Arms this process where the environment says so."""
    if "CHAOS_POINT" in os.environ:
        arm(
            os.environ["CHAOS_POINT"],
            int(os.environ["CHAOS_COUNT"]),
            Path(os.environ["CHAOS_MARKERS"]),
            before=os.environ["CHAOS_BEFORE"] == "1",
        )


def run(args: list[str], env: dict[str, str], stderr: str) -> None:
    """Runs the command line in this process, in a group of its own; doesn't return."""
    code = 70
    try:
        os.setsid()
        os.environ.update(env)
        for number, path in ((0, os.devnull), (1, os.devnull), (2, stderr)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        sys.argv = ["lowbg", *args]
        arm_as_told()
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Forks a run for every order."""
    for module in ("lowbg.jobs.filter", "lowbg.jobs.score", "lowbg.runs.manifest"):
        importlib.import_module(module)
    lowbg.runs.engine.Engine(Policy()).warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            run(**order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
else:
    arm_as_told()  # A worker, which is started afresh, imports this module.
