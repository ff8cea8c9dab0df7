"""`score_shards`: a row a document, in the columns that the schema names."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import ExecutorName, Existing, Policy, RunConfig, ScoreFormat
from lowbg.errors import ConfigError
from lowbg.jobs.score import ScoreJob, ScoreStreamJob, score_shards, score_stream
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify

PROSE = topics["exceptions"]
TEXTS = [
    PROSE,
    "",
    "Too short.",
    "Der alte Mann ging zum Hafen hinunter. Er sah die Boote an. " * 15,
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows) + '{"id": "bad", "text": null}\n'
    (tmp_path / "in" / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "in" / "b.parquet")
    return tmp_path / "in"


def row_schema() -> pa.Schema:
    return Engine(Policy()).columns.schema


def run(source: Path, out: Path, form: ScoreFormat, **options: object) -> Outcome:
    shards = tuple(discover([str(source)], output=out))
    return score_shards(
        ScoreJob(shards, out, RunConfig(), format=form, executor=ExecutorName.SERIAL, **options)  # type: ignore[arg-type]
    )


def test_jsonl_has_a_row_a_document_and_every_column(source: Path, tmp_path: Path) -> None:
    outcome = run(source, tmp_path / "out", ScoreFormat.JSONL)

    rows = [json.loads(line) for line in (tmp_path / "out" / "a.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [row_schema().names] * len(TEXTS)
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["record"] for row in rows] == [0, 1, 2, 3]
    assert {row["shard"] for row in rows} == {"a.jsonl.gz"}
    assert rows[0]["language"] == "en"
    assert rows[3]["language"] == "de"
    assert [row["ai_score"] is None for row in rows] == [False, True, True, False]
    assert rows[1]["verdict"] == rows[2]["verdict"] == "unscored"
    assert all(row["reasons"] for row in rows[1:3])
    assert rows[1]["perplexity"] is None
    assert rows[0]["perplexity"] > 1
    assert len((tmp_path / "out" / "quarantine" / "a.jsonl.gz.jsonl").read_text().splitlines()) == 1
    assert outcome.shards[0].records == len(TEXTS) + 1


def test_parquet_and_stream_hold_the_same_rows_as_jsonl(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "jsonl", ScoreFormat.JSONL)
    run(source, tmp_path / "parquet", ScoreFormat.PARQUET)
    stream = io.BytesIO()
    score_stream(ScoreStreamJob(tuple(discover([str(source)])), RunConfig(), out=stream))

    rows = [
        json.loads(line)
        for name in ("a", "b")
        for line in (tmp_path / "jsonl" / f"{name}.jsonl").read_text().splitlines()
    ]
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == rows
    for name, part in (("a", rows[: len(TEXTS)]), ("b", rows[len(TEXTS) :])):
        table = pq.read_table(tmp_path / "parquet" / f"{name}.parquet")
        assert table.schema.equals(row_schema())
        for row, expected in zip(table.to_pylist(), part, strict=True):
            floats = {key for key, value in row.items() if isinstance(value, float)}
            assert all(row[key] == pytest.approx(expected[key], rel=1e-5) for key in floats)
            assert {k: v for k, v in row.items() if k not in floats} == {
                k: v for k, v in expected.items() if k not in floats
            }


def test_dolma_side_files_pair_with_the_documents(source: Path, tmp_path: Path) -> None:
    outcome = run(source, tmp_path / "out", ScoreFormat.DOLMA)

    folder = tmp_path / "out" / "attributes" / "lowbg"
    with gzip.open(folder / "b.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == len(TEXTS)
    [[start, end, score]] = rows[0]["attributes"]["lowbg__ai_score"]
    assert (start, end) == (0, len(PROSE))
    assert 0.0 <= score <= 1.0
    assert "lowbg__ai_score" not in rows[1]["attributes"]
    assert "lowbg__unscored" in rows[1]["attributes"]
    # The other shard has a record without text: its lines would no longer pair.
    assert not (folder / "a.jsonl.gz").exists()
    assert [shard.complete for shard in outcome.shards] == [False, True]
    assert "line by line" in outcome.shards[0].problems[-1].message


def test_overwriting_removes_the_last_run_s_files_and_no_others(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(source, out, ScoreFormat.JSONL)
    run(source, out, ScoreFormat.PARQUET, existing=Existing.OVERWRITE)
    assert not (out / "a.jsonl").exists()
    assert verify(out) == []
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.jsonl").write_text("keep")
    with pytest.raises(ConfigError, match=r"a\.jsonl"):
        run(source, own, ScoreFormat.JSONL, existing=Existing.OVERWRITE)
    assert (own / "a.jsonl").read_text() == "keep"


def test_an_output_that_is_not_empty_is_refused(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", ScoreFormat.JSONL)
    with pytest.raises(ConfigError, match='existing="overwrite"'):
        run(source, tmp_path / "out", ScoreFormat.JSONL)
    run(source, tmp_path / "out", ScoreFormat.JSONL, existing=Existing.OVERWRITE)


def test_shards_that_would_share_a_name_are_refused(source: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS}), source / "a.parquet")
    with pytest.raises(
        ConfigError, match=r"a\.jsonl\.gz and a\.parquet|a\.parquet and a\.jsonl\.gz"
    ):
        run(source, tmp_path / "out", ScoreFormat.JSONL)
    assert not (tmp_path / "out").exists()
