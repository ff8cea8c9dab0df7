from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from lowbg.errors import OutputError
from lowbg.report.results import RunInfo, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs import manifest
from lowbg.runs.manifest import Finding, verify, write_manifest
from lowbg.storage.files import WrittenFile, file_digest

INFO = RunInfo(
    version="0.1.0", command="lowbg filter in -o out", started="a", finished="b", seconds=1.0,
    workers=1, executor="serial", configuration={}, policy={}, policy_sha256="", models={},
    scorers={},
)  # fmt: skip


def written(root: Path, path: str, data: bytes, records: int) -> WrittenFile:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return WrittenFile(path, records, len(data), hashlib.sha256(data).hexdigest())


def shard(
    name: str, outputs: tuple[WrittenFile, ...], human: int, ai: int, bad: int
) -> ShardResult:
    statistics = Statistics()
    statistics.totals[0, 0], statistics.totals[1, 0] = human, ai
    if bad:
        statistics.add_quarantined("cut", bad, 9)
    return ShardResult(
        shard=name, source=f"/in/{name}", format="jsonl", compression="none",
        records=human + ai + bad, complete=True, statistics=statistics, outputs=outputs,
        problems=(), read_bytes=1, text_bytes=1, lenient=0, blank=0, seconds=0.0, cpu_seconds=0.0,
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An output directory with JSONL, gzip and Parquet shards, quarantine and a report."""
    root = tmp_path / "out"
    table = pa.table({"text": ["a", "b"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    parquet = sink.getvalue().to_pybytes()
    quarantine = b'{"shard": "a.jsonl", "count": 1}\n{"shard": "a.jsonl", "count": 4}\n'
    shards = [
        shard(
            "a.jsonl",
            (
                written(root, "human/a.jsonl", b'{"text":"x"}\n{"text":"y"}', 2),
                written(root, "ai/a.jsonl", b"", 0),
                written(root, "quarantine/a.jsonl.jsonl", quarantine, 5),
            ),
            2, 0, 5,
        ),
        shard(
            "sub/b.jsonl.gz",
            (
                written(root, "human/sub/b.jsonl.gz", gzip.compress(b"{}\n"), 1),
                written(root, "ai/sub/b.jsonl.gz", gzip.compress(b"{}\r\n{}\r\n"), 2),
            ),
            1, 2, 0,
        ),
        shard("c.parquet", (written(root, "human/c.parquet", parquet, 2),), 2, 0, 0),
    ]  # fmt: skip
    (root / "report.json").write_text("{}")
    (root / ".lowbg").mkdir()
    (root / ".lowbg" / "checkpoint").write_text("")
    write_manifest(root, INFO, shards, ["report.json"])
    return root


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.path) for finding in findings]


def rewrite(root: Path, change: Callable[[Any], object], *, honest: bool = True) -> None:
    """Changes the manifest, and with `honest` its digest, as an earlier lowbg may have written."""
    path = root / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    if honest:
        typed = manifest.MANIFEST.convert(content, str(path))
        content["content_sha256"] = manifest._content_digest(typed)
    path.write_text(json.dumps(content))


def test_what_was_written_is_well(root: Path) -> None:
    assert verify(root) == []
    assert verify(root, deep=False) == []
    content = json.loads((root / "manifest.json").read_text())
    assert content["schema"] == "lowbg.manifest/1"
    assert content["totals"] == {
        "records": 12,
        "human": 5,
        "ai": 2,
        "unscored": 0,
        "quarantined": 5,
    }
    assert [file["kind"] for file in content["files"]] == [
        "human", "ai", "quarantine", "human", "ai", "human", "report",
    ]  # fmt: skip
    assert content["inputs"][1]["records"] == 3
    assert not list(root.glob(".*.tmp"))


def test_a_changed_file(root: Path) -> None:
    (root / "human/a.jsonl").write_bytes(b'{"text":"x"}\n{"text":"z"}')
    assert kinds(verify(root)) == [("changed", "human/a.jsonl")]
    assert verify(root, deep=False) == []
    (root / "human/a.jsonl").write_bytes(b"{}\n")
    assert kinds(verify(root, deep=False)) == [("changed", "human/a.jsonl")]


def test_a_missing_file(root: Path) -> None:
    (root / "human/c.parquet").unlink()
    assert kinds(verify(root)) == [("missing", "human/c.parquet")]


def test_an_extra_file(root: Path) -> None:
    (root / "human/sub/x.jsonl").write_text("{}\n")
    (root / "human/sub/link").symlink_to("/")
    assert kinds(verify(root)) == [("extra", "human/sub/link"), ("extra", "human/sub/x.jsonl")]


@pytest.mark.parametrize(
    "path",
    ["human/a.jsonl", "quarantine/a.jsonl.jsonl", "ai/sub/b.jsonl.gz", "human/c.parquet"],
)
def test_a_wrong_count(root: Path, path: str) -> None:
    def change(content: Any) -> None:
        for file in content["files"]:
            file["records"] = 9 if file["path"] == path else file["records"]

    rewrite(root, change)
    found = verify(root)
    assert kinds(found)[0] == ("count", path)
    # The shard's sum doesn't add up either, which is seen without reading files.
    assert [finding.kind for finding in verify(root, deep=False)] == ["count"]


@pytest.mark.parametrize("name", ["records", "human"])
def test_sums_that_do_not_add_up(root: Path, name: str) -> None:
    rewrite(root, lambda content: content["totals"].update({name: 1}))
    assert kinds(verify(root)) == [("count", "manifest.json")]


def test_a_shard_whose_outputs_failed_has_no_files(root: Path) -> None:
    failed = replace(shard("d.jsonl", (), 3, 1, 0), complete=False)
    write_manifest(root, INFO, [failed], [])
    assert {finding.kind for finding in verify(root)} == {"extra", "incomplete"}
    write_manifest(root, INFO, [replace(failed, complete=True)], [])
    assert ("count", "d.jsonl") in kinds(verify(root))


def test_an_edited_manifest(root: Path) -> None:
    rewrite(root, lambda content: content.update(version="9"), honest=False)
    assert kinds(verify(root)) == [("manifest", "manifest.json")]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}",
     '{"schema": "lowbg.manifest/2"}', '{"schema": "lowbg.manifest/1"}',
     '{"schema": "lowbg.manifest/1", "files": [1], "inputs": [], "totals": {}}',
     '{"schema": "lowbg.manifest/1", "files": [], "inputs": [{}], "totals": {}}',
     "[" * 100_000],
)  # fmt: skip
def test_a_damaged_manifest(root: Path, text: str) -> None:
    (root / "manifest.json").write_text(text)
    assert kinds(verify(root)) == [("manifest", "manifest.json")]


def test_no_manifest(tmp_path: Path) -> None:
    assert kinds(verify(tmp_path)) == [("manifest", "manifest.json")]


@pytest.mark.parametrize(
    "path",
    ["../secret", "human/../../secret", "human/../human/a.jsonl", "/etc/hostname", "", "a\0b"],
)
def test_paths_outside_are_never_opened(
    root: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "secret").write_text("x")
    rewrite(root, lambda content: content["files"][0].update(path=path))
    opened: list[str] = []
    real = file_digest

    def digest(path: Path) -> str:
        opened.append(str(path))
        return real(path)

    monkeypatch.setattr(manifest, "file_digest", digest)
    found = verify(root)
    assert kinds(found) == [("manifest", path), ("extra", "human/a.jsonl")]
    assert all(Path(name).is_relative_to(root) and ".." not in name for name in opened)


def test_a_link_out_of_the_directory_is_not_followed(root: Path) -> None:
    outside = root.parent / "a.jsonl"
    (root / "human/a.jsonl").rename(outside)
    (root / "human/a.jsonl").symlink_to(outside)
    assert kinds(verify(root)) == [("manifest", "human/a.jsonl")]


def test_a_file_listed_twice(root: Path) -> None:
    rewrite(root, lambda content: content["files"].append(content["files"][-1]))
    assert kinds(verify(root)) == [("manifest", "report.json")]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_name_that_is_no_unicode(root: Path) -> None:
    try:
        file = written(root, "human/caf\udce9.jsonl", b"{}\n", 1)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    for path in ("ai", "quarantine", "human/sub", "human/a.jsonl", "human/c.parquet"):
        remove(root / path)
    write_manifest(root, INFO, [shard("caf\udce9.jsonl", (file,), 1, 0, 0)], ["report.json"])
    assert verify(root) == []


def remove(path: Path) -> None:
    if path.is_dir():
        for entry in path.iterdir():
            remove(entry)
        path.rmdir()
    else:
        path.unlink()


def test_an_extra_file_that_is_not_there(root: Path) -> None:
    with pytest.raises(OutputError, match=r"report\.html"):
        write_manifest(root, INFO, [], ["report.html"])


@pytest.mark.parametrize("key", ["shard", "records", "sha256"])
def test_an_entry_without_a_key_is_a_damaged_manifest(root: Path, key: str) -> None:
    path = root / "manifest.json"
    content = json.loads(path.read_bytes())
    del content["files"][0][key]
    path.write_text(json.dumps(content))
    assert [finding.kind for finding in verify(root)] == ["manifest"]


def test_what_the_run_lacks_is_found_though_all_is_as_it_left_it(tmp_path: Path) -> None:
    lost = replace(shard("lost.jsonl", (), 0, 0, 0), complete=False, records=7)
    here = written(tmp_path, "human/cut.jsonl", b"{}\n{}\n", 2)
    cut = replace(shard("cut.jsonl", (here,), 2, 0, 0), complete=False)
    whole = written(tmp_path, "human/whole.jsonl", b"{}\n", 1)
    write_manifest(tmp_path, INFO, [lost, cut, shard("whole.jsonl", (whole,), 1, 0, 0)])
    found = [finding for finding in verify(tmp_path) if finding.kind == "incomplete"]
    assert [finding.message for finding in found] == [
        "lost.jsonl: the run did not process /in/lost.jsonl whole; nothing of it is here",
        "cut.jsonl: the run did not process /in/cut.jsonl whole; what is here of it: 2 records",
    ]
    assert [finding for finding in verify(tmp_path, deep=False) if finding.kind == "incomplete"]
