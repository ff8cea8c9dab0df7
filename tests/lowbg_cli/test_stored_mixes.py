"""Mixes from a store to a store: what they write, whatever goes wrong on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lowbg_cli.stored import data_of, fetched, kill_while_sending, slow_to_send
from tests.s3_server import S3, Fault, no_fault
from typer.testing import Result

from lowbg.storage import objects, store_settings
from lowbg.storage.objects import ObjectStore

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
TEXT = "we walked across the river on the stones and the dogs ran ahead of us"


def _documents(name: str, count: int) -> bytes:
    rows = (
        {"text": f"{name} {i} {TEXT[3 * (i % 7) :]}", "url": f"https://h{i % 3}.org/{i}"}
        for i in range(count)
    )
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.fixture
def lake(s3: S3, request: pytest.FixtureRequest) -> str:
    """The URL of two human shards and two synthetic ones, with a broken line."""
    url = f"s3://lake/{re.sub('[^a-z]', '-', request.node.name.lower())}"
    store = ObjectStore(url)
    store.put("human/a.jsonl", _documents("a", 60))
    store.put("human/sub/b.jsonl", _documents("b", 50) + b"{broken\n")
    store.put("ai/c.jsonl", _documents("c", 90))
    store.put("ai/d.jsonl", _documents("d", 80))
    return url


def _mix(place: object, *more: object) -> tuple[object, ...]:
    return ("mix", "--human", f"{place}/human", "--synthetic", f"{place}/ai", "--min-human", "0.6",
            "-o", f"{place}/mix", "--executor", "serial", *more)  # fmt: skip


def _expected(run: Run, lake: str, folder: Path, *more: object) -> dict[str, bytes]:
    """What a mix of and to local files writes."""
    fetched(lake, folder)
    made = run(*_mix(folder, "-q", *more))
    assert made.exit_code == 0, made.stderr
    return data_of(folder / "mix")


def _check(run: Run, lake: str, folder: Path, expected: dict[str, bytes]) -> None:
    """What is in the store is what is expected, as the manifest says, and nothing else."""
    copy = fetched(f"{lake}/mix", folder)
    assert data_of(copy) == expected
    assert run("verify", copy).exit_code == 0
    assert run("verify", f"{lake}/mix").exit_code == 0


@pytest.mark.parametrize(
    "more",
    [(), ("--select", "novel", "--max-per-source", "900"), ("--weights",)],
    ids=["plain", "novel", "weights"],
)
def test_a_mix_from_a_store_to_a_store(
    more: tuple[str, ...], lake: str, run: Run, tmp_path: Path
) -> None:
    expected = _expected(run, lake, tmp_path / "local", *more)
    made = run(*_mix(lake, *more))
    assert made.exit_code == 0, made.stderr
    _check(run, lake, tmp_path / "copy", expected)
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    local = json.loads((tmp_path / "local" / "mix" / "manifest.json").read_bytes())["mix"]
    there = json.loads(ObjectStore(lake).read("mix/manifest.json") or b"")["mix"]
    for each in (local, there):
        for shard in each["shards"]:
            del shard["source"]
    assert there == local
    if more:
        return
    refused = run(*_mix(lake, *more))
    assert f"{lake}/mix already holds a run. Use --resume" in refused.stderr
    before = {name: each.version for name, each in ObjectStore(f"{lake}/mix").list().items()}
    resumed = run(*_mix(lake, *more, "--resume"))
    assert resumed.exit_code == 0, resumed.stderr
    _check(run, lake, tmp_path / "again", expected)
    after = {name: each.version for name, each in ObjectStore(f"{lake}/mix").list().items()}
    assert {n for n in before if before[n] != after[n]} <= {".lowbg/run.json", "manifest.json"}
    other = run(*_mix(lake, "--resume", "--seed", "9"))
    assert other.exit_code == 2
    assert run(*_mix(lake, *more, "--overwrite", "-q")).exit_code == 0
    _check(run, lake, tmp_path / "over", expected)
    assert run("filter", f"{lake}/human", "-o", f"{lake}/mix", "--resume").exit_code == 2


def test_faults_on_the_way_change_nothing(lake: str, s3: S3, run: Run, tmp_path: Path) -> None:
    kinds: list[Fault] = ["500", "503", "cut", "refused", "lost", "slow"]

    def plan(method: str, path: str, before: int) -> Fault | None:
        count = sum(s3.requests.values())
        return kinds[count // 4 % len(kinds)] if count % 4 == 0 else None

    expected = _expected(run, lake, tmp_path / "local")
    s3.requests.clear()
    s3.faults.clear()
    s3.plan = plan
    made = run(*_mix(lake))
    s3.plan = no_fault
    assert made.exit_code == 0, made.stderr
    assert s3.faults.keys() == set(kinds)
    _check(run, lake, tmp_path / "copy", expected)


@pytest.mark.parametrize("keeps_scratch", [True, False])
def test_a_killed_mix_is_gone_on_with(
    keeps_scratch: bool, lake: str, s3: S3, run: Run, start: Start, tmp_path: Path
) -> None:
    expected = _expected(run, lake, tmp_path / "local")
    out = ObjectStore(f"{lake}/mix")
    s3.requests.clear()
    slow_to_send(s3, "/mix/human/")
    environment = {**os.environ, "LOWBG_STORE_TIMEOUT": "20"}
    first = start(*_mix(lake, "-q", "--scratch", tmp_path / "one"), env=environment)
    kill_while_sending(first, s3, "/mix/human/")
    names = out.list()
    assert "manifest.json" not in names
    assert "human/a.jsonl" in names
    for name in names:  # What is there is whole.
        if not name.startswith(".lowbg/"):
            assert out.read(name) == expected[name]
    scratch = tmp_path / ("one" if keeps_scratch else "other")
    s3.requests.clear()
    resumed = run(*_mix(lake, "--resume", "--scratch", scratch))
    assert resumed.exit_code == 0, resumed.stderr
    assert not any(key.startswith("PUT") and "/human/a.jsonl" in key for key in s3.requests)
    _check(run, lake, tmp_path / "copy", expected)


def test_measures_that_changed_make_it_all_anew(
    lake: str, s3: S3, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that could be read in part, and then whole: what was taken before is of no use."""
    expected = _expected(run, lake, tmp_path / "local")
    assert run(*_mix(lake, "-q")).exit_code == 0
    store = ObjectStore(f"{lake}/mix")
    key = next(
        name for name in store.list()
        if name.startswith(".lowbg/mix/") and b'"human/a.jsonl"' in (store.read(name) or b"")
    )  # fmt: skip
    told = json.loads(store.read(key) or b"")
    told.update(documents=told["documents"] - 7, problem="human/a.jsonl: cut")
    store.put(key, json.dumps(told).encode())
    store.put("synthetic/c.jsonl", b"x" * len(expected["synthetic/c.jsonl"]))
    monkeypatch.setattr(objects, "ATTEMPTS", 1)
    monkeypatch.setattr(store_settings, "OBSTORE_RETRIES", 0)
    s3.plan = lambda method, path, _: "503" if method == "PUT" and "/mix/human/" in path else None
    stopped = run(*_mix(lake, "--resume", "--scratch", tmp_path / "new"))
    assert "cannot be sent to" in stopped.stderr
    s3.plan = no_fault
    resumed = run(*_mix(lake, "--resume", "--scratch", tmp_path / "newer"))
    assert resumed.exit_code == 0, resumed.stderr
    _check(run, lake, tmp_path / "copy", expected)


def test_an_output_there_is_read_by_its_halves(lake: str, run: Run, tmp_path: Path) -> None:
    assert run("filter", f"{lake}/human", "-o", f"{lake}/out", "-q").exit_code == 0
    ObjectStore(lake).put("out/ai/a.jsonl", b"")
    made = run("mix", "--human", f"{lake}/out", "-o", tmp_path / "mix", "-q")
    assert made.exit_code == 0, made.stderr
    assert data_of(tmp_path / "mix").keys() == {"human/a.jsonl", "human/sub/b.jsonl"}
    for given in (lake, f"{lake}/o*/*/*.jsonl", f"{lake}/**/*.jsonl"):
        refused = run("mix", "--human", given, "-o", tmp_path / "no")
        assert f"{lake}/out: an output of lowbg, of which --human would take" in refused.stderr
    named = run("mix", "--human", f"{lake}/out/human/*.jsonl", "-o", tmp_path / "named", "-q")
    assert named.exit_code == 0, named.stderr
    ObjectStore(lake).delete(["out/manifest.json"])
    unfinished = run("mix", "--human", f"{lake}/out", "-o", tmp_path / "no")
    assert "its run isn't finished" in unfinished.stderr
