"""Tables of sources that are added up by ranges, and what filter makes of the ranges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import AI, HUMAN
from tests.lowbg_cli.stored import data_of, fetched
from tests.s3_server import BUCKET, S3
from typer.testing import Result

from lowbg.config import RunConfig
from lowbg.jobs.sources import in_ranges, table
from lowbg.jobs.sources.sources import SourcesJob, find_sources
from lowbg.runs.executors.base import Executor
from lowbg.runs.inputs import survey
from lowbg.runs.mapping import Workers, executor_of
from lowbg.storage.objects import ObjectStore

Run = Callable[..., Result]


@pytest.fixture
def crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards in `in`, and in `tables` a table of each, of groups of two rows."""
    monkeypatch.setattr(table, "ROWS_A_GROUP", 2)
    (tmp_path / "in").mkdir()
    (tmp_path / "tables").mkdir()
    for i in range(3):
        rows = [
            {"id": f"{i}-{n}", "text": text, "url": f"https://site-{(n + i) % 7}.example/{n}"}
            for n, text in enumerate([*HUMAN, AI] * 8)
        ]
        shard = tmp_path / "in" / f"{i}.jsonl"
        shard.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        job = SourcesJob(
            survey([str(shard)]).shards, tmp_path / "tables" / f"{i}.parquet", RunConfig()
        )
        find_sources(job)
    return tmp_path


def split(run: Run, tables: object, output: object, count: int = 3) -> None:
    for index in range(count):
        part = ("--shard-index", index, "--shard-count", count)
        done = run("sources", tables, "-o", output, "-q", *part)
        assert done.exit_code == 0, done.stderr


def test_ranges_are_one_table(run: Run, crawl: Path) -> None:
    (crawl / "ranges").mkdir()
    split(run, crawl / "tables", crawl / "ranges" / "all.parquet")
    names = [path.name for path in sorted((crawl / "ranges").iterdir())]
    assert names == [f"all-{i:05}-of-00003.parquet" for i in range(3)]
    whole, again = crawl / "whole.parquet", crawl / "again.parquet"
    assert run("sources", crawl / "tables", "-o", whole, "-q").exit_code == 0
    assert run("sources", crawl / "ranges", "-o", again, "-q").exit_code == 0
    assert again.read_bytes() == whole.read_bytes()
    outputs = {}
    for name, given in {
        "whole": whole,
        "folder": crawl / "ranges",
        "glob": crawl / "ranges" / "all-*.parquet",
    }.items():
        args = ("filter", crawl / "in", "-o", crawl / name, "--annotate", "-q")
        done = run(*args, "--sources", given)
        assert done.exit_code == 0, done.stderr
        outputs[name] = data_of(crawl / name)
    assert outputs["whole"] == outputs["folder"] == outputs["glob"]
    assert any(b"source site-" in data for data in outputs["folder"].values())


@pytest.mark.parametrize("command", ["filter", "score", "gate", "explain"])
def test_a_range_that_is_missing_is_named(run: Run, crawl: Path, command: str) -> None:
    (crawl / "ranges").mkdir()
    split(run, crawl / "tables", crawl / "ranges" / "all.parquet")
    (crawl / "ranges" / "all-00001-of-00003.parquet").rename(crawl / "away.parquet")
    shard = crawl / "in" / "0.jsonl"
    rest: tuple[object, ...] = {
        "filter": ("-o", crawl / "out"),
        "score": ("-o", crawl / "out"),
        "gate": ("--max-ai-share", 1),
        "explain": (),
    }[command]
    refused = run(command, shard, *rest, "--sources", crawl / "ranges")
    assert refused.exit_code == 2
    told = " ".join(refused.stderr.split())
    assert "range 1 of its merge is missing (2 of 3 are there)" in told
    assert not (crawl / "out").exists()
    alone = run(command, shard, *rest, "--sources", crawl / "away.parquet")
    assert alone.exit_code == 2
    assert "range 0 of its merge is missing (1 of 3 are there)" in " ".join(alone.stderr.split())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--trust-before", "2020-01-01"), "its cut-off is none, elsewhere 2020-01-01"),
        (("--source-by", "host"), "sources are told apart by domain, elsewhere host"),
        (("--list", "x.txt"), "--list: not with --shard-index"),
        (("in",), "--shard-index: of data, or of tables, but not of both"),
    ],
)
def test_what_does_not_add_up_is_refused_of_parts_too(
    run: Run, crawl: Path, args: tuple[str, ...], says: str
) -> None:
    args = tuple(str(crawl / "in") if each == "in" else each for each in args)
    part = ("--shard-index", 0, "--shard-count", 2)
    refused = run("sources", crawl / "tables", "-o", crawl / "x.parquet", *part, *args)
    assert refused.exit_code == 2
    assert says in " ".join(refused.stderr.split())
    assert not (crawl / "x-00000-of-00002.parquet").exists()


