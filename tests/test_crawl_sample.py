"""The main job on the crawl sample that lies beside a checkout, where there is one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lowbg.config import ExecutorName, RunConfig
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.inputs import discover
from lowbg.runs.manifest import verify
from lowbg.storage.compression import open_input

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(not (DATA / "crawl").is_dir(), reason="no crawl sample here")


def lines(path: Path) -> Iterator[bytes]:
    with open_input(str(path)) as stream:
        yield from stream.read(1 << 30).splitlines(keepends=True)


@pytest.mark.slow
def test_nothing_is_lost_and_the_ai_share_follows_the_truth(tmp_path: Path) -> None:
    out = tmp_path / "out"
    shards = tuple(discover([str(DATA / "crawl")], output=out))
    outcome = filter_shards(
        FilterJob(shards, out, RunConfig(), workers=2, executor=ExecutorName.PROCESSES)
    )

    assert len(outcome.shards) == 8
    assert sum(shard.records for shard in outcome.shards) == 16_000
    assert outcome.complete
    assert verify(out) == []
    truth = {
        row["id"]: row["label"] for row in map(json.loads, lines(DATA / "crawl-truth.jsonl.zst"))
    }
    caught: Counter[tuple[str, str, str]] = Counter()
    for shard in shards:
        human, ai = out / "human" / shard.name, out / "ai" / shard.name
        if shard.name.endswith(".parquet"):
            stored = pq.read_table(shard.path)
            parts = {"human": pq.read_table(human), "ai": pq.read_table(ai)}
            assert all(
                part.schema.equals(stored.schema, check_metadata=True) for part in parts.values()
            )
            by_id = {row["id"]: row for row in stored.to_pylist()}
            rows = {key: part.to_pylist() for key, part in parts.items()}
            assert sum(map(len, rows.values())) == len(by_id)
            assert all(by_id[row["id"]] == row for part in rows.values() for row in part)
        else:
            stored_lines = list(lines(Path(shard.path)))
            kept = {"human": list(lines(human)), "ai": list(lines(ai))}
            human_set = set(kept["human"])
            assert kept["human"] == [line for line in stored_lines if line in human_set]
            assert kept["ai"] == [line for line in stored_lines if line not in human_set]
            rows = {key: [json.loads(line) for line in part] for key, part in kept.items()}
        for verdict, part in rows.items():
            for row in part:
                caught[row["date"][:4], truth[row["id"]], verdict] += 1
    years = sorted({year for year, _, _ in caught})
    for year in years:
        human_total = caught[year, "human", "human"] + caught[year, "human", "ai"]
        ai_total = caught[year, "ai", "human"] + caught[year, "ai", "ai"]
        called = caught[year, "human", "ai"] + caught[year, "ai", "ai"]
        # No more is called AI than there is, but for the false-positive rate; and where there is
        # much AI text, a good part of it is found (short texts are not judged).
        assert called <= ai_total + 0.03 * human_total + 3, year
        assert called >= 0.35 * ai_total - 3, year
