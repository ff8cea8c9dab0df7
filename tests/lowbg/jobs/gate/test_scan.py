"""Data sets → evidence: counts without files, and samples that are what they say."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import ExecutorName, FieldNames, Gate, GateGroup, Policy, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import Evidence, Part, Scanned
from lowbg.jobs.gate.sampling import Drawn, _Pool, scan_sample
from lowbg.jobs.gate.scan import GateJob, scan
from lowbg.runs.drawing import keys_of
from lowbg.runs.inputs import discover

PROSE = "We walked across the river on the stones, and the dogs ran ahead of us, singing. " * 8
REFUSAL = "I'm sorry, but I cannot assist with that request. "


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [
        {
            "id": f"d{i}",
            "text": (REFUSAL if i % 10 == 3 else "") + f"{i} {PROSE}",
            "language": "en",
            "meta": {"source": f"s{i % 3}"} if i % 4 else {},
            "url": f"https://h{i % 2}.example/{i}",
        }
        for i in range(first, first + count)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows(60))
    (folder / "a.jsonl").write_text(lines + "{broken\n\n", encoding="utf-8")
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(row) + "\n" for row in rows(40, 60)).encode())
    )
    pq.write_table(pa.Table.from_pylist(rows(50, 100)), folder / "c.parquet")
    return folder


def job(data: Path, gate: Gate | None = None, **changes: object) -> GateJob:
    gate = gate or Gate(max_phrase_hits={"refusal": 0})
    config = RunConfig(policy=Policy(gate=gate), **changes)  # type: ignore[arg-type]
    return GateJob(tuple(discover([str(data)])), config, 1, ExecutorName.SERIAL, "data")


def texts(evidence: Evidence) -> dict[str, list[int]]:
    return evidence.statistics.hosts.to_dict()


@pytest.mark.slow
def test_everything_is_counted_and_nothing_written(data: Path) -> None:
    before = sorted(data.parent.rglob("*"))
    evidence = scan(job(data))
    assert sorted(data.parent.rglob("*")) == before
    assert evidence.records == 151
    assert sum(evidence.statistics.documents().values()) == 151
    assert evidence.statistics.documents()["quarantined"] == 1
    assert [part.name for part in evidence.shards] == ["a.jsonl", "b.jsonl.gz", "c.parquet"]
    assert evidence.sample is None
    assert evidence.broken == ()


def test_examples_say_where_the_phrases_are(data: Path) -> None:
    evidence = scan(job(data))
    assert [(e.shard, e.record) for e in evidence.examples] == [
        ("a.jsonl", record) for record in (3, 13, 23, 33, 43)
    ]
    assert evidence.statistics.phrase_categories.to_dict()["refusal"] != [0, 0, 0]
    assert all(e.phrase.startswith("refusal:") for e in evidence.examples)
    assert scan(job(data, Gate(max_ai_share=0.1))).examples == ()


def test_sources_are_a_field_of_the_records(data: Path) -> None:
    gate = Gate(max_ai_share_by={GateGroup.SOURCE: 0.1}, source_field="meta.source")
    evidence = scan(job(data, gate))
    truth = Counter(
        row["meta"].get("source", "(none)")  # type: ignore[attr-defined]
        for row in rows(150)
    )
    assert evidence.sources is not None
    assert {part.name: part.scored for part in evidence.sources} == dict(truth)
    sampled = scan_sample(job(data, gate), 1_000, 0)
    assert sampled.sources == evidence.sources


def test_a_source_field_that_no_record_has_is_named(data: Path) -> None:
    gate = Gate(max_ai_share_by={GateGroup.SOURCE: 0.1}, source_field="nosuch")
    with pytest.raises(ConfigError, match=r"source field 'nosuch'; text is in: .*meta"):
        scan(job(data, gate))


def test_a_cut_input_is_told(data: Path) -> None:
    path = data / "b.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    for evidence in (scan(job(data)), scan_sample(job(data), 20, 0)):
        assert len(evidence.broken) == 1
        assert "b.jsonl.gz" in evidence.broken[0]
        assert evidence.records >= 111


def same(one: Evidence, other: Evidence) -> bool:
    return (one.statistics, one.shards, one.sources, one.sample, one.squared_words) == (
        other.statistics, other.shards, other.sources, other.sample, other.squared_words
    )  # fmt: skip


def test_a_sample_of_all_is_all(data: Path) -> None:
    assert same(scan_sample(job(data), 150, 5), scan(job(data)))
    assert scan_sample(job(data), 149, 5).sample is not None


def test_a_sample_has_its_size_and_all_of_the_quarantine(data: Path) -> None:
    evidence = scan_sample(job(data), 40, 3)
    documents = evidence.statistics.documents()
    assert sum(documents.values()) - documents["quarantined"] == 40
    assert documents["quarantined"] == 1
    assert evidence.records == 151
    assert evidence.sample is not None
    assert (evidence.sample.size, evidence.sample.documents) == (40, 150)


def test_the_same_seed_draws_the_same_documents(data: Path) -> None:
    once = scan_sample(job(data), 40, 3)
    small_batches = scan_sample(job(data, batch_bytes=2_000), 40, 3)
    assert same(once, small_batches)
    assert not same(once, scan_sample(job(data), 40, 4))


@pytest.mark.slow
def test_workers_draw_the_same_documents(data: Path) -> None:
    one = job(data)
    two = GateJob(one.shards, one.config, 2, ExecutorName.PROCESSES, "data")
    assert same(scan_sample(one, 40, 3), scan_sample(two, 40, 3))
    assert same(scan(one), scan(two))


def test_the_sample_of_many_shards_stays_small(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (data / "a.jsonl").read_text(encoding="utf-8")
    for i in range(8):
        (data / f"d{i}.jsonl").write_text(text, encoding="utf-8")
    held: list[int] = []

    def watched(pool: _Pool, index: int, part: Scanned) -> None:
        add(pool, index, part)
        drawn = (part for part in pool.parts.values() if isinstance(part, Drawn))
        held.append(sum(len(part.rows) for part in drawn))

    add = _Pool.add
    monkeypatch.setattr(_Pool, "add", watched)
    evidence = scan_sample(job(data), 20, 0)
    assert evidence.sample is not None
    assert evidence.sample.documents == 150 + 8 * 60
    assert len(held) == 11
    assert max(held) < 40


def test_every_document_is_drawn_equally_often() -> None:
    """A chi-square over 400 draws of 50 from 200 in two shards; its 99.99 % quantile is 285."""
    drawn = np.zeros(200)
    for seed in range(400):
        keys = np.concatenate(
            [keys_of(seed, "a", np.arange(150)), keys_of(seed, "b", np.arange(50))]
        )
        drawn[np.argsort(keys)[:50]] += 1
    expected = 400 * 50 / 200
    # Draws without replacement vary less than a multinomial: the statistic scales by 1 − 50/200.
    assert ((drawn - expected) ** 2 / expected).sum() / 0.75 < 285


def test_keys_are_spread_over_all_64_bits() -> None:
    keys = keys_of(0, "shard", np.arange(100_000))
    assert len(set(keys.tolist())) == 100_000
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.01


def test_a_sample_estimates_the_whole(data: Path) -> None:
    """Over many draws the share of a host is the data set's."""
    shares = []
    for seed in range(30):
        evidence = scan_sample(job(data), 30, seed)
        hosts = texts(evidence)
        shares.append(sum(hosts.get("h1.example", [0])) / sum(map(sum, hosts.values())))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def test_wrong_fields_are_quarantined_records(data: Path) -> None:
    made = job(data, fields=FieldNames(text="nosuch"))
    for shard in made.shards:
        if not shard.name.endswith(".parquet"):
            alone = GateJob((shard,), made.config, 1, ExecutorName.SERIAL)
            for evidence in (scan(alone), scan_sample(alone, 5, 0)):
                documents = evidence.statistics.documents()
                assert documents["quarantined"] == evidence.records > 0


def test_shard_parts_name_their_files(data: Path) -> None:
    part = scan(job(data)).shards[0]
    assert isinstance(part, Part)
    assert part.path == str(data / "a.jsonl")
