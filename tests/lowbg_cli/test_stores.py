"""Runs from a store to a store: what they write, whatever goes wrong on the way."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines, numbered
from tests.lowbg_cli.stored import data_of, fetched, kill_while_sending, slow_to_send
from tests.pages import recipe_commands
from tests.s3_server import BUCKET, S3, no_fault
from typer.testing import Result

from lowbg.config import RunConfig
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs import publishing
from lowbg.runs.executors import server
from lowbg.runs.inputs import discover
from lowbg.runs.progress import Observer, Progress
from lowbg.runs.publishing import scratch_of
from lowbg.storage import objects, store_settings
from lowbg.storage.objects import ObjectStore

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
STORES = Path(__file__).parents[2] / "docs" / "stores.md"
Start = Callable[..., subprocess.Popen[bytes]]


def _expected(run: Run, dump: str, tmp_path: Path) -> dict[str, bytes]:
    """What a run from and to local files writes."""
    fetched(f"{dump}/in", tmp_path / "in")
    assert run("filter", tmp_path / "in", "-o", tmp_path / "out", "-q").exit_code == 0
    return data_of(tmp_path / "out")


def test_a_run_from_a_store_to_a_store(dump: str, run: Run, tmp_path: Path) -> None:
    out = f"{dump}/out"
    result = run("filter", f"{dump}/in", "-o", out)
    assert result.exit_code == 0, result.stderr
    copy = fetched(out, tmp_path / "copy")
    assert data_of(copy) == _expected(run, dump, tmp_path)
    assert run("verify", copy).exit_code == 0
    assert run("verify", out).stderr == f"lowbg: {out}: as the manifest says\n"
    shown = run("report", out, "--format", "json").stdout
    assert shown == run("report", copy, "--format", "json").stdout
    assert {name.split("/")[0] for name in ObjectStore(out).list()} == {
        ".lowbg", "ai", "human", "manifest.json", "quarantine", "report.html", "report.json",
    }  # fmt: skip
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    again = run("filter", f"{dump}/in", "-o", out)
    assert again.exit_code == 2
    assert f"{out} already holds a run. Use --resume" in again.stderr
    before = {name: each.version for name, each in ObjectStore(out).list().items()}
    resumed = run("filter", f"{dump}/in", "-o", out, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "3 shards had been finished" in resumed.stderr
    assert f"next: lowbg report {out} -o report.html; " in " ".join(resumed.stderr.split())
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert {name: each.version for name, each in ObjectStore(out).list().items()} == before
    assert run("score", f"{dump}/in", "-o", out, "--resume").exit_code == 2
    over = run("filter", f"{dump}/in", "-o", out, "--overwrite", "-q", "--unscored", "separate")
    assert over.exit_code == 0, over.stderr
    assert "unscored/a.jsonl" in ObjectStore(out).list()


def test_policies_and_findings_are_there_too(dump: str, run: Run) -> None:
    store = ObjectStore(dump)
    store.put("policy.toml", b"[decision]\ntarget_fpr = 0.02\n")
    out = f"{dump}/out"
    policy = ("--policy", f"{dump}/policy.toml")
    assert run("filter", f"{dump}/in", "-o", out, "-q", *policy).exit_code == 0
    assert run("gate", f"{out}/human", "-q", "--max-ai-share", "0.5").exit_code == 0
    refused = run("filter", f"{dump}/in", "-o", out, "--resume")
    assert "target_fpr was 0.02, is 0.01" in refused.stderr
    store.put("out/human/a.jsonl", b"{}")
    store.put("out/new", b"")
    store.delete(["out/ai/a.jsonl"])
    found = run("verify", out)
    assert found.exit_code == 1
    assert [line.split(":")[0] for line in found.stdout.splitlines()] == [
        "changed", "missing", "extra",
    ]  # fmt: skip
    assert run("verify", f"{dump}/in").exit_code == 2
    assert run("filter", f"{dump}/in", "-o", out, "--policy", f"{dump}/none").exit_code == 2


def test_the_page_s_commands_run(
    dump: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(f"s3://{BUCKET}")
    for name in ("a.jsonl", "sub/b.jsonl", "sub/c.jsonl"):
        store.put(f"dump/{name}", ObjectStore(f"{dump}/in").read(name) or b"")
    store.put("policy.toml", b"[decision]\ntarget_fpr = 0.02\n")
    store.put("generated/d.jsonl", lines(AI))
    monkeypatch.chdir(tmp_path)
    commands = recipe_commands(STORES)
    assert len(commands) == 6
    for command in commands:
        result = run(*shlex.split(command)[1:])
        assert result.exit_code == 0, (command, result.output)
    assert (tmp_path / "clean.html").is_file()


def test_what_is_new_is_added(dump: str, run: Run, tmp_path: Path) -> None:
    out = f"{dump}/out"
    assert run("filter", f"{dump}/in", "-o", out, "-q", "--incremental").exit_code == 0
    ObjectStore(dump).put("in/d.jsonl", lines(*HUMAN[4:9]))
    added = run("filter", f"{dump}/in", "-o", out, "--incremental")
    assert added.exit_code == 0, added.stderr
    assert "1 new shard; 3 shards processed before" in added.stderr
    copy = fetched(out, tmp_path / "copy")
    assert data_of(copy) == _expected(run, dump, tmp_path)
    assert run("verify", copy).exit_code == 0
    assert "nothing new" in run("filter", f"{dump}/in", "-o", out, "--incremental").stderr


def test_scores_and_parts_go_there(dump: str, run: Run, tmp_path: Path) -> None:
    for index in range(2):
        result = run(
            "score", f"{dump}/in", "-o", f"{dump}/out", "-q", "--scratch", tmp_path / "scratch",
            "--shard-index", index, "--shard-count", 2,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
    fetched(f"{dump}/out", tmp_path / "parts")
    assert run("merge", tmp_path / "parts", "-o", tmp_path / "whole", "-q").exit_code == 0
    fetched(f"{dump}/in", tmp_path / "in")
    assert run("score", tmp_path / "in", "-o", tmp_path / "one", "-q").exit_code == 0
    for name in ("a.jsonl", "sub/b.jsonl", "sub/c.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_another_s_objects_are_left_alone(dump: str, run: Run) -> None:
    ObjectStore(dump).put("more.jsonl", lines("Good morning."))
    for more in ((), ("--overwrite",)):
        result = run("filter", f"{dump}/more.jsonl", "-o", f"{dump}/in", *more)
        assert result.exit_code == 2
        assert "holds objects that lowbg did not make (a.jsonl" in result.stderr
    inside = run("filter", f"{dump}/in/sub", "-o", f"{dump}/in")
    assert "lies inside the output" in inside.stderr
    assert ObjectStore(f"{dump}/in").list().keys() == {"a.jsonl", "sub/b.jsonl", "sub/c.jsonl"}
    elsewhere = run("filter", f"{dump}/in", "-o", "ftp://host/out")
    assert "the URL of no store" in " ".join(elsewhere.stderr.split())


def test_one_run_at_a_time(dump: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(f"{dump}/out")
    note = {"pid": 1, "host": "elsewhere", "started": "now", "token": "x"}
    store.put(".lowbg/lock.json", json.dumps(note).encode())
    held = run("filter", f"{dump}/in", "-o", f"{dump}/out")
    assert held.exit_code == 2
    assert "another run is writing there (pid 1, host elsewhere, since now)" in held.stderr
    skipped = run("filter", f"{dump}/in", "-o", f"{dump}/out", "--skip-if-running")
    assert skipped.exit_code == 0
    # Of a run that died nothing more is heard.
    monkeypatch.setattr("lowbg.storage.store_locks.STALE_S", -5.0)
    assert run("filter", f"{dump}/in", "-o", f"{dump}/out", "-q").exit_code == 0
    assert ".lowbg/lock.json" not in store.list()


def test_faults_on_the_way_change_nothing(dump: str, s3: S3, run: Run, tmp_path: Path) -> None:
    kinds: list[Any] = ["500", "503", "cut", "refused"]

    def plan(method: str, path: str, before: int) -> Any:
        count = sum(s3.requests.values())
        return kinds[count // 3 % 4] if count % 3 == 0 else None

    expected = _expected(run, dump, tmp_path)
    s3.requests.clear()
    s3.faults.clear()
    s3.plan = plan
    result = run("filter", f"{dump}/in", "-o", f"{dump}/out")
    s3.plan = no_fault
    assert result.exit_code == 0, result.stderr
    assert len(s3.faults) == 4
    copy = fetched(f"{dump}/out", tmp_path / "copy")
    assert data_of(copy) == expected
    assert run("verify", copy).exit_code == 0


def test_what_could_not_be_sent_is_sent_by_the_next_run(
    dump: str, s3: S3, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ATTEMPTS", 2)
    monkeypatch.setattr(store_settings, "OBSTORE_RETRIES", 0)
    s3.plan = lambda method, path, _: "503" if "human/sub/c" in path and method == "PUT" else None
    failed = run("filter", f"{dump}/in", "-o", f"{dump}/out")
    assert failed.exit_code == 3
    assert "sub/c.jsonl: cannot be sent to" in failed.stderr
    s3.plan = no_fault
    assert "human/sub/c.jsonl" not in ObjectStore(f"{dump}/out").list()
    resumed = run("filter", f"{dump}/in", "-o", f"{dump}/out", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "3 shards had been finished" in resumed.stderr
    copy = fetched(f"{dump}/out", tmp_path / "copy")
    assert data_of(copy) == _expected(run, dump, tmp_path)
    assert run("verify", copy).exit_code == 0


@pytest.mark.parametrize("keeps_scratch", [True, False])
def test_a_killed_run_is_gone_on_with(
    keeps_scratch: bool, dump: str, s3: S3, run: Run, start: Start, tmp_path: Path
) -> None:
    expected = _expected(run, dump, tmp_path)
    out = ObjectStore(f"{dump}/out")
    scratch = ("--scratch", tmp_path / "one")
    sent = f"{dump[5:]}/out/human/"
    slow_to_send(s3, sent)
    args = ("filter", f"{dump}/in", "-o", out.url, "-q", "--executor", "serial")
    first = start(*args, *scratch, env={**os.environ, "LOWBG_STORE_TIMEOUT": "20"})
    kill_while_sending(first, s3, sent)
    names = out.list()
    assert "manifest.json" not in names
    for name in names:  # What is there is whole.
        if not name.startswith(".lowbg/"):
            assert out.read(name) == expected[name]
    if not keeps_scratch:
        scratch = ("--scratch", tmp_path / "other")
    resumed = run(*args, *scratch, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    copy = fetched(out.url, tmp_path / "copy")
    assert data_of(copy) == expected
    assert run("verify", copy).exit_code == 0


def test_a_table_of_sources_there(dump: str, run: Run, tmp_path: Path) -> None:
    """It is written whole, fetched once a machine, and decides as a local one does."""
    rows = [
        json.dumps({"text": text, "url": f"https://{'farm' if text == AI else 'home'}.example/{i}"})
        for i, text in enumerate([*HUMAN, *[AI] * 12])
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{row}\n" for row in rows))
    table, url = tmp_path / "t.parquet", f"{dump}/t.parquet"
    assert run("sources", tmp_path / "in.jsonl", "-o", table, "-q").exit_code == 0
    told = run("sources", tmp_path / "in.jsonl", "-o", url)
    assert told.exit_code == 0, told.stderr
    assert f"{url}: 2 sources" in told.stderr
    assert fetched(dump, tmp_path / "copy").joinpath("t.parquet").read_bytes() == table.read_bytes()
    assert "already exists" in run("sources", tmp_path / "in.jsonl", "-o", url).stderr
    outputs = []
    for name, given in (("by-file", table), ("by-url", url), ("again", url)):
        out = tmp_path / name
        command = ("filter", tmp_path / "in.jsonl", "-o", out, "--sources", given, "--annotate")
        result = run(*command, "-q")
        assert result.exit_code == 0, result.stderr
        outputs.append(data_of(out))
    assert outputs[0] == outputs[1] == outputs[2]
    assert b"source farm.example" in outputs[0]["ai/in.jsonl"]
    kept = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert [path.suffix for path in kept] == [".parquet"]
    lacking = run("filter", tmp_path / "in.jsonl", "-o", tmp_path / "x", "--sources", f"{url}x")
    assert lacking.exit_code == 2
    assert "no such object" in lacking.stderr


def _in_pieces(shard: Path, out: str) -> FilterJob:
    size = shard.stat().st_size // 4
    shards = tuple(discover([str(shard)]))
    return FilterJob(
        shards, scratch_of(out), RunConfig(), workers=2, piece_bytes=size, published=out
    )


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_shard_in_pieces_is_sent_when_it_is_put_together(
    elsewhere: bool, dump: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From workers on other machines logs come through the store."""
    monkeypatch.setattr(FilterJob, "works_elsewhere", elsewhere)
    monkeypatch.setattr(publishing, "_LOGS", "nowhere/")  # They don't stay until the end.
    monkeypatch.setattr(server, "_started", False)  # It may not know this test's store.
    shard = tmp_path / "large.jsonl"
    shard.write_bytes(numbered(1_500))
    out = f"{dump}/out"
    seen: list[Progress] = []
    outcome = filter_shards(_in_pieces(shard, out), Observer(seen.append))
    assert outcome.complete
    read = {progress.shard for progress in seen if progress.consumed}
    assert len(read) > 1
    assert "large.jsonl" not in read
    store = ObjectStore(out)
    found = [store.read(f"{route}/large.jsonl") or b"" for route in ("human", "ai")]
    assert sorted(b"".join(found).splitlines()) == sorted(shard.read_bytes().splitlines())
    assert not [name for name in store.list() if "/parts/" in name]
    assert any("/parts/" in key for key in s3.requests) == elsewhere
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]


def test_logs_of_pieces_that_nobody_took_are_removed(
    dump: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind the damage was read, and the shard is read in one pass after all."""
    monkeypatch.setattr(FilterJob, "works_elsewhere", True)
    monkeypatch.setattr(server, "_started", False)  # It may not know this test's store.
    shard = tmp_path / "large.parquet"
    rows = [json.loads(line) for line in numbered(1_500).splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), shard, row_group_size=150, compression="none")
    stored = bytearray(shard.read_bytes())
    place = pq.read_metadata(shard).row_group(3).column(0).data_page_offset
    stored[place : place + 2_000] = bytes(2_000)
    shard.write_bytes(stored)
    out = f"{dump}/out"
    outcome = filter_shards(_in_pieces(shard, out))
    assert not outcome.complete
    assert any(key.startswith("PUT") and "/parts/" in key for key in s3.requests)
    assert not [name for name in ObjectStore(out).list() if "/parts/" in name]
