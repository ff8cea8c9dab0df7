"""A reserve in an object store: what goes in, that it is there once, and what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lowbg_cli.stored import data_of, fetched
from tests.s3_server import S3, no_fault
from typer.testing import Result

from lowbg.storage import objects, store_settings
from lowbg.storage.objects import ObjectStore

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
OLD, NEW = "2020-01-01", "2024-01-01"


def _documents(name: str, count: int, date: str) -> bytes:
    rows = ({"text": f"{name} {i} over the river", "date": date} for i in range(count))
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.fixture
def lake(s3: S3, request: pytest.FixtureRequest) -> str:
    """The URL of two shards of old documents and one of new ones."""
    url = f"s3://lake/{re.sub('[^a-z]', '-', request.node.name.lower())}"
    store = ObjectStore(url)
    store.put("in/a.jsonl", _documents("a", 9, OLD))
    store.put("in/b.jsonl", _documents("b", 5, OLD) + _documents("a", 4, OLD))
    store.put("in/c.jsonl", _documents("c", 7, NEW))
    return url


def _filter(place: object, output: object, reserve: object, *more: object) -> tuple[object, ...]:
    return ("filter", f"{place}/in", "-o", output, "--trust-before", "2022-11-30", "--reserve",
            reserve, *more)  # fmt: skip


def _packed(root: Path) -> list[bytes]:
    """The documents of a reserve, as they lie in its packs."""
    from lowbg.storage.compression import open_input

    found: list[bytes] = []
    for path in sorted((root / "packs").iterdir()):
        with open_input(path) as stream:
            found += stream.read(1 << 20).splitlines()
    return sorted(found)


@pytest.mark.parametrize("output", ["there", "here"])
def test_a_reserve_there_holds_what_a_local_one_does(
    output: str, lake: str, run: Run, tmp_path: Path
) -> None:
    local = fetched(lake, tmp_path / "local")
    assert run(*_filter(local, tmp_path / "o", tmp_path / "reserve", "-q")).exit_code == 0
    place = f"{lake}/out" if output == "there" else str(tmp_path / "out")
    added = run(*_filter(lake, place, f"{lake}/reserve"))
    assert added.exit_code == 0, added.stderr
    assert f"{lake}/reserve: 14 documents added, 4 were there" in added.stderr
    copy = fetched(f"{lake}/reserve", tmp_path / "copy")
    assert _packed(copy) == _packed(tmp_path / "reserve")
    assert data_of(copy).keys() == data_of(tmp_path / "reserve").keys()
    assert run("verify", f"{lake}/reserve").exit_code == 0
    resumed = run(*_filter(lake, place, f"{lake}/reserve", "--resume"))
    assert f"{lake}/reserve: 0 documents added, 0 were there" in resumed.stderr
    ObjectStore(lake).put("in/d.jsonl", _documents("d", 3, OLD) + _documents("a", 2, OLD))
    more = run(*_filter(lake, place, f"{lake}/reserve", "--incremental"))
    assert f"{lake}/reserve: 3 documents added, 2 were there" in more.stderr
    mixed = run("mix", "--human", f"{lake}/reserve", "-o", tmp_path / "mix", "--by", "documents")
    assert "human      17 of 17 documents" in mixed.stderr
    kept = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} <= {"copies"}


def test_documents_are_removed_for_good(lake: str, run: Run, tmp_path: Path) -> None:
    reserve = f"{lake}/reserve"
    assert run(*_filter(lake, tmp_path / "o", reserve, "-q")).exit_code == 0
    names = [hashlib.sha256(f"{name} over the river".encode()).hexdigest() for name in ("a 3", "x")]
    lacking = run("reserve", "remove", reserve, *names)
    assert f"{reserve}: holds no document {names[1]}; nothing was removed" in lacking.stderr
    removed = run("reserve", "remove", reserve, names[0])
    assert removed.stderr == f"lowbg: {reserve}: 1 document removed\n"
    copy = fetched(reserve, tmp_path / "copy")
    assert len(_packed(copy)) == 13
    assert not any(b"a 3 over" in line for line in _packed(copy))
    assert run("verify", reserve).exit_code == 0
    again = run(*_filter(lake, tmp_path / "again", reserve))
    assert "0 documents added, 16 were there, 2 had been removed from it" in again.stderr


@pytest.mark.parametrize("at", ["packs/", "names/", "manifest.json"])
def test_what_stops_an_append_leaves_it_as_it_was(
    at: str, lake: str, s3: S3, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = f"{lake}/reserve"
    assert run(*_filter(lake, tmp_path / "o", reserve, "-q")).exit_code == 0
    before = ObjectStore(reserve).read("manifest.json")
    ObjectStore(lake).put("in/d.jsonl", _documents("d", 3, OLD))
    with monkeypatch.context() as patched:
        patched.setattr(objects, "ATTEMPTS", 1)
        patched.setattr(store_settings, "OBSTORE_RETRIES", 0)
        s3.plan = lambda method, path, _: (
            "503" if method == "PUT" and f"reserve/{at}" in path else None
        )
        failed = run(*_filter(lake, tmp_path / "p", reserve))
    s3.plan = no_fault
    assert failed.exit_code != 0
    assert f"{reserve}/{at}" in failed.stderr
    assert ObjectStore(reserve).read("manifest.json") == before
    assert run("verify", reserve).exit_code == 0
    ObjectStore(lake).put("in/e.jsonl", _documents("e", 2, OLD))
    added = run(*_filter(lake, tmp_path / "p", reserve, "--incremental"))
    assert "5 documents added" in added.stderr
    assert run("verify", reserve).exit_code == 0
    names = {name.partition("/")[0] for name in ObjectStore(reserve).list()}
    assert names == {"packs", "names", "manifest.json"}
    assert len(ObjectStore(reserve).list()) == 5


def test_one_append_at_a_time(lake: str, run: Run, tmp_path: Path) -> None:
    note = {"pid": 1, "host": "elsewhere", "started": "now", "token": "x"}
    ObjectStore(lake).put("reserve/.lowbg/lock.json", json.dumps(note).encode())
    held = run(*_filter(lake, tmp_path / "o", f"{lake}/reserve"))
    assert held.exit_code == 3
    assert f"{lake}/reserve: another run is adding to it" in held.stderr


def test_what_is_no_reserve_is_refused(lake: str, run: Run, tmp_path: Path) -> None:
    other = run(*_filter(lake, tmp_path / "o", f"{lake}/in"))
    assert f"{lake}/in: holds a.jsonl and is no reserve" in other.stderr
    within = run(*_filter(lake, f"{lake}/out", f"{lake}/out/reserve"))
    assert f"the reserve and the output {lake}/out can't be the same" in within.stderr
    assert run("filter", f"{lake}/in", "-o", f"{lake}/out", "-q").exit_code == 0
    output = run(*_filter(lake, tmp_path / "o", f"{lake}/out"))
    assert f"{lake}/out: holds a run of lowbg, not a reserve" in output.stderr
    assert run("reserve", "remove", f"{lake}/none", "0" * 64).exit_code == 2
