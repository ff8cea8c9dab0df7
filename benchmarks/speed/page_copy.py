"""What a copy of encoded Parquet pages would save at best: `page_copy.py SHARD.parquet…`.

Scoring needs the text alone; other columns could go to the output as the pages that they are, if
every row of a page went to the same output. In turns: reading and writing all columns and the text
alone, as the reader and writer of lowbg do, and the whole `lowbg filter`; medians of `--rounds`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))

import measuring

from lowbg.formats.parquet.layout import ParquetLayout
from lowbg.formats.parquet.slices import SLICE_ROWS
from lowbg.formats.parquet.writer import ParquetWriter
from lowbg.records import RowPayload

TEXT = "text"


def read(shards: Sequence[Path], columns: list[str] | None) -> float:
    """CPU seconds of decoding these columns, or all."""
    started = time.process_time()
    for shard in shards:
        with pq.ParquetFile(shard, buffer_size=1 << 20, pre_buffer=False) as file:
            for _ in file.iter_batches(SLICE_ROWS, columns=columns, use_threads=False):
                pass
    return time.process_time() - started


def write(batches: Sequence[pa.RecordBatch], folder: Path) -> float:
    """CPU seconds of writing rows, all to one output."""
    schema = batches[0].schema
    writer = ParquetWriter(folder / "out.parquet", folder, schema, ParquetLayout())
    started = time.process_time()
    for rows in batches:
        writer.write(RowPayload(rows), np.ones(len(rows), np.bool_))
    writer.commit()
    return time.process_time() - started


def measure(shards: Sequence[Path], folder: Path) -> dict[str, float]:
    """One round: CPU seconds of each part."""
    took = {"read all": read(shards, None), "read text": read(shards, [TEXT])}
    took["write all"] = took["write text"] = 0.0
    for shard in shards:
        rows = pq.read_table(shard).to_batches(max_chunksize=1024)
        took["write all"] += write(rows, folder)
        took["write text"] += write([batch.select([TEXT]) for batch in rows], folder)
    out = folder / "filtered"
    command = [sys.executable, "-m", "lowbg_cli", "filter", *map(str, shards), "-o", str(out)]
    serial = ["--executor", "serial", "--threads", "1", "--quiet", "--overwrite"]
    took["filter"] = measuring.run([*command, *serial]).cpu
    return took


def main(argv: list[str]) -> int:
    """Prints the medians in ms of CPU a MB of column data, and what would be saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(argv)
    content = sum(
        pq.ParquetFile(path).metadata.row_group(i).total_byte_size
        for path in given.shards
        for i in range(pq.ParquetFile(path).num_row_groups)
    )
    found: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            took = measure(given.shards, Path(folder))
            others = took["read all"] - took["read text"] + took["write all"] - took["write text"]
            took["saved at best, share"] = others / took["filter"]
            for name, value in took.items():
                found[name].append(value)
    print(
        json.dumps(
            {
                "megabytes": round(content / 1e6, 1),
                **{
                    name: round(statistics.median(values), 4)
                    if "share" in name
                    else round(statistics.median(values) * 1e9 / content, 2)
                    for name, values in found.items()
                },
                "shares": [round(value, 4) for value in found["saved at best, share"]],
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
