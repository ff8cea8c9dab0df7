"""A Common Crawl snapshot on a cluster, simulated: `python -m benchmarks.speed.snapshot [--write]`.

Every shard of the snapshot goes through a worker: it reads from the store, judges, and writes back.
Workers take the next shard when they are done; nodes differ in speed, some are lost and come back,
and the store answers so many requests and bytes a second, in the order in which they are asked for.
What a lost node had at work is done again, and so is the loading of its workers.

What the project has measured comes from its stored results (`Measured`); what it hasn't, sizes,
prices, limits and rates of failure, is assumed (`Assumed`), and printed as such.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lowbg.jobs.sources.table import ROWS_A_GROUP
from lowbg.storage.objects import RANGE_BYTES

HERE = Path(__file__).parent
SPEED = HERE / "results" / "2026-11-30-amd-epyc-2c.json"
STORES = HERE.parent / "stores" / "results" / "run.md"
SOURCES = HERE.parent / "sources" / "results"
EVIDENCE_BYTES = 42
"""Of a source in a worker's memory (`decision.source_evidence.SourceEvidence`)."""

RESULT = HERE / "results" / "snapshot.md"


@dataclass(frozen=True, slots=True)
class Measured:
    """What results of this repository say.

    `mb_per_cpu_s`: content that `filter` reads of gzip, start-up included; `worker_mb`: memory.
    `requests_a_shard`: beside those that carry data. `two_passes`: CPU of both over one, and
    `second_pass`: of what isn't scoring.
    `table_bytes`: of a source in a table; `merge_us`: CPU of a source of each table that is merged,
    and `range_us` the same where several runs merge a range each, of which the longest takes
    `longest_range` times the mean; `known_share`: of sources that a verdict is made of, which
    workers hold in memory.
    """

    mb_per_cpu_s: float
    worker_mb: float
    requests_a_shard: float
    two_passes: float
    second_pass: float
    table_bytes: float
    merge_us: float
    range_us: float
    longest_range: float
    known_share: float

    @classmethod
    def read(cls) -> Measured:
        """From the stored results."""
        speed = json.loads(SPEED.read_text())
        gzip, stages = speed["contenders"]["lowbg, jsonl.gz"], speed["stages_ms_per_mb"]
        routing = sum(stages[n] for n in ("decompress", "parse", "write", "statistics", "decide"))
        scale = (SOURCES / "scale.md").read_text()
        megabytes, shards = _found(STORES, r"(\d+) MB in (\d+) shards")
        (requests,) = _found(STORES, r"\| S3 \| none \| [\d.]+ \| (\d+) ")
        each = megabytes * 1e6 / shards
        data = shards * (_ranges(each) + _puts(each))
        tables, in_each = _numbers(scale, r"tables, sources in each \| ([\d,]+), ([\d,]+)")
        (merging,) = _numbers(scale, r"time \| \d+ s \((\d+) s of CPU\)")
        (table_bytes,) = _numbers(scale, r"the table \| \d+ MB: (\d+) bytes")
        many, _ = _numbers(scale, r"sources, documents \| ([\d,]+), ([\d,]+)")
        (unknown,) = _numbers(scale, r"verdicts \| ([\d,]+) unknown")
        ranges = SOURCES / "ranges.md"
        (range_us,) = _found(ranges, r"of the whole, ([\d.]+) µs a row")
        (longest,) = _found(ranges, r"longest range over the mean \| ([\d.]+) ")
        (ratio,) = _found(SOURCES / "two_passes.md", r"Ratio: ([\d.]+)\.")
        return cls(
            mb_per_cpu_s=gzip["mb_per_cpu_s"]["median"],
            worker_mb=gzip["peak_mb"]["max"],
            requests_a_shard=max(0.0, (requests - data) / shards),
            two_passes=ratio,
            second_pass=routing / (routing + stages["judge (all of it)"]),
            table_bytes=table_bytes,
            known_share=1 - unknown / many,
            merge_us=merging / (tables * in_each) * 1e6,
            range_us=range_us,
            longest_range=longest,
        )


