"""Which client of object stores lowbg should use: `python -m benchmarks.stores.clients [--write]`.

Each client, in a process of its own, reads and writes the same objects on a server that speaks S3
on the loopback address (moto's), through a proxy that counts requests and, in a second round,
spoils every third one. Needs `pip install 'moto[server]' s3fs` beside the extra `test`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.s3_server import BUCKET, S3, Fault, no_fault, s3_server

HERE = Path(__file__).parent
SIZE: Final = 64 << 20
SMALL: Final = 100
READ: Final = 256 << 10
FAULTS: Final[tuple[Fault, ...]] = ("500", "503", "cut", "refused")

Client = dict[str, Callable[..., Any]]


def _lowbg() -> Client:
    from lowbg.storage.objects import ObjectStore

    store = ObjectStore(f"s3://{BUCKET}")

    def put(name: str, path: Path) -> None:
        store.upload(name, path)

    return {"put": put, "open": store.open, "list": lambda folder: len(store.list(folder))}


def _pyarrow() -> Client:
    import pyarrow.fs as fs

    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    system = fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="us-east-1")

    def put(name: str, path: Path) -> None:
        with path.open("rb") as source, system.open_output_stream(f"{BUCKET}/{name}") as file:
            while data := source.read(8 << 20):
                file.write(data)

    def list_(folder: str) -> int:
        chosen = fs.FileSelector(f"{BUCKET}/{folder}", recursive=True)
        return len(system.get_file_info(chosen))

    def open_(name: str) -> Any:
        return system.open_input_stream(f"{BUCKET}/{name}", buffer_size=8 << 20)

    return {"put": put, "open": open_, "list": list_}


def _s3fs() -> Client:
    import s3fs

    system = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return {
        "put": lambda name, path: system.put_file(str(path), f"{BUCKET}/{name}"),
        "open": lambda name: system.open(f"{BUCKET}/{name}", "rb", block_size=8 << 20),
        "list": lambda folder: len(system.find(f"{BUCKET}/{folder}")),
    }


CLIENTS: Final[dict[str, Callable[[], Client]]] = {
    "obstore (storage/objects.py)": _lowbg,
    "pyarrow.fs": _pyarrow,
    "fsspec (s3fs)": _s3fs,
}


def measure(name: str, folder: str) -> None:
    """Prints what one client takes for each task, a JSON line each: the child's part."""
    client = CLIENTS[name]()
    big, small = Path(folder) / "big", Path(folder) / "small"

    def read() -> int:
        size = 0
        with client["open"]("big") as file:
            while data := file.read(READ):
                size += len(data)
        return size

    tasks: dict[str, Callable[[], Any]] = {
        "write 64 MiB": lambda: client["put"]("big", big),
        "read 64 MiB": read,
        f"write {SMALL} small": lambda: [client["put"](f"s/{i}", small) for i in range(SMALL)],
        f"list {SMALL}": lambda: client["list"]("s"),
    }
    wanted = {"read 64 MiB": SIZE, f"list {SMALL}": SMALL}
    for task, call in tasks.items():
        started, cpu = time.perf_counter(), time.process_time()
        try:
            found = call()
            right = task not in wanted or found == wanted[task]
            outcome = "" if right else f"WRONG: {found:,} of {wanted[task]:,}"
        except Exception as error:
            outcome = f"{type(error).__name__}"
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        row = {"task": task, "seconds": seconds, "cpu": cpu, "outcome": outcome}
        print(json.dumps(row), flush=True)
        sys.stdin.readline()  # The parent counts the requests, and says go on.


def _round(s3: S3, name: str, folder: Path) -> list[dict[str, Any]]:
    """A client's rows, with the requests that it made."""
    code = "from benchmarks.stores.clients import measure; import sys; measure(*sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", code, name, str(folder)],
        env={**os.environ, **s3.environment, "AWS_ALLOW_HTTP": "true"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    rows = []
    s3.requests.clear()
    for line in child.stdout:
        rows.append({**json.loads(line), "requests": sum(s3.requests.values())})
        s3.requests.clear()
        child.stdin.write("\n")
        child.stdin.flush()
    child.wait()
    return rows


def main(arguments: list[str]) -> int:
    """Measures all clients; prints a table, and with `--write` stores it."""
    import tempfile

    lines = ["| client | faults | task | s | CPU s | requests | |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder, s3_server() as s3:
        (Path(folder) / "big").write_bytes(os.urandom(SIZE))
        (Path(folder) / "small").write_bytes(b"x")

        def spoiled(method: str, path: str, before: int) -> Fault | None:
            count = sum(s3.requests.values())
            return FAULTS[count // 3 % len(FAULTS)] if count % 3 == 0 else None

        for told, plan in (("none", no_fault), ("every third request", spoiled)):
            for name in CLIENTS:
                s3.plan = plan
                for row in _round(s3, name, Path(folder)):
                    lines.append(
                        f"| {name} | {told} | {row['task']} | {row['seconds']:.2f} | "
                        f"{row['cpu']:.2f} | {row['requests']} | {row['outcome']} |"
                    )
                    print(lines[-1], flush=True)
    if arguments == ["--write"]:
        (HERE / "results" / "clients.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
