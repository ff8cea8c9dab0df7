"""A run that was stopped, killed or failed goes on, and ends as if nothing had happened."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lowbg.config import Durability, ExecutorName, Existing, Policy, RunConfig, Unscored
from lowbg.errors import ConfigError, StoppedError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.report.results import ShardResult
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.throughput import SECTION as THROUGHPUT
from lowbg.runs.checkpoints import Journal, key_of, load_results
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify
from lowbg.runs.progress import Observer, OnProgress, Progress
from lowbg.stopping import STOP
from lowbg.storage import compression

PROSE = (
    "the river was low that summer and we walked across on the stones with our shoes in our hands "
    "while the dogs ran ahead and somebody behind us kept singing the same two lines of a song "
)
WORDS = PROSE.split()
EXAMPLES = Path(__file__).parents[3] / "examples" / "ai_styled.txt"
AI = EXAMPLES.read_text(encoding="utf-8").split("=====")

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


class Killed(BaseException):
    """Ends a run as a SIGKILL would: nothing below may catch it."""


def document(i: int) -> str:
    chosen = np.random.default_rng(i).integers(0, len(WORDS), 60 + i % 90)
    human = " ".join(WORDS[j] for j in chosen.tolist())
    return AI[i % len(AI)] if i % 3 == 0 else human


def lines(count: int, first: int = 0) -> bytes:
    rows = []
    for i in range(first, first + count):
        row = json.dumps(
            {"id": i, "language": "en", "text": document(i), "url": f"https://h{i % 7}.example/{i}"}
        )
        rows.append("{broken" if i % 17 == 5 else row)
    return "".join(f"{row}\n" for row in rows).encode()


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few kilobytes have several frames."""
    monkeypatch.setattr(compression, "WRITE_CHUNK", 1 << 10)
    monkeypatch.setattr(compression, "TAIL_CHUNKS", 16)
    monkeypatch.setattr(compression, "FRAME_BYTES", dict.fromkeys(compression.CODECS, 16 << 10))


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These runs die by exceptions: nothing is lost that isn't on the disk, so nothing waits."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    yield
    STOP.reset()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


CONFIG = RunConfig(batch_bytes=8000, policy=Policy(unscored=Unscored.SEPARATE))


def run(
    source: Path,
    out: Path,
    existing: Existing = Existing.REFUSE,
    on_progress: OnProgress | None = None,
    config: RunConfig = CONFIG,
    durability: Durability | None = None,
    retries: int = 0,
) -> Outcome:
    job = FilterJob(
        tuple(discover([str(source)], output=out)),
        out,
        config,
        executor=ExecutorName.SERIAL,
        existing=existing,
        durability=durability or Durability(bytes=8000),
        retries=retries,
    )
    return filter_shards(job, Observer(on_progress))