@dataclass(frozen=True, slots=True)
class Assumed:
    """What isn't measured here. Bytes are decimal, rates a second, prices in US dollars.

    `loss_an_hour`: that a node is lost within an hour; another takes its place after `boot_s`.
    `spread`: sigma of the logarithm of nodes' speeds; `slow` of them have half of theirs.
    `store_requests`, `store_gb`: what the store answers altogether. `wait_s`: for its first byte.
    """

    files: int = 90_000
    pages: float = 2.5e9
    hosts: int = 50_000_000
    file_mb: float = 100.0
    content_per_stored: float = 2.6
    nodes: int = 64
    cores: int = 32
    node_gbit: float = 12.5
    boot_s: float = 120.0
    load_s: float = 3.0
    loss_an_hour: float = 0.0
    spread: float = 0.0
    slow: float = 0.0
    store_requests: float = 30_000.0
    store_gb: float = 100.0
    wait_s: float = 0.05
    dollars_a_core_hour: float = 0.04
    dollars_a_1000_reads: float = 0.0004
    dollars_a_1000_writes: float = 0.005
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over the snapshot came to.

    `waiting` is the share of the workers' time that they wait for the store; `tail_s` is how long
    the last tenth of a percent of shards takes.
    """

    seconds: float
    cpu_hours: float
    reads: float
    writes: float
    read_tb: float
    written_tb: float
    redone: int
    losses: int
    waiting: float
    tail_s: float


def simulate(
    measured: Measured, assumed: Assumed, *, work: float = 1.0, writes: bool = True
) -> Pass:
    """One pass: `work` times the CPU of filtering, and with `writes` false nothing is written."""
    rng = np.random.default_rng(assumed.seed)
    size = assumed.file_mb * 1e6
    sizes = size * rng.lognormal(-0.02, 0.2, assumed.files)
    speeds = rng.lognormal(0.0, assumed.spread, assumed.nodes)
    speeds[rng.random(assumed.nodes) < assumed.slow] *= 0.5
    bandwidth = assumed.node_gbit * 1e9 / 8 / assumed.cores
    losses = _losses(assumed, rng)
    free = [(assumed.boot_s + assumed.load_s, w // assumed.cores) for w in range(_workers(assumed))]
    heapq.heapify(free)
    waiting_shards = list(np.argsort(-sizes, kind="stable")[::-1])
    store_free = 0.0
    busy = waited = reads = written = read_bytes = written_bytes = 0.0
    redone = 0
    ends = []
    while waiting_shards:
        now, node = heapq.heappop(free)
        shard = waiting_shards.pop()
        stored = float(sizes[shard])
        asked = _ranges(stored) + measured.requests_a_shard / 2
        put = _puts(stored) + measured.requests_a_shard / 2 if writes else 0.0
        moved = stored * (2 if writes else 1)
        turn = max((asked + put) / assumed.store_requests, moved / (assumed.store_gb * 1e9))
        store_free = max(store_free, now) + turn
        cpu = stored / 1e6 * assumed.content_per_stored / measured.mb_per_cpu_s * work
        # Two ranges are asked for ahead: transfers overlap with work, the first one doesn't.
        transfer = max(moved / bandwidth, store_free - now) + assumed.wait_s
        taken = max(cpu / float(speeds[node]), transfer)
        reads, read_bytes = reads + asked, read_bytes + stored
        lost = next((at for at in losses[node] if now < at < now + taken), None)
        if lost is not None:
            waiting_shards.append(shard)
            redone += 1
            busy += lost - now
            heapq.heappush(free, (lost + assumed.boot_s + assumed.load_s, node))
            continue
        written, written_bytes = written + put, written_bytes + (stored if writes else 0.0)
        busy, waited = busy + taken, waited + taken - min(taken, cpu / float(speeds[node]))
        ends.append(now + taken)
        heapq.heappush(free, (now + taken, node))
    ends.sort()
    nearly = ends[min(len(ends) - 1, int(len(ends) * 0.999))]
    return Pass(
        seconds=ends[-1],
        cpu_hours=ends[-1] * _workers(assumed) / 3600,
        reads=reads,
        writes=written,
        read_tb=read_bytes / 1e12,
        written_tb=written_bytes / 1e12,
        redone=redone,
        losses=sum(at < ends[-1] for node in losses for at in node),
        waiting=waited / busy,
        tail_s=ends[-1] - nearly,
    )


def _workers(assumed: Assumed) -> int:
    return assumed.nodes * assumed.cores


def _losses(assumed: Assumed, rng: np.random.Generator) -> list[list[float]]:
    """When each node is lost, in seconds; a day is more than any pass takes."""
    if not assumed.loss_an_hour:
        return [[] for _ in range(assumed.nodes)]
    mean = -3600 / math.log1p(-assumed.loss_an_hour)
    gaps = rng.exponential(mean, (assumed.nodes, 1 + int(3 * 86_400 / mean)))
    return [[float(at) for at in row] for row in np.cumsum(gaps, axis=1)]


def sources_of_part(assumed: Assumed) -> float:
    """How many hosts one of the nodes' parts has, where pages per host follow Zipf's law."""
    edges = np.unique(np.geomspace(1, assumed.hosts + 1, 4_000).astype(np.int64))
    ranks, counts = (edges[:-1] + edges[1:] - 1) / 2, np.diff(edges)
    weights = counts / ranks
    per_host = assumed.pages / assumed.nodes * (weights / weights.sum()) / counts
    return float((counts * -np.expm1(-per_host)).sum())


@dataclass(frozen=True, slots=True)
class Merge:
    """Adding up the tables of all parts: on one core, and in ranges of sources, one a node."""

    rows: float
    one_core_s: float
    ranges_s: float
    table_gb: float
    broadcast_s: float


def merge_tables(measured: Measured, assumed: Assumed) -> Merge:
    """What the sources' tables take between the passes."""
    rows = sources_of_part(assumed) * assumed.nodes
    # At either end of a range about half of a group of each table is read for nothing.
    of_range = rows / assumed.nodes + assumed.nodes * ROWS_A_GROUP
    table = assumed.hosts * measured.table_bytes
    per_node = min(assumed.node_gbit * 1e9 / 8, assumed.store_gb * 1e9 / assumed.nodes)
    return Merge(
        rows=rows,
        one_core_s=rows * measured.merge_us / 1e6,
        ranges_s=of_range * measured.range_us / 1e6 * measured.longest_range
        + of_range * measured.table_bytes / per_node,
        table_gb=table / 1e9,
        broadcast_s=table / per_node,
    )


