"""What `--sources auto` costs beside one pass: `python -m benchmarks.sources.two_passes INPUT…`.

Both run in turn, in processes of their own with one worker and one thread; CPU seconds, start-up
included. The output is `results/two_passes.md`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lowbg.runs.inputs import survey

HERE: Final = Path(__file__).parent


def cpu_seconds(inputs: Sequence[str], output: Path, *more: str) -> float:
    """CPU seconds of one run."""
    args = ("filter", *inputs, "-o", str(output), "--overwrite", "--quiet")
    command = [sys.executable, "-m", "lowbg_cli", *args, "--workers", "1", "--threads", "1", *more]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/two_passes.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args(arguments)
    size = sum(shard.size for shard in survey(given.inputs).shards)
    times: dict[str, list[float]] = {"one pass": [], "two passes": []}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        cpu_seconds(given.inputs, output)  # The kernels are compiled.
        for _ in range(given.runs):
            times["one pass"].append(cpu_seconds(given.inputs, output))
            times["two passes"].append(cpu_seconds(given.inputs, output, "--sources", "auto"))
    one, two = (statistics.median(times[name]) for name in times)
    lines = [
        "# Two passes against one", "",
        "Written by `python -m benchmarks.sources.two_passes INPUT…`; CPU seconds of whole "
        f"processes, medians of {given.runs} runs in turn, {size / 1e6:,.0f} MB as stored.", "",
        "| | CPU seconds | all runs |", "|---|---|---|",
        *(f"| {name} | {statistics.median(own):.2f} | {', '.join(f'{t:.2f}' for t in own)} |"
          for name, own in times.items()),
        "", f"Ratio: {two / one:.2f}.", "",
    ]  # fmt: skip
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "two_passes.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
