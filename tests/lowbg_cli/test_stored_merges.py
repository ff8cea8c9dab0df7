"""Outputs of parts in a store are put together there, or here, as local ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.stored import data_of, fetched
from tests.s3_server import S3, no_fault
from typer.testing import Result

from lowbg.storage.objects import ObjectStore

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


@pytest.fixture
def parts(dump: str, run: Run) -> str:
    """The URL of a dump, of which both parts were filtered into `parts/` beside it."""
    for index in range(2):
        done = run("filter", f"{dump}/in", "-o", f"{dump}/parts", "-q", "--shard-index", index,
                   "--shard-count", 2)  # fmt: skip
        assert done.exit_code == 0, done.stderr
    return dump


def _whole(run: Run, parts: str, folder: Path) -> Path:
    """What one run from and to local files writes, and what local parts merge to."""
    fetched(f"{parts}/parts", folder / "parts")
    assert run("merge", folder / "parts", "-o", folder / "merged", "-q").exit_code == 0
    fetched(f"{parts}/in", folder / "in")
    assert run("filter", folder / "in", "-o", folder / "one", "-q").exit_code == 0
    assert data_of(folder / "one") == data_of(folder / "merged")
    return folder / "merged"


def _told(output: Path) -> Any:
    """What the manifest says, but for names, times and digests of reports."""
    content = json.loads((output / "manifest.json").read_bytes())
    files = [file for file in content["files"] if file["kind"] != "report"]
    return content["totals"], content["inputs"], files


@pytest.mark.parametrize("to", ["store", "here"])
def test_parts_there_are_put_together(
    to: str, parts: str, run: Run, s3: S3, tmp_path: Path
) -> None:
    expected = _whole(run, parts, tmp_path)
    output = f"{parts}/whole" if to == "store" else str(tmp_path / "whole")
    s3.requests.clear()
    merged = run("merge", f"{parts}/parts", "-o", output)
    assert merged.exit_code == 0, merged.stderr
    assert f"{output}: 7 files of 2 outputs" in merged.stderr
    if to == "store":  # Data is copied within the store.
        data = [key for key in s3.requests if "/human/" in key or "/ai/" in key]
        assert {key.partition(" ")[0] for key in data} == {"PUT"}
    copy = fetched(output, tmp_path / "copy") if to == "store" else Path(output)
    assert data_of(copy) == data_of(expected)
    assert _told(copy) == _told(expected)
    assert run("verify", output).exit_code == 0
    assert "already holds a run" in run("merge", f"{parts}/parts", "-o", output).stderr
    assert run("merge", f"{parts}/parts", "-o", output, "-q", "--overwrite").exit_code == 0
    resumed = run("filter", f"{parts}/in", "-o", output, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "3 shards had been finished" in resumed.stderr


def test_parts_here_and_there_go_to_a_store(parts: str, run: Run, tmp_path: Path) -> None:
    expected = _whole(run, parts, tmp_path)
    one = "part-00000-of-00002"
    mixed = run("merge", tmp_path / "parts" / one, f"{parts}/parts/part-00001-of-00002", "-o",
                f"{parts}/whole", "-q")  # fmt: skip
    assert mixed.exit_code == 0, mixed.stderr
    copy = fetched(f"{parts}/whole", tmp_path / "copy")
    assert data_of(copy) == data_of(expected)
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]


def test_a_store_that_copies_nothing_gets_it_sent(
    parts: str, run: Run, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _whole(run, parts, tmp_path)
    monkeypatch.setattr(ObjectStore, "copy", lambda store, url, name: False)
    assert run("merge", f"{parts}/parts", "-o", f"{parts}/whole", "-q").exit_code == 0
    assert data_of(fetched(f"{parts}/whole", tmp_path / "copy")) == data_of(expected)


def test_what_is_no_whole_is_refused(parts: str, run: Run, s3: S3, tmp_path: Path) -> None:
    store, where = ObjectStore(f"{parts}/parts"), f"{parts}/parts/part-00001-of-00002"
    inside = run("merge", f"{parts}/parts", "-o", where)
    assert f"{where}: the merged output can't lie in {where}" in inside.stderr
    nothing = run("merge", f"{parts}/in", "-o", f"{parts}/whole")
    assert f"{parts}/in: neither the output of a run nor of parts of one" in nothing.stderr
    twice = run("merge", f"{parts}/parts", f"{parts}/parts", "-o", f"{parts}/whole")
    assert "an output is given twice" in twice.stderr
    name = next(name for name in store.list() if "00001" in name and "/human/" in name)
    data = store.read(name) or b""
    store.put(name, data + b"x")
    changed = run("merge", f"{parts}/parts", "-o", f"{parts}/whole")
    assert "not what the run wrote; look with lowbg verify" in changed.stderr
    store.delete([name])
    lacking = run("merge", f"{parts}/parts", "-o", f"{parts}/whole")
    assert f"{parts}/parts/{name}: listed in {where}/manifest.json, but missing" in lacking.stderr
    store.put(name, data)
    store.delete(["part-00001-of-00002/manifest.json"])
    assert "its run didn't finish" in run("merge", f"{parts}/parts", "-o", f"{parts}/w").stderr
    assert not ObjectStore(f"{parts}/whole").list()


def test_a_merge_that_stops_shows_no_manifest(parts: str, run: Run, s3: S3, tmp_path: Path) -> None:
    from lowbg.storage import objects, store_settings

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(objects, "ATTEMPTS", 1)
        patched.setattr(store_settings, "OBSTORE_RETRIES", 0)
        s3.plan = lambda method, path, _: "503" if "whole/human/sub/c" in path else None
        failed = run("merge", f"{parts}/parts", "-o", f"{parts}/whole")
    s3.plan = no_fault
    assert failed.exit_code == 3
    assert f"{parts}/whole: cannot be written (" in failed.stderr
    assert "manifest.json" not in ObjectStore(f"{parts}/whole").list()
    assert run("verify", f"{parts}/whole").exit_code == 2
    again = run("merge", f"{parts}/parts", "-o", f"{parts}/whole", "-q", "--overwrite")
    assert again.exit_code == 0, again.stderr
    assert run("verify", f"{parts}/whole").exit_code == 0
