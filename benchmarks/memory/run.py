"""Peak memory of `lowbg filter` by the size of its shard: flat, since only a batch is held.

`python benchmarks/memory/run.py --out benchmarks/memory/results/memory.json` (see README.md).
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

import lowbg

EXAMPLES = Path(__file__).parents[2] / "examples"
FORMATS = ("jsonl.zst", "parquet")
BLOCK = 8_000_000
"""Bytes of lines that a shard repeats: made once, so that 2 GB take seconds."""

SAMPLE_S = 0.1


def documents() -> list[dict[str, object]]:
    """Records of both kinds, about `BLOCK` bytes of lines; every 97th lacks its text."""
    choice = random.Random(1)
    ai = (EXAMPLES / "ai_styled.txt").read_text(encoding="utf-8").split("=====")
    words = (EXAMPLES / "make_sample.py").read_text(encoding="utf-8").split()
    rows: list[dict[str, object]] = []
    size = 0
    while size < BLOCK:
        i = len(rows)
        human = " ".join(choice.choices(words, k=choice.randrange(40, 1200)))
        text = choice.choice([human, choice.choice(ai)]) if i % 97 else None
        rows.append(
            {"id": i, "url": f"https://h{i % 5000}.example/{i}", "text": text, "date": "2024-05-01"}
        )
        size += len(json.dumps(rows[-1])) + 1
    return rows


def make_shard(path: Path, megabytes: int, rows: list[dict[str, object]]) -> None:
    """A shard of about so many (decimal) megabytes of lines or of column data."""
    blocks = max(1, round(megabytes * 1e6 / BLOCK))
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
            for _ in range(blocks):
                writer.write_table(table)
        return
    frame = zstandard.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    with path.open("wb") as file:
        for _ in range(blocks):
            file.write(frame)


def make_line(path: Path, megabytes: int) -> None:
    """A shard with one line of so many megabytes between two small ones."""
    small = b'{"text": "A line."}\n'
    with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as file:
        file.write(small + b'{"text": "')
        for _ in range(megabytes):
            file.write(b"word " * 200_000)
        file.write(b'"}\n' + small)


def make_one_group(path: Path, megabytes: int, rows: list[dict[str, object]]) -> None:
    """One Parquet row group of so many megabytes of ordinary documents."""
    table = pa.Table.from_pylist(rows)
    blocks = -(-megabytes * 1_000_000 // table.nbytes)
    whole = pa.concat_tables([table] * blocks)
    pq.write_table(whole, path, compression="zstd", row_group_size=len(whole))


def _words(choice: random.Random, size: int) -> str:
    words = (EXAMPLES / "make_sample.py").read_text(encoding="utf-8").split()
    text = " ".join(choice.choices(words, k=4000))
    return (text * (size // len(text) + 1))[:size]


def make_repeated(path: Path, megabytes: int, rows: list[dict[str, object]]) -> None:
    """A row group of so many megabytes of text that is stored as places in a dictionary."""
    choice = random.Random(2)
    texts = [_words(choice, choice.randrange(1_000, 60_000)) for _ in range(100)]
    found: list[str] = []
    while (left := megabytes * 1_000_000 - sum(map(len, found))) > 0:
        found += choice.choices(texts, k=left // 30_000 + 1)
    table = pa.table({"id": range(len(found)), "text": found})
    pq.write_table(
        table, path, compression="zstd", row_group_size=len(table),
        dictionary_pagesize_limit=1 << 30,
    )  # fmt: skip


def make_long(path: Path, megabytes: int, rows: list[dict[str, object]], short: int = 0) -> None:
    """A row group of texts of 10 MB, each in a page of its own, behind so many short ones."""
    choice = random.Random(3)
    long = [_words(choice, 10_000_000) for _ in range(megabytes // 10)]
    texts = [f"A short text, number {i}." for i in range(short)] + long
    table = pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.large_string())})
    pq.write_table(
        table, path, compression="zstd", row_group_size=len(table), use_dictionary=False,
        write_batch_size=1,
    )  # fmt: skip


GROUPS: dict[str, Callable[..., None]] = {
    "one row group": make_one_group,
    "repeated text": make_repeated,
    "texts of 10 MB": make_long,
    "texts of 10 MB behind short ones": partial(make_long, short=100_000),
}
"""Parquet files of one row group each, by what is unusual about them."""


def apart(make: Callable[..., None], *arguments: object) -> None:
    """Calls in a process of its own: what one begins with counts to its peak resident set."""
    process = get_context("fork").Process(target=make, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{arguments[0]}: not made")


def proportional(pid: int) -> int:
    """The process's proportional set size in bytes; 0 where the system doesn't tell."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(row.split()[1]) << 10 for row in text.splitlines() if row[:4] == "Pss:"), 0)


