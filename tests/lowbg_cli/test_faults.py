"""What the system refuses: full disks, read errors, missing rights, killed workers.

In every case the file is named, nothing partial has a final name, the other shards go on, the exit
code is 3 (2 where nothing could begin), and `--resume` comes to what an undisturbed run does.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from tests.lowbg_cli.shards import TEXT, numbered, pair
from typer.testing import Result

from lowbg_cli.configure import find_shards

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]

REPORTS = {"report.json", "report.html", "manifest.json"}
ROOT = os.geteuid() == 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pair(tmp_path)


def kept(out: Path) -> dict[str, bytes]:
    """Every output but reports, which hold times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".lowbg" not in path.parts and path.name not in REPORTS
    }


def undisturbed(run: Run, source: Path, out: Path) -> dict[str, bytes]:
    assert run("filter", source, "-o", out, "-q", "--executor", "serial").exit_code == 0
    return kept(out)


ON_A_SMALL_DISK = """
import pathlib, shutil, subprocess, sys
disk, after, size, *args = sys.argv[1:]
disk, after = pathlib.Path(disk), pathlib.Path(after)
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
ballast = disk / "ballast"
ballast.write_bytes(bytes(int(sys.stdin.readline())))
def run(*more):
    command = [sys.executable, "-m", "lowbg_cli", *args, "-o", str(disk / "out"), *more]
    ended = subprocess.run(command, capture_output=True, text=True)
    print(ended.returncode)
    print(ended.stderr, end="")
    shutil.copytree(disk / "out", after / str(len(list(after.iterdir()))))
run()
ballast.unlink()
run("--resume")
"""


def may_mount() -> bool:
    """Whether a process may have a file system of its own, of which nobody else learns."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", *NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


NAMESPACE = ["--mount"] if ROOT else ["--mount", "--map-root-user"]
needs_mount = pytest.mark.skipif(not may_mount(), reason="mounting isn't permitted here")


@pytest.mark.slow
@needs_mount
@pytest.mark.parametrize("command", ["filter", "score"])
def test_a_full_disk(command: str, run: Run, source: Path, tmp_path: Path) -> None:
    """A real one. What was written of the larger shard stays, to be gone on with, and so the disk
    stays full: not even the report has room."""
    (source / "a.jsonl").write_bytes(numbered(9_000))
    disk, after = tmp_path / "disk", tmp_path / "after"
    disk.mkdir()
    after.mkdir()
    more = ["--executor", "serial", "--checkpoint-bytes", "200000", "--batch-bytes", "100000", "-q"]
    ended = subprocess.run(
        ["unshare", *NAMESPACE, sys.executable, "-c", ON_A_SMALL_DISK, str(disk), str(after), "8m",
         command, str(source), *more],
        input=b"%d\n" % (6 << 20), capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    first, message, second = ended.stdout.decode().splitlines()
    assert (first, second) == ("3", "0")
    assert "report.json: cannot be written (No space left on device)" in message
    output = "human/a.jsonl" if command == "filter" else "a.jsonl"
    # The last byte goes to the output itself, or to what a checkpoint keeps beside it.
    where = rf"out/({output}|\.lowbg/parts/\S+): cannot be written \(No space left on device\)"
    assert re.search(where, message)
    full, resumed = after / "0", after / "1"
    assert kept(full) == {}
    assert not (full / "manifest.json").exists()
    assert len(list((full / ".lowbg" / "parts").glob("*.checkpoint.json"))) == 1
    whole = tmp_path / "whole"
    assert run(command, source, "-o", whole, "-q", "--executor", "serial").exit_code == 0
    assert kept(resumed) == kept(whole)
    assert run("verify", resumed).exit_code == 0
    assert not any((resumed / ".lowbg" / "parts").glob("*"))


READ_ONLY = """
import subprocess, sys
disk, *args = sys.argv[1:]
subprocess.run(["mount", "--bind", disk, disk], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", disk], check=True)
sys.exit(subprocess.run([sys.executable, "-m", "lowbg_cli", *args]).returncode)
"""


@pytest.mark.slow
@needs_mount
@pytest.mark.parametrize("existing", [[], ["--resume"], ["--overwrite"]])
def test_a_read_only_output(existing: list[str], run: Run, source: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    before = undisturbed(run, source, disk / "out") if existing else {}
    disk.mkdir(exist_ok=True)
    ended = subprocess.run(
        ["unshare", *NAMESPACE, sys.executable, "-c", READ_ONLY, str(disk), "filter", str(source),
         "-o", str(disk / "out"), "-q", *existing],
        capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode in (2, 3), ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert b"Read-only file system" in ended.stderr
    assert str(disk / "out").encode() in ended.stderr
    assert kept(disk / "out") == before


class Faulty(io.FileIO):
    """A file of which a part can't be read, as on a bad disk."""

    def read(self, size: int | None = -1) -> bytes:
        bad = FaultyFileSystem.bad.get(Path(str(self.name)).name, range(0))
        start = self.tell()
        if start in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        data = super().read(size) or b""
        if start < bad.start < self.tell():
            self.seek(bad.start)
            data = data[: bad.start - start]
        return data

    read1 = read


class FaultyFileSystem(LocalFileSystem):  # type: ignore[misc]
    """Local files, of which some can't be read whole: `bad` places by name."""

    protocol = "faulty"
    bad: ClassVar[dict[str, range]] = {}

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return Faulty(self._strip_protocol(path), mode)


@pytest.fixture
def faulty() -> Iterator[dict[str, range]]:
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    yield FaultyFileSystem.bad
    FaultyFileSystem.bad.clear()


NUMBERS = [random.Random(i).getrandbits(6000) for i in range(400)]
"""So that compressed text, too, takes several reads."""


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["jsonl", "jsonl.gz", "parquet"])
def test_a_read_error(
    stored: str, faulty: dict[str, range], run: Run, source: Path, tmp_path: Path
) -> None:
    (source / "a.jsonl").unlink()
    shard = source / f"a.{stored}"
    if stored == "parquet":
        texts = [f"{number} {TEXT}" for number in NUMBERS]
        pq.write_table(pa.table({"text": texts}), shard, row_group_size=100, compression="none")
    else:
        rows = [json.dumps({"text": f"{number} {TEXT}"}) for number in NUMBERS]
        data = "".join(f"{row}\n" for row in rows).encode()
        shard.write_bytes(gzip.compress(data) if stored == "jsonl.gz" else data)
    whole = undisturbed(run, source, tmp_path / "whole")
    faulty[shard.name] = range(shard.stat().st_size // 2, shard.stat().st_size * 3 // 4)
    out = tmp_path / "out"
    args = ("filter", f"faulty://{source}", "-o", out, "-q", "--batch-bytes", "20000")
    failed = run(*args)
    assert failed.exit_code == 3
    assert f"a.{stored}" in failed.stderr
    assert "Input/output error" in failed.stderr
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}
    assert run("verify", out).exit_code == 3
    assert len(list((out / ".lowbg" / "parts").glob("*.checkpoint.json"))) == 1
    again = run(*args, "--resume")
    assert again.exit_code == 3
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}
    del faulty[shard.name]
    assert run(*args, "--resume").exit_code == 0
    assert kept(out) == whole
    assert run("verify", out).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_input_that_vanishes_after_it_was_found(
    workers: str, run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def find_and_lose(*args: Any, **options: Any) -> Any:
        found = find_shards(*args, **options)
        (source / "a.jsonl").unlink()
        return found

    whole = undisturbed(run, source, tmp_path / "whole")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("lowbg_cli.commands.filter.find_shards", find_and_lose)
        failed = run("filter", source, "-o", out, "-q", "--workers", workers)
    assert failed.exit_code == 3
    assert "a.jsonl" in failed.stderr
    assert "No such file" in failed.stderr
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}
    assert run("verify", out).exit_code == 3
    (source / "a.jsonl").write_bytes(numbered(300))
    assert run("filter", source, "-o", out, "-q", "--resume").exit_code == 0
    assert kept(out) == whole


