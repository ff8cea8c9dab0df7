"""Pages that a causal LM reads; a stand-in that knows who wrote what takes its place."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples.make_sample import ai_documents, human_documents
from numpy.typing import NDArray

from lowbg.config import LmSettings, Policy, RunConfig
from lowbg.decision.source_evidence import SourceEvidence, read_header
from lowbg.decision.source_pages import MOST, share_evidence
from lowbg.decision.sources import SHARES
from lowbg.errors import ConfigError
from lowbg.jobs.sources.cells import PAGES, Cells, Pages, combined
from lowbg.jobs.sources.pages import PagesToRead, PickTask, keep, unsure
from lowbg.jobs.sources.runs import read_run, write_run
from lowbg.jobs.sources.sources import SourcesJob, SourcesOutcome, find_sources, reading
from lowbg.runs.inputs import survey

EVERY = PagesToRead(LmSettings("x"), 3, every=True)


def long_texts(documents: Sequence[Mapping[str, str]]) -> list[str]:
    """Each of at least 75 words."""
    texts = [document["text"] for document in documents]
    return [f"{text} {texts[(i + 1) % len(texts)]}" for i, text in enumerate(texts)]


class StandIn:
    """Three deviations above human text for AI text, the contrary where it is `turned`."""

    languages = frozenset({"en"})

    def __init__(self, *, turned: bool = False, name: str = "stand-in") -> None:
        self.models: Mapping[str, str] = {name: "0" * 64}
        self._ai = {text[:200] for text in long_texts(ai_documents())}
        self._turned = turned
        self.tokens = 0
        self.texts: list[str] = []

    def z(
        self, texts: Sequence[str], words: NDArray[np.int64], language: str
    ) -> NDArray[np.float64]:
        assert language == "en"
        assert len(words) == len(texts)
        self.texts += texts
        self.tokens += int(words.sum())
        return np.array([3.0 if (t[:200] in self._ai) is not self._turned else -0.5 for t in texts])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pages each of a human and an AI site, and two of a small one, in two shards."""
    folder = tmp_path_factory.mktemp("sites")
    rows = []
    for name, texts in (
        ("people", long_texts(human_documents())),
        ("farm", long_texts(ai_documents())),
    ):
        for i in range(12):
            text = f"{texts[i % len(texts)]} Page {i}."
            date = "2019-01-01" if name == "people" and i < 2 else "2025-01-01"
            rows.append({"url": f"https://{name}.example/{i}", "text": text, "date": date})
    rows += [{"url": f"https://small.example/{i}", "text": rows[i]["text"]} for i in range(2)]
    for i in range(2):
        (folder / f"{i}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[i::2]))
    return folder


def made(
    shards: Path, output: Path, judge: StandIn | None, pages: PagesToRead | None, workers: int = 1
) -> SourcesOutcome:
    job = SourcesJob(
        survey([str(shards)]).shards, output, RunConfig(), workers=workers, pages=pages
    )
    return find_sources(job, judge=judge)


def rows_of(table: Path) -> dict[str, dict[str, object]]:
    return {row["source"]: row for row in pq.read_table(table).to_pylist()}


def test_three_pages_that_agree_move_a_source() -> None:
    z = np.array([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [99.0, 99.0, 99.0]])
    found = share_evidence(z, SHARES)
    assert found.max(axis=1).tolist() == [0.0] * 4
    assert found[0, -1] == 0.0
    assert found[0, 0] < -2.5
    assert found[1, 0] == 0.0
    assert found[1, -1] < -1.5
    assert 0 < found[2].argmax() < len(SHARES) - 1
    assert found.min() >= -MOST
    one = share_evidence(z[:1, :1], SHARES)
    assert found[0, 0] < one[0, 0] < -1.0
    # Pages of a source err together: three are less than three sources.
    assert found[0, 0] > 2.0 * one[0, 0]
    swapped = share_evidence(z[2:3, ::-1], SHARES)
    assert swapped == pytest.approx(found[2:3])


def test_pages_decide_with_the_documents(shards: Path, tmp_path: Path) -> None:
    alone, joined, turned = (tmp_path / f"{n}.parquet" for n in ("alone", "joined", "turned"))
    made(shards, alone, None, None)
    judge = StandIn()
    outcome = made(shards, joined, judge, EVERY)
    made(shards, turned, StandIn(turned=True), EVERY)
    before, after, against = rows_of(alone), rows_of(joined), rows_of(turned)
    assert after["small.example"]["lm_z"] is None  # of two documents nothing is estimated
    assert after["farm.example"]["lm_z"] == 3.0
    assert after["people.example"]["lm_z"] == -0.5
    for name, better in (("farm.example", 1), ("people.example", -1)):
        shares = [float(str(rows[name]["ai_share"])) for rows in (against, before, after)]
        assert shares == sorted(shares, reverse=better < 0)
        assert shares[0] != shares[2]
    header = read_header(joined)
    assert header is not None
    assert (header.read_sources, header.read_pages) == (2, 6)
    assert header.lm == {"stand-in": "0" * 64}
    assert outcome.read is not None
    assert (outcome.read.sources, outcome.read.pages) == (2, 6)
    assert outcome.read.tokens == judge.tokens > 0
    assert sum(outcome.read.changed.values()) == 2


def test_a_run_that_filters_is_told_of_the_pages(shards: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    made(shards, table, StandIn(), EVERY)
    evidence = SourceEvidence([table])
    found = evidence.find(np.array([0, 1]), ["farm.example", "small.example"])
    assert found.told(0).endswith("of 12 scored documents, and pages that a causal LM read")
    assert found.rows[1] == -1


def test_only_unsure_sources_are_read(shards: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    judge = StandIn()
    made(shards, table, judge, replace(EVERY, every=False))
    rows = rows_of(table)
    for name in ("farm.example", "people.example"):
        alone = rows_of_alone(shards, tmp_path)[name]
        sure = alone["verdict"] in ("human", "ai") and float(str(alone["certainty"])) >= 0.97
        assert (rows[name]["lm_z"] is None) is sure
    again = unsure(table, every=True)
    assert set(again.names.tolist()) == {n for n in rows if rows[n]["ai_share"] is not None} - {
        n for n in rows if rows[n]["lm_z"] is not None
    }


def rows_of_alone(shards: Path, folder: Path) -> dict[str, dict[str, object]]:
    path = folder / "alone.parquet"
    if not path.exists():
        made(shards, path, None, None)
    return rows_of(path)


def test_pages_are_the_same_in_any_order_and_by_any_workers(shards: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    judge = StandIn()
    made(shards, one, judge, EVERY)
    made(shards, two, StandIn(), EVERY, workers=2)
    assert one.read_bytes() == two.read_bytes()
    assert len(judge.texts) == len(set(judge.texts)) == 6


def test_known_human_pages_are_not_read(shards: Path, tmp_path: Path) -> None:
    policy = replace(Policy(), trust_before=dt.date(2022, 11, 30))
    config = reading(replace(RunConfig(), policy=policy))
    hashes = unsure_hashes("people.example")
    task = PickTask(config, hashes, 20, frozenset({"en"}))
    found = [page for shard in survey([str(shards)]).shards for page in task(shard, None)[0]]
    assert len(found) == 10
    assert not [page for page in found if page.text.endswith((" Page 0.", " Page 1."))]
    assert not PickTask(config, hashes, 3, frozenset({"de"}))(survey([str(shards)]).shards[0], None)


def unsure_hashes(*names: str) -> NDArray[np.uint64]:
    from lowbg.decision.source_evidence import source_hash

    return np.sort(np.array([source_hash(name) for name in names], np.uint64))


def test_tables_with_pages_merge(shards: Path, tmp_path: Path) -> None:
    """The pages of both are kept, each once; those of another probe are refused."""
    parts = [tmp_path / f"{i}.parquet" for i in range(2)]
    for i, path in enumerate(parts):
        made(shards / f"{i}.jsonl", path, StandIn(), replace(EVERY, every=True))
    # Of six documents each nothing is estimated; so the whole is read, and merged with a part.
    whole, merged, again = (tmp_path / f"{n}.parquet" for n in ("whole", "merged", "again"))
    made(shards, whole, StandIn(), EVERY)
    for output, tables in ((merged, (parts[0], whole)), (again, (whole, parts[0]))):
        find_sources(SourcesJob((), output, RunConfig(), tables=tables))
    assert merged.read_bytes() == again.read_bytes()
    rows = rows_of(merged)
    assert rows["farm.example"]["lm_pages"] == rows_of(whole)["farm.example"]["lm_pages"]
    header = read_header(merged)
    assert header is not None
    assert header.read_pages == 6
    other = tmp_path / "other.parquet"
    made(shards, other, StandIn(name="another"), EVERY)
    with pytest.raises(ConfigError, match="its pages were read by another probe"):
        find_sources(SourcesJob((), tmp_path / "x.parquet", RunConfig(), tables=(whole, other)))


def test_pages_survive_a_spill(tmp_path: Path) -> None:
    names = pa.array(["a.example", "b.example"], pa.string())
    source, z, crc = np.array([0, 0, 1]), np.array([700, -100, 3]), np.array([5, 2, 9])
    one = replace(Cells.none(), names=names, pages=Pages.first(source, z, crc))
    path = tmp_path / "run.arrow"
    write_run(path, [one])
    (back,) = read_run(path)
    assert back.names.to_pylist() == names.to_pylist()
    for name in Pages.__slots__:
        assert getattr(back.pages, name).tolist() == getattr(one.pages, name).tolist()
    both = combined([one, back])
    assert both.pages.hash.tolist() == [2, 5, 9]
    many = Pages.first(np.zeros(20, np.int64), np.arange(20), np.arange(20)[::-1])
    assert many.hash.tolist() == [*range(PAGES)]


def test_the_first_pages_are_kept_each_once() -> None:
    from lowbg.jobs.sources.pages import Page

    picked: dict[int, list[Page]] = {}
    for crc in (7, 3, 9, 3, 1):
        keep(picked, 4, Page(crc, "text", 80, "en"), 3)
    assert [page.hash for page in picked[4]] == [1, 3, 7]
