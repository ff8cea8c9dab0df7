"""A guard against getting slower: ratios to what can't, in two minutes, beside those of before.

    python -m benchmarks.speed.quick --english PATH… --mixed PATH…

Every round runs each contender and what it is compared with, one after the other, and takes the
ratio; a result holds medians. It is compared with the last one that is stored: where a ratio is
more than `--margin` larger, that is said and the exit code is 1. Otherwise, or with `--accept`, it
is stored as `results/quick/VERSION-DATE.json`, and `results/history.md` and `.svg` draw all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import zstandard
from benchmarks.speed import corpus, history, measuring

from lowbg.storage.compression import open_input

HERE = Path(__file__).parent
LOWBG = (sys.executable, "-m", "lowbg_cli")
IMPORTS = (sys.executable, "-c", "import pyarrow, numpy")
MARGIN = 0.15
"""By what share a ratio may be larger than the last one: medians of runs of the same version differ
by up to a tenth on a machine that others use."""

Cost = Callable[[measuring.Cost], float]
Command = Sequence[str]


def cpu(cost: measuring.Cost) -> float:
    """CPU seconds of all processes."""
    return cost.cpu


def memory(cost: measuring.Cost) -> float:
    """Bytes that all processes held together at most."""
    return float(cost.memory)


class Corpora:
    """What is read: two corpora, small shards of one of them, and a document."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.small = work / "small"
        self.one = work / "one.jsonl"

    def make(self, given: argparse.Namespace) -> None:
        """Makes what isn't there."""
        for name, sources in (("english", given.english), ("mixed", given.mixed)):
            if not (self.work / name / "corpus.json").exists():
                if not sources:
                    raise SystemExit(f"{self.work} holds no corpus; make it with --{name} PATH…")
                corpus.make(sources, self.work / name, given.mb, 2, corpus.FORMATS)
        if not self.one.exists():
            self._cut(given.shards)

    def _cut(self, shards: int) -> None:
        """Small shards of eight documents each, then the document alone."""
        first, *_ = self.shards("english", "jsonl.zst")
        with open_input(str(first)) as stream:
            lines = stream.read(1 << 40).splitlines(keepends=True)
        self.small.mkdir(exist_ok=True)
        for i in range(shards):
            own = b"".join(lines[(8 * i + k) % len(lines)] for k in range(8))
            stored = zstandard.ZstdCompressor(level=3).compress(own)
            (self.small / f"{i:05}.jsonl.zst").write_bytes(stored)
        text = orjson.loads(lines[0])["text"]
        self.one.write_bytes(orjson.dumps({"text": text}) + b"\n")

    def shards(self, name: str, kind: str) -> list[Path]:
        """A corpus in one of its formats."""
        return sorted((self.work / name / kind).iterdir())


def pairs(found: Corpora, out: Path) -> dict[str, tuple[Command, Command, Cost]]:
    """By name what is measured, what it is compared with, and what of both."""
    work = found.work

    def lowbg(*sources: Path) -> Command:
        names = map(str, sources)
        return (*LOWBG, "filter", *names, "-o", str(out), "-q", "--workers", "1", "--threads", "1")

    def loop(*shards: Path) -> Command:
        return (sys.executable, str(HERE / "reference.py"), str(out), *map(str, shards))

    english, mixed = (loop(*found.shards(name, "jsonl.zst")) for name in ("english", "mixed"))
    one = (*LOWBG, "filter", str(found.one), "--discard-ai", "-q")
    return {
        "English, jsonl.zst": (lowbg(work / "english" / "jsonl.zst"), english, cpu),
        "mixed, jsonl.zst": (lowbg(work / "mixed" / "jsonl.zst"), mixed, cpu),
        "mixed, jsonl.gz": (lowbg(work / "mixed" / "jsonl.gz"), mixed, cpu),
        "mixed, Parquet": (lowbg(work / "mixed" / "parquet"), mixed, cpu),
        "start-up": (one, IMPORTS, cpu),
        "small shards": (lowbg(found.small), loop(*sorted(found.small.iterdir())), cpu),
        "memory, jsonl.zst": (lowbg(work / "mixed" / "jsonl.zst"), mixed, memory),
        "memory, Parquet": (lowbg(work / "mixed" / "parquet"), mixed, memory),
    }


def measure(found: Corpora, rounds: int) -> dict[str, dict[str, float]]:
    """Median, least and largest of each ratio; a round before them fills caches."""
    out = found.work / "out"
    ratios: dict[str, list[float]] = {}
    wanted = pairs(found, out)
    for number in range(rounds + 1):
        costs: dict[tuple[str, ...], measuring.Cost] = {}
        for name, (command, beside, of) in wanted.items():
            for each in (command, beside):
                if tuple(each) not in costs:  # Memory is that of the run whose time was taken.
                    shutil.rmtree(out, ignore_errors=True)
                    out.mkdir()
                    costs[tuple(each)] = measuring.run(each)
            if number:
                ratio = of(costs[tuple(command)]) / of(costs[tuple(beside)])
                ratios.setdefault(name, []).append(ratio)
    shutil.rmtree(out, ignore_errors=True)
    return {
        name: {"median": statistics.median(own), "min": min(own), "max": max(own)}
        for name, own in ratios.items()
    }


def worse(
    now: Mapping[str, Mapping[str, float]], last: Mapping[str, Mapping[str, float]], margin: float
) -> list[str]:
    """What is to be said of each ratio that is more than the margin above the last one."""
    return [
        f"{name}: {own['median']:.2f} ×, and {last[name]['median']:.2f} × in the last result"
        for name, own in now.items()
        if name in last and own["median"] > last[name]["median"] * (1 + margin)
    ]


def main(argv: Sequence[str]) -> int:
    """Measures, compares, stores and draws."""
    given = _arguments(argv)
    found = Corpora(given.work)
    found.make(given)
    machine = measuring.machine()
    result: dict[str, Any] = {
        "version": machine["lowbg"],
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "load_before": measuring.load(),
        "mb": given.mb,
        "rounds": given.rounds,
        "ratios": measure(found, given.rounds),
    }
    stored = history.read(given.results)
    last = stored[-1]["ratios"] if stored else {}
    print(history.as_table([*stored[-1:], result]))
    slower = worse(result["ratios"], last, given.margin)
    for line in slower:
        print(f"worse by more than {given.margin:.0%}: {line}", file=sys.stderr)
    if slower and not given.accept:
        return 1
    history.store(given.results, result)
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--english", type=Path, nargs="+", help="JSONL files of English prose")
    parser.add_argument("--mixed", type=Path, nargs="+", help="JSONL files of many languages")
    parser.add_argument("--work", type=Path, default=Path("speed-quick"), help="for the corpora")
    parser.add_argument("--mb", type=float, default=20.0, help="content of a new corpus")
    parser.add_argument("--shards", type=int, default=300, help="small shards of a new corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--margin", type=float, default=MARGIN)
    parser.add_argument("--accept", action="store_true", help="store it even where it is worse")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
