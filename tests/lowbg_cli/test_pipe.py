"""`filter` and `score` as parts of a pipeline: what goes where, and how they end."""

from __future__ import annotations

import gzip
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.lowbg_cli.shards import AI, HUMAN, dump, lines
from typer.testing import Result

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return dump(tmp_path)


SMALL_BATCHES = ("--batch-bytes", "4096")
MANY = lines(*HUMAN)


@pytest.mark.slow
def test_stdout_is_data_alone(run: Run, shard: Path, tmp_path: Path) -> None:
    ai, report = tmp_path / "ai.jsonl.zst", tmp_path / "r.json"
    result = run("filter", "-", "--ai-to", ai, "--report", report, stdin=shard.read_bytes())
    assert result.exit_code == 0, result.stderr
    stored = shard.read_bytes().splitlines()
    kept = result.stdout_bytes.splitlines()
    dropped = zstandard.ZstdDecompressor().stream_reader(ai.read_bytes()).read().splitlines()
    assert [each for each in stored if each in kept] == kept
    assert sorted([*kept, *dropped, b"{broken"]) == sorted(stored)
    assert json.loads(report.read_bytes())["totals"]["records"] == 22
    quarantine = tmp_path / "ai.jsonl.zst.quarantine.jsonl"
    assert [json.loads(row)["line"] for row in quarantine.read_bytes().splitlines()] == [21]


def test_an_html_report(run: Run, shard: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    assert run("filter", shard, "--ai-to", tmp_path / "ai", "--report", report).exit_code == 0
    assert report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")


def test_records_that_go_nowhere_end_with_3(run: Run, shard: Path, tmp_path: Path) -> None:
    result = run("filter", shard, "--discard-ai", "-q")
    assert result.exit_code == 3
    assert "1 record could not be read and went nowhere; --quarantine-to" in result.stderr
    kept = run("filter", shard, "--discard-ai", "-q", "--quarantine-to", tmp_path / "q.jsonl")
    assert (kept.exit_code, kept.stderr) == (0, "")
    assert (tmp_path / "q.jsonl").read_bytes().count(b"\n") == 1


def test_score_to_stdout(run: Run, shard: Path) -> None:
    result = run("score", shard, "-o", "-", "-q")
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(row) for row in result.stdout.splitlines()]
    assert len(rows) == 21
    assert {"id", "perplexity", "ai_score", "verdict"} <= set(rows[0])


@pytest.mark.slow
def test_stdout_that_is_an_input_is_refused(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(HUMAN[0]))
    with path.open("ab") as out:
        process = start("filter", path, "--discard-ai", stdout=out)
        _, err = process.communicate()
    assert process.returncode == 2
    assert b"both input and stdout" in err
    assert path.read_bytes() == lines(HUMAN[0])


