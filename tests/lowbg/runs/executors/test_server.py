"""The process from which workers are forked: ready, clean, and gone with its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lowbg.runs.executors import server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned"),
]

SCRIPT = """
import json, os, signal, sys, threading, time
from dataclasses import dataclass

@dataclass(frozen=True)
class Setup:
    def __call__(self):
        from lowbg.kernels.words import read_words  # Where that loads it, nothing has been shared.
        return Worker(read_words.is_loaded, "lowbg.jobs.filter" in sys.modules)

@dataclass
class Worker:
    kernels: bool
    modules: bool

    def __call__(self, task, on_progress):
        if task == "kill the server" and not os.path.exists(sys.argv[1]):
            open(sys.argv[1], "w").close()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)  # Else the result may come before the pool notices, and counts.
        said = {"server": os.getppid(), "kernels": self.kernels, "modules": self.modules}
        said["threads"] = len(os.listdir(f"/proc/{os.getppid()}/task"))
        said["held_back"] = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return said

if __name__ == "__main__":
    from lowbg.runs.executors import server
    from lowbg.runs.executors.processes import ProcessExecutor
    if "elsewhere" in sys.argv:
        thread = threading.Thread(target=lambda: print(json.dumps(server.start())))
        thread.start()
        thread.join()
    else:
        import shutil
        from multiprocessing import forkserver
        if "nothing of it" in sys.argv:
            del forkserver.ensure_running
        if "not its end" in sys.argv:
            forkserver._moved = forkserver._forkserver
            del forkserver._forkserver
        server.start("lowbg.jobs.filter")
        from multiprocessing import util
        if "clear the folder" in sys.argv:
            shutil.rmtree(util.get_temp_dir())
        ends = ProcessExecutor(2).run(Setup(), sys.argv[2:], None)
        print(json.dumps([end.result for end in sorted(ends, key=lambda end: end.index)]))
        if "clear it later" in sys.argv:
            shutil.rmtree(util.get_temp_dir())
"""


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Any]:
    """Runs tasks in two workers of a server; what each said, or what the script printed."""

    def run(*tasks: str, cwd: Path = tmp_path, quiet: bool = True) -> Any:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        ended = subprocess.run(
            [sys.executable, script, tmp_path / "killed", *tasks],
            capture_output=True, cwd=cwd, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert not (quiet and ended.stderr), ended.stderr
        return json.loads(ended.stdout)

    return run


def test_workers_find_everything_loaded(play: Callable[..., Any]) -> None:
    said = play("a", "b", "c")
    assert [(row["kernels"], row["modules"], row["held_back"]) for row in said] == [
        (True, True, [])
    ] * 3
    assert len({row["server"] for row in said}) == 1


def test_the_server_has_one_thread(play: Callable[..., Any]) -> None:
    """A lock that another thread holds while a worker is forked would never be released there."""
    assert [row["threads"] for row in play("a", "b")] == [1, 1]


def test_a_server_that_is_killed_costs_nothing(play: Callable[..., Any]) -> None:
    # A worker that was being started says that it lost its pool.
    said = play("a", "kill the server", "b", quiet=False)
    assert all(row["kernels"] for row in said)
    assert said[1]["server"] not in (1, None)


@pytest.mark.parametrize("when", ["clear the folder", "clear it later"])
def test_a_server_whose_socket_is_removed_costs_nothing(
    when: str, play: Callable[..., Any]
) -> None:
    assert [row["kernels"] for row in play("a", when)] == [True, True]


def test_nothing_is_imported_from_the_current_folder(
    play: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("queue", "random", "zstandard", "statistics", "lowbg"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    assert [row["kernels"] for row in play("a", cwd=folder)] == [True]


@pytest.mark.parametrize("moved", [["nothing of it"], ["not its end", "clear the folder"]])
def test_where_its_insides_have_moved_workers_are_started_afresh(
    moved: list[str], play: Callable[..., Any]
) -> None:
    """They say the same, but for what they share."""
    said = play("a", *moved)
    assert [row["held_back"] for row in said] == [[]] * (1 + len(moved))
    assert not any(row["modules"] for row in said)


def test_only_a_main_thread_has_a_server(play: Callable[..., Any]) -> None:
    """With the thread that started it, it would end."""
    assert play("elsewhere") is False


def test_a_program_that_does_not_ask_has_no_server() -> None:
    code = (
        "from lowbg.runs.executors import server\n"
        "import lowbg.jobs.filter\n"
        "assert server.context().get_start_method() == 'spawn'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that two workers are busy with for a second."""
    folder = tmp_path_factory.mktemp("shards")
    line = json.dumps({"id": "1", "text": "Words of a document that is read again. " * 40}) + "\n"
    for name in "abcd":
        (folder / f"{name}.jsonl").write_text(line * 8_000)
    return folder


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, of a short name: a socket's address has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="l") as folder:
        yield Path(folder)


@pytest.fixture
def started(
    shards: Path, tmp_path: Path, temporary: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a run with two workers, which has a process group and temporary files of its own."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lowbg_cli", "filter", str(shards)]
        command += ["-o", str(tmp_path / "out"), "--workers", "2", "-q"]
        env = {**os.environ, "TMPDIR": str(temporary)}
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, start_new_session=True, env=env, cwd=tmp_path
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        for pid in group(process):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def group(process: subprocess.Popen[bytes]) -> set[int]:
    """The processes that run in the process's session."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(state[3]) == process.pid and state[0] not in (b"Z", b"X"):
                found.add(int(entry.name))
    return found


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


STAGES = {
    "the server loads": 3,  # with the run itself and multiprocessing's tracker of resources
    "both work": 5,
}


@pytest.mark.parametrize("processes", STAGES.values(), ids=STAGES.keys())
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_of_a_run_ends_all_of_it_in_a_line(
    number: signal.Signals,
    processes: int,
    started: Callable[[], subprocess.Popen[bytes]],
    temporary: Path,
) -> None:
    """As Ctrl-C, `timeout` and a terminal that is closed send it."""
    run = started()
    wait_until(lambda: len(group(run)) >= processes)
    os.killpg(run.pid, number)
    _, said = run.communicate()
    assert run.returncode == 128 + number, said
    assert said.count(b"\n") == 1, said
    assert said.startswith(b"lowbg: interrupted")
    wait_until(lambda: not group(run))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("processes", STAGES.values(), ids=STAGES.keys())
def test_nothing_outlives_a_run_that_is_killed(
    processes: int, started: Callable[[], subprocess.Popen[bytes]], temporary: Path
) -> None:
    run = started()
    wait_until(lambda: len(group(run)) >= processes)
    run.kill()
    wait_until(lambda: not group(run))
    assert list(temporary.iterdir()) == []


def test_waiting_for_a_process_that_stays_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_started", True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        server.wait_for([process.pid], 0.0)
        assert process.wait() == -signal.SIGKILL