def at(count: int, action: Callable[[], None]) -> OnProgress:
    """Does something once, after so many batches."""
    seen = 0

    def on_progress(_: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            action()

    return on_progress


def stop() -> None:
    STOP.ask(15)


def kill() -> None:
    raise Killed


def outputs(out: Path) -> dict[str, bytes]:
    """Every output by its path, but for reports, which hold times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in ("human", "ai", "unscored", "quarantine")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    }


def batches_of(source: Path, out: Path) -> tuple[int, ShardResult]:
    """A whole run: how many batches it had, and what came of its shard."""
    seen: list[Progress] = []
    outcome = run(source, out, on_progress=seen.append)
    return len(seen), outcome.shards[0]


@pytest.mark.slow
@pytest.mark.parametrize("ending", COMPRESS)
def test_a_stopped_shard_goes_on_to_the_same_bytes(
    ending: str, source: Path, tmp_path: Path
) -> None:
    (source / f"a.jsonl{ending}").write_bytes(COMPRESS[ending](lines(50)))
    whole = tmp_path / "whole"
    batches, expected = batches_of(source, whole)
    assert batches > 5
    for stops in (1, batches - 2):
        out = tmp_path / f"out-{stops}"
        with pytest.raises(StoppedError):
            run(source, out, on_progress=at(stops, stop))
        STOP.reset()
        assert outputs(out) == {}
        resumed = run(source, out, Existing.RESUME).shards[0]
        assert outputs(out) == outputs(whole)
        assert msgspec.structs.replace(
            resumed, seconds=0, cpu_seconds=0
        ) == msgspec.structs.replace(expected, seconds=0, cpu_seconds=0)
        assert verify(out) == []


def test_progress_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    (source / "a.jsonl").write_bytes(lines(20))
    (source / "b.jsonl").write_bytes(lines(12))
    seen: list[Progress] = []

    def stop_in_the_second(progress: Progress) -> None:
        seen.append(progress)
        if progress.shard == "b.jsonl":
            stop()

    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        run(source, out, on_progress=stop_in_the_second)
    STOP.reset()
    reached = {progress.shard: progress for progress in seen}
    again: list[Progress] = []
    run(source, out, Existing.RESUME, on_progress=again.append)
    first = again[:2]
    assert [p.shard for p in first] == ["a.jsonl", "b.jsonl"]
    for progress in first:
        before = reached[progress.shard]
        assert (progress.consumed, progress.records) == (before.consumed, before.records)
        assert (progress.ai, progress.scored) == (before.ai, before.scored)
        assert progress.earlier == progress.consumed > 0
    assert again[-1].records == 12
    assert again[-1].earlier == first[1].consumed


@pytest.mark.slow
@pytest.mark.parametrize("annotate", [False, True])
@pytest.mark.parametrize("ending", [".zst", ".parquet", ".arrow", ".arrows"])
def test_a_killed_shard_goes_on_from_its_checkpoint(
    ending: str, annotate: bool, source: Path, tmp_path: Path
) -> None:
    path = source / f"a{'.jsonl' if ending == '.zst' else ''}{ending}"
    if ending == ".parquet":
        write_parquet(path)
    elif ending != ".zst":
        write_arrow(path)
    else:
        path.write_bytes(COMPRESS[ending](lines(50)))
    config = replace(CONFIG, annotate=annotate)
    whole = tmp_path / "whole"
    run(source, whole, config=config)
    out = tmp_path / "out"
    existing = Existing.REFUSE
    kills = 0
    for batches in range(2, 100):
        try:
            # The last checkpoint is of the batch before the one that the run dies after.
            run(source, out, existing, at(batches, kill), config)
            break
        except Killed:
            kills += 1
            existing = Existing.RESUME
    assert kills > 2
    assert outputs(out) == outputs(whole)
    assert verify(out) == []


def write_parquet(path: Path) -> None:
    pq.write_table(rows_table(), path, row_group_size=13, compression="gzip")


def write_arrow(path: Path) -> None:
    """A stream where the name ends with .arrows, else a file."""
    table = rows_table()
    new = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with new(path, table.schema, options=options) as writer:
        writer.write_table(table.unify_dictionaries().combine_chunks(), max_chunksize=13)


def rows_table() -> pa.Table:
    """Rows of many types, some of them without a text."""
    schema = pa.schema(
        [
            pa.field("text", pa.string(), metadata={"note": "the text"}),
            pa.field("language", pa.string()),
            pa.field("kind", pa.dictionary(pa.int32(), pa.string())),
            pa.field("meta", pa.struct([("tags", pa.list_(pa.string())), ("n", pa.int16())])),
        ],
        metadata={"owner": "somebody"},
    )
    rows = [
        {
            "text": None if i % 19 == 4 else document(i),
            "language": "en",
            "kind": f"k{i % 3}",
            "meta": {"tags": ["a", None], "n": i},
        }
        for i in range(70)
    ]
    return pa.Table.from_pylist(rows, schema)


def test_a_resumed_parquet_file_has_the_same_row_groups(source: Path, tmp_path: Path) -> None:
    write_parquet(source / "a.parquet")
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    with pytest.raises(StoppedError):
        run(source, out, on_progress=at(4, stop))
    STOP.reset()
    run(source, out, Existing.RESUME)
    for folder in ("human", "ai"):
        one, other = (pq.ParquetFile(d / folder / "a.parquet") for d in (whole, out))
        assert one.schema_arrow.equals(other.schema_arrow, check_metadata=True)
        assert one.metadata.num_row_groups == other.metadata.num_row_groups > 1
        assert one.read().equals(other.read())


def test_what_was_written_after_the_checkpoint_is_cut_off(source: Path, tmp_path: Path) -> None:
    (source / "a.jsonl").write_bytes(lines(70))
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    every = Durability(seconds=1e9, bytes=30_000)
    with pytest.raises(Killed):
        run(source, out, on_progress=at(9, kill), durability=every)
    part = next((out / ".lowbg" / "parts").glob("*.ai"))
    state = json.loads(part.with_suffix(".checkpoint.json").read_bytes())["parts"]["ai"]
    assert part.stat().st_size > state["stored"] > 0
    run(source, out, Existing.RESUME)
    assert outputs(out) == outputs(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda part: part("human").write_bytes(b""),
        lambda part: os.truncate(part("ai"), 10),
        lambda part: flip(part("ai")),
        lambda part: part("checkpoint.json").write_bytes(b"{"),
        lambda part: part("checkpoint.json").unlink(),
        lambda part: [
            part(f"{name}.tail-{i}").unlink(True) for name in ("human", "ai") for i in (0, 1)
        ],
    ],
)
def test_a_useless_checkpoint_starts_the_shard_over(
    damage: Callable[[Callable[[str], Path]], object], source: Path, tmp_path: Path
) -> None:
    (source / "a.jsonl.zst").write_bytes(zstandard.compress(lines(50)))
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    with pytest.raises(Killed):
        run(source, out, on_progress=at(5, kill))
    damage(lambda name: out / ".lowbg" / "parts" / f"{key_of('a.jsonl.zst')}.{name}")
    run(source, out, Existing.RESUME)
    assert outputs(out) == outputs(whole)


def flip(path: Path) -> None:
    """Changes the last stored byte."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_finished_shards_are_not_read_again(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (source / f"{name}.jsonl").write_bytes(lines(30))
    out = tmp_path / "out"
    first = run(source, out)
    seen: list[Progress] = []
    (source / "d.jsonl").write_bytes(lines(20))
    second = run(source, out, Existing.RESUME, seen.append)
    assert {progress.shard for progress in seen if not progress.earlier} == {"d.jsonl"}
    assert all(progress.done for progress in seen if progress.earlier)
    assert (second.resumed, len(second.shards)) == (3, 4)
    assert second.shards[:3] == first.shards
    assert verify(out) == []
    # Each run's speed is its own.
    assert [each.records for each in second.report[RUNS]] == [90, 20]
    speed = second.report[THROUGHPUT]
    assert (speed.done_records, speed.records) == (110, 110)


def test_a_shard_s_part_before_its_checkpoint_is_not_this_run_s_speed(
    source: Path, tmp_path: Path
) -> None:
    (source / "a.jsonl").write_bytes(lines(70))
    out = tmp_path / "out"
    seen: list[Progress] = []
    stop_soon = at(4, stop)

    def note(progress: Progress) -> None:
        seen.append(progress)
        stop_soon(progress)

    with pytest.raises(StoppedError):
        run(source, out, on_progress=note)
    STOP.reset()
    before = seen[-1].records
    resumed = run(source, out, Existing.RESUME)
    speed = resumed.report[THROUGHPUT]
    assert 0 < before < 70
    assert speed.done_records == 70 - before
    (shard,) = resumed.shards
    assert speed.done_text_bytes == shard.text_bytes - shard.earlier_text_bytes
    assert 0 < shard.earlier_text_bytes < shard.text_bytes


def test_an_output_that_is_gone_is_made_again(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (source / f"{name}.jsonl").write_bytes(lines(30))
    out = tmp_path / "out"
    run(source, out)
    before = outputs(out)
    (out / "human" / "a.jsonl").unlink()
    (out / "ai" / "b.jsonl").write_bytes(b"")
    assert run(source, out, Existing.RESUME).resumed == 0
    assert outputs(out) == before


def test_a_run_killed_between_two_renames_has_only_names_left_to_give(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "a.jsonl").write_bytes(lines(60))
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    renames = 0
    publish = compression_free_publish()

    def dying(self: object) -> None:
        nonlocal renames
        renames += 1
        if renames == 2:
            raise Killed
        publish(self)

    with monkeypatch.context() as patch:
        patch.setattr("lowbg.storage.files.AtomicFile.publish", dying)
        with pytest.raises(Killed):
            run(source, out)
    seen: list[Progress] = []
    run(source, out, Existing.RESUME, seen.append)
    assert [progress.done for progress in seen] == [True]  # What was there, and no batch.
    assert outputs(out) == outputs(whole)
    assert verify(out) == []


def compression_free_publish() -> Callable[[object], None]:
    from lowbg.storage.files import AtomicFile

    return AtomicFile.publish  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (replace(CONFIG, policy=Policy(target_fpr=0.05)), "policy.target_fpr was 0.01, is 0.05"),
        (replace(CONFIG, annotate=True), "annotate was False, is True"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused(
    config: RunConfig, what: str, source: Path, tmp_path: Path
) -> None:
    (source / "a.jsonl").write_bytes(lines(30))
    run(source, tmp_path / "out")
    with pytest.raises(ConfigError) as refused:
        run(source, tmp_path / "out", Existing.RESUME, config=config)
    assert what in str(refused.value)
    assert '`existing="overwrite"`' in str(refused.value)


def test_the_batch_size_is_no_other_configuration(source: Path, tmp_path: Path) -> None:
    (source / "a.jsonl").write_bytes(lines(60))
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    with pytest.raises(StoppedError):
        run(source, out, on_progress=at(3, stop))
    STOP.reset()
    run(source, out, Existing.RESUME, config=replace(CONFIG, batch_bytes=700))
    assert outputs(out) == outputs(whole)


def test_another_model_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "a.jsonl").write_bytes(lines(30))
    run(source, tmp_path / "out")
    monkeypatch.setattr("lowbg.runs.engine.Engine.model_digests", lambda self: {"en": "0" * 64})
    with pytest.raises(ConfigError, match=r"models\.en was"):
        run(source, tmp_path / "out", Existing.RESUME)


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_input_is_refused(finished: bool, source: Path, tmp_path: Path) -> None:
    shard, out = source / "a.jsonl", tmp_path / "out"
    shard.write_bytes(lines(60))
    if finished:
        run(source, out)
    else:
        with pytest.raises(Killed):
            run(source, out, on_progress=at(3, kill))
    shard.write_bytes(lines(61))
    with pytest.raises(
        ConfigError, match=r"a\.jsonl had [\d,]+ bytes, has .*`existing=.overwrite.`"
    ):
        run(source, out, Existing.RESUME)
    assert run(source, out, Existing.OVERWRITE).shards[0].records == 61


def test_a_digest_decides_where_asked_for(source: Path, tmp_path: Path) -> None:
    shard, out = source / "a.jsonl", tmp_path / "out"
    shard.write_bytes(lines(30))
    checked = Durability(digests=True)
    run(source, out, durability=checked)
    os.utime(shard, ns=(1, 1))
    with pytest.raises(ConfigError, match="was written to"):
        run(source, out, Existing.RESUME)
    assert run(source, out, Existing.RESUME, durability=checked).resumed == 1
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ConfigError, match="was written to"):
        run(source, out, Existing.RESUME, durability=checked)


def test_a_vanished_input_is_said_and_its_outputs_stay(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (source / f"{name}.jsonl").write_bytes(lines(30))
    out = tmp_path / "out"
    run(source, out)
    (source / "b.jsonl").unlink()
    outcome = run(source, out, Existing.RESUME)
    assert "b.jsonl: no longer among the inputs" in outcome.notes[0]
    assert verify(out) == []
    assert json.loads((out / "manifest.json").read_bytes())["totals"]["records"] == 60


@pytest.mark.slow
def test_a_damaged_input_is_finished_and_a_failed_output_is_not(
    source: Path, tmp_path: Path
) -> None:
    (source / "cut.jsonl.gz").write_bytes(gzip.compress(lines(60))[:-30])
    (source / "good.jsonl").write_bytes(lines(60))
    out = tmp_path / "out"
    (tmp_path / "elsewhere").mkdir()
    run(source, out)
    shutil.rmtree(out / "human")
    (out / "human").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        run(source, out, Existing.RESUME)
    (out / "human").unlink()
    (out / "human").mkdir()
    assert run(source, out, Existing.RESUME).complete is False
    again = run(source, out, Existing.RESUME)
    assert again.resumed == 2
    assert not again.complete
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_result_survives_as_json(source: Path, tmp_path: Path) -> None:
    (source / "a\udcff\u202e.jsonl").write_bytes(lines(30) + b"{\n")
    result = run(source, tmp_path / "out").shards[0]
    loaded = load_results(tmp_path / "out")
    assert {name: found for name, (found, _) in loaded.items()} == {result.shard: result}


def test_a_journal_without_anything_is_empty(source: Path, tmp_path: Path) -> None:
    (source / "a.jsonl").write_bytes(b"")
    [shard] = discover([str(source)])
    journal = Journal(tmp_path, shard, Durability(seconds=1e9, bytes=10))
    assert journal.load() is None
    assert not journal.due(9)
    assert journal.due(10)
    journal.discard()
    assert len(key_of("x" * 1000)) == 32


def test_a_run_killed_before_it_noted_what_it_is_is_no_run(source: Path, tmp_path: Path) -> None:
    """Found by benchmarks/chaos: `run.json.new` was taken for one."""
    (source / "a.jsonl").write_bytes(lines(5))
    folder = tmp_path / "out" / ".lowbg"
    folder.mkdir(parents=True)
    (folder / "run.json.new").write_bytes(b"{")
    assert run(source, tmp_path / "out", Existing.RESUME).complete