def measure(shard: Path, out: Path) -> dict[str, object]:
    """One run with one worker: its peak memory, and that every record is accounted for."""
    command = [sys.executable, "-m", "lowbg_cli", "filter", str(shard), "-o", str(out), "-q"]
    began = time.monotonic()
    pid = subprocess.Popen([*command, "--executor", "serial"]).pid
    pss = 0
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        pss = max(pss, proportional(pid))
        time.sleep(SAMPLE_S)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{shard.name}: exit {os.waitstatus_to_exitcode(status)}")
    manifest = json.loads((out / "manifest.json").read_bytes())
    shutil.rmtree(out)
    return {
        "shard": shard.name,
        "stored_bytes": shard.stat().st_size,
        **manifest["totals"],
        "peak_rss_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
        "peak_pss_mb": round(pss / 1e6, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def cases(folder: Path, sizes: list[int], line: int, group: int) -> Iterator[tuple[str, int, Path]]:
    """Kind, megabytes and shard of each case; a shard is removed when the next is made."""
    rows = documents()
    for kind in FORMATS:
        for size in sizes:
            path = folder / f"{size}-mb.{kind}"
            apart(make_shard, path, size, rows)
            yield kind, size, path
            path.unlink()
    for kind, make in GROUPS.items():
        path = folder / f"{kind.replace(' ', '-')}.parquet"
        apart(make, path, group, rows)
        yield kind, group, path
        path.unlink()
    path = folder / "line.jsonl.zst"
    apart(make_line, path, line)
    yield "one line", line, path


def markdown(result: dict[str, object]) -> str:
    """The results as a table."""
    out = io.StringIO()
    out.write("| shard | records | peak RSS, MB | peak PSS, MB | against the smallest |\n")
    out.write("|---|---|---|---|---|\n")
    rows = result["cases"]
    assert isinstance(rows, list)
    for row in rows:
        out.write(
            f"| {row['kind']}, {row['megabytes']:,} MB | {row['records']:,} | "
            f"{row['peak_rss_mb']:.0f} | {row['peak_pss_mb']:.0f} | {row['ratio']:.2f} |\n"
        )
    out.write(f"\n{result['date']}, {result['machine']}, lowbg {result['version']}.\n")
    return out.getvalue()


def main() -> None:
    """Measures every case; exit 1 where one takes a tenth more than the smallest of its kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10,200,2000", help="megabytes of content")
    parser.add_argument("--line", type=int, default=1000, help="megabytes of the one long line")
    parser.add_argument("--group", type=int, default=600, help="megabytes of a large row group")
    parser.add_argument("--folder", type=Path, help="where shards and outputs go meanwhile")
    parser.add_argument("--out", type=Path, help="results as JSON, and beside it as Markdown")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    done: list[dict[str, object]] = []
    smallest: dict[str, float] = {}
    result: dict[str, object] = {
        "version": lowbg.__version__,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "cases": done,
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for kind, size, shard in cases(Path(name), sizes, options.line, options.group):
            row = measure(shard, Path(name) / "out")
            peak = float(str(row["peak_rss_mb"]))
            # A line that isn't read is to take no more than a small shard that is.
            alike = {"one line": "jsonl.zst", **dict.fromkeys(GROUPS, "parquet")}
            base = smallest.setdefault(alike.get(kind, kind), peak)
            done.append({"kind": kind, "megabytes": size, **row, "ratio": round(peak / base, 3)})
            print(done[-1], flush=True)
            if options.out:
                options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
                options.out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    raise SystemExit(any(float(str(row["ratio"])) > 1.1 for row in done))


if __name__ == "__main__":
    main()
