"""One large shard on one worker and on two: `python benchmarks/speed/one_shard.py --prose DIR`.

The shard is made of the same documents as the corpus, as plain JSONL, as zstd in frames, or as
Parquet in row groups. Two workers read it in pieces, and a thread of the process that started them
puts these together. Both runs are compared by what they cost: on a machine that others use, wall
time says nothing, and the time that two free cores would take is worked out as

    planning + (all CPU time - planning) / 2 + joining the last piece

where planning is what comes before the first piece (looking for where pieces begin), measured by
itself. Joining the last piece is taken as the CPU time that two workers cost more, plus what
writing costs, over the number of pieces. Outputs are compared byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import load, machine, run

from lowbg.config import RunConfig
from lowbg.formats import piece_starts
from lowbg.runs.shards import PIECE_BYTES
from lowbg.storage.compression import compressed

FRAME_BYTES = 16 << 20
"""Content of a zstd frame, as pzstd and t2sz cut it, about."""

GROUP_BYTES = 16 << 20
"""Stored bytes of a row group, about."""

FORMATS = ("jsonl", "jsonl.zst", "parquet")


def _documents(prose: Path) -> Iterator[dict[str, Any]]:
    yield from corpus.documents(corpus.read_prose(prose), np.random.default_rng(0))


def make(path: Path, documents: Iterator[dict[str, Any]], size: int) -> None:
    """Writes a shard of about `size` stored bytes."""
    if path.suffix == ".parquet":
        _make_parquet(path, documents, size)
        return
    held = bytearray()
    with path.open("wb") as file:
        while file.tell() < size:
            held += orjson.dumps(next(documents)) + b"\n"
            if len(held) >= FRAME_BYTES:
                # Frames end within lines, as they do where nobody looks at lines.
                frame, held = bytes(held[:FRAME_BYTES]), held[FRAME_BYTES:]
                file.write(compressed(frame, "zstd" if path.suffix == ".zst" else "none"))
        file.write(compressed(bytes(held), "zstd" if path.suffix == ".zst" else "none"))


def _make_parquet(path: Path, documents: Iterator[dict[str, Any]], size: int) -> None:
    writer: pq.ParquetWriter | None = None
    while writer is None or path.stat().st_size < size:
        table = pa.Table.from_pylist([next(documents) for _ in range(10_000)])
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema), row_group_size=len(table))
    writer.close()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the data in an output, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "/" in name and not name.startswith(".lowbg"):
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def measure(shard: Path, work: Path) -> dict[str, Any]:
    """What one and two workers take for it."""
    started = time.process_time()
    starts = piece_starts(str(shard), RunConfig(), shard.name, PIECE_BYTES)
    planning = time.process_time() - started
    costs = {}
    for workers in (1, 2):
        output = work / str(workers)
        command = [sys.executable, "-m", "lowbg_cli", "filter", str(shard), "-o", str(output), "-q"]
        cost = run([*command, "--workers", str(workers), "--threads", "1"])
        costs[workers] = {"wall": round(cost.wall, 1), "cpu": round(cost.cpu, 2), "load": load()}
    equal = digests(work / "1") == digests(work / "2")
    for workers in (1, 2):
        shutil.rmtree(work / str(workers))
    one, two = costs[1]["cpu"], costs[2]["cpu"]
    pieces = len(starts) + 1
    last = max(0.0, two - one) / pieces + 0.3 * one / pieces
    free = planning + (two - planning) / 2 + last
    return {
        "bytes": shard.stat().st_size,
        "pieces": pieces,
        "planning_cpu": round(planning, 2),
        "one_worker": costs[1],
        "two_workers": costs[2],
        "seconds_on_two_free_cores": round(free, 1),
        "ratio": round(one / free, 2),
        "outputs_equal": equal,
    }


def main(argv: list[str]) -> int:
    """Makes shards, measures, prints and stores what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prose", type=Path, required=True, help="a folder of JSONL files")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="stored, of a shard")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--store", type=Path, help="where the result goes, as JSON")
    options = parser.parse_args(argv)
    found: dict[str, Any] = {"machine": machine(), "shards": {}}
    for name in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            shard = work / f"shard.{name}"
            make(shard, _documents(options.prose), options.bytes)
            found["shards"][name] = measure(shard, work)
        print(name, json.dumps(found["shards"][name]), flush=True)
        if options.store is not None:
            options.store.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(each["outputs_equal"] for each in found["shards"].values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