def test_scores_are_not_shared_out(run: Run, crawl: Path) -> None:
    scored = run("score", crawl / "in", "-o", crawl / "rows", "--keep-field", "url", "-q")
    assert scored.exit_code == 0, scored.stderr
    part = ("--shard-index", 0, "--shard-count", 2)
    refused = run("sources", crawl / "rows", "-o", crawl / "x.parquet", *part)
    assert "--shard-index: not of scores" in refused.stderr


def test_a_task_of_an_array_makes_its_range(
    run: Run, crawl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(2):
        for name, value in (("ID", index), ("COUNT", 2), ("MIN", 0), ("MAX", 1)):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        args = ("-o", crawl / "slurm.parquet", "-q", "--shard-index", "slurm")
        assert run("sources", crawl / "tables", *args).exit_code == 0
    assert run("sources", *crawl.glob("slurm-*"), "-o", crawl / "a.parquet").exit_code == 0
    assert run("sources", crawl / "tables", "-o", crawl / "b.parquet").exit_code == 0
    assert (crawl / "a.parquet").read_bytes() == (crawl / "b.parquet").read_bytes()


def test_a_folder_that_has_more_than_tables_is_data(run: Run, crawl: Path) -> None:
    (crawl / "tables" / "more.jsonl").write_bytes((crawl / "in" / "0.jsonl").read_bytes())
    done = run("sources", crawl / "tables", "-o", crawl / "x.parquet")
    assert done.exit_code == 3
    assert "0.parquet: no column 'text'" in done.stderr


@pytest.mark.slow
def test_tables_and_ranges_may_lie_in_a_store(run: Run, crawl: Path, s3: S3) -> None:
    lake = f"s3://{BUCKET}/source-ranges"
    store = ObjectStore(lake)
    for path in (crawl / "tables").iterdir():
        store.upload(f"tables/{path.name}", path)
    split(run, f"{lake}/tables", f"{lake}/ranges/all.parquet")
    (crawl / "ranges").mkdir()
    split(run, crawl / "tables", crawl / "ranges" / "all.parquet")
    there = fetched(f"{lake}/ranges", crawl / "there")
    for path in (crawl / "ranges").iterdir():
        assert (there / path.name).read_bytes() == path.read_bytes()
    local = run("filter", crawl / "in", "-o", crawl / "one", "--sources", there, "-q")
    assert local.exit_code == 0, local.stderr
    for name, given in (("two", f"{lake}/ranges"), ("three", f"{lake}/ranges/all-*.parquet")):
        s3.requests.clear()
        done = run("filter", crawl / "in", "-o", crawl / name, "--sources", given, "-q")
        assert done.exit_code == 0, done.stderr
        assert data_of(crawl / name) == data_of(crawl / "one")
        fetches = [key for key in s3.requests if key.startswith("GET") and "-of-00003" in key]
        assert sum(s3.requests[key] for key in fetches) == (3 if name == "two" else 0)
    store.delete(["ranges/all-00002-of-00003.parquet"])
    lacking = run("filter", crawl / "in", "-o", crawl / "x", "--sources", f"{lake}/ranges")
    assert lacking.exit_code == 2
    assert "range 2 of its merge is missing" in " ".join(lacking.stderr.split())
    nothing = run("filter", crawl / "in", "-o", crawl / "x", "--sources", f"{lake}/none")
    assert nothing.exit_code == 2
    assert f"{lake}/none: the table of sources can't be read" in nothing.stderr


@pytest.mark.slow
def test_workers_add_up_ranges(run: Run, crawl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = crawl / "one.parquet", crawl / "many.parquet"
    assert run("sources", crawl / "tables", "-o", one, "-q", "--workers", 1).exit_code == 0
    monkeypatch.setattr(in_ranges, "MIN_ROWS", 10)
    crews: list[Workers] = []

    def noted(crew: Workers) -> Executor:
        crews.append(crew)
        return executor_of(crew)

    monkeypatch.setattr(in_ranges, "executor_of", noted)
    done = run("sources", crawl / "tables", "-o", many, "-q", "--workers", 2)
    assert done.exit_code == 0, done.stderr
    assert many.read_bytes() == one.read_bytes()
    assert [crew.count for crew in crews] == [2]
