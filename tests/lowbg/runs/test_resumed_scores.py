"""`score` goes on after a kill as `filter` does, and leaves files of others alone."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import Durability, ExecutorName, Existing, RunConfig, ScoreFormat
from lowbg.errors import ConfigError, LockedError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.score import ScoreJob, score_shards
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify
from lowbg.runs.progress import Observer, OnProgress, Progress
from lowbg.storage.locks import run_lock

PROSE = topics["exceptions"]
CONFIG = RunConfig(batch_bytes=20_000)
REPORTS = ("report.json", "report.html", "manifest.json")


class Killed(BaseException):
    """Ends a run as a SIGKILL would: nothing below may catch it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two shards of about ten batches; lines of the one are broken."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    texts = [f"{PROSE[i * 7 :]} {i}" for i in range(60)]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)]
    lines[20] = "{broken"
    stored = "".join(f"{line}\n" for line in lines).encode()
    (folder / "deep" / "a.jsonl.gz").write_bytes(gzip.compress(stored))
    pq.write_table(pa.table({"text": texts}), folder / "b.parquet", row_group_size=9)
    return folder


def run(
    source: Path,
    out: Path,
    existing: Existing = Existing.REFUSE,
    on_progress: OnProgress | None = None,
    form: ScoreFormat = ScoreFormat.JSONL,
) -> Outcome:
    job = ScoreJob(
        tuple(discover([str(source)], output=out)), out, CONFIG, executor=ExecutorName.SERIAL,
        existing=existing, durability=Durability(bytes=40_000), format=form,
    )  # fmt: skip
    return score_shards(job, Observer(on_progress))


def killed_after(batches: int) -> OnProgress:
    left = batches
    before: set[str] = set()

    def on_progress(progress: Progress) -> None:
        nonlocal left
        # The first report of what an earlier run did is of no batch.
        if progress.earlier and progress.shard not in before:
            before.add(progress.shard)
            return
        left -= 1
        if not left:
            raise Killed

    return on_progress


def outputs(out: Path) -> dict[str, bytes]:
    """Every output by its path, but for reports, which hold times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".lowbg" not in path.parts and path.name not in REPORTS
    }


@pytest.mark.parametrize("form", [ScoreFormat.JSONL, ScoreFormat.PARQUET])
def test_a_killed_run_comes_to_the_same_bytes(
    form: ScoreFormat, source: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole, form=form)
    kills, existing = 0, Existing.REFUSE
    for _ in range(50):
        try:
            # Each run gets further than the one before: nothing is scored twice.
            run(source, out, existing, killed_after(4), form)
            break
        except Killed:
            kills += 1
            existing = Existing.RESUME
            assert not (out / "manifest.json").exists()
    assert kills > 3
    assert outputs(out) == outputs(whole)
    assert sorted(outputs(out)) == [
        f"b.{form}", f"deep/a.{form}", "quarantine/deep/a.jsonl.gz.jsonl"
    ]  # fmt: skip
    assert verify(out) == []


def test_dolma_s_gaps_before_a_checkpoint_still_count(source: Path, tmp_path: Path) -> None:
    (source / "b.parquet").unlink()
    out = tmp_path / "out"
    with pytest.raises(Killed):
        run(source, out, on_progress=killed_after(5), form=ScoreFormat.DOLMA)
    outcome = run(source, out, Existing.RESUME, form=ScoreFormat.DOLMA)
    assert "line by line" in outcome.shards[0].problems[-1].message
    assert outputs(out) == {}


def test_finished_shards_are_not_scored_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    seen: list[Progress] = []
    assert run(source, out, Existing.RESUME, seen.append).resumed == 2
    assert [progress.done for progress in seen] == [True, True]  # What was there, and no batch.
    seen.clear()
    (out / "b.jsonl").unlink()
    assert run(source, out, Existing.RESUME, seen.append).resumed == 1
    assert {progress.shard for progress in seen if not progress.earlier} == {"b.parquet"}


def test_another_form_or_command_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    with pytest.raises(ConfigError, match="format was jsonl, is parquet"):
        run(source, out, Existing.RESUME, form=ScoreFormat.PARQUET)
    shards = tuple(discover([str(source)], output=out))
    for existing in (Existing.RESUME, Existing.OVERWRITE):
        with pytest.raises(ConfigError, match=r"a run of lowbg score\. Choose another `output`"):
            filter_shards(FilterJob(shards, out, CONFIG, existing=existing))
    filtered = tmp_path / "filtered"
    filter_shards(FilterJob(shards, filtered, CONFIG, executor=ExecutorName.SERIAL))
    with pytest.raises(ConfigError, match="a run of lowbg filter"):
        run(source, filtered, Existing.OVERWRITE)
    assert verify(out) == verify(filtered) == []


def unfinished(source: Path, out: Path) -> None:
    with pytest.raises(Killed):
        run(source, out, on_progress=killed_after(13))


@pytest.mark.parametrize("before", [run, unfinished])
def test_overwriting_leaves_no_trace_of_the_run_before(
    before: Callable[[Path, Path], object], source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before(source, out)
    assert any(out.rglob("*.jsonl"))
    run(source, out, Existing.OVERWRITE, form=ScoreFormat.PARQUET)
    assert sorted(outputs(out)) == [
        "b.parquet",
        "deep/a.parquet",
        "quarantine/deep/a.jsonl.gz.jsonl",
    ]
    (source / "deep" / "a.jsonl.gz").unlink()
    run(source, out, Existing.OVERWRITE)
    assert sorted(path.name for path in out.iterdir()) == [
        ".lowbg", "b.jsonl", "manifest.json", "report.html", "report.json"
    ]  # fmt: skip


@pytest.mark.parametrize("existing", list(Existing))
def test_files_of_others_are_refused_and_stay(
    existing: Existing, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(source, out)
    (out / "deep" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"did not make \(deep/notes\.txt\)"):
        run(source, out, existing)
    assert (out / "deep" / "notes.txt").read_text() == "mine"
    assert (out / "b.jsonl").exists()


def test_a_forged_note_cannot_reach_outside(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    (tmp_path / "precious").write_text("mine")
    (out / "link").symlink_to(tmp_path)
    note = out / ".lowbg" / "run.json"
    values = json.loads(note.read_bytes())
    values["targets"] += ["../precious", str(tmp_path / "precious"), "link/precious", "link"]
    note.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"did not make \(link\)"):
        run(source, out, Existing.OVERWRITE)
    (out / "link").unlink()
    run(source, out, Existing.OVERWRITE)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_link_in_the_output_is_not_written_through(source: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    run(source, out)
    outside.mkdir()
    (out / "deep" / "a.jsonl").unlink()
    (out / "deep").rmdir()
    (out / "deep").symlink_to(outside)
    for existing in (Existing.RESUME, Existing.OVERWRITE):
        with pytest.raises(ConfigError, match="deep"):
            run(source, out, existing)
    assert list(outside.iterdir()) == []


def test_one_run_at_a_time(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with run_lock(out), pytest.raises(LockedError, match="pid"):
        run(source, out)
