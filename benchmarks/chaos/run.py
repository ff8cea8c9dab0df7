"""Kills `lowbg filter` and `score` with SIGKILL, resumes them, and compares with undisturbed runs.

`python benchmarks/chaos/run.py --kills 200 --out results/chaos.json` (see README.md).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import gzip
import json
import os
import platform
import random
import select
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

import lowbg
from lowbg.runs.manifest import verify

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
COMMANDS = ("filter", "incremental", "score")
"""`incremental` is `filter --incremental`, whose input comes shard by shard while it is killed."""

FORMATS = ("zst", "gz", "parquet")
POINTS = ("read", "score", "write", "sync", "seal", "rename", "checkpoint", "discard")
MOST = {"seal": 2, "discard": 4}
"""How often at most some points are passed: once or twice a shard."""

TIMES = ("time", "parent")
"""Kills by the clock: of the whole process group, or of the run without its workers."""

DEADLINE_S = 900.0
"""A run that takes longer hangs: left alone it takes seconds, on a busy machine a minute."""

ENDS = (0, 3)
"""How a run may end by itself: one input of each kind of lines is cut."""

REPORTS = ("report.json", "report.html", "manifest.json")
"""What holds times, and so differs between runs."""

ARGS = ("--batch-bytes", "20000", "--checkpoint-seconds", "1e9", "--checkpoint-bytes", "60000")


@dataclasses.dataclass(frozen=True)
class Kill:
    """One planned kill; `count` is the passage of a point, or a share of a run's time."""

    point: str
    count: float
    before: bool


@dataclasses.dataclass(frozen=True)
class Cell:
    """One setting: the command, the format of its input, and how many workers and threads."""

    command: str
    format: str
    workers: int
    threads: int

    def __str__(self) -> str:
        workers = f"{self.workers} worker{'s'[: self.workers - 1]}"
        return f"{self.command}, {self.format}, {workers}" + ", 2 threads" * (self.threads == 2)

    @property
    def makes(self) -> tuple[str, str]:
        """What is alike for settings with the same output: incremental runs add up to one run."""
        return self.command.replace("incremental", "filter"), self.format

    def args(self, source: Path, out: Path) -> list[str]:
        """The command line of a run that goes on with what `out` holds."""
        args = [self.makes[0], str(source), "-o", str(out), "-q", *ARGS]
        args += ["--incremental" if self.command == "incremental" else "--resume"]
        args += ["--workers", str(self.workers)]
        return args if self.command == "score" else [*args, "--threads", str(self.threads)]


