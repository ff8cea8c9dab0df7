"""Mutated shards through the readers: no crash, no hang, and every record accounted for.

`python benchmarks/fuzz/run.py --inputs 1000000 --out benchmarks/fuzz/results/fuzz.json`
(see README.md). An input that fails is kept beside the results, by the seed that makes it.
"""

from __future__ import annotations

import argparse
import bz2
import collections
import gzip
import io
import json
import lzma
import mmap
import os
import random
import signal
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from lowbg.config import RunConfig
from lowbg.errors import LowbgError
from lowbg.readers import open_reader
from lowbg.records import LinePayload

SECONDS = 10.0
"""An input that takes longer is a hang: they have a few hundred bytes."""

CHUNK = 2000
"""Inputs that are read in one process: Arrow ends some by `std::terminate`."""

CONFIG = RunConfig(batch_bytes=64, max_record_bytes=400)

LINES = [
    b'{"id": 1, "text": "A line.", "meta": {"tags": ["a", null], "n": -1.5e3}}',
    b'{"text": "\\ud83d\\ude00 \\ud800 caf\\u00e9", "date": "2021-02-03"}',
    '{"text": "Ein Satz – mit Ünïcode.", "url": "https://a.example/"}'.encode(),
    b'{"text": null}',
    b'{"text": 42}',
    b'{"text": NaN, "text": "twice"}',
    b"[1, 2]",
    b"",
    b"  ",
    b'{"text": "' + b"x" * 500 + b'"}',
    b"[" * 300,
    b'{"n": ' + b"9" * 350 + b', "text": "huge"}',
]
ALPHABET = [
    b"{", b"}", b'"', b"\\", b"\n", b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b"[", b":", b",",
    b"\xef\xbb\xbf", b"\\u", b"text", b"null", b"1e999", b"\x1f\x8b", b"PAR1",
]  # fmt: skip

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "zstd": zstandard.ZstdCompressor(level=1, write_checksum=True).compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}
KINDS = ("none", "none", "none", "gzip", "zstd", "bz2", "xz", "parquet")


class Hang(BaseException):
    """The time limit of one input; no `Exception`, so that no reader takes it for a fault."""