def cases(assumed: Assumed) -> dict[str, Assumed]:
    """What may go wrong, alone and together."""
    uneven = replace(assumed, spread=0.15, slow=0.05)
    lossy, throttled = 0.2, (assumed.store_requests / 8, assumed.store_gb / 8)
    return {
        "nothing goes wrong": assumed,
        "stragglers": uneven,
        "nodes are lost": replace(assumed, loss_an_hour=lossy),
        "the store is throttled": replace(
            assumed, store_requests=throttled[0], store_gb=throttled[1]
        ),
        "all of it": replace(
            uneven, loss_an_hour=lossy, store_requests=throttled[0], store_gb=throttled[1]
        ),
    }


def dollars(found: Pass, assumed: Assumed) -> float:
    """Cores and requests."""
    return (
        found.cpu_hours * assumed.dollars_a_core_hour
        + found.reads / 1e3 * assumed.dollars_a_1000_reads
        + found.writes / 1e3 * assumed.dollars_a_1000_writes
    )


def _ranges(size: float) -> int:
    return math.ceil(size / RANGE_BYTES)


def _puts(size: float) -> int:
    """Parts, and two requests around them."""
    return _ranges(size) + 2


def _found(path: Path, pattern: str) -> list[float]:
    return _numbers(path.read_text(), pattern)


def _numbers(text: str, pattern: str) -> list[float]:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"no {pattern!r} in a stored result")
    return [float(each.replace(",", "")) for each in found.groups()]


def render(measured: Measured, assumed: Assumed) -> str:
    """The result as Markdown."""
    rows = []
    for name, case in cases(assumed).items():
        one = simulate(measured, case)
        again = measured.second_pass
        first = simulate(measured, case, work=measured.two_passes - again, writes=False)
        second = simulate(measured, case, work=again)
        merge = merge_tables(measured, case)
        both = first.seconds + merge.ranges_s + merge.broadcast_s + second.seconds
        rows.append(
            f"| {name} | {one.seconds / 60:.0f} | {one.tail_s:.0f} | {100 * one.waiting:.0f} % "
            f"| {one.redone:,} of {one.losses:,} | {(one.reads + one.writes) / 1e6:.1f} "
            f"| {one.read_tb:.1f}, {one.written_tb:.1f} | {dollars(one, case):.0f} "
            f"| {both / 60:.0f} |"
        )
    merge = merge_tables(measured, assumed)
    evidence = assumed.hosts * measured.known_share * EVIDENCE_BYTES / 1e9
    memory = assumed.cores * (measured.worker_mb / 1e3 + evidence)
    least = _ranges(assumed.file_mb * 1e6) + _puts(assumed.file_mb * 1e6)
    return "\n".join(
        (
            "# A Common Crawl snapshot, simulated\n",
            "Written by `python -m benchmarks.speed.snapshot --write`.\n",
            "| what | min | last 0.1 % of shards, s | waiting for the store | shards done again "
            "| million requests | TB read, written | $ | with sources, min |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "\nThe last column is two passes, the tables added up in ranges, one a node, and all "
            "ranges sent to every node.\n",
            "| between the passes | |",
            "|---|---|",
            f"| hosts in a node's part, in all of {assumed.nodes} parts | "
            f"{merge.rows / assumed.nodes / 1e6:.0f} million, {merge.rows / 1e6:,.0f} million |",
            f"| adding up on one core, in ranges | {merge.one_core_s / 60:.0f} min, "
            f"{merge.ranges_s / 60:.1f} min |",
            f"| the table, sending it to every node | {merge.table_gb:.1f} GB, "
            f"{merge.broadcast_s:.0f} s |",
            f"| memory of a node: {assumed.cores} workers, each with {evidence:.1f} GB of evidence "
            f"| {memory:.0f} GB |",
            f"| requests of a shard that carry data | {least} |",
            "\n| measured | |",
            "|---|---|",
            *(f"| `{name}` | {value:.4g} |" for name, value in asdict(measured).items()),
            "\n| assumed | |",
            "|---|---|",
            *(f"| `{name}` | {value:,.12g} |" for name, value in asdict(assumed).items()),
            "",
        )
    )


def main(argv: Sequence[str]) -> int:
    """Prints the result, or stores it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"to {RESULT.relative_to(HERE)}")
    parser.add_argument("--nodes", type=int, default=Assumed().nodes)
    parser.add_argument("--files", type=int, default=Assumed().files)
    options = parser.parse_args(argv)
    assumed = Assumed(nodes=options.nodes, files=options.files)
    text = render(Measured.read(), assumed)
    if options.write:
        RESULT.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
