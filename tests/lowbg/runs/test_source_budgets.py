"""Pages of sources at the border among what an LM reads within a budget; the LM is a stand-in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.interrupted_runs import whole_and_cut
from tests.stand_in_lm import Seen, policy_for, stand_in

from lowbg.config import AUTO, ExecutorName, Extras, LmSettings, Policy, RunConfig, Sources
from lowbg.decision.source_evidence import KEY, SETTLED, SourceEvidence
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.score import ScoreJob, score_shards
from lowbg.jobs.sources.sources import SourcesJob, find_sources
from lowbg.report.sections.second_look import SECTION
from lowbg.runs.cascade import page_shares
from lowbg.runs.inputs import Shard, discover

KINDS = (
    "The mill by the river was sold to a teacher who kept bees and painted the wall white. ",
    "A ferry left the quay at dawn with nine crates of pears, two goats and a broken clock. ",
)
SITES, PAGES = 24, 40
UNSURE = [f"site{k}.example" for k in range(0, SITES, 4)]

TableOf = Callable[[list[str]], Path]


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return stand_in(monkeypatch)


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Shard, ...]:
    """Two shards of 480 documents of as many sites as there are; all are human by their words."""
    for k in range(2):
        path = tmp_path / "in" / f"{k}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as out:
            for i in range(SITES * PAGES // 2):
                site, text = f"site{i % SITES}.example", f"{k} {i}: {KINDS[i % 2] * (6 + i % 7)}"
                row = {"id": f"{k}-{i}", "text": text, "language": "en"}
                print(json.dumps({**row, "url": f"https://{site}/{i}"}), file=out)
    return tuple(discover([str(tmp_path / "in")]))


@pytest.fixture
def table_of(shards: tuple[Shard, ...], tmp_path: Path) -> TableOf:
    """Makes the shards' table, in which the sources of a list are unsure, and all others human."""

    def make(unsure: list[str]) -> Path:
        path = tmp_path / "sources.parquet"
        find_sources(SourcesJob(shards, path, RunConfig(), executor=ExecutorName.SERIAL))
        table = pq.read_table(path)
        names = table["source"].to_pylist()
        assert len(names) == SITES
        assert table["ai_share"].null_count == 0
        told: dict[str, pa.Array] = {
            "verdict": pa.array(["mixed" if name in unsure else "human" for name in names]),
            "certainty": pa.array(
                [0.5 if name in unsure else 0.99 for name in names], pa.float32()
            ),
        }
        metadata = {KEY: pq.read_metadata(path).metadata[KEY]}
        for name, column in told.items():
            table = table.set_column(table.column_names.index(name), name, column)
        pq.write_table(table.replace_schema_metadata(metadata), path)
        return path

    return make


def config(table: Path | None, budget: str = "10%", **more: Any) -> RunConfig:
    policy: Policy = policy_for(Extras(LmSettings("stand-in")))
    if table is not None:
        policy = replace(policy, sources=Sources(table=str(table)))
    return RunConfig(policy=policy, extras=Extras(LmSettings("stand-in", budget=budget)), **more)


def rows_of(
    shards: tuple[Shard, ...], output: Path, own: RunConfig
) -> tuple[dict[str, dict[str, Any]], Any]:
    """Rows by id, and what the report says of the LM."""
    job = ScoreJob(shards, output, own, executor=ExecutorName.SERIAL)
    outcome = score_shards(job)
    rows = [json.loads(line) for p in output.glob("*.jsonl") for line in p.read_text().splitlines()]
    return {row["id"]: row for row in rows}, outcome.report[SECTION]


def read_by_site(rows: dict[str, dict[str, Any]]) -> Counter[str]:
    return Counter(
        f"site{int(i.partition('-')[2]) % SITES}.example"
        for i, row in rows.items()
        if row["lm_curvature"] is not None
    )


def test_pages_of_each_unsure_source_are_read(
    lm: Seen, shards: tuple[Shard, ...], table_of: TableOf, tmp_path: Path
) -> None:
    own = config(table_of(UNSURE))
    rows, look = rows_of(shards, tmp_path / "a", own)
    read = read_by_site(rows)
    assert look.sent == sum(read.values())
    assert 0.07 * len(rows) < look.sent < 0.13 * len(rows)
    # 3 of 40 are about 1 / 16 of it: 2.5 on average, or what is near to the threshold.
    from_pages = look.reasons["sent_source"]
    assert 5 <= from_pages <= 0.3 * 0.1 * len(rows)
    _, plain = rows_of(shards, tmp_path / "plain", config(None))
    assert "sent_source" not in plain.reasons
    assert min(read[name] for name in UNSURE) >= 1
    # What was read of their low scores stands for the rest of these.
    counters = json.loads((tmp_path / "a/report.json").read_bytes())["counters"]["second_look"]
    drawn = {name: row[0] for name, row in counters.items() if name.startswith("source/")}
    of_pages, of_source = (drawn[f"source/0.0625/{name}"] for name in ("read", "documents"))
    assert 0 < of_pages <= from_pages
    assert of_pages < of_source <= len(UNSURE) * PAGES
    low = {name: row[0] for name, row in counters.items() if name.startswith("low/")}
    (documents,) = (n for name, n in low.items() if name.endswith("/documents"))
    (of_low,) = (n for name, n in low.items() if name.endswith("/read"))
    assert look.missed.unread == documents - of_low + of_source - of_pages
    assert look.missed.low <= look.missed.documents <= look.missed.high


