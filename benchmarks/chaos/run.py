"""Kills `lowbg filter` with SIGKILL, resumes it, and compares with a run that was left alone.

`python benchmarks/chaos/run.py --kills 200 --out results/chaos.json` (see README.md).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
FORMATS = ("zst", "gz", "parquet")
POINTS = ("read", "score", "write", "sync", "seal", "rename", "checkpoint", "discard")
TIMES = ("time", "parent")
"""Kills by the clock: of the whole process group, or of the run without its workers."""

ARGS = ("--batch-bytes", "20000", "--checkpoint-seconds", "1e9", "--checkpoint-bytes", "60000")


@dataclasses.dataclass(frozen=True)
class Kill:
    """One planned kill; `count` is the passage of a point, or a share of a run's time."""

    point: str
    count: float
    before: bool


def documents(count: int, seed: int) -> list[dict[str, object]]:
    """Records of both kinds, in random order, every 29th without a text."""
    choice = random.Random(seed)
    ai = (EXAMPLES / "ai_styled.txt").read_text(encoding="utf-8").split("=====")
    words = (EXAMPLES / "make_sample.py").read_text(encoding="utf-8").split()
    rows: list[dict[str, object]] = []
    for i in range(count):
        human = " ".join(choice.choices(words, k=choice.randrange(40, 400)))
        text = choice.choice([human, choice.choice(ai)]) if i % 29 else None
        rows.append({"id": f"{seed}-{i}", "language": "en", "text": text, "n": i})
    return rows


def make_input(folder: Path, kind: str, count: int, shards: int) -> None:
    """Shards of one format."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        rows = documents(count // (shard + 1), shard)
        if kind == "parquet":
            table = pa.Table.from_pylist(rows)
            pq.write_table(table, folder / f"{shard}.parquet", row_group_size=97)
            continue
        data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        pack = zstandard.compress if kind == "zst" else gzip.compress
        (folder / f"{shard}.jsonl.{kind}").write_bytes(pack(data))


def outputs(out: Path) -> dict[str, bytes]:
    """Every output file by its path; compressed bytes, too, are the same."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in ("human", "ai", "quarantine")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    }


def start(source: Path, out: Path, workers: int, kill: Kill | None) -> subprocess.Popen[bytes]:
    """A run, in a process group of its own, which dies at `kill`'s point."""
    env = {**os.environ}
    if kill is not None and kill.point in POINTS:
        env |= {"CHAOS_POINT": kill.point, "CHAOS_COUNT": str(int(kill.count))}
        env["CHAOS_BEFORE"] = str(int(kill.before))
    command = [
        sys.executable, str(HERE / "faults.py"), "filter", str(source), "-o", str(out), "-q",
        "--resume", "--workers", str(workers), *ARGS,
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )


def run_and_kill(source: Path, out: Path, workers: int, kill: Kill | None, whole_s: float) -> int:
    """Runs once; the exit code, negative where the run itself was killed.

    A run survives its worker's death by going on with its shard from the checkpoint.
    """
    process = start(source, out, workers, kill)
    timeout = whole_s * kill.count if kill is not None and kill.point in TIMES else 120.0
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if kill is None or kill.point not in TIMES:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if kill.point == "parent":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL
    worker_died = kill is not None and kill.point in POINTS and workers > 1
    if process.returncode == 3 and worker_died:
        return 3  # The second worker on a shard died as well: the shard waits for the next run.
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit {process.returncode}: {err.decode()}")
    return process.returncode


def episode(
    source: Path, folder: Path, workers: int, kills: list[Kill], whole_s: float
) -> tuple[Path, collections.Counter[str]]:
    """Runs until done, killing on the way; the output, and the kills that hit, by point."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    hit: collections.Counter[str] = collections.Counter()
    for kill in kills:
        code = run_and_kill(source, out, workers, kill, whole_s)
        if code < 0:
            hit[kill.point] += 1
        elif workers > 1 and kill.point in POINTS:
            hit[f"{kill.point} (worker)"] += 1
        if code == 0:
            break
    code = run_and_kill(source, out, workers, None, whole_s)
    if code != 0:
        raise SystemExit(f"the last run ended with {code}")
    return out, hit


def plan(choice: random.Random) -> Kill:
    """A kill at a random point."""
    point = choice.choice((*POINTS, *TIMES, "write", "checkpoint", "rename"))
    count = choice.uniform(0.2, 1.0) if point in TIMES else choice.randrange(1, 12)
    return Kill(point, count, choice.random() < 0.5)


def check(out: Path, expected: dict[str, bytes], where: str) -> None:
    """Ends the harness where an output differs or a record is not accounted for."""
    found = outputs(out)
    if found != expected:
        names = [n for n in {*found, *expected} if found.get(n) != expected.get(n)]
        raise SystemExit(f"{where}: differs: {sorted(names)}")
    command = [sys.executable, "-m", "lowbg_cli", "verify", str(out), "-q"]
    subprocess.run(command, check=True)
    left = list((out / ".lowbg" / "parts").iterdir())
    if left:
        raise SystemExit(f"{where}: parts are left: {left}")


def main() -> None:
    """The whole experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    choice = random.Random(options.seed)
    cells = [(f, int(w)) for f in options.formats.split(",") for w in options.workers.split(",")]
    hits: collections.Counter[str] = collections.Counter()
    by_cell: collections.Counter[str] = collections.Counter()
    episodes = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        expected, whole_s = {}, {}
        for kind, workers in cells:
            if not (root / kind).exists():
                make_input(root / kind / "in", kind, options.documents, 2)
            clock = time.monotonic()
            run_and_kill(root / kind / "in", root / kind / f"whole-{workers}", workers, None, 0)
            whole_s[kind, workers] = time.monotonic() - clock
            expected[kind, workers] = outputs(root / kind / f"whole-{workers}")
            if expected[kind, workers] != expected[kind, cells[0][1]]:
                raise SystemExit(f"{kind}: the number of workers changes the output")
        while sum(hits.values()) < options.kills:
            kind, workers = cells[episodes % len(cells)]
            kills = [plan(choice) for _ in range(choice.randrange(3, 9))]
            out, hit = episode(
                root / kind / "in", root / kind, workers, kills, whole_s[kind, workers]
            )
            check(out, expected[kind, workers], f"{kind}, {workers} workers, {kills}")
            hits += hit
            by_cell[f"{kind}, {workers} workers"] += hit.total()
            episodes += 1
            print(f"{episodes} episodes, {hits.total()} kills: {dict(hit)}", flush=True)
            if options.out:
                result = summary(hits, by_cell, episodes, options.seed, began)
                options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary(hits, by_cell, episodes, options.seed, began), indent=2))


def summary(
    hits: collections.Counter[str],
    by_cell: collections.Counter[str],
    episodes: int,
    seed: int,
    began: float,
) -> dict[str, object]:
    """What is stored: the harness ends at the first difference, so there are none."""
    return {
        "kills": hits.total(),
        "episodes": episodes,
        "by_point": dict(sorted(hits.items())),
        "by_cell": dict(sorted(by_cell.items())),
        "differences": 0,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    main()
