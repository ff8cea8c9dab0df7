from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from examples.make_sample import ai_documents, human_documents
from typer.testing import Result

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


def test_a_source_may_be_any_field(run: Run, shards: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    assert run("sources", shards, "-o", table, "--source-field", "author", "-q").exit_code == 0
    assert pq.read_table(table)["source"].to_pylist() == ["ann", "bot"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--source-by", "site"), "must be domain, host, path:N"),
        (("--source-field", "a", "--source-by", "host"), "--source-field says it already"),
        (("--trust-before", "2020-01-01"), "its cut-off is None, elsewhere 2020-01-01"),
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
