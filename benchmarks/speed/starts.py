"""CPU seconds of a start: from nothing to one document judged, in turns with another installation.

    python benchmarks/speed/starts.py --lowbg PATH [--beside PATH] [--rounds 9]

Each command is a process of its own on a warm cache: what has to be compiled and kept is, since
each runs once before it counts. User and system time of the process and its children; medians, with
the least and the largest. `--beside` is the `lowbg` of another version, timed in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SENTENCE = (
    "The committee met on Tuesday to discuss the proposals that had been submitted by several of "
    "its members, and put off the vote until they had been read. "
)


def cpu_seconds(command: Sequence[str], stdin: Path | None = None) -> float:
    """User and system time of a command, which must end well."""
    with (stdin or Path(os.devnull)).open("rb") as given:
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def commands(lowbg: str, folder: Path) -> dict[str, tuple[list[str], Path | None]]:
    """What is run: the command, and what it reads from stdin."""
    shard, out = folder / "one.jsonl", [*("-o", str(folder / "out")), "--overwrite", "-q"]
    return {
        "filter -": ([lowbg, "filter", "-", "--discard-ai", "-q"], shard),
        "filter -o": ([lowbg, "filter", str(shard), *out], None),
        "filter -o --no-examples": ([lowbg, "filter", str(shard), *out, "--no-examples"], None),
        "score -o -": ([lowbg, "score", str(shard), "-o", "-", "-q"], None),
        "explain": ([lowbg, "explain", str(shard), "--record", "0"], None),
        "--help": ([lowbg, "--help"], None),
    }


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lowbg", default=str(Path(sys.executable).with_name("lowbg")))
    parser.add_argument("--beside")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    several = [given.lowbg] + ([given.beside] if given.beside else [])
    taken: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.jsonl").write_text(json.dumps({"text": SENTENCE * 12}) + "\n")
        for turn in range(given.rounds + 1):
            for lowbg in several:
                for what, (command, stdin) in commands(lowbg, folder).items():
                    seconds = cpu_seconds(command, stdin)
                    if turn:  # The first time fills caches.
                        taken.setdefault((what, lowbg), []).append(seconds)
            if turn:
                taken.setdefault(("python -c pass", sys.executable), []).append(
                    cpu_seconds([sys.executable, "-c", "pass"])
                )
    for (what, lowbg), times in taken.items():
        low, high = min(times), max(times)
        print(f"{what:24} {statistics.median(times):.3f} ({low:.3f}–{high:.3f})  {lowbg}")


if __name__ == "__main__":
    main()
