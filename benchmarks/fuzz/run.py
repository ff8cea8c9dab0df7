"""Mutated shards through the readers: no crash, no hang, and every record accounted for.

`python benchmarks/fuzz/run.py --inputs 1000000 --out benchmarks/fuzz/results/fuzz.json`
(see README.md). An input that fails is kept beside the results, by the seed that makes it.
"""

from __future__ import annotations

import argparse
import bz2
import collections
import datetime as dt
import gzip
import io
import json
import lzma
import mmap
import os
import platform
import random
import re
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

import lowbg
from lowbg.config import RunConfig
from lowbg.errors import LowbgError
from lowbg.formats import open_reader
from lowbg.records import Batch, BytesPayload, Position, RowPayload

SECONDS = 10.0
"""An input that takes longer is a hang: they have a few hundred bytes."""

CHUNK = 2000
"""Inputs that are read in one process: Arrow ends some by `std::terminate`."""

AGAIN = 3
"""Every so many-th input is read in larger batches, too, and by a reader that goes on."""

MARK = b"\xef\xbb\xbf"

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


def int96_seed() -> bytes:
    """A small Parquet file with timestamps of 96 bits, one of which doesn't fit in 64."""
    far = dt.datetime(9999, 12, 31)
    dates = pa.array([None, dt.datetime(2021, 2, 3), far, far, None], pa.timestamp("us"))
    table = pa.table({"text": ["a", "b", "c", "d", "e"], "date": dates})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2, use_deprecated_int96_timestamps=True)
    return sink.getvalue()


PARQUET = parquet_seeds()
LATER = [*PARQUET, int96_seed()]
"""What seeds from 1,000,000 on are made of; those before stay the inputs that they were."""


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
        return kind, mutate(choice.choice(PARQUET if seed < 1_000_000 else LATER), choice)
    lines = choice.choices(LINES, k=choice.randrange(0, 6))
    text = b"".join(line + choice.choice([b"\n", b"\n", b"\r\n"]) for line in lines)
    if choice.random() < 0.7:
        text = mutate(text, choice)
    packed = PACK[kind](text)
    return kind, mutate(packed, choice) if kind != "none" and choice.random() < 0.7 else packed


