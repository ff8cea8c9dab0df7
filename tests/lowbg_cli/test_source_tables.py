from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from examples.make_sample import ai_documents, human_documents
from tests.lowbg_cli.shards import HUMAN
from typer.testing import Result

from lowbg.config import RunConfig
from lowbg.decision.policy import read_sources
from lowbg.jobs.sources.sources import SourcesJob, find_sources
from lowbg.runs.inputs import survey

Run = Callable[..., Result]


def records() -> Iterator[dict[str, str]]:
    """Two sites, by their documents' texts, and records without a source."""
    for i, text in enumerate(human_documents() * 6):
        year = 2010 + i % 14
        yield {
            "id": f"h{i}",
            "url": f"https://b{i % 3}.human.example.com/{i}",
            "text": text["text"],
            "date": f"{year}-06-01",
            "author": "ann",
        }
    for i, text in enumerate(ai_documents() * 4):
        yield {
            "id": f"a{i}",
            "url": f"http://farm.github.io/p/{i}",
            "text": text["text"],
            "date": "2025-01-01",
            "author": "bot",
        }
    yield {"id": "x", "text": "Nothing says where this is from.", "url": "", "date": ""}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    lines = [f"{json.dumps(record)}\n" for record in records()]
    for i in range(3):
        (folder / f"{i}.jsonl").write_text("".join(lines[i::3]), encoding="utf-8")
    return folder


