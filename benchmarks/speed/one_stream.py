"""CPU time of one shard on one thread and on two, by size of block: `one_stream.py FILE`.

In this process, in turns; least and all of the rounds, with page faults and switches between
threads. The tables are loaded before. Blocks are what is read and judged at a time: `batch_bytes`
of one thread, half of it of each of two where they would share it.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lowbg.config import Durability, RunConfig
from lowbg.jobs.filter import FilterTask
from lowbg.kernels.machine import switch_often
from lowbg.runs.inputs import discover

BLOCKS = (3 << 20, 6 << 20)


def spent() -> tuple[float, ...]:
    """User and system seconds, page faults and switches of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime, usage.ru_minflt, usage.ru_nvcsw


def main(argv: Sequence[str]) -> int:
    """Prints a row a contender."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    (shard,) = discover([options.file])
    switch_often()
    found: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        task = FilterTask(RunConfig(), output, Durability()).start()
        for _ in range(options.rounds):
            for threads in (1, 2):
                for block in BLOCKS:
                    shutil.rmtree(output, ignore_errors=True)
                    output.mkdir()
                    config = RunConfig(threads=threads, batch_bytes=block)
                    assert config.block_bytes == block
                    before = spent()
                    replace(task, config=config)(shard, None)
                    one = tuple(b - a for a, b in zip(before, spent(), strict=True))
                    found.setdefault((threads, block), []).append(one)
    print("| threads | block, MiB | CPU, s | page faults | switches | all rounds |")
    print("|---:|---:|---:|---:|---:|---|")
    for (threads, block), rounds in found.items():
        best = min(rounds, key=lambda one: one[0] + one[1])
        every = ", ".join(f"{one[0] + one[1]:.2f}" for one in rounds)
        print(
            f"| {threads} | {block >> 20} | {best[0] + best[1]:.2f} | {best[2]:,} | {best[3]:,} "
            f"| {every} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