@dataclass
class Seen:
    """What reading an input came to: records with their texts and stored lines, the rejected
    ones, the counts, and how it ended."""

    records: list[tuple[int, str, bytes]] = field(default_factory=list)
    rejected: list[tuple[int, int, int | None, int | None, str, bytes]] = field(
        default_factory=list
    )
    blank: int = 0
    lenient: int = 0
    end: str = "whole"
    wrong: list[str] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Adds a batch, and what is wrong with its form."""
        if not len(batch.text) == len(batch.sizes) == len(batch) == len(batch.metadata.id):
            self.wrong.append("columns of different lengths")
        if batch.text.null_count:
            self.wrong.append("a text is null")
        batch.text.validate(full=True)
        lines = [b""] * len(batch)
        if isinstance(batch.payload, BytesPayload):
            payload = batch.payload
            spans = zip(payload.starts.tolist(), payload.ends.tolist(), strict=True)
            lines = [payload.buffer[start:stop] for start, stop in spans]
        elif isinstance(batch.payload, RowPayload) and len(batch.payload.rows) != len(batch):
            self.wrong.append("rows of another number than records")
        self.records += zip(batch.records.tolist(), batch.text.to_pylist(), lines, strict=True)
        self.rejected += [
            (r.record, r.count, r.line, r.offset, r.reason.value, r.raw) for r in batch.rejected
        ]
        self.blank += batch.blank
        self.lenient += batch.lenient


def run_reader(
    data: bytes, config: RunConfig, stop: int | None = None, start: Position | None = None
) -> tuple[Seen, Position | None, bool]:
    """Reads from `start` on; at most `stop` batches. What was seen, where the reader stood then
    (null if it never opened), and whether the content is lines that are stored as they are."""
    seen = Seen()
    try:
        reader = open_reader(io.BytesIO(data), config, "input")
    except LowbgError as error:
        seen.end = type(error).__name__
        return seen, None, False
    if start is not None:
        reader.start_at(start)
    plain = reader.format.name == "jsonl" and reader.compression == "none"
    try:
        for count, batch in enumerate(reader, 1):
            seen.add(batch)
            if count == stop:
                seen.end = "stopped"
                break
    except LowbgError as error:
        seen.end = type(error).__name__
    finally:
        reader.close()
    return seen, reader.position(), plain


def read(data: bytes) -> tuple[str, list[str]]:
    """How reading ended, and what is wrong with what was read; empty when nothing is."""
    seen, _, plain = run_reader(data, CONFIG)
    wrong = seen.wrong
    places = [record for record, _, _ in seen.records]
    for record, count, *_ in seen.rejected:
        places += range(record, record + count)
    if sorted(places) != list(range(len(places))):
        wrong.append(f"records are not 0 … {len(places) - 1}, each once")
    if seen.end == "CheckpointError":
        wrong.append("a checkpoint is missed that there is none of")
    if plain and seen.end == "whole":
        wrong += lines_unaccounted(data, seen)
    wrong += [f"record {record}: another text" for record in misread(seen)]
    return seen.end, wrong


def lines_unaccounted(data: bytes, seen: Seen) -> Iterator[str]:
    """Every line of the input must be a record, a rejected one or blank, and keep its bytes."""
    lines = len(seen.records) + len(seen.rejected) + seen.blank
    expected = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    if lines != expected:
        yield f"{lines} lines of {expected} are accounted for"
    for _, _, _, offset, reason, raw in seen.rejected:
        assert offset is not None
        if data[offset : offset + len(raw)] != raw:
            yield f"{reason} at {offset}: other bytes than the input's"


def misread(seen: Seen) -> Iterator[int]:
    """The records whose text isn't what Python's json finds in their stored lines."""
    for record, text, line in seen.records:
        if line:
            # The mark is taken off once a file and once more in front of what is no strict JSON.
            bare = line.removeprefix(MARK).removeprefix(MARK)
            value = json.loads(bare)["text"]
            if re.sub("[\ud800-\udfff]", "\ufffd", value) != text:
                yield record


def again(data: bytes, seed: int) -> Iterator[str]:
    """What differs in larger batches, and in a reader that goes on where another was stopped."""
    seen, _, _ = run_reader(data, CONFIG)
    larger, _, _ = run_reader(data, replace(CONFIG, batch_bytes=1 << 20))
    if larger != seen:
        yield "larger batches read something else"
    head, position, _ = run_reader(data, CONFIG, stop=1 + seed % 3)
    if position is None or head.end != "stopped":
        return
    rest, _, _ = run_reader(data, CONFIG, start=position)
    joined = Seen(
        head.records + rest.records, head.rejected + rest.rejected, head.blank + rest.blank,
        head.lenient + rest.lenient, rest.end,
    )  # fmt: skip
    if joined != seen:
        yield f"going on after batch {1 + seed % 3} reads something else"


def hang(number: int, frame: FrameType | None) -> None:
    """The clock of one input has run out."""
    raise Hang


def check(seed: int) -> tuple[str, str, str]:
    """Reads one input: its kind, how it ended, and what is wrong, if anything."""
    kind, data = make(seed)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        end, wrong = read(data)
        if seed % AGAIN == 0:
            wrong += again(data, seed)
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
        "read_again": -(-done // AGAIN),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began, 1),
        "ends": {kind: dict(sorted(counts.items())) for kind, counts in sorted(ends.items())},
        "found": found,
        "aborted_within_arrow": aborted,
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        },
        "versions": {
            "lowbg": lowbg.__version__,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
            "zstandard": zstandard.__version__,
        },
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
