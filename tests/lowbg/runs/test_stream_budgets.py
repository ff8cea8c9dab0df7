"""A budget in a pipe: what an LM reads there is learnt from its beginning; the LM is a stand-in."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import zstandard
from tests.lowbg.runs.test_heads import pipe
from tests.stand_in_lm import Seen, policy_for, stand_in

from lowbg.config import Extras, LmSettings, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.filter import FilterJob, FilterStreamJob, filter_shards, filter_stream
from lowbg.jobs.score import ScoreStreamJob, score_stream
from lowbg.report.sections.second_look import SECTION
from lowbg.runs import heads
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import STDIN, Shard, discover
from lowbg.runs.job import Outcome
from lowbg.runs.lm_selection import learn_selection

KINDS = (
    "The mill by the river was sold to a teacher who kept bees and painted the wall white. ",
    "A ferry left the quay at dawn with nine crates of pears, two goats and a broken clock. ",
    "Furthermore, it is important to note that renewable energy plays a crucial role in fostering "
    "a sustainable future. ",
)
INPUT = (Shard(STDIN, "stdin", 0),)
DOCUMENTS = 600


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return stand_in(monkeypatch)


def document(i: int, repeats: int) -> bytes:
    text = f"{i}: {KINDS[i % 3] * repeats}"
    return json.dumps({"id": str(i), "text": text, "language": "en"}).encode() + b"\n"


def dump(documents: int = DOCUMENTS) -> bytes:
    """Every fourth document is too short for the tables."""
    return b"".join(document(i, 6 + i % 7 if i % 4 else 2) for i in range(documents))


def config(budget: str = "20%", **more: Any) -> RunConfig:
    policy = policy_for(Extras(LmSettings("stand-in")))
    return RunConfig(policy=policy, extras=Extras(LmSettings("stand-in", budget=budget)), **more)


def scored(
    data: bytes, own: RunConfig, shards: Sequence[Shard] = INPUT
) -> tuple[list[dict[str, Any]], Outcome]:
    """Rows without what they call their shard; what came of it."""
    out = io.BytesIO()
    outcome = score_stream(ScoreStreamJob(tuple(shards), own, pipe(data, 1000), out=out))
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    return [{**row, "shard": None} for row in rows], outcome


def read_of(rows: Sequence[dict[str, Any]]) -> set[str]:
    return {row["id"] for row in rows if row["lm_curvature"] is not None}


@pytest.mark.parametrize("budget", ["20%", "20000"])
def test_a_short_stream_is_judged_as_its_file(lm: Seen, budget: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(dump())
    of_file, _ = scored(b"", config(budget), discover([str(path)]))
    rows, outcome = scored(dump(), config(budget))
    assert rows == of_file
    assert 0.1 * DOCUMENTS < len(read_of(rows)) < 0.4 * DOCUMENTS
    look = outcome.report[SECTION]
    assert look is not None
    assert look.sent == len(read_of(rows))
    assert look.missed is not None
    assert look.missed.unread > 0
    assert not outcome.notes


def test_a_long_one_by_what_it_begins_with(
    lm: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At any batch size, number of threads and compression; records are read whole."""
    monkeypatch.setattr(heads, "HEAD_BYTES", 100_000)
    data = dump()
    assert len(data) > 400_000
    rows, outcome = scored(data, config())
    assert [row["id"] for row in rows] == [str(i) for i in range(DOCUMENTS)]
    assert len(read_of(rows)) == pytest.approx(0.2 * DOCUMENTS, rel=0.2)
    assert not outcome.notes
    for other in (config(batch_bytes=3000), config(threads=3, batch_bytes=5000)):
        assert scored(data, other)[0] == rows
    # Those of the beginning are judged as where there is nothing else.
    first = data[:100_000].count(b"\n")
    monkeypatch.undo()
    stand_in(monkeypatch)
    alone, _ = scored(data[: data[:100_000].rindex(b"\n") + 1], config())
    assert alone == rows[:first]
    assert scored(data, config())[0] != rows