@pytest.mark.slow
def test_stdin_into_a_directory(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("filter", "-", "-o", out, "-q", stdin=subprocess.PIPE)
    stdout, err = process.communicate(lines(*HUMAN))
    assert (process.returncode, stdout, err) == (0, b"", b"")
    kept = [path.read_bytes() for path in (*out.glob("human/*"), *out.glob("ai/*"))]
    assert b"".join(sorted(kept)).count(b"\n") == len(HUMAN)


@pytest.mark.slow
def test_a_broken_pipe_is_quiet(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(MANY)
    process = start("filter", path, "--ai-to", tmp_path / "ai.jsonl", *SMALL_BATCHES)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == lines(HUMAN[0])
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    assert sorted(tmp_path.iterdir()) == [path]
    process.stderr.close()


def feed(fifo: Path) -> int:
    """Writes more than a pipe holds: when it is all in, the reader has begun; the open end."""
    # Opened for reading too, it doesn't wait for a reader that may have failed.
    end = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    rest = memoryview(MANY)
    while rest:
        assert select.select([], [end], [], 30)[1], "nobody reads"
        rest = rest[os.write(end, rest) :]
    return end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_ends_a_pipe(number: int, code: int, start: Start, tmp_path: Path) -> None:
    fifo = tmp_path / "in.jsonl"
    os.mkfifo(fifo)
    process = start(
        "filter", fifo, "--ai-to", tmp_path / "ai.jsonl", *SMALL_BATCHES, stdout=subprocess.DEVNULL
    )
    end = feed(fifo)
    process.send_signal(number)
    _, err = process.communicate()
    os.close(end)
    assert process.returncode == code
    assert err.decode().startswith(f"lowbg: interrupted ({signal.Signals(number).name}). ")
    assert err.count(b"\n") == 1
    assert sorted(tmp_path.iterdir()) == [fifo]


@pytest.mark.slow
def test_ctrl_c_ends_workers_and_leaves_nothing_half_written(start: Start, tmp_path: Path) -> None:
    fifos = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for fifo in fifos:
        os.mkfifo(fifo)
    out = tmp_path / "out"
    process = start(
        "filter", *fifos, "-o", out, "--workers", 2, *SMALL_BATCHES, start_new_session=True
    )
    ends = [feed(fifo) for fifo in fifos]
    os.killpg(process.pid, signal.SIGINT)
    stdout, err = process.communicate()
    for end in ends:
        os.close(end)
    assert process.returncode == 130
    assert stdout == b""
    assert err.startswith(b"lowbg: interrupted (SIGINT). ")
    assert b"--overwrite" in err
    assert err.count(b"\n") == 1
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {".lowbg/lock", ".lowbg/workers", ".lowbg/run.json"}


@pytest.mark.slow
def test_a_broken_pipe_is_quiet_in_text_too(start: Start, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("scorers", stdout=write)
    os.close(write)
    _, err = process.communicate()
    assert (process.returncode, err) == (141, b"")


def test_a_closed_stdin_is_said(start: Start, tmp_path: Path) -> None:
    process = start("filter", "-", "--discard-ai", preexec_fn=lambda: os.close(0))
    out, err = process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"stdin is closed" in err


def test_annotations_are_part_of_the_lines(run: Run) -> None:
    stdin = lines(AI) + lines(HUMAN[0])
    result = run("filter", "-", "--discard-ai", "--annotate", "-q", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert [json.loads(row)["lowbg"]["verdict"] for row in result.stdout.splitlines()] == ["human"]


def test_parquet_is_refused_before_a_line_is_out(run: Run, shard: Path, tmp_path: Path) -> None:
    rows, ai = tmp_path / "p.parquet", tmp_path / "ai.jsonl"
    pq.write_table(pa.table({"text": ["a"]}), rows)
    result = run("filter", shard, rows, "--ai-to", ai)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{rows} is Parquet" in result.stderr
    assert "-o DIR" in result.stderr
    assert not ai.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="the system has no /dev/fd")
def test_what_a_shell_substitutes_is_read_whatever_the_workers(
    start: Start, tmp_path: Path
) -> None:
    """`lowbg filter <(…) <(…) -o DIR --workers 2`: only this process has the pipes."""
    out, ends, texts = tmp_path / "out", [], {}
    for number, name in enumerate(("one", "two"), 1):
        read_end, write_end = os.pipe()
        text = "".join(f'{{"id":"{name}-{i}","text":"A short line."}}\n' for i in range(50))
        os.write(write_end, text.encode())
        os.close(write_end)
        ends.append(read_end)
        texts[f"pipe-{number}"] = text
    inputs = [f"/dev/fd/{end}" for end in ends]
    process = start("filter", *inputs, "-o", out, "--workers", "2", pass_fds=ends)
    for end in ends:
        os.close(end)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert {path.name: path.read_text() for path in (out / "human").iterdir()} == texts
    assert json.loads((out / "manifest.json").read_bytes())["totals"]["records"] == 100


@pytest.mark.parametrize("option", ["--ai-to", "--quarantine-to"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.jsonl.lz4", "x.jsonl.lz4: .lz4 isn't written; end the name with .gz, .zst, .bz2, .xz"),
        ("x.zip", "x.zip: .zip isn't written"),
        ("x.parquet", "x.parquet: lines go there, and its name says Parquet; call it .jsonl"),
        ("x.arrow", "its name says Arrow IPC; call it .jsonl, or use a directory (-o DIR)"),
    ],
)
def test_no_file_is_called_what_it_would_not_be(
    option: str, name: str, says: str, run: Run, shard: Path, tmp_path: Path
) -> None:
    to = {"--ai-to": tmp_path / "ai.jsonl"} | {option: tmp_path / name}
    refused = run("filter", shard, *(word for pair in to.items() for word in pair))
    assert refused.exit_code == 2
    assert says in refused.stderr
    assert refused.stdout == ""


def test_quarantine_is_compressed_as_its_name_says(run: Run, shard: Path, tmp_path: Path) -> None:
    to = tmp_path / "q.jsonl.gzip"
    ended = run("filter", shard, "--discard-ai", "--quarantine-to", to, "-q")
    assert ended.exit_code == 0
    assert [json.loads(row)["line"] for row in gzip.decompress(to.read_bytes()).splitlines()] == [
        21
    ]
