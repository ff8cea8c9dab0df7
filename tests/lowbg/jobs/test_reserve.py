"""The reserve: what goes in, that it is there once, and what a kill or a removal leaves."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowbg.config import ExecutorName, Existing, FieldNames, Policy, Provenance, RunConfig
from lowbg.errors import ConfigError, LockedError, OutputError
from lowbg.formats import open_reader
from lowbg.jobs import reserve
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.mix.inputs import find
from lowbg.jobs.reserve import Reserved, append, remove
from lowbg.records import BytesPayload
from lowbg.runs.inputs import discover
from lowbg.runs.manifest import Input, ListedFile, Manifest, totals_of, verify
from lowbg.storage.locks import run_lock

CONFIG = RunConfig(policy=Policy(trust_before=dt.date(2022, 11, 30)))
OLD, NEW = "2020-01-01", "2024-01-01"


def write(path: Path, texts: list[str], date: str = OLD) -> tuple[Path, str]:
    rows = [json.dumps({"text": text, "date": date, "n": i}) for i, text in enumerate(texts)]
    path.write_text("".join(f"{row}\n" for row in rows))
    return path, path.name


def held(root: Path) -> list[str]:
    """The texts of what the reserve's manifest lists, as a mix reads it."""
    texts: list[str] = []
    for shard in find([str(root)], [], root.parent / "mix").shards:
        reader = open_reader(shard.path, CONFIG, shard.name)
        for batch in reader:
            texts += batch.text.to_pylist()
        reader.close()
    return texts


def name_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_what_is_trusted_goes_in_once(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    files = [
        write(tmp_path / "a", ["one", "two", "one"]),
        write(tmp_path / "b", ["two", "three"]),
        write(tmp_path / "c", ["four"], NEW),
    ]
    assert append(root, files, CONFIG) == Reserved(added=3, known=2)
    assert held(root) == ["one", "two", "three"]
    assert append(root, files, CONFIG) == Reserved(added=0, known=5)
    assert len(list((root / "packs").iterdir())) == 1
    assert append(root, [write(tmp_path / "d", ["five"])], CONFIG) == Reserved(added=1)
    assert sorted(held(root)) == ["five", "one", "three", "two"]
    assert verify(root) == []


def test_records_keep_their_stored_form(tmp_path: Path) -> None:
    root, lines, rows = tmp_path / "r", tmp_path / "a.jsonl", tmp_path / "b.parquet"
    stored = b'\xef\xbb\xbf{"text": "one" ,"date":"2020-01-01","z":1e2}'
    lines.write_bytes(stored)
    (tmp_path / "c.jsonl").write_bytes(stored.replace(b"one", b"two"))
    table = pa.table({"text": ["one", "six"], "date": [OLD] * 2, "k": [[1], None]})
    pq.write_table(table, rows)
    files = [(lines, "a"), (tmp_path / "c.jsonl", "c"), (rows, "b")]
    assert append(root, files, CONFIG) == Reserved(added=3, known=1)
    packs = find([str(root)], [], tmp_path / "mix").shards
    by_ending = {Path(shard.path).suffix: Path(shard.path) for shard in packs}
    assert pq.read_table(by_ending[".parquet"]).to_pylist() == [
        {"text": "six", "date": OLD, "k": None}
    ]
    reader = open_reader(by_ending[".zst"], CONFIG, "pack")
    (batch,) = reader
    reader.close()
    payload = batch.payload
    assert isinstance(payload, BytesPayload)
    spans = zip(payload.starts, payload.ends, strict=True)
    kept = [payload.buffer[start:end] for start, end in spans]
    assert kept == [stored + b"\n", stored[3:].replace(b"one", b"two")]
    assert verify(root) == []


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(st.text("abc", max_size=2), max_size=6), max_size=4), st.integers(1, 4))
def test_a_text_is_there_once_at_any_size_of_packs(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[str]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reserve, "PACK_DOCUMENTS", size)
        for i, texts in enumerate(runs):
            parts = [write(folder / f"{i}-{j}", [text]) for j, text in enumerate(texts)]
            append(folder / "reserve", parts, CONFIG)
    distinct = {text for run in runs for text in run}
    if distinct:
        assert sorted(held(folder / "reserve")) == sorted(distinct)
    if runs:
        assert verify(folder / "reserve") == []


