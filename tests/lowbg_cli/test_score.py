from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow.parquet as pq
import pytest
from typer.testing import Result

Run = Callable[..., Result]
TEXTS = sorted(topics.values(), key=len)[-3:]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "dump.jsonl"
    rows = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(rows) + "\nbroken\n", encoding="utf-8")
    return path


ROW = [
    *("id", "shard", "record", "language", "words", "perplexity", "bits_per_byte", "burstiness"),
    *("sentence_perplexity_spread", "phrase_log_odds", "phrase_hits_per_1k_words", "phrases"),
    *("artifacts", "style_log_odds", "ai_score", "verdict", "reasons"),
    *("text_digest", "is_prose", "scored_by"),
]


def test_rows_beside_a_report(run: Run, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("score", shard, "-o", out, "--as", "jsonl")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    rows = [json.loads(row) for row in (out / "dump.jsonl").read_bytes().splitlines()]
    assert [row["id"] for row in rows] == ["d0", "d1", "d2"]
    assert list(rows[0]) == ROW
    assert "dump.jsonl:4" in result.stderr


def test_parquet_and_dolma(run: Run, shard: Path, tmp_path: Path) -> None:
    assert run("score", shard, "-o", tmp_path / "p", "--as", "parquet", "-q").exit_code == 0
    assert pq.read_table(tmp_path / "p" / "dump.parquet").num_rows == 3
    assert run("score", shard, "-o", tmp_path / "d", "--as", "dolma", "-q").exit_code == 3
    assert not (tmp_path / "d" / "attributes" / "lowbg" / "dump.jsonl.gz").exists()
    good = [line for line in shard.read_bytes().splitlines(keepends=True) if b'"text"' in line]
    shard.write_bytes(b"".join(good))
    arguments = ("score", shard, "-o", tmp_path / "d", "--as", "dolma", "-q", "--overwrite")
    assert run(*arguments).exit_code == 0
    side = tmp_path / "d" / "attributes" / "lowbg" / "dump.jsonl.gz"
    assert (
        "lowbg__ai_score"
        in json.loads(gzip.decompress(side.read_bytes()).split(b"\n")[0])["attributes"]
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "-", "--as", "parquet"], "-o - takes jsonl only"),
        (["-o", "-", "--workers", "2"], "only with -o DIR"),
        (["-o", "{dir}"], "lowbg did not make (dump.jsonl)"),
        (["-o", "-", "--resume"], "--resume: only with -o DIR"),
    ],
)
def test_contradictions(args: list[str], message: str, run: Run, shard: Path) -> None:
    directory = shard.parent / "full"
    directory.mkdir()
    (directory / "dump.jsonl").touch()
    result = run("score", shard, *(arg.format(dir=directory) for arg in args))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_strict(run: Run, shard: Path, tmp_path: Path) -> None:
    assert run("score", shard, "-o", tmp_path / "out", "-q", "--strict").exit_code == 3
