"""One large shard on one worker and on two: `python benchmarks/speed/one_shard.py --prose DIR`.

The shard is made of the same documents as the corpus, as plain JSONL, as zstd in frames, as gzip in
members, or as Parquet in row groups. Two workers read it in pieces, and a thread of the process
that started them puts these together. On a machine that others use wall time says nothing, so one
process does each of it in turns and notes its CPU time, least of the rounds: the shard in one pass;
looking for where pieces begin; all pieces, one after the other; putting them together. What two
free cores would take is worked out from that, start-up apart, as

    looking / threads + (all pieces + putting together) / 2 + putting the last one together

where two threads look, but for gzip, and Parquet's footer. Outputs are compared byte for byte. A
shard that is smaller than 1 GB has smaller pieces, so that there are as many.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import corpus
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import load, machine

from lowbg.config import Durability, ExecutorName, RunConfig
from lowbg.jobs.filter import FilterTask
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import Journal
from lowbg.runs.inputs import discover
from lowbg.runs.mapping import Workers
from lowbg.runs.pieces import Joining, pieces_of
from lowbg.runs.shards import Piece
from lowbg.storage.compression import compressed

T = TypeVar("T")

FRAME_BYTES = 4 << 20
"""Content of a zstd frame, as pzstd and t2sz cut it, about."""

PIECES = 15
"""Of a shard, about: as many as 1 GB has."""

FORMATS = ("jsonl", "jsonl.zst", "jsonl.gz", "parquet")

CODECS = {".zst": "zstd", ".gz": "gzip"}


def _documents(prose: Path) -> Iterator[dict[str, Any]]:
    yield from corpus.documents(corpus.read_prose([prose]), np.random.default_rng(0))


def make(path: Path, documents: Iterator[dict[str, Any]], size: int) -> None:
    """Writes a shard of about `size` stored bytes."""
    if path.suffix == ".parquet":
        _make_parquet(path, documents, size)
        return
    held = bytearray()
    codec = CODECS.get(path.suffix, "none")
    with path.open("wb") as file:
        while file.tell() < size:
            held += orjson.dumps(next(documents)) + b"\n"
            if len(held) >= FRAME_BYTES:
                # Frames end within lines, as they do where nobody looks at lines.
                frame, held = bytes(held[:FRAME_BYTES]), held[FRAME_BYTES:]
                file.write(compressed(frame, codec))
        file.write(compressed(bytes(held), codec))


def _make_parquet(path: Path, documents: Iterator[dict[str, Any]], size: int) -> None:
    writer: pq.ParquetWriter | None = None
    while writer is None or path.stat().st_size < size:
        table = pa.Table.from_pylist([next(documents) for _ in range(2_000)])
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


def measure(shard: Path, work: Path, rounds: int) -> dict[str, Any]:
    """What one and two workers take for it, in seconds."""
    (found,) = discover([str(shard)])
    size = found.size // PIECES
    least: dict[str, float] = {}
    equal = True
    crew = Workers(2, ExecutorName.PROCESSES)

    def timed(name: str, call: Callable[[], T]) -> T:
        started = time.process_time()
        result = call()
        spent = time.process_time() - started
        least[name] = min(spent, least.get(name, spent))
        return result

    # As many as there would be of a shard of 1 GB.
    config = RunConfig(frame_bytes=size // 8)
    one = FilterTask(config, work / "one", Durability()).start()
    two = replace(one, output=work / "two")
    for _ in range(rounds):
        for task in (one, two):
            shutil.rmtree(task.output, ignore_errors=True)
            task.output.mkdir()
        timed("one pass", lambda: one(found, None))
        planned = timed("looking", lambda: pieces_of([found], config, crew, size))
        pieces = planned[found.name]

        def read(pieces: list[Piece] = pieces) -> list[tuple[Piece, ShardResult]]:
            return [(each, two(each, None)) for each in pieces]

        ends = timed("pieces", read)

        def join(pieces: list[Piece] = pieces, ends: Sequence[Any] = ends) -> ShardResult | None:
            joining = Joining(
                pieces, two, Journal(two.output, found, Durability()), lambda logs: None
            )
            for piece, result in ends:
                joining.take(piece, result)
            return joining.end()

        equal &= timed("joining", join) is not None and digests(one.output) == digests(two.output)
    free = least["looking"] / (2 if shard.suffix in (".jsonl", ".zst") else 1)
    free += (least["pieces"] + least["joining"]) / 2
    # The last piece is the smallest.
    free += least["joining"] * pieces[-1].size / found.size
    return {
        "bytes": found.size,
        "pieces": len(pieces),
        "cpu_s": {name: round(spent, 2) for name, spent in least.items()},
        "ratio": round(least["one pass"] / free, 2),
        "outputs_equal": equal,
    }


def main(argv: list[str]) -> int:
    """Makes shards, measures, prints and stores what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prose", type=Path, required=True, help="a folder of JSONL files")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="stored, of a shard")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--store", type=Path, help="where the result goes, as JSON")
    options = parser.parse_args(argv)
    found: dict[str, Any] = {"machine": machine(), "load": load(), "shards": {}}
    for name in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            shard = work / f"shard.{name}"
            make(shard, _documents(options.prose), options.bytes)
            found["shards"][name] = measure(shard, work, options.rounds)
        print(name, json.dumps(found["shards"][name]), flush=True)
        if options.store is not None:
            options.store.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(each["outputs_equal"] for each in found["shards"].values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
