"""What a run under the chaos harness does beside its work: it dies at a named point.

`python faults.py lowbg-args…` runs the command line; the process (the run's own or a worker) that
passes the point CHAOS_POINT for the CHAOS_COUNTth time kills itself with SIGKILL, before it or
after. First it leaves a file in the folder CHAOS_MARKERS, so that kills are counted that happened,
not those that were planned. The product knows nothing of this: the points are wrapped from outside.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lowbg.checkpoints
import lowbg.compression
import lowbg.engine
import lowbg.pipeline
import lowbg.writers.base
from lowbg.readers.jsonl import JsonlReader
from lowbg.readers.parquet import ParquetReader

POINTS: dict[str, list[tuple[Any, str]]] = {
    "read": [(JsonlReader, "_batch"), (ParquetReader, "_batch")],
    "score": [(lowbg.engine.Engine, "judge")],
    "write": [(lowbg.writers.base.AtomicFile, "write")],
    "sync": [(lowbg.writers.base.AtomicFile, "sync")],
    "seal": [(lowbg.checkpoints.Journal, "seal")],
    "rename": [(lowbg.writers.base.AtomicFile, "publish"), (Path, "replace")],
    "checkpoint": [(lowbg.checkpoints.Journal, "save"), (lowbg.pipeline, "Checkpoint")],
    "discard": [(lowbg.checkpoints.Journal, "discard")],
}


def arm(point: str, count: int, markers: Path, *, before: bool) -> None:
    """Makes this process die at its `count`th passage of `point`, before it or after."""
    left = count

    def die() -> None:
        role = "run" if mp.parent_process() is None else "worker"
        (markers / f"{role}-{os.getpid()}").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            last = left == 0
            if last and before:
                die()
            result = original(*args, **kwargs)
            if last:
                die()
            return result

        return dying

    for owner, name in POINTS[point]:
        setattr(owner, name, wrapped(getattr(owner, name)))


# Workers are started afresh and import this module: they arm themselves.
if "CHAOS_POINT" in os.environ:
    arm(
        os.environ["CHAOS_POINT"],
        int(os.environ["CHAOS_COUNT"]),
        Path(os.environ["CHAOS_MARKERS"]),
        before=os.environ["CHAOS_BEFORE"] == "1",
    )

if __name__ == "__main__":
    from lowbg_cli.app import main

    sys.argv[0] = "lowbg"
    main()