@dataclasses.dataclass
class Result:
    """What happened so far; the harness ends at the first difference, so there are none."""

    delivered: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    missed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    by_cell: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    episodes: int = 0
    runs: int = 0
    records: int = 0

    def as_dict(self, seed: int, began: float) -> dict[str, object]:
        """Plain JSON values, with where and when."""
        return {
            "kills": self.delivered.total(),
            "by_point": dict(sorted(self.delivered.items())),
            "by_cell": dict(sorted(self.by_cell.items())),
            "planned_but_not_reached": dict(sorted(self.missed.items())),
            "episodes": self.episodes,
            "runs": self.runs,
            "records_compared": self.records,
            "differences": 0,
            "seed": seed,
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "seconds": round(time.monotonic() - began),
            "machine": {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
                "cores": os.cpu_count(),
            },
            "versions": {"lowbg": lowbg.__version__, "pyarrow": pa.__version__},
        }


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
    """Shards of one format, and for lines one more that is cut."""
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
        if shard == 0:
            (folder / f"cut.jsonl.{kind}").write_bytes(pack(data[: len(data) // 3])[:-40])


def outputs(out: Path) -> dict[str, bytes]:
    """Every output file by its path; compressed bytes, too, are the same."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".lowbg" not in path.parts and path.name not in REPORTS
    }


@dataclasses.dataclass(frozen=True)
class Whole:
    """What a run that was left alone made, by path, and the time that it took."""

    outputs: dict[str, bytes]
    seconds: float


class Runs:
    """Starts runs, one at a time, through `faults.py`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "faults.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders = self._process.stdin
        self._answers = self._process.stdout

    def close(self) -> None:
        """Ends the process that forks runs."""
        self._orders.close()
        self._process.wait()

    def run_and_kill(
        self, cell: Cell, source: Path, out: Path, kill: Kill | None, whole_s: float
    ) -> tuple[bool, collections.Counter[str]]:
        """Runs once: whether the run came to its end, and the kills that were delivered.

        A run survives its worker's death by going on with its shard from the checkpoint.
        """
        markers = self._folder / "markers"
        shutil.rmtree(markers, ignore_errors=True)
        markers.mkdir()
        timed = kill is not None and kill.point in TIMES
        env = {}
        if kill is not None and not timed:
            env = {"CHAOS_POINT": kill.point, "CHAOS_COUNT": str(int(kill.count))}
            env |= {"CHAOS_BEFORE": str(int(kill.before)), "CHAOS_MARKERS": str(markers)}
        args = cell.args(source, out)
        stderr = self._folder / "stderr"
        stderr.write_bytes(b"")
        self._orders.write(json.dumps({"args": args, "env": env, "stderr": str(stderr)}) + "\n")
        self._orders.flush()
        pid = int(self._answers.readline())
        timeout = whole_s * kill.count if kill is not None and timed else DEADLINE_S
        ready, _, _ = select.select([self._answers], [], [], timeout)
        if not ready:
            if kill is not None and kill.point == "parent":
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(pid, signal.SIGKILL)
        code = int(self._answers.readline())
        if not ready and kill is not None and timed:
            return False, collections.Counter({f"{kill.point} (run)": int(code < 0)})
        died = sorted(path.name.partition("-")[0] for path in markers.iterdir())
        if (code == -signal.SIGKILL) != ("run" in died) or code not in (*ENDS, -signal.SIGKILL):
            told = stderr.read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"exit {code}; killed were {died}; {told}")
        return code in ENDS, collections.Counter(
            f"{kill.point} ({role})" for role in died if kill is not None
        )


def undisturbed(runs: Runs, cell: Cell, folder: Path) -> Whole:
    """One run over all of a folder's input with one thread, which nothing happens to."""
    out = folder / "whole"
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    runs.run_and_kill(
        dataclasses.replace(cell, command=cell.makes[0], threads=1), folder / "in", out, None, 0
    )
    return Whole(outputs(out), time.monotonic() - began)


def episode(
    runs: Runs,
    cell: Cell,
    source: Path,
    folder: Path,
    kills: list[Kill],
    whole_s: float,
    result: Result,
) -> Path:
    """Runs until done, killing on the way, and counts; the output."""
    out, arrived = folder / "out", source
    shutil.rmtree(out, ignore_errors=True)
    if cell.command == "incremental":
        arrived = folder / "arrived"
        shutil.rmtree(arrived, ignore_errors=True)
    for number, kill in enumerate(kills, 1):
        more = cell.command == "incremental" and arrive(source, arrived, number)
        ended, delivered = runs.run_and_kill(cell, arrived, out, kill, whole_s)
        result.runs += 1
        result.delivered += delivered
        result.by_cell[str(cell)] += delivered.total()
        if not delivered:
            result.missed[kill.point] += 1
        if ended and not delivered and not more:
            break
    if cell.command == "incremental":
        arrive(source, arrived)
    ended, _ = runs.run_and_kill(cell, arrived, out, None, whole_s)
    if not ended:
        raise SystemExit("the last run was killed, by nobody here")
    result.runs += 1
    result.episodes += 1
    return out


def arrive(source: Path, arrived: Path, count: int | None = None) -> bool:
    """Copies the first `count` shards, or all, to where they are read; whether more will come."""
    arrived.mkdir(exist_ok=True)
    shards = sorted(source.iterdir())
    for shard in shards[:count]:
        if not (arrived / shard.name).exists():
            shutil.copy2(shard, arrived)
    return count is not None and count < len(shards)


def plan(choice: random.Random) -> Kill:
    """A kill at a random point."""
    point = choice.choice((*POINTS, *TIMES, "write", "checkpoint", "rename"))
    count = choice.uniform(0.1, 0.8) if point in TIMES else choice.randint(1, MOST.get(point, 11))
    return Kill(point, count, choice.random() < 0.5)


def check(out: Path, expected: dict[str, bytes], where: str) -> int:
    """Ends the harness where an output differs or a record is not accounted for; the records."""
    found = outputs(out)
    if found != expected:
        names = [n for n in {*found, *expected} if found.get(n) != expected.get(n)]
        raise SystemExit(f"{where}: differs: {sorted(names)}")
    # One of the inputs is cut: that the run lacks its rest is as it should be.
    findings = [finding for finding in verify(out) if finding.kind != "incomplete"]
    if findings:
        raise SystemExit(f"{where}: {findings}")
    left = list((out / ".lowbg" / "parts").glob("*"))
    if left:
        raise SystemExit(f"{where}: parts are left: {left}")
    return int(json.loads((out / "manifest.json").read_bytes())["totals"]["records"])


def main() -> None:
    """The whole experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--workers", default="1,2", help="1,1,2: two of three runs with one")
    parser.add_argument("--threads", default="1,2", help="of `filter`; `score` has one")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    choice = random.Random(options.seed)
    cells = [
        Cell(command, kind, int(workers), int(threads))
        for command in options.commands.split(",")
        for kind in options.formats.split(",")
        for workers in options.workers.split(",")
        for threads in (options.threads.split(",") if command != "score" else "1")
    ]
    choice.shuffle(cells)
    result = Result()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        runs = Runs(root)
        whole: dict[tuple[tuple[str, str], int], Whole] = {}
        for kind in options.formats.split(","):
            make_input(root / kind / "in", kind, options.documents, 2)
        while result.delivered.total() < options.kills:
            cell = cells[result.episodes % len(cells)]
            kills = [plan(choice) for _ in range(choice.randrange(3, 9))]
            folder = root / cell.format
            known = whole.get((cell.makes, cell.workers)) or undisturbed(runs, cell, folder)
            whole[cell.makes, cell.workers] = known
            out = episode(runs, cell, folder / "in", folder, kills, known.seconds, result)
            # By the outputs of as many workers as came first: their number changes nothing.
            first = next(w for (makes, _), w in whole.items() if makes == cell.makes)
            result.records += check(out, first.outputs, f"{cell}: {kills}")
            values = result.as_dict(options.seed, began)
            print(f"{result.episodes} episodes, {values['kills']} kills ({cell})", flush=True)
            if options.out:
                options.out.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        runs.close()
    print(json.dumps(result.as_dict(options.seed, began), indent=2))


if __name__ == "__main__":
    main()