def parquet_seeds() -> list[bytes]:
    """Small Parquet files with different codecs, pages and types."""
    seeds = []
    for codec, rows in (("none", 3), ("snappy", 7), ("zstd", 20), ("gzip", 1)):
        table = pa.table(
            {
                "text": [None if i == 2 else f"Text number {i}" for i in range(rows)],
                "n": list(range(rows)),
                "tags": [["a", None]] * rows,
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=codec, row_group_size=6, store_schema=rows > 5)
        seeds.append(sink.getvalue())
    return seeds


PARQUET = parquet_seeds()


def mutate(data: bytes, choice: random.Random) -> bytes:
    """A few random changes of bytes and of pieces."""
    for _ in range(choice.randrange(0, 5)):
        at = choice.randrange(len(data) + 1)
        kind = choice.randrange(7)
        if kind == 0:
            data = data[:at]
        elif kind == 1 and data:
            at %= len(data)
            data = data[:at] + bytes([data[at] ^ (1 << choice.randrange(8))]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + choice.choice(ALPHABET) * choice.randrange(1, 4) + data[at:]
        elif kind == 3:
            data = data[:at] + data[at + choice.randrange(1, 9) :]
        elif kind == 4:
            end = at + choice.randrange(1, 40)
            data = data[:end] + data[at:end] + data[end:]
        elif kind == 5:
            data = data[:at] + choice.randbytes(choice.randrange(1, 9)) + data[at:]
        else:
            data = data[at:] + data[:at]
    return data


def make(seed: int) -> tuple[str, bytes]:
    """The input of a seed, and its kind."""
    choice = random.Random(seed)
    kind = choice.choice(KINDS)
    if kind == "parquet":
        return kind, mutate(choice.choice(PARQUET), choice)
    lines = choice.choices(LINES, k=choice.randrange(0, 6))
    text = b"".join(line + choice.choice([b"\n", b"\n", b"\r\n"]) for line in lines)
    if choice.random() < 0.7:
        text = mutate(text, choice)
    packed = PACK[kind](text)
    return kind, mutate(packed, choice) if kind != "none" and choice.random() < 0.7 else packed


def read(data: bytes) -> tuple[str, list[str]]:
    """How reading ended, and what is wrong with what was read; empty when nothing is."""
    wrong: list[str] = []
    seen: list[int] = []
    count = 0
    lines = 0
    stored = bytearray()
    try:
        reader = open_reader(io.BytesIO(data), CONFIG, "input")
    except LowbgError as error:
        return type(error).__name__, wrong
    end = "whole"
    try:
        for batch in reader:
            places = batch.records.tolist()
            if not len(batch.text) == len(batch.sizes) == len(places) == len(batch.metadata.id):
                wrong.append("columns of different lengths")
            if batch.text.null_count:
                wrong.append("a text is null")
            batch.text.validate(full=True)
            seen += places
            for rejected in batch.rejected:
                seen += range(rejected.record, rejected.record + rejected.count)
            count += len(batch) + sum(rejected.count for rejected in batch.rejected)
            if isinstance(batch.payload, LinePayload):
                payload = batch.payload
                lines += len(places) + len(batch.rejected) + batch.blank
                spans = zip(payload.starts.tolist(), payload.ends.tolist(), strict=True)
                for start, stop in spans:
                    stored += payload.buffer[start:stop]
    except LowbgError as error:
        end = type(error).__name__
    finally:
        reader.close()
    if sorted(seen) != list(range(count)):
        wrong.append(f"records are not 0 … {count - 1}, each once")
    if end == "whole" and data[:4] != b"PAR1" and getattr(reader, "compression", "") == "none":
        expected = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
        if reader.format == "jsonl" and lines != expected:
            wrong.append(f"{lines} lines of {expected} are accounted for")
    return end, wrong


def hang(number: int, frame: FrameType | None) -> None:
    """The clock of one input has run out."""
    raise Hang


def check(seed: int) -> tuple[str, str, str]:
    """Reads one input: its kind, how it ended, and what is wrong, if anything."""
    kind, data = make(seed)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        end, wrong = read(data)
    except Hang:
        end, wrong = "hang", [f"took more than {SECONDS:g} s"]
    except Exception as error:
        end, wrong = "crash", [f"{type(error).__name__}: {error}"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return kind, end, "; ".join(wrong)


def apart(first: int, last: int) -> tuple[list[tuple[int, str, str, str]], int | None]:
    """The results of these seeds, read in a process of its own; the seed that ended it, if any."""
    with mmap.mmap(-1, 8) as shared, tempfile.TemporaryFile("w+") as file:
        child = os.fork()
        if not child:
            try:
                results = []
                for seed in range(first, last):
                    struct.pack_into("q", shared, 0, seed)
                    results.append((seed, *check(seed)))
                json.dump(results, file)
                file.flush()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return [], int(struct.unpack_from("q", shared, 0)[0])
        file.seek(0)
        return [tuple(row) for row in json.load(file)], None


def main() -> None:
    """Reads inputs until there were enough, or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, hang)
    ends: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    found: list[dict[str, object]] = []
    aborted: list[int] = []
    began = time.monotonic()
    done = 0
    ranges = [
        (first, min(first + CHUNK, options.first + options.inputs))
        for first in range(options.first, options.first + options.inputs, CHUNK)
    ][::-1]
    while ranges and time.monotonic() - began < options.seconds and len(found) < 50:
        first, last = ranges.pop()
        results, died = apart(first, last)
        if died is not None:
            aborted.append(died)
            ranges += [(died + 1, last), (first, died)]
            continue
        for seed, kind, end, wrong in results:
            ends[kind][end] += 1
            done += 1
            if wrong:
                found.append({"seed": seed, "kind": kind, "end": end, "wrong": wrong})
                print(found[-1], flush=True)
    result = {
        "inputs": done,
        "first_seed": options.first,
        "seconds": round(time.monotonic() - began, 1),
        "ends": {kind: dict(sorted(counts.items())) for kind, counts in sorted(ends.items())},
        "found": found,
        "aborted_within_arrow": aborted,
        "versions": {"pyarrow": pa.__version__, "numpy": np.__version__},
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
