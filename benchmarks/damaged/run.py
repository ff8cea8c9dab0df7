"""The damaged inputs of the comparison in README.md, given to `lowbg filter`.

`python benchmarks/damaged/run.py --out benchmarks/damaged/results/damaged.md` writes the table.
The columns of the other tools are quoted from their runs, see README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

TEXT = "The river was low that summer, and we walked across on the stones with our shoes in hand. "

# ruff: noqa: E501
OTHERS = {
    "invalid UTF-8 at line 500 of 1,000": ("500 kept, exit 0, marked complete", "500, exit 0", "exit 1"),
    ".zst cut at two thirds": ("1,962 of 3,000, **exit 0**, marked complete", "exit 0", "exit 1"),
    "gzip data named .jsonl": ("0 documents, **exit 0**", "0, exit 0", "–"),
    "missing or null text": ("dropped, exit 0, not among the rejects", "5 of 10, exit 0", "9 of 10, exit 0"),
    "`text: 42`": ("crash", "5 of 10, exit 0", '**0 of 10, exit 0, "Errors: 0"**'),
    "a line that is a list": ("crash", "panic logged, exit 0, no output", "exit 1"),
    "UTF-8 byte-order mark": ("first document lost, exit 0", "exit 1", "–"),
    "kill −9": ("partial file under its final name", "`.tmp` left", "–"),
    "ordinary nested metadata to Parquet": ("schema mismatch, exit 1", "–", "–"),
}  # fmt: skip


def lines(count: int) -> list[bytes]:
    """Sound records that differ."""
    return [
        json.dumps({"id": i, "text": f"{TEXT * 3}{i * 7919 % 1009}"}).encode() + b"\n"
        for i in range(count)
    ]


def at(rows: list[bytes], index: int, line: bytes) -> bytes:
    """The shard with one line replaced."""
    return b"".join([*rows[:index], line, *rows[index + 1 :]])


def cut() -> bytes:
    """A zstd stream cut at two thirds."""
    noisy = [
        json.dumps({"id": i, "text": " ".join(str(pow(i + 3, k, 999_983)) for k in range(80))})
        for i in range(3000)
    ]
    whole = zstandard.compress("".join(f"{row}\n" for row in noisy).encode())
    return whole[: len(whole) * 2 // 3]


def parquet(path: Path) -> None:
    """Rows with nested metadata."""
    rows = [{"text": TEXT * 3, "meta": {"tags": ["a", None], "n": i}} for i in range(10)]
    pq.write_table(pa.Table.from_pylist(rows), path)


INPUTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "invalid UTF-8 at line 500 of 1,000": (
        "a.jsonl", lambda: at(lines(1000), 499, b'{"text": "caf\xe9"}\n'),
    ),
    ".zst cut at two thirds": ("a.jsonl.zst", cut),
    "gzip data named .jsonl": ("a.jsonl", lambda: gzip.compress(b"".join(lines(10)))),
    "missing or null text": (
        "a.jsonl",
        lambda: b"".join([*lines(8), b'{"text": null}\n', b'{"id": 9}\n']),
    ),
    "`text: 42`": ("a.jsonl", lambda: at(lines(10), 5, b'{"text": 42}\n')),
    "a line that is a list": ("a.jsonl", lambda: at(lines(10), 5, b"[1, 2]\n")),
    "UTF-8 byte-order mark": ("a.jsonl", lambda: b"\xef\xbb\xbf" + b"".join(lines(10))),
}  # fmt: skip


def run(source: Path, out: Path) -> tuple[int, dict[str, int]]:
    """Exit code and totals of a run."""
    command = [sys.executable, "-m", "lowbg_cli", "filter", str(source), "-o", str(out), "-q"]
    ended = subprocess.run(command, capture_output=True, check=False)
    report = json.loads((out / "report.json").read_bytes())
    totals = report["totals"]
    return ended.returncode, {
        "records": totals["records"],
        "quarantined": totals["quarantined"]["documents"],
    }


def told(code: int, totals: dict[str, int]) -> str:
    """A cell of the table."""
    quarantined = totals["quarantined"]
    kept = totals["records"] - quarantined
    aside = f", {quarantined:,} quarantined" if quarantined else ""
    return f"{kept:,} of {totals['records']:,} kept{aside}, exit {code}"


def killed(folder: Path) -> str:
    """What is there after SIGKILL in the middle of a shard, and after `--resume`."""
    (folder / "in").mkdir()
    (folder / "in" / "a.jsonl").write_bytes(b"".join(lines(60_000)))
    out = folder / "out"
    command = [
        sys.executable, "-m", "lowbg_cli", "filter", str(folder / "in"), "-o", str(out), "-q",
        "--checkpoint-bytes", "1M", "--batch-bytes", "256K",
    ]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True)
    while not list(out.glob(".lowbg/parts/*.checkpoint.json")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    partial = [path for path in out.rglob("*.jsonl") if ".lowbg" not in path.parts]
    again = subprocess.run([*command, "--resume"], check=False).returncode
    kept = sum(p.read_bytes().count(b"\n") for p in out.rglob("*.jsonl"))
    final = f"{len(partial)} files" if partial else "nothing"
    return f"{final} under a final name; `--resume`: {kept:,} of 60,000, exit {again}"


def nested(folder: Path) -> str:
    """Nested metadata in, nested metadata out."""
    (folder / "in").mkdir()
    parquet(folder / "in" / "a.parquet")
    code, totals = run(folder / "in", folder / "out")
    before = pq.read_table(folder / "in" / "a.parquet")
    after = pq.read_table(folder / "out" / "human" / "a.parquet")
    same = "equal" if before.equals(after) and before.schema.equals(after.schema) else "not equal"
    return f"{told(code, totals)}, schema and rows {same}"


def main() -> None:
    """Runs every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = ["| fault | datatrove | dolma mix | data-juicer | lowbg |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        for i, (fault, others) in enumerate(OTHERS.items()):
            folder = Path(name) / str(i)
            folder.mkdir()
            if fault in INPUTS:
                file, make = INPUTS[fault]
                (folder / "in").mkdir()
                (folder / "in" / file).write_bytes(make())
                cell = told(*run(folder / "in", folder / "out"))
            else:
                cell = killed(folder) if "kill" in fault else nested(folder)
            rows.append(f"| {fault} | {' | '.join(others)} | {cell} |")
            print(rows[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