def test_a_long_one_that_is_compressed(lm: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_BYTES", 3000)
    data = b"".join(document(i * 7919 % 1000, 6 + i % 7 if i % 4 else 2) for i in range(3000))
    stored = zstandard.ZstdCompressor().compress(data)
    assert len(stored) > 5 * heads.HEAD_BYTES
    monkeypatch.setattr(heads, "HEAD_BYTES", len(stored) // 2)
    rows, outcome = scored(stored, config())
    assert len(rows) == 3000
    assert outcome.complete
    assert 0.1 * 3000 < len(read_of(rows)) < 0.3 * 3000
    assert scored(stored, config(batch_bytes=9000))[0] == rows


def test_filter_gives_the_same_verdicts(
    lm: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(heads, "HEAD_BYTES", 100_000)
    rows, _ = scored(dump(), config())
    human, ai = io.BytesIO(), tmp_path / "ai.jsonl"
    stdin = pipe(dump())
    job = FilterStreamJob(INPUT, config(), stdin, human=human, ai=ai)
    outcome = filter_stream(job)
    assert outcome.complete
    found = {json.loads(line)["id"] for line in ai.read_bytes().splitlines()}
    assert found == {row["id"] for row in rows if row["verdict"] == "ai"} != set()


def test_into_a_directory_too(lm: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(heads, "HEAD_BYTES", 100_000)
    rows, _ = scored(dump(), config())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe(dump())))
    outcome = filter_shards(FilterJob(INPUT, tmp_path / "out", config()))
    assert outcome.complete
    found = {
        json.loads(line)["id"]
        for path in (tmp_path / "out" / "ai").iterdir()
        for line in path.read_bytes().splitlines()
    }
    assert found == {row["id"] for row in rows if row["verdict"] == "ai"} != set()
    look, of_stream = outcome.report[SECTION], scored(dump(), config())[1].report[SECTION]
    assert look is not None
    assert of_stream is not None
    assert look == msgspec.structs.replace(of_stream, seconds=look.seconds)


def test_what_came_later_and_is_another_is_told(lm: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long human text, and then text too short for the tables alone."""
    monkeypatch.setattr(heads, "HEAD_BYTES", 100_000)
    head = b"".join(document(i, 6 + i % 7 if i % 60 else 2) for i in range(200))
    later = b"".join(document(1000 + i, 2) for i in range(0, 900))
    rows, outcome = scored(head + later, config("10%"))
    share = len(read_of(rows)) / len(rows)
    assert share > 0.125
    (note,) = outcome.notes
    assert f"the LM read {100 * share:.1f} % of the documents, and its budget is 10.0 %" in note
    # Whatever is read of it, what wasn't is told of.
    look = outcome.report[SECTION]
    assert look is not None
    assert look.missed is not None
    assert look.missed.unread > 0


def test_what_a_pipe_cannot_have_is_refused(
    lm: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(heads, "HEAD_BYTES", 100_000)
    with pytest.raises(ConfigError, match="how much will come isn't known"):
        scored(dump(), config("90000"))
    with pytest.raises(ConfigError, match="hold no document"):
        scored(b'{"text": "' + b"word " * 40_000 + b'"}\n', config())
    path = tmp_path / "a.jsonl"
    path.write_bytes(dump(20))
    for given in ([*discover([str(path)]), *INPUT], [Shard("/dev/fd/63", "pipe-1", 0)]):
        with pytest.raises(ConfigError, match="can't be read twice"):
            scored(dump(), config(), given)
        with pytest.raises(ConfigError, match="standard input may be the only input"):
            filter_shards(FilterJob(tuple(given), tmp_path / "out", config()))
    own = config()
    with pytest.raises(ConfigError, match="can't be read twice"):
        learn_selection(INPUT, own, Engine(own.policy, own.extras))
    assert lm == []


def test_without_a_budget_a_stream_is_read_as_it_comes(
    lm: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr("lowbg.runs.run.take_head", never)
    own = config()
    assert own.extras.lm is not None
    extras = replace(own.extras, lm=replace(own.extras.lm, budget=None))
    rows, _ = scored(dump(40), replace(own, extras=extras))
    assert len(read_of(rows)) == 40
