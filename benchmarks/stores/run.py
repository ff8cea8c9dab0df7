"""`lowbg filter` and `mix` from a store to a store: `python -m benchmarks.stores.run [--write]`.

The same shards on local disks, and on a server that speaks S3 on the loopback address (moto's)
behind a proxy that counts requests. In further rounds it spoils every tenth one, in all the ways
that it knows, and a run is killed while its second shard is being sent, and gone on with. Outputs
are compared byte for byte; what was visible after the kill, too. Needs the extra `test`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.make_sample import ai_documents, human_documents
from tests.s3_server import BUCKET, S3, Fault, no_fault, s3_server

from lowbg.storage.objects import ObjectStore

HERE = Path(__file__).parent
SHARDS: Final = 4
SHARD_BYTES: Final = 24 << 20
FAULTS: Final[tuple[Fault, ...]] = ("500", "503", "cut", "refused", "lost", "slow")
DATA: Final = ("human/", "ai/", "synthetic/")


@dataclass(frozen=True, slots=True)
class Round:
    """How a job is done: `every` so many requests one is spoiled, 0: none; `killed` in between."""

    every: int
    killed: bool = False

    @property
    def name(self) -> str:
        """What the table calls it, and the place of its output."""
        told = f"every {self.every}th request" if self.every else "none"
        return f"{told}, a kill" if self.killed else told


ROUNDS: Final = (Round(0), Round(10), Round(10, killed=True))


def write_dump(folder: Path) -> int:
    """Shards of plain JSONL; their bytes."""
    documents = [*human_documents(), *ai_documents()]
    folder.mkdir()
    total = 0
    for shard in range(SHARDS):
        with (folder / f"{shard}.jsonl").open("w", encoding="utf-8") as file:
            number = 0
            while file.tell() < SHARD_BYTES:
                own = documents[(shard + number) % len(documents)]
                file.write(json.dumps({**own, "id": f"{shard}-{number}"}) + "\n")
                number += 1
            total += file.tell()
    return total


def command(job: str, place: str, output: str) -> list[str]:
    """A job over the shards at a place, with two workers."""
    inputs = [f"{place}/{shard}.jsonl" for shard in range(SHARDS)]
    if job == "mix":
        half = SHARDS // 2
        human = [word for path in inputs[:half] for word in ("--human", path)]
        synthetic = [word for path in inputs[half:] for word in ("--synthetic", path)]
        inputs = [*human, *synthetic, "--min-human", "0.6"]
    return [
        *(sys.executable, "-m", "lowbg_cli", job, *inputs),
        *("-o", output, "-q", "--workers", "2"),
    ]


def run(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds of a run."""
    started = time.perf_counter()
    subprocess.run(words, check=True, env=environment)
    return time.perf_counter() - started


def killed_run(words: Sequence[str], s3: S3, output: str, environment: Mapping[str, str]) -> float:
    """Seconds of a run that is killed, with its workers, while its second shard is being sent."""
    started = time.perf_counter()
    process = subprocess.Popen(words, env=environment, start_new_session=True)
    sent = f"/{output.partition('://')[2]}/human/"
    while len({key.partition("?")[0] for key in [*s3.requests] if sent in key}) < 2:
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(words)}: ended before it could be killed")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return time.perf_counter() - started


def local_data(folder: Path) -> dict[str, bytes]:
    """The data that a run wrote to a local disk, by name."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.jsonl")}
    return {name: path.read_bytes() for name, path in names.items() if name.startswith(DATA)}


def differing(store: ObjectStore, expected: Mapping[str, bytes], *, whole: bool) -> int:
    """Objects of data that aren't what is expected; `whole`: and those that are lacking."""
    there = {name for name in store.list() if name.startswith(DATA)}
    names = there | expected.keys() if whole else there
    return sum(store.read(name) != expected.get(name) for name in names)


def main(arguments: list[str]) -> int:
    """Prints a table, and with `--write` stores it."""
    with tempfile.TemporaryDirectory() as name, s3_server() as s3:
        folder = Path(name)
        total = write_dump(folder / "dump")
        environment = {**os.environ, **s3.environment, "LOWBG_STORE_TIMEOUT": "30"}
        os.environ.update(environment)
        store = ObjectStore(f"s3://{BUCKET}")
        for path in (folder / "dump").iterdir():
            store.upload(f"dump/{path.name}", path)
        lines = [
            f"{total / 1e6:,.0f} MB in {SHARDS} shards; two workers.",
            "",
            "| job | from and to | spoiled | s | requests | a GB read | objects that differ after "
            "the kill | at the end |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for job in ("filter", "mix"):
            run(command(job, str(folder / "dump"), str(folder / f"warm-{job}")), environment)
            seconds = run(command(job, str(folder / "dump"), str(folder / job)), environment)
            lines.append(f"| {job} | local disk | | {seconds:.1f} | | | | |")
            expected = local_data(folder / job)
            for each in ROUNDS:
                lines.append(_row(job, each, s3, total, expected, environment))
                print(lines[-1], flush=True)
        text = "\n".join(lines) + "\n"
        print(text, end="")
        if arguments == ["--write"]:
            (HERE / "results" / "run.md").write_text(text, encoding="utf-8")
    return 0


def _row(
    job: str,
    each: Round,
    s3: S3,
    total: int,
    expected: Mapping[str, bytes],
    environment: Mapping[str, str],
) -> str:
    def spoiled(method: str, path: str, before: int) -> Fault | None:
        count = sum(s3.requests.values())
        return FAULTS[count // each.every % len(FAULTS)] if count % each.every == 0 else None

    s3.requests.clear()
    s3.faults.clear()
    s3.plan = spoiled if each.every else no_fault
    output = f"s3://{BUCKET}/{job}-{ROUNDS.index(each)}"
    words = command(job, f"s3://{BUCKET}/dump", output)
    seconds, half = 0.0, "–"
    if each.killed:
        seconds = killed_run(words, s3, output, environment)
        kept, s3.plan = s3.plan, no_fault
        counted = Counter(s3.requests)
        half = str(differing(ObjectStore(output), expected, whole=False))
        s3.requests.clear()
        s3.requests.update(counted)
        s3.plan = kept
        words.append("--resume")
    seconds += run(words, environment)
    s3.plan = no_fault
    methods: Counter[str] = Counter()
    for key, count in s3.requests.items():
        methods[key.partition(" ")[0]] += count
    requests = sum(methods.values())
    spelled = ", ".join(f"{method} {count}" for method, count in sorted(methods.items()))
    faults = ", ".join(f"{name} × {count}" for name, count in sorted(s3.faults.items()))
    told = f"{each.name}: {faults}" if faults else each.name
    wrong = differing(ObjectStore(output), expected, whole=True)
    return (
        f"| {job} | S3 | {told} | {seconds:.1f} | {requests} ({spelled}) | "
        f"{requests / (total / 1e9):,.0f} | {half} | {wrong} |"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