def test_they_are_the_same_at_any_batch_and_in_filter(
    lm: Seen, shards: tuple[Shard, ...], table_of: TableOf, tmp_path: Path
) -> None:
    table = table_of(UNSURE)
    rows, _ = rows_of(shards, tmp_path / "a", config(table))
    small, _ = rows_of(shards[::-1], tmp_path / "b", config(table, batch_bytes=4000, threads=2))
    assert small == rows
    job = FilterJob(shards, tmp_path / "f", config(table), executor=ExecutorName.SERIAL)
    filter_shards(job)
    called = {
        json.loads(line)["id"]
        for path in (tmp_path / "f" / "ai").glob("*.jsonl")
        for line in path.read_text().splitlines()
    }
    assert called == {i for i, row in rows.items() if row["verdict"] == "ai"} != set()


def test_a_run_that_is_gone_on_with_reads_the_same(
    lm: Seen, shards: tuple[Shard, ...], table_of: TableOf, tmp_path: Path
) -> None:
    own = config(table_of(UNSURE), batch_bytes=4000)
    seen, _ = whole_and_cut(Path(shards[0].path), tmp_path, own, batches=3)
    assert 0 < seen < SITES * PAGES // 2
    whole, cut = (json.loads((tmp_path / n / "report.json").read_bytes()) for n in ("whole", "cut"))
    assert whole["second_look"]["reasons"]["sent_source"] > 0
    assert whole["counters"] == cut["counters"]
    written = [*(tmp_path / "whole").glob("*/*.jsonl")]
    assert len(written) == 2
    for path in written:
        assert path.read_bytes() == (tmp_path / "cut" / path.parent.name / path.name).read_bytes()


@pytest.mark.parametrize("budget", ["10%", None])
def test_two_passes_read_as_a_table_and_a_pass(
    lm: Seen, shards: tuple[Shard, ...], tmp_path: Path, budget: str | None
) -> None:
    path = tmp_path / "sources.parquet"
    find_sources(SourcesJob(shards, path, RunConfig(), executor=ExecutorName.SERIAL))
    found = []
    for name, table in (("one", path), ("two", Path(AUTO))):
        lm.clear()
        own = config(table, budget or "100%")
        assert own.extras.lm is not None
        own = replace(own, extras=Extras(replace(own.extras.lm, budget=budget)))
        job = FilterJob(shards, tmp_path / name, own, executor=ExecutorName.SERIAL)
        outcome = filter_shards(job)
        assert outcome.complete
        read = sorted(text for call in lm for text in call)
        written = {
            p.relative_to(tmp_path / name): p.read_bytes()
            for p in (tmp_path / name).glob("*/*.jsonl")
        }
        found.append((read, written, outcome.report.counters))
    assert found[0] == found[1]
    assert found[0][0]


def test_many_unsure_sources_share_a_fifth(
    lm: Seen, shards: tuple[Shard, ...], table_of: TableOf, tmp_path: Path
) -> None:
    every = [f"site{k}.example" for k in range(SITES)]
    rows, look = rows_of(shards, tmp_path / "a", config(table_of(every), "5%"))
    assert 0.03 * len(rows) < look.sent < 0.075 * len(rows)
    assert 0 < look.reasons["sent_source"] < 0.4 * look.sent


def test_settled_sources_are_not_at_the_border(table_of: TableOf) -> None:
    path = table_of(UNSURE)
    names = [*UNSURE, "site1.example", "other.example"]
    found = SourceEvidence([path]).find(np.array([*range(len(names)), -1]), names).at_border
    assert found[: len(UNSURE)].tolist() == [PAGES] * len(UNSURE)
    assert np.isnan(found[len(UNSURE) :]).all()
    table, metadata = pq.read_table(path), {KEY: pq.read_metadata(path).metadata[KEY]}
    place = table.column_names.index("certainty")
    for certainty, settled in ((SETTLED - 0.01, False), (SETTLED + 0.01, True), (None, False)):
        column = pa.array([certainty] * SITES, pa.float32())
        changed = table.set_column(place, "certainty", column)
        pq.write_table(changed.replace_schema_metadata(metadata), path)
        (one,) = SourceEvidence([path]).find(np.array([0]), ["site1.example"]).at_border
        assert np.isnan(one) == settled


def test_page_shares_come_to_about_so_many() -> None:
    documents = np.array([1.0, 3, 4, 12, 100, 1e6, np.nan])
    shares = page_shares(3.0, documents)
    assert shares[:2].tolist() == [1, 1]
    assert shares[-1] == 0
    pages = shares[2:-1] * documents[2:-1]
    assert (pages >= 3 / 1.5).all()
    assert (pages <= 3 * 1.5).all()
    assert {np.log2(s) % 1 for s in shares[:-1]} == {0.0}
    assert page_shares(0.0, documents).tolist() == [0] * 7
