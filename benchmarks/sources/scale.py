"""Time, memory and size of large tables of sources: `python -m benchmarks.sources.scale`.

`--sources N` synthetic sources are counted as a run of `lowbg sources` counts judged documents,
spilled, merged, judged and written; then `--tables` tables of parts are merged. The output is
`results/scale.md`. Nothing is scored: scores are drawn at random.
"""

from __future__ import annotations

import argparse
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.decision.sources import SourceModel, bins_of
from lowbg.jobs.sources.cells import UNIT, Cells, Keys, combined
from lowbg.jobs.sources.runs import Spill, merged, merged_runs
from lowbg.jobs.sources.sources import header_of
from lowbg.jobs.sources.table import write_table
from lowbg.jobs.sources.table_cells import read_cells
from lowbg.runs.engine import Engine
from lowbg.text import languages

HERE: Final = Path(__file__).parent
BLOCK: Final = 200_000
"""Documents that are counted at a time."""

Ints = NDArray[np.int64]


def documents_of(sources: int, rng: np.random.Generator) -> Ints:
    """How many documents each source has: eight in ten 1 to 3, one in fifty 10 to 60."""
    kind = rng.random(sources)
    return np.where(
        kind < 0.8,
        rng.integers(1, 4, sources),
        np.where(kind < 0.98, rng.integers(4, 10, sources), rng.integers(10, 61, sources)),
    )


def blocks(sources: int, rng: np.random.Generator) -> Iterator[Cells]:
    """The cells of all documents, in random order, a block at a time."""
    of_documents = np.repeat(np.arange(sources), documents_of(sources, rng))
    rng.shuffle(of_documents)
    is_ai = rng.random(sources) < 0.15
    english = languages.CODES.index("en")
    for start in range(0, len(of_documents), BLOCK):
        own = of_documents[start : start + BLOCK]
        level = np.where(is_ai[own], 5.0, -2.5)
        yield cells(own, rng.normal(level, 1.3), english, rng.integers(2012, 2027, len(own)))


def cells(own: Ints, log_odds: NDArray[np.float64], language: int, year: Ints) -> Cells:
    """The cells of documents of the sources `own`."""
    numbers, codes = np.unique(own, return_inverse=True)
    # Rising by their bytes, as they have the same length.
    names = pa.array([f"s{number:09d}.example" for number in numbers.tolist()], pa.string())
    units = np.rint(log_odds * UNIT).astype(np.int64)
    n = len(own)
    keys = Keys(np.full(n, language), year, year < 2023, bins_of(units / UNIT)).packed()
    order = np.lexsort((keys, codes))
    ones = np.ones(n, np.int64)
    counts = np.stack([ones, 300 * ones, (units > 450).astype(np.int64), units, units * units], 1)
    first = np.unique(codes[order], return_index=True)[1]
    ids = pa.array([f"d{i}" for i in range(len(numbers))], pa.string())
    single = Cells(
        names, codes[order], keys[order], counts[order],
        np.arange(len(numbers)), units[order][first], ids,
    )  # fmt: skip
    # Cells of equal keys are added up.
    return combined([single, Cells.none()]) if n < 2 else _added(single)


def _added(single: Cells) -> Cells:
    whole = single.source << 32 | single.keys
    starts = np.flatnonzero(np.diff(whole, prepend=-1))
    return Cells(
        single.names, single.source[starts], single.keys[starts],
        np.add.reduceat(single.counts, starts, axis=0),
        single.id_source, single.id_score, single.ids,
    )  # fmt: skip


def megabytes() -> float:
    """The most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def count(sources: int, table: Path, model: SourceModel, folder: Path) -> list[str]:
    """Counts synthetic sources into a table; the figures as rows."""
    rng = np.random.default_rng(3)
    spill = Spill(folder, "run")
    started, cpu = time.perf_counter(), time.process_time()
    documents = 0
    before = megabytes()
    for block in blocks(sources, rng):
        documents += int(block.counts[:, 0].sum())
        spill.add(block)
    runs = spill.end()
    spilled = sum(run.stat().st_size for run in runs)
    counted_in, counted_cpu = time.perf_counter() - started, time.process_time() - cpu
    header = header_of(Policy(), {})
    header = write_table(table, merged_runs(runs, folder), model, header)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    size = table.stat().st_size
    return [
        f"| sources, documents | {sources:,}, {documents:,} |",
        f"| verdicts | {', '.join(f'{n:,} {name}' for name, n in header.verdicts.items())} |",
        f"| sorted runs | {len(runs)}, {spilled / 1e6:,.0f} MB: {spilled / sources:.0f} bytes a "
        "source |",
        f"| counting and spilling | {counted_in:,.0f} s ({counted_cpu:,.0f} s of CPU) |",
        f"| all | {wall:,.0f} s ({cpu:,.0f} s of CPU): {1e6 * cpu / sources:.0f} µs of CPU a "
        "source |",
        f"| the table | {size / 1e6:,.0f} MB: {size / sources:.0f} bytes a source |",
        f"| peak memory | {megabytes():,.0f} MB, {before:,.0f} MB before |",
    ]


def merge(sources: int, tables: int, model: SourceModel, folder: Path) -> list[str]:
    """Merges tables of parts."""
    header = header_of(Policy(), {})
    paths = []
    for i in range(tables):
        rng = np.random.default_rng(100 + i)
        paths.append(folder / f"{i}.parquet")
        parts = [*blocks(sources, rng)]
        write_table(paths[-1], [combined(parts)], model, header)
    size = sum(path.stat().st_size for path in paths)
    started, cpu = time.perf_counter(), time.process_time()
    whole = folder / "whole.parquet"
    header = write_table(whole, merged([read_cells(path) for path in paths]), model, header)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return [
        f"| tables, sources in each | {tables}, {sources:,} ({size / 1e6:,.0f} MB) |",
        f"| sources, size of the sum | {header.sources:,}, {whole.stat().st_size / 1e6:,.0f} MB |",
        f"| time | {wall:,.0f} s ({cpu:,.0f} s of CPU) |",
        f"| peak memory | {megabytes():,.0f} MB |",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/scale.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000_000)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--in-each", type=int, default=20_000)
    given = parser.parse_args(arguments)
    model = Engine(Policy()).source_model()
    folder = Path(tempfile.mkdtemp(prefix="lowbg-sources-"))
    head = ["| figure | |", "|---|---|"]
    try:
        merging = merge(given.in_each, given.tables, model, folder)
        counting = count(given.sources, folder / "all.parquet", model, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [
        "# Large tables of sources", "",
        "Written by `python -m benchmarks.sources.scale`, on one core of "
        f"{platform.machine()}, Python {platform.python_version()}, beside other work.", "",
        "## Counting", "", *head, *counting, "",
        "Peak memory includes the benchmark's own list of which document is of which source: "
        "16 bytes a document.", "",
        f"## Merging {given.tables} tables", "", *head, *merging, "",
    ]  # fmt: skip
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "scale.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