def test_a_row_a_source(run: Run, shards: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    result = run("sources", shards, "-o", table)
    assert result.exit_code == 0, result.stderr
    assert "1 document without a source: nothing in the field 'url'" in result.stderr
    rows = {row["source"]: row for row in pq.read_table(table).to_pylist()}
    assert sorted(rows) == ["example.com", "farm.github.io"]
    assert rows["example.com"]["verdict"] == "human"
    farm = rows["farm.github.io"]
    assert farm["verdict"] == "ai"
    assert farm["ai_share_low"] < farm["ai_share"] <= farm["ai_share_high"]
    assert farm["documents"] == sum(cell["documents"] for cell in farm["cells"])
    assert sum(farm["histogram"]) == farm["scored"]
    assert len(farm["ids"]) == 3
    assert not [path for path in tmp_path.iterdir() if path != table]


def test_tables_of_parts_are_the_table_of_all(run: Run, shards: Path, tmp_path: Path) -> None:
    cut = ("--trust-before", "2022-11-30")
    parts = []
    for i in range(3):
        parts.append(tmp_path / f"{i}.parquet")
        assert run("sources", shards / f"{i}.jsonl", "-o", parts[-1], *cut).exit_code == 0
    whole, merged, both = (tmp_path / f"{name}.parquet" for name in ("whole", "merged", "both"))
    result = run("sources", shards, "-o", whole, *cut, "--workers", 2)
    assert "sources are called AI" in result.stderr
    assert run("sources", *parts, "-o", merged).exit_code == 0
    assert run("sources", *parts[:2], shards / "2.jsonl", "-o", both).exit_code == 0
    assert merged.read_bytes() == whole.read_bytes()
    assert both.read_bytes() == whole.read_bytes()
    rows = {row["source"]: row for row in pq.read_table(whole).to_pylist()}
    assert rows["example.com"]["decided_by"] == "own_past"
    assert rows["example.com"]["before"] > 10


def test_a_table_that_comes_again_counts_once(run: Run, shards: Path, tmp_path: Path) -> None:
    one, copy, out = (tmp_path / f"{name}.parquet" for name in ("one", "copy", "out"))
    assert run("sources", shards, "-o", one).exit_code == 0
    copy.write_bytes(one.read_bytes())
    result = run("sources", one, copy, one, "-o", out)
    assert result.exit_code == 0
    assert f"{copy}: the same table as {one}; it counts once" in " ".join(result.stderr.split())
    assert out.read_bytes() == one.read_bytes()


def test_a_source_may_be_any_field(run: Run, shards: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    assert run("sources", shards, "-o", table, "--source-field", "author", "-q").exit_code == 0
    assert pq.read_table(table)["source"].to_pylist() == ["ann", "bot"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--source-by", "site"), "must be domain, host, path:N"),
        (("--source-field", "a", "--source-by", "host"), "--source-field says it already"),
        (("--trust-before", "2020-01-01"), "its cut-off is none, elsewhere 2020-01-01"),
        (("--source-by", "host"), "sources are told apart by domain, elsewhere host"),
    ],
)
def test_what_does_not_fit_is_refused(
    run: Run, shards: Path, tmp_path: Path, args: tuple[str, ...], says: str
) -> None:
    table = tmp_path / "t.parquet"
    assert run("sources", shards / "0.jsonl", "-o", table).exit_code == 0
    result = run("sources", table, "-o", tmp_path / "other.parquet", *args)
    assert result.exit_code == 2
    assert says in result.stderr
    again = run("sources", shards, "-o", table)
    assert again.exit_code == 2
    assert "already exists" in again.stderr


def test_input_without_a_record_that_can_be_read_is_incomplete(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{broken\n{more\n")
    result = run("sources", tmp_path / "a.jsonl", "-o", tmp_path / "t.parquet")
    assert "no record could be read" in result.stderr
    assert result.exit_code == 3


def test_a_table_of_nothing_replaces_none(run: Run, shards: Path, tmp_path: Path) -> None:
    table, sites = tmp_path / "t.parquet", tmp_path / "sites.txt"
    args = ("-o", table, "--list", sites, "--overwrite")
    assert run("sources", shards, *args).exit_code == 0
    kept = table.read_bytes(), sites.read_bytes()
    result = run("sources", shards, *args, "--text-field", "body")
    assert result.exit_code == 3
    assert "body" in result.stderr
    assert (table.read_bytes(), sites.read_bytes()) == kept


@pytest.mark.parametrize(
    "args",
    [
        ("--whole-source", "ai"),
        ("--source-by", "host"),
        ("--min-source-documents", 5),
        ("--source-bound", 0.01),
    ],
)
def test_options_for_sources_need_a_table(
    run: Run, shards: Path, tmp_path: Path, args: tuple[object, ...]
) -> None:
    result = run("filter", shards, "-o", tmp_path / "out", *args)
    assert result.exit_code == 2
    assert f"{args[0]}: only with --sources" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_table_that_a_url_leads_to_is_refused_as_such(
    run: Run, shards: Path, tmp_path: Path
) -> None:
    result = run("filter", shards, "-o", tmp_path / "out", "--sources", "https://lake/t.parquet")
    assert result.exit_code == 2
    assert "https://lake/t.parquet is a URL" in result.stderr


def documents(out: Path, route: str) -> list[str]:
    lines = [
        line for path in sorted((out / route).iterdir()) for line in path.read_bytes().splitlines()
    ]
    return sorted(json.loads(line)["id"] for line in lines)


@pytest.fixture(scope="module")
def table(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "sources.parquet"
    find_sources(SourcesJob(survey([str(shards)]).shards, path, RunConfig()))
    return path


@pytest.mark.slow
def test_a_sources_evidence_decides_with_the_score(
    run: Run, shards: Path, table: Path, tmp_path: Path
) -> None:
    """Short AI texts are unscored, and human ones in a human source are spared."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    result = run("filter", shards, "-o", out, "--sources", table, "--annotate")
    assert result.exit_code == 0, result.stderr
    assert "by source" in result.stderr
    found = json.loads((out / "report.json").read_bytes())["sources"]["rows"]
    assert [row["verdict"] for row in found] == ["human", "ai", "(no evidence)"]
    lines = [
        line for path in sorted((out / "ai").iterdir()) for line in path.read_bytes().splitlines()
    ]
    told = [json.loads(line)["lowbg"]["reasons"][-1] for line in lines]
    assert set(told) == {told[0]}
    assert told[0].startswith("source farm.github.io: ai, AI share ")
    result = run("filter", shards, "-o", whole, "--sources", table, "--whole-source", "ai", "-q")
    assert result.exit_code == 0
    farm = sorted(record["id"] for record in records() if record["id"].startswith("a"))
    assert documents(whole, "ai") == farm
    assert set(documents(out, "ai")) <= set(farm)


@pytest.mark.slow
def test_two_passes_are_as_a_table_and_a_pass(
    run: Run, shards: Path, table: Path, tmp_path: Path
) -> None:
    one, two, many = tmp_path / "one", tmp_path / "two", tmp_path / "many"
    assert run("filter", shards, "-o", one, "--sources", table, "--annotate", "-q").exit_code == 0
    args = ("filter", shards, "--sources", "auto", "--annotate", "-q")
    assert run(*args, "-o", two).exit_code == 0
    assert run(*args, "-o", many, "--workers", 2).exit_code == 0
    for name in ("human", "ai"):
        for path in (one / name).iterdir():
            assert (two / name / path.name).read_bytes() == path.read_bytes()
            assert (many / name / path.name).read_bytes() == path.read_bytes()
    assert (two / ".lowbg" / "sources.parquet").read_bytes() == table.read_bytes()
    assert not (two / ".lowbg" / "first").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--rule", "thresholds"), "rule 'thresholds'"),
        (("--source-by", "host"), "says it; only with --sources auto"),
        (("--min-source-documents", 5), "says it; only with --sources auto"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    run: Run, shards: Path, table: Path, tmp_path: Path, args: tuple[object, ...], says: str
) -> None:
    result = run("filter", shards, "-o", tmp_path / "out", "--sources", table, *args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["score", "gate", "pipe", "incremental", "missing", "other"])
def test_auto_is_for_a_directory(run: Run, shards: Path, tmp_path: Path, command: str) -> None:
    shard = shards / "0.jsonl"
    args: tuple[object, ...] = {
        "score": ("score", shard, "-o", tmp_path / "o", "--sources", "auto"),
        "gate": ("gate", shard, "--max-ai-share", 1, "--sources", "auto"),
        "pipe": ("filter", shard, "--discard-ai", "--sources", "auto"),
        "incremental": (
            "filter",
            shard,
            "-o",
            tmp_path / "o",
            "--incremental",
            "--sources",
            "auto",
        ),
        "missing": ("filter", shard, "-o", tmp_path / "o", "--sources", tmp_path / "no.parquet"),
        "other": ("filter", shard, "-o", tmp_path / "o", "--sources", shard),
    }[command]
    result = run(*args)
    assert result.exit_code == 2, result.stderr
    assert "sources" in result.stderr


@pytest.mark.parametrize(
    ("form", "verdict", "lines"),
    [
        ("plain", "ai", ["farm.github.io  # AI share "]),
        ("plain", "human", ["example.com  # AI share "]),
        ("urlfilter", "ai", ["farm.github.io"]),
        ("adblock", "ai", ["||farm.github.io^"]),
    ],
)
def test_sources_become_lists(
    run: Run, table: Path, tmp_path: Path, form: str, verdict: str, lines: list[str]
) -> None:
    found = tmp_path / "list.txt"
    args = ("--list", found, "--list-as", form, "--list-verdict", verdict, "-q")
    result = run("sources", table, "-o", tmp_path / "same.parquet", *args)
    assert result.exit_code == 0, result.stderr
    written = found.read_text(encoding="utf-8").splitlines()
    rules = [line for line in written if not line.startswith(("#", "!", "["))]
    assert [line[: len(lines[0])] for line in rules] == lines
    if form == "plain":
        assert "by lowbg" in written[0]
        assert [*read_sources([f"@{found}"], Path())] == [lines[0].split()[0]]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_of_score_are_as_the_documents(
    run: Run, shards: Path, table: Path, tmp_path: Path, form: str
) -> None:
    rows, lacking = tmp_path / "rows", tmp_path / "lacking"
    kept = ("--keep-field", "url", "--keep-field", "date", "--as", form)
    assert run("score", shards, "-o", rows, *kept, "-q").exit_code == 0
    made = tmp_path / "made.parquet"
    result = run("sources", rows, "-o", made, "-q")
    assert result.exit_code == 0, result.stderr
    assert made.read_bytes() == table.read_bytes()
    assert run("score", shards / "0.jsonl", "-o", lacking, "--as", form, "-q").exit_code == 0
    result = run("sources", lacking, "-o", tmp_path / "other.parquet")
    assert result.exit_code == 2
    assert "score again, keeping that field" in result.stderr
    result = run("score", shards, "-o", tmp_path / "o", "--keep-field", "words")
    assert result.exit_code != 0


def test_tables_of_parts_add_up_and_none_may_be_missing(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(3):
        rows = [
            {"text": text, "url": f"https://site-{i}.example/{n}"}
            for n, text in enumerate(HUMAN[i * 3 : i * 3 + 3])
        ]
        (source / f"{i}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("sources", source, "-o", tmp_path / "whole.parquet", "-q").exit_code == 0
    table = tmp_path / "t.parquet"
    parts = [tmp_path / f"t-{i:05}-of-00004.parquet" for i in range(4)]
    for i, part in enumerate(parts):
        split = ("--shard-index", i, "--shard-count", 4)
        result = run("sources", source, "-o", table, "-q", *split)
        assert result.exit_code == 0, result.stderr
        assert part.is_file()
    assert not table.exists()
    lacking = run("sources", *parts[:2], parts[3], "-o", table, "-q")
    assert lacking.exit_code == 2
    assert "t-00002-of-00004: missing" in lacking.stderr
    alone = run("filter", source, "-o", tmp_path / "out", "--sources", parts[0])
    assert alone.exit_code == 2
    assert "t-00001-of-00004: missing, so that the parts aren't all (1 of 4)" in alone.stderr
    assert run("sources", *parts, "-o", table, "-q").exit_code == 0
    assert table.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    both = run("sources", tmp_path / "whole.parquet", source, "-o", tmp_path / "x.parquet", *split)
    assert both.exit_code == 2
    assert "--shard-index: of data, or of tables, but not of both" in both.stderr
