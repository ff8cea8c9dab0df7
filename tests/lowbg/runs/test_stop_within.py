"""A run that is stopped within a batch keeps those before it, and goes on from there."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.stand_in_lm import StandIn, stand_in

from lowbg.config import Durability, ExecutorName, Existing, Extras, LmSettings, RunConfig
from lowbg.errors import StoppedError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.inputs import discover
from lowbg.scorers.base import Documents
from lowbg.stopping import STOP

WORDS = "The mill by the river was sold to a teacher who kept bees and painted the wall white. "


@pytest.mark.parametrize("stop_at", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_batch_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, threads: int
) -> None:
    stand_in(monkeypatch)
    shard = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": str(i), "text": f"{i} {WORDS * 8}"}) for i in range(60)]
    shard.write_text("".join(f"{line}\n" for line in lines))
    config = RunConfig(batch_bytes=8000, threads=threads, extras=Extras(LmSettings("stand-in")))
    score, calls = StandIn.score, []

    def job(existing: Existing) -> FilterJob:
        return FilterJob(
            tuple(discover([str(shard)])), tmp_path / "out", config,
            executor=ExecutorName.SERIAL, existing=existing, durability=Durability(seconds=1000),
        )  # fmt: skip

    def stopping(self: StandIn, documents: Documents) -> Any:
        calls.append(documents.text[0].as_py())
        if len(calls) == stop_at:
            STOP.ask(signal.SIGTERM)
        STOP.check()
        return score(self, documents)

    monkeypatch.setattr(StandIn, "score", stopping)
    try:
        with pytest.raises(StoppedError):
            filter_shards(job(Existing.REFUSE))
    finally:
        STOP.reset()
    assert not list(tmp_path.glob("out/human/*"))
    read: list[str] = []

    def reading(self: StandIn, documents: Documents) -> Any:
        read.extend(documents.text.to_pylist())
        return score(self, documents)

    monkeypatch.setattr(StandIn, "score", reading)
    outcome = filter_shards(job(Existing.RESUME))
    assert outcome.complete
    # What was done before is not read again, and nothing is left out.
    done = [json.loads(line)["text"] for line in lines[: len(lines) - len(read)]]
    assert done + read == [json.loads(line)["text"] for line in lines]
    assert bool(done) == (stop_at > 1)
    assert calls[stop_at - 1] in read
    written = (tmp_path / "out" / "human" / "a.jsonl").read_text()
    assert written == shard.read_text()


def test_small_shards_that_are_judged_together_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are not judged one by one before the run ends."""
    calls = stand_in(monkeypatch)
    source = tmp_path / "in"
    source.mkdir()
    for k in range(40):
        row = {"id": str(k), "text": f"{k} {WORDS * 8}"}
        (source / f"{k:02}.jsonl").write_text(json.dumps(row) + "\n")
    config = RunConfig(extras=Extras(LmSettings("stand-in")))

    def job(existing: Existing) -> FilterJob:
        return FilterJob(
            tuple(discover([str(source)])), tmp_path / "out", config,
            executor=ExecutorName.SERIAL, existing=existing,
        )  # fmt: skip

    score, asked = StandIn.score, []

    def stopping(self: StandIn, documents: Documents) -> Any:
        asked.append(len(documents))
        STOP.ask(signal.SIGINT)
        STOP.check()
        return score(self, documents)

    with monkeypatch.context() as patch:
        patch.setattr(StandIn, "score", stopping)
        try:
            with pytest.raises(StoppedError):
                filter_shards(job(Existing.REFUSE))
        finally:
            STOP.reset()
    assert len(asked) == 1
    assert asked[0] > 1
    outcome = filter_shards(job(Existing.RESUME))
    assert outcome.complete
    assert sum(map(len, calls)) == 40
    assert len(list((tmp_path / "out" / "human").iterdir())) == 40
