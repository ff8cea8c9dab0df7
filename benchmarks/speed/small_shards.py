"""CPU milliseconds a small shard: `small_shards.py --english PATH… [--lowbg PATH] [--beside PATH]`.

Shards of eight documents each (about 17 kB of lines), as zstd and as gzip, filtered by the whole
command with one worker and with two, start-up apart: what all of them take beyond a tenth of them,
by how many more there are. In turns with another version's `lowbg` where `--beside` names one;
medians of the rounds, with least and largest.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import zstandard
from benchmarks.speed import corpus, measuring

DOCUMENTS = 8
"""In a shard."""

CODECS = ("zst", "gz")


def make(sources: Sequence[Path], folder: Path, shards: int) -> None:
    """As many small shards, `zst/` and `gz/`, and a tenth of them in `zst-start/`, `gz-start/`."""
    documents = corpus.documents(corpus.read_prose(sources), np.random.default_rng(20))
    compressor = zstandard.ZstdCompressor(level=3)
    for name in (f"{codec}{part}" for codec in CODECS for part in ("", "-start")):
        (folder / name).mkdir(parents=True)
    for i in range(shards):
        own = b"".join(orjson.dumps(next(documents)) + b"\n" for _ in range(DOCUMENTS))
        stored = {"zst": compressor.compress(own), "gz": gzip.compress(own, 6, mtime=0)}
        for codec, data in stored.items():
            parts = ("", "-start") if i % 10 == 0 else ("",)
            for part in parts:
                (folder / f"{codec}{part}" / f"{i:05}.jsonl.{codec}").write_bytes(data)


def cpu_seconds(lowbg: str, shards: Path, workers: int, outs: Iterator[Path]) -> float:
    """CPU time of filtering all shards of a folder, into the next of `outs`.

    None is removed: for a minute ext4 takes a third longer to make files where some were removed.
    """
    command = [lowbg, "filter", str(shards), "-o", str(next(outs)), "-q"]
    return measuring.run([*command, "--workers", str(workers), "--threads", "1"]).cpu


def main(argv: Sequence[str]) -> int:
    """Prints a row a contender."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--english", type=Path, nargs="+", required=True, help="JSONL of prose")
    parser.add_argument("--lowbg", default=str(Path(sys.executable).with_name("lowbg")))
    parser.add_argument("--beside")
    parser.add_argument("--shards", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(argv)
    versions = [given.lowbg] + ([given.beside] if given.beside else [])
    found: dict[tuple[str, int, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outs = (folder / f"out-{i}" for i in itertools.count())
        make(given.english, folder, given.shards)
        more = given.shards - len(list((folder / "zst-start").iterdir()))
        for turn in range(given.rounds + 1):
            for codec in CODECS:
                for workers in (1, 2):
                    for lowbg in versions:
                        start = cpu_seconds(lowbg, folder / f"{codec}-start", workers, outs)
                        if not turn:  # It fills caches.
                            continue
                        whole = cpu_seconds(lowbg, folder / codec, workers, outs)
                        own = found.setdefault((codec, workers, lowbg), [])
                        own.append(1e3 * (whole - start) / more)
    print("| shards | workers | ms of CPU a shard | lowbg |")
    print("|---|---:|---:|---|")
    for (codec, workers, lowbg), taken in found.items():
        spread = f"{statistics.median(taken):.2f} ({min(taken):.2f}–{max(taken):.2f})"
        print(f"| {codec} | {workers} | {spread} | {lowbg} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
