"""Locks, signals, faults and the log file, through real processes where they matter."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import numbered, pair
from typer.testing import Result

from lowbg.errors import InputError
from lowbg.formats.jsonl.reader import JsonlReader
from lowbg.stopping import STOP

Run = Callable[..., Result]

EVERY_BATCH = ("--batch-bytes", "20000", "--checkpoint-seconds", "0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pair(tmp_path)


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    yield
    STOP.reset()


def kept(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in ("human", "ai", "quarantine")
        for path in sorted((out / folder).rglob("*.jsonl"))
    }


def log_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_run_that_holds_the_directory_is_named(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".lowbg").mkdir(parents=True)
    note = {"pid": 4711, "host": "elsewhere", "started": "2024-01-01T00:00:00+00:00"}
    with (out / ".lowbg" / "lock").open("w") as file:
        file.write(json.dumps(note))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = run("filter", source, "-o", out, "-q")
        assert refused.exit_code == 2
        assert "pid 4711, host elsewhere" in refused.stderr
        log = tmp_path / "log"
        skipped = run("filter", source, "-o", out, "--skip-if-running", "--log-file", log)
        assert skipped.exit_code == 0
        assert "nothing done" in skipped.stderr
        assert "pid 4711" in log_of(log)[-1]["message"]
        assert not (out / "human").exists()
    assert run("filter", source, "-o", out, "-q").exit_code == 0


def test_a_dead_process_keeps_no_lock(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    code = f"""
import os, signal, pathlib
from lowbg.storage.locks import run_lock
with run_lock(pathlib.Path({str(out)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert json.loads((out / ".lowbg" / "lock").read_text())["host"] == socket.gethostname()
    assert run("filter", source, "-o", out, "-q").exit_code == 0


def test_without_locks_the_note_is_believed(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowbg.storage.locks.fcntl", None)
    out = tmp_path / "out"
    (out / ".lowbg").mkdir(parents=True)
    note = {"pid": os.getppid(), "host": socket.gethostname()}
    (out / ".lowbg" / "lock").write_text(json.dumps(note))
    refused = run("filter", source, "-o", out)
    assert refused.exit_code == 2
    assert "has no locks" in refused.stderr
    (line,) = run("filter", source, "-o", out, "-q").stderr.splitlines()
    assert "another run is writing there" in line
    (out / ".lowbg" / "lock").write_text("")
    assert run("filter", source, "-o", out, "-q").exit_code == 0


STOPPED = """
import os, signal, sys
import lowbg.runs.checkpoints as checkpoints
save = checkpoints.Journal.save
def signalling(self, checkpoint):
    save(self, checkpoint)
    number = int(os.environ["SIGNAL"])
    os.kill(os.getpid(), number)
checkpoints.Journal.save = signalling
sys.argv[0] = "lowbg"
from lowbg_cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_at_a_checkpoint(
    number: int, code: int, run: Run, source: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    args = ["filter", str(source), "-o", str(out), *EVERY_BATCH, "-q", "--log-file", str(log)]
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED, *args],
        env={**os.environ, "SIGNAL": str(number)},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert b"--resume" in ended.stderr
    assert kept(out) == {}
    assert len(list((out / ".lowbg" / "parts").glob("*.checkpoint.json"))) == 1
    last = log_of(log)[-1]
    assert (last["event"], last["exit_code"], last["level"]) == ("end", code, "error")
    refused = run("filter", source, "-o", out, "-q")
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert run(*args, "--resume").exit_code == 0
    assert kept(out)["human/a.jsonl"] + kept(out)["ai/a.jsonl"] == numbered(300)
    assert run("verify", out).exit_code == 0


def test_the_log_says_all_that_a_mail_needs(run: Run, source: Path, tmp_path: Path) -> None:
    (source / "c.jsonl.gz").write_bytes(b"\x1f\x8b nothing")
    log = tmp_path / "log"
    result = run("filter", source, "-o", tmp_path / "out", "-q", "--log-file", log)
    assert result.exit_code == 3
    rows = log_of(log)
    assert [row["event"] for row in rows] == ["start", "shard", "shard", "shard", "end"]
    assert all({"time", "level", "event", "message"} <= row.keys() for row in rows)
    last = rows[-1]
    assert (last["exit_code"], last["shards"], last["records"]) == (3, 3, 600)
    assert last["failed"] == ["c.jsonl.gz"]
    assert "c.jsonl.gz" in last["problems"][0]
    assert (
        run("filter", source, "-o", tmp_path / "out", "--resume", "--log-file", log).exit_code == 3
    )
    assert len(log_of(log)) > len(rows)


def test_a_read_error_is_retried_on_request(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = JsonlReader._read
    failures = 2

    def failing(self: JsonlReader) -> bytes:
        nonlocal failures
        if self.name == "a.jsonl" and failures:
            failures -= 1
            self._fault = InputError("a.jsonl: reading failed at byte 0 (Input/output error)")
            return b""
        return read(self)

    monkeypatch.setattr(JsonlReader, "_read", failing)
    once = run("filter", source, "-o", tmp_path / "one", "-q", "--executor", "serial")
    assert once.exit_code == 3
    assert "Input/output error" in once.stderr
    failures = 2
    again = run(
        "filter", source, "-o", tmp_path / "two", "-q", "--executor", "serial", "--retries", "2"
    )
    assert (again.exit_code, failures) == (0, 0)
    assert run("filter", source, "-o", tmp_path / "one", "-q", "--resume").exit_code == 0
    assert kept(tmp_path / "one") == kept(tmp_path / "two")


@pytest.mark.slow
def test_a_full_disk_costs_only_its_shard_and_resumes(
    source: Path, run: Run, tmp_path: Path
) -> None:
    """A limit on a file's size stands for a full disk: both end a write with an error."""
    (source / "a.jsonl").write_bytes(numbered(15_000))
    out = tmp_path / "out"
    args = ["filter", str(source), "-o", str(out), "-q", "--checkpoint-bytes", "200000"]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

    ended = subprocess.run(
        [sys.executable, "-m", "lowbg_cli", *args, "--batch-bytes", "100000"],
        preexec_fn=limit,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert b"a.jsonl: cannot be written (File too large)" in ended.stderr
    assert set(kept(out)) == {"human/b.jsonl", "ai/b.jsonl"}
    assert run("verify", out).exit_code == 3
    assert run(*args, "--resume").exit_code == 0
    assert kept(out)["human/a.jsonl"] + kept(out)["ai/a.jsonl"] == numbered(15_000)
    assert run("verify", out).exit_code == 0


WORKERS = """
import os, signal, sys
from multiprocessing import parent_process
import lowbg.runs.checkpoints as checkpoints
save = checkpoints.Journal.save
def acting(self, checkpoint):
    save(self, checkpoint)
    if not os.path.exists(sys.argv[0] + ".done"):
        open(sys.argv[0] + ".done", "w").close()
        whom = os.getpid() if os.environ["WHOM"] == "worker" else parent_process().pid
        os.kill(whom, int(os.environ["SIGNAL"]))
checkpoints.Journal.save = acting
if __name__ == "__main__":
    from lowbg_cli.app import main
    main()
"""


def run_workers(
    script: Path, whom: str, number: int, *args: object
) -> subprocess.CompletedProcess[bytes]:
    """A run with two workers, of which the first that saves a checkpoint sends a signal."""
    script.write_text(WORKERS)
    return subprocess.run(
        [sys.executable, script, *map(str, args), "--workers", "2", "-q"],
        env={**os.environ, "WHOM": whom, "SIGNAL": str(int(number))},
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(run: Run, source: Path, tmp_path: Path) -> None:
    args = ("filter", source, "-o", tmp_path / "out", *EVERY_BATCH)
    ended = run_workers(tmp_path / "s.py", "worker", signal.SIGKILL, *args)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "s.py.done").exists()
    assert (
        run("filter", source, "-o", tmp_path / "one", "-q", "--executor", "serial").exit_code == 0
    )
    assert kept(tmp_path / "out") == kept(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_workers_end_with_their_run(
    number: int, code: int, run: Run, source: Path, tmp_path: Path
) -> None:
    args = ("filter", source, "-o", tmp_path / "out", *EVERY_BATCH)
    ended = run_workers(tmp_path / "s.py", "parent", number, *args)
    assert ended.returncode == code, ended.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert (b"--resume" in ended.stderr) == (code == 143)
    assert run(*args, "--resume", "-q").exit_code == 0
    assert (
        run("filter", source, "-o", tmp_path / "one", "-q", "--executor", "serial").exit_code == 0
    )
    assert kept(tmp_path / "out") == kept(tmp_path / "one")


def test_an_output_behind_a_symbolic_link_is_refused(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    assert run("filter", source, "-o", out, "-q").exit_code == 0
    (out / "ai" / "a.jsonl").unlink()
    (out / "ai" / "b.jsonl").unlink()
    (out / "ai").rmdir()
    (out / "ai").symlink_to(outside)
    refused = run("filter", source, "-o", out, "-q", "--resume")
    assert refused.exit_code == 2
    assert "symbolic link" in refused.stderr
    assert list(outside.iterdir()) == []
    assert run("filter", source, "-o", out, "-q", "--overwrite").exit_code == 0
    assert list(outside.iterdir()) == []
    assert not (out / "ai").is_symlink()


@pytest.mark.parametrize(
    "args",
    [["--resume"], ["--retries", "2"], ["--check-digests"], ["--skip-if-running"],
     ["--log-file", "x"], ["--checkpoint-seconds", "3"], ["--checkpoint-bytes", "3M"]],
    ids=lambda args: args[0],
)  # fmt: skip
def test_options_of_a_directory_are_refused_in_a_pipe(args: list[str], run: Run) -> None:
    result = run("filter", "-", "--discard-ai", *args)
    assert result.exit_code == 2
    assert f"{args[0]}: only with -o DIR" in result.stderr


def test_resume_and_overwrite_contradict_each_other(run: Run, source: Path, tmp_path: Path) -> None:
    result = run("filter", source, "-o", tmp_path / "out", "--resume", "--overwrite")
    assert result.exit_code == 2
    assert "choose one" in result.stderr


def test_a_first_run_may_be_a_resumed_one(run: Run, source: Path, tmp_path: Path) -> None:
    args = ("filter", source, "-o", tmp_path / "out", "--resume")
    assert run(*args).exit_code == 0
    again = run(*args)
    assert again.exit_code == 0
    assert "2 shards had been finished" in again.stderr


def test_another_configuration_says_what_changed(run: Run, source: Path, tmp_path: Path) -> None:
    args = ("filter", source, "-o", tmp_path / "out", "-q")
    assert run(*args).exit_code == 0
    refused = run(*args, "--resume", "--target-fpr", "0.05")
    assert refused.exit_code == 2
    assert "target_fpr was 0.01, is 0.05" in refused.stderr
    assert "--overwrite" in refused.stderr