def without_privilege(*args: object) -> subprocess.CompletedProcess[bytes]:
    """The command line, bound by files' permissions as root isn't."""
    drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if ROOT else []
    command = [*drop, sys.executable, "-m", "lowbg_cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, check=False)


needs_rights = pytest.mark.skipif(
    ROOT and shutil.which("setpriv") is None, reason="root without setpriv is denied nothing"
)


@pytest.mark.slow
@needs_rights
def test_an_input_without_the_right_to_read_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (source / "a.jsonl").chmod(0)
    ended = without_privilege("filter", source, "-o", out, "-q", "--executor", "serial")
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert b"a.jsonl" in ended.stderr
    assert b"Permission denied" in ended.stderr
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}


@pytest.mark.slow
@needs_rights
@pytest.mark.parametrize("locked", ["out", "out/.lowbg"])
def test_an_output_without_the_right_to_write_it(locked: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / ".lowbg").mkdir(parents=True)
    (tmp_path / locked).chmod(0o555)
    args = ("-o", tmp_path / "out", "-q", "--executor", "serial", "--overwrite")
    ended = without_privilege("filter", source, *args)
    (tmp_path / locked).chmod(0o755)
    assert ended.returncode in (2, 3), ended.stderr
    assert b"Permission denied" in ended.stderr
    assert str(tmp_path / "out").encode() in ended.stderr
    assert kept(tmp_path / "out") == {}


KILLER = """
import os, signal, sys
from lowbg.formats.jsonl.reader import JsonlReader
batch = JsonlReader._batch
def dying(self, data, final):
    if self.name == "a.jsonl" and self._record > 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, data, final)
JsonlReader._batch = dying
if __name__ == "__main__":
    from lowbg_cli.app import main
    main()
"""


@pytest.mark.slow
def test_a_shard_that_kills_every_worker(run: Run, source: Path, tmp_path: Path) -> None:
    """As one does that takes all memory: the kernel kills its worker, again and again."""
    script, out = tmp_path / "killer.py", tmp_path / "out"
    script.write_text(KILLER)
    args = ["filter", str(source), "-o", str(out), "--workers", "2", "-q", "--batch-bytes", "9000"]
    ended = subprocess.run([sys.executable, script, *args], capture_output=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert b"a.jsonl: the worker process was killed" in ended.stderr
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}
    assert run("verify", out).exit_code == 3
    assert run(*args, "--resume").exit_code == 0
    assert kept(out) == undisturbed(run, source, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("where", ["--ai-to", "--quarantine-to", "stdout"])
def test_a_device_that_takes_nothing(where: str, start: Start, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_bytes(numbered(3).replace(b"stones", b"stones, and the dogs ran, " * 20) + b"{\n")
    bound = "1e9" if where == "--ai-to" else "0"  # All of it is AI, or nothing.
    args = ["filter", str(shard), "--rule", "thresholds", "--min-perplexity", bound]
    args += ["--min-burstiness", "-1", "--max-phrase-hits", "99"]
    for option in ("--ai-to", "--quarantine-to"):
        args += [option, "/dev/full" if option == where else str(tmp_path / option)]
    with Path("/dev/full").open("wb") as full:
        process = start(*args, stdout=full if where == "stdout" else subprocess.DEVNULL)
        _, err = process.communicate()
    assert process.returncode == 3, err
    assert b"No space left on device" in err
    assert (b"stdout" if where == "stdout" else b"/dev/full") in err
