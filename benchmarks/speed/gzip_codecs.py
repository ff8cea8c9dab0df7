"""What reading and writing gzip takes, by library: `python benchmarks/speed/gzip_codecs.py FILE`.

FILE is JSONL; its first 60 MB are compressed in steps of 1 MiB, and read in steps of 256 KiB, as
lowbg does both. CPU time of this process, least of the rounds, in turns. isal is measured where it
is installed; `contents` is lowbg's own way of reading.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zlib_ng import zlib_ng

from lowbg.storage.decompression import Source, contents

SIZE = 60_000_000
WRITE, READ = 1 << 20, 1 << 18


def libraries() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Modules like zlib and their levels, by name."""
    found: dict[str, tuple[Any, tuple[int, ...]]] = {"zlib-ng": (zlib_ng, (6, 3, 2, 1))}
    try:
        found["isal"] = importlib.import_module("isal.isal_zlib"), (3, 2, 1)
    except ImportError:
        print("isal isn't installed", file=sys.stderr)
    return {**found, "zlib": (zlib, (6,))}


def written(module: Any, level: int, data: bytes) -> bytes:
    """`data` as a gzip member."""
    compressor = module.compressobj(level, 8, 31)
    parts = [compressor.compress(data[i : i + WRITE]) for i in range(0, len(data), WRITE)]
    return b"".join([*parts, compressor.flush()])


def read(module: Any, stored: bytes) -> int:
    """Reads a gzip member to its end; how many bytes it holds."""
    member, size = module.decompressobj(wbits=31), 0
    for i in range(0, len(stored), READ):
        data, out = stored[i : i + READ], b"?"
        while data or len(out) == READ:
            out = member.decompress(data, READ)
            data = member.unconsumed_tail
            size += len(out)
    return size


def read_as_lowbg(stored: bytes) -> int:
    """The same by lowbg's own reader."""
    return sum(map(len, contents(Source(io.BytesIO(stored), "a member"), "gzip")))


def main(argv: list[str]) -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    with options.file.open("rb") as file:
        data = file.read(SIZE)
    stored = written(zlib_ng, 6, data)
    calls: dict[str, Callable[[], Any]] = {}
    for name, (module, levels) in libraries().items():
        calls[f"read: {name}"] = partial(read, module, stored)
        for level in levels:
            calls[f"write: {name}, level {level}"] = partial(written, module, level, data)
    calls["read: lowbg's `contents`"] = partial(read_as_lowbg, stored)
    least: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for _ in range(options.rounds):
        for name, call in calls.items():
            started = time.process_time()
            made = call()
            spent = time.process_time() - started
            least[name] = min(spent, least.get(name, spent))
            if isinstance(made, bytes):
                sizes[name] = len(made)
            elif made != len(data):
                raise ValueError(f"{name}: {made} bytes, not {len(data)}")
    print("| | MB a CPU-second | ms a MB | bytes, of zlib-ng's at level 6 |\n|---|---:|---:|---:|")
    for name in sorted(calls):
        share = f"{sizes[name] / len(stored):.3f}" if name in sizes else ""
        speed = len(data) / 1e6 / least[name]
        print(f"| {name} | {speed:,.0f} | {1_000 / speed:.1f} | {share} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
