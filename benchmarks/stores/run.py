"""`lowbg filter` from a store to a store: `python -m benchmarks.stores.run [--write]`.

The same shards on local disks, and on a server that speaks S3 on the loopback address (moto's)
behind a proxy that counts requests and, in a last round, spoils every tenth one. Outputs are
compared byte for byte. Needs the extra `test`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from examples.make_sample import ai_documents, human_documents
from tests.s3_server import BUCKET, S3, Fault, no_fault, s3_server

from lowbg.storage.objects import ObjectStore

HERE = Path(__file__).parent
SHARDS: Final = 4
SHARD_BYTES: Final = 24 << 20
FAULTS: Final[tuple[Fault, ...]] = ("500", "503", "cut", "refused")


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


def run(source: str, output: str, environment: dict[str, str]) -> float:
    """Seconds of a run of two workers."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "lowbg_cli", "filter", source, "-o", output, "-q"]
    subprocess.run([*command, "--workers", "2"], check=True, env=environment)
    return time.perf_counter() - started


def differences(store: ObjectStore, folder: Path) -> int:
    """Files of data that differ."""
    files = [path for route in ("human", "ai") for path in (folder / route).iterdir()]
    return sum(
        store.read(path.relative_to(folder).as_posix()) != path.read_bytes() for path in files
    )


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
        run(str(folder / "dump"), str(folder / "warm"), environment)
        lines = [
            f"{total / 1e6:,.0f} MB in {SHARDS} shards; two workers.",
            "",
            "| from and to | spoiled | s | requests | a GB read and written | differing files |",
            "|---|---|---|---|---|---|",
            f"| local disk | | {run(str(folder / 'dump'), str(folder / 'out'), environment):.1f} "
            "| | | |",
        ]
        for told, every in (("none", 0), ("every tenth", 10)):
            lines.append(_round(s3, told, every, total, folder, environment))
        text = "\n".join(lines) + "\n"
        print(text, end="")
        if arguments == ["--write"]:
            (HERE / "results" / "run.md").write_text(text, encoding="utf-8")
    return 0


def _round(
    s3: S3, told: str, every: int, total: int, folder: Path, environment: dict[str, str]
) -> str:
    def spoiled(method: str, path: str, before: int) -> Fault | None:
        count = sum(s3.requests.values())
        return FAULTS[count // every % len(FAULTS)] if count % every == 0 else None

    s3.requests.clear()
    s3.faults.clear()
    s3.plan = spoiled if every else no_fault
    output = f"s3://{BUCKET}/out-{every}"
    seconds = run(f"s3://{BUCKET}/dump", output, environment)
    s3.plan = no_fault
    methods: Counter[str] = Counter()
    for key, count in s3.requests.items():
        methods[key.partition(" ")[0]] += count
    requests = sum(methods.values())
    spelled = ", ".join(f"{method} {count}" for method, count in sorted(methods.items()))
    wrong = differences(ObjectStore(output), folder / "out")
    each = requests / (total / 1e9)
    faults = f"{told}: {sum(s3.faults.values())}" if every else told
    return f"| S3 | {faults} | {seconds:.1f} | {requests} ({spelled}) | {each:,.0f} | {wrong} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
