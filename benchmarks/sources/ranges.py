"""Tables of sources added up whole, and in ranges: `python -m benchmarks.sources.ranges`.

`--tables` synthetic tables of `--in-each` sources each, the same ones in all of them, are added up
by one run, and by `--ranges` runs that make a range each, as `lowbg sources --shard-index` does.
Every run is a process of its own, which says what CPU it took, start-up aside, and the most memory
that it had. The parts are run in turns, the whole before and after them; then the parts' rows are
compared with those of the whole. The output is `results/ranges.md`. With `--workers N` so many
workers make one table, beside one process that does: `results/ranges_workers.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.sources.scale import blocks

from lowbg.config import Policy, RunConfig
from lowbg.jobs.sources.cells import combined
from lowbg.jobs.sources.sources import SourcesJob, find_sources, header_of
from lowbg.jobs.sources.table import write_table
from lowbg.runs.engine import Engine
from lowbg.runs.splitting import Split

HERE: Final = Path(__file__).parent
RESULT: Final = HERE / "results" / "ranges.md"


def make_tables(folder: Path, tables: int, sources: int) -> None:
    """Writes synthetic tables."""
    engine = Engine(Policy())
    model, header = engine.source_model(), header_of(Policy(), engine.model_digests())
    for i in range(tables):
        parts = [*blocks(sources, np.random.default_rng(100 + i))]
        write_table(folder / f"table-{i:03}.parquet", [combined(parts)], model, header)


def add_up(folder: Path, output: Path, split: Split | None) -> dict[str, float]:
    """Adds the tables up, or makes a range; CPU seconds, and peak memory in MB."""
    tables = tuple(sorted(folder.glob("table-*.parquet")))
    job = SourcesJob((), output, RunConfig(), tables, split=split)
    Engine(Policy())  # Tables that score are read before the clock starts.
    started = time.process_time()
    find_sources(job)
    taken = time.process_time() - started
    return {"cpu": taken, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


def shared(folder: Path, workers: int) -> list[str]:
    """The rows of the result of several workers that make one table."""
    tables = tuple(sorted(folder.glob("table-*.parquet")))
    one, many = folder / "one.parquet", folder / "many.parquet"
    seconds = []
    for output, count in ((one, 1), (many, workers)):
        before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        find_sources(SourcesJob((), output, RunConfig(), tables, workers=count))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        others = children.ru_utime + children.ru_stime - before[1].ru_utime - before[1].ru_stime
        seconds.append((time.process_time() - before[0], others))
    return [
        f"| one process: CPU | {seconds[0][0]:.1f} s |",
        f"| {workers} workers: CPU | {seconds[1][1]:.1f} s, starting them included |",
        f"| the process that puts their ranges together: CPU | {seconds[1][0]:.1f} s |",
        f"| the same bytes | {'yes' if one.read_bytes() == many.read_bytes() else 'no'} |",
    ]


def in_a_process(folder: Path, output: Path, index: int | None, count: int) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sources.ranges", "--one", str(folder), str(output)]
    part = [] if index is None else ["--index", str(index), "--ranges", str(count)]
    said = subprocess.run([*command, *part], capture_output=True, check=True)
    found: dict[str, float] = json.loads(said.stdout)
    return found


def measure(folder: Path, count: int) -> list[str]:
    """The rows of the result."""
    whole = folder / "whole.parquet"
    parts = [folder / f"range-{i}.parquet" for i in range(count)]
    of_whole = [in_a_process(folder, whole, None, count)]
    of_parts = [in_a_process(folder, part, i, count) for i, part in enumerate(parts)]
    of_whole.append(in_a_process(folder, whole, None, count))
    rows = pa.concat_tables([pq.read_table(part) for part in parts])
    same = rows.equals(pq.read_table(whole))
    tables = sorted(folder.glob("table-*.parquet"))
    read = sum(pq.read_metadata(path).num_rows for path in tables)
    cpu = [each["cpu"] for each in of_parts]
    one, mean = statistics.mean(each["cpu"] for each in of_whole), statistics.mean(cpu)
    return [
        f"| tables, rows in all | {len(tables)}, {read:,} "
        f"({sum(path.stat().st_size for path in tables) / 1e6:,.0f} MB) |",
        f"| sources of the sum | {len(rows):,} |",
        f"| whole: CPU | {of_whole[0]['cpu']:.1f} s, {of_whole[1]['cpu']:.1f} s |",
        f"| a range of {count}: CPU | mean {mean:.1f} s, least {min(cpu):.1f} s, "
        f"most {max(cpu):.1f} s |",
        f"| all {count} ranges: CPU | {sum(cpu):.1f} s: {sum(cpu) / one:.2f} of the whole, "
        f"{1e6 * sum(cpu) / read:.1f} µs a row |",
        f"| the longest range over the mean | {max(cpu) / mean:.2f} |",
        f"| peak memory | whole {max(e['mb'] for e in of_whole):,.0f} MB, "
        f"a range {max(e['mb'] for e in of_parts):,.0f} MB |",
        f"| the ranges' rows are the whole table's | {'yes' if same else 'no'} |",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, default=16)
    parser.add_argument("--in-each", type=int, default=200_000)
    parser.add_argument("--ranges", type=int, default=8)
    parser.add_argument("--workers", type=int, help="so many make one table: nothing else")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one is not None:
        split = None if given.index is None else Split(given.index, given.ranges)
        folder, output = given.one
        print(json.dumps(add_up(folder, output, split)))
        return
    folder = Path(tempfile.mkdtemp(prefix="lowbg-ranges-"))
    try:
        make_tables(folder, given.tables, given.in_each)
        workers = given.workers
        rows = shared(folder, workers) if workers else measure(folder, given.ranges)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    option = f" --workers {given.workers}" if given.workers else ""
    lines = [
        "# Tables added up in ranges", "",
        f"Written by `python -m benchmarks.sources.ranges{option}`, on {platform.machine()}, "
        f"Python {platform.python_version()}, beside other work.", "",
        "| what | |", "|---|---|", *rows, "",
    ]  # fmt: skip
    result = RESULT.with_stem("ranges_workers") if given.workers else RESULT
    result.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