KILLED = """
import os, pathlib, signal, sys, datetime as dt
import lowbg.jobs.reserve as reserve, lowbg.storage.folders as folders
from lowbg.config import Policy, RunConfig
turn = int(os.environ["TURN"])
def step(original):
    def stepping(*args, **kwargs):
        global turn
        turn -= 1
        if turn == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return stepping
folders.sync_directory = step(folders.sync_directory)
folders.write_whole = step(folders.write_whole)
reserve.PACK_DOCUMENTS = 2
root = pathlib.Path(sys.argv[1])
config = RunConfig(policy=Policy(trust_before=dt.date(2022, 11, 30)))
if len(sys.argv) > 2 and sys.argv[2] == "remove":
    reserve.remove(root, sys.argv[3:])
else:
    reserve.append(root, [(pathlib.Path(f), f) for f in sys.argv[2:]], config)
"""


def killed(turn: int, *args: object) -> bool:
    command = [sys.executable, "-c", KILLED, *map(str, args)]
    env = {**os.environ, "TURN": str(turn)}
    ended = subprocess.run(command, env=env, capture_output=True, check=False)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


@pytest.mark.slow
def test_a_killed_append_leaves_a_valid_reserve(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    files = [write(tmp_path / str(i), [f"text {i}"])[0] for i in range(4)]
    kills, before = 0, 0
    while killed(kills % 5 + 2, root, *files):
        kills += 1
        assert verify(root) == []
        texts = held(root) if list((root / "packs").glob("*")) and verify(root) == [] else []
        assert len(texts) == len(set(texts)) >= before
        before = len(texts)
        assert kills < 40
    assert kills > 2
    assert sorted(held(root)) == [f"text {i}" for i in range(4)]
    assert len(list((root / "packs").iterdir())) == 2
    assert verify(root) == []


def test_what_a_kill_left_is_no_part_and_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    append(root, [write(tmp_path / "a", ["one"])], CONFIG)
    for path in ("packs/0.jsonl.zst", "names/0.sha256", ".lowbg/unfinished.jsonl.zst"):
        (root / path).write_bytes(b"half")
    assert verify(root) == []
    assert held(root) == ["one"]
    append(root, [], CONFIG)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert not any(path.read_bytes() == b"half" for path in files)
    assert held(root) == ["one"]


def test_removal_by_name_is_for_good(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    files = [write(tmp_path / "a", ["one", "two"]), write(tmp_path / "b", ["three"])]
    for file in files:
        append(root, [file], CONFIG)
    with pytest.raises(ConfigError, match="nothing was removed"):
        remove(root, [name_of("one"), name_of("four")])
    assert len(held(root)) == 3
    assert remove(root, [name_of("one"), name_of("three").upper()]) == 2
    assert held(root) == ["two"]
    assert not any(b"one" in path.read_bytes() for path in (root / "names").iterdir())
    assert append(root, files, CONFIG) == Reserved(known=1, removed=2)
    assert held(root) == ["two"]
    assert verify(root) == []
    assert remove(root, [name_of("two")]) == 1
    assert verify(root) == []
    with pytest.raises(ConfigError, match="is no name"):
        remove(root, ["one"])


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_a_killed_removal_removed_all_or_nothing(tmp_path: Path, turn: int) -> None:
    root = tmp_path / "reserve"
    append(root, [write(tmp_path / "a", ["one", "two"])], CONFIG)
    assert killed(turn, root, "remove", name_of("one")) == (turn < 4)
    assert verify(root) == []
    assert sorted(held(root)) == (["one", "two"] if turn < 4 else ["two"])


def test_what_was_changed_shows(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    append(root, [write(tmp_path / "a", ["one", "two"])], CONFIG)
    (names,) = (root / "names").iterdir()
    names.write_bytes(names.read_bytes()[::-1])
    assert [finding.path for finding in verify(root)] == [f"names/{names.name}"]
    (root / "stray").touch()
    assert {finding.path for finding in verify(root)} == {f"names/{names.name}", "stray"}
    names.unlink()
    with pytest.raises(ConfigError, match="is damaged"):
        append(root, [], CONFIG)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing says which are"):
        append(tmp_path / "r", [], RunConfig())
    by_field = RunConfig(policy=Policy(provenance=Provenance(count_fields=("x",))))
    with pytest.raises(ConfigError, match="nothing says which are"):
        append(tmp_path / "r", [], by_field)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ConfigError, match="is no reserve"):
        append(tmp_path / "full", [], CONFIG)
    with pytest.raises(ConfigError, match="no reserve there"):
        remove(tmp_path / "r", [name_of("x")])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        append(tmp_path / "file", [], CONFIG)


def test_one_append_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "reserve"
    append(root, [write(tmp_path / "a", ["one"])], CONFIG)
    code = (
        "import pathlib, sys, datetime as dt\n"
        "from lowbg.jobs.reserve import append\nfrom lowbg.config import Policy, RunConfig\n"
        "from lowbg.errors import LockedError\n"
        "config = RunConfig(policy=Policy(trust_before=dt.date(2022, 1, 1)))\n"
        "try:\n    append(pathlib.Path(sys.argv[1]), [], config)\n"
        "except LockedError:\n    sys.exit(7)\n"
    )
    with run_lock(root):
        ended = subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert ended.returncode == 7
    assert issubclass(LockedError, ConfigError)


def test_names_with_equal_heads_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    named = ListedFile(kind="", path="", shard=None, records=None, bytes=0, sha256="")
    entry = Input(
        shard="", source="", complete=True, records=0, human=0, ai=0, unscored=0, quarantined=0
    )
    rows = np.zeros((3, 32), np.uint8)
    rows[:, 31] = [1, 2, 3]
    pack = reserve._Pack(named, named, entry, rows[:2])
    assert pack.holds(rows).tolist() == [True, True, False]


def test_a_run_of_lowbg_is_no_reserve(tmp_path: Path) -> None:
    from lowbg.runs import manifest

    run = Manifest(version="0.1.0", totals=totals_of([]), inputs=[], files=[])
    manifest.write(tmp_path, run)
    with pytest.raises(ConfigError, match="not a reserve"):
        append(tmp_path, [], CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_texts_of_one_field_are_in_a_reserve(tmp_path: Path) -> None:
    """Of two, a mix could read only one: half of the reserve would be lost to it."""
    root, path = tmp_path / "reserve", tmp_path / "a"
    path.write_text('{"body": "one", "text": "two", "date": "2020-01-01"}\n')
    body = replace(CONFIG, fields=FieldNames(text="body"))
    append(root, [(path, "a")], body)
    for refuse in (reserve.check, lambda root, config: append(root, [(path, "a")], config)):
        with pytest.raises(ConfigError, match="'body', those of this run in 'text'"):
            refuse(root, CONFIG)
    assert append(root, [(path, "a")], body) == Reserved(known=1)
    assert remove(root, [name_of("one")]) == 1
    assert append(root, [(path, "a")], CONFIG) == Reserved(added=1)
    assert verify(root) == []


def test_a_check_comes_before_the_work(tmp_path: Path) -> None:
    """What is wrong with a reserve is said before hours of filtering, and nothing is made."""
    write(tmp_path / "a.jsonl", ["one"])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "x").touch()
    shards = tuple(discover([str(tmp_path / "a.jsonl")]))
    job = FilterJob(shards, tmp_path / "out", CONFIG, executor=ExecutorName.SERIAL)
    with pytest.raises(ConfigError, match="is no reserve"):
        filter_shards(replace(job, reserve=foreign))
    root = tmp_path / "reserve"
    append(root, [write(tmp_path / "b", ["two"])], CONFIG)
    packs = tuple(discover([str(root / "packs")]))
    with pytest.raises(ConfigError, match="lies inside the reserve"):
        filter_shards(replace(job, shards=packs, reserve=root))
    assert not (tmp_path / "out").exists()
    assert [path.name for path in foreign.iterdir()] == ["x"]


def test_a_reserve_that_is_in_use_fails_the_run_but_not_its_output(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ["one"])
    out, root = tmp_path / "out", tmp_path / "reserve"
    shards = tuple(discover([str(tmp_path / "a.jsonl")]))
    job = FilterJob(shards, out, CONFIG, executor=ExecutorName.SERIAL, reserve=root)
    with (
        run_lock(root),
        pytest.raises(OutputError, match='out is finished, and `existing="resume"`'),
    ):
        filter_shards(job)
    assert verify(out) == []
    again = replace(job, existing=Existing.RESUME)
    assert filter_shards(again).reserved == Reserved(added=1)
    assert filter_shards(again).reserved == Reserved()
    shutil.rmtree(root)
    assert filter_shards(again).reserved == Reserved(added=1)
