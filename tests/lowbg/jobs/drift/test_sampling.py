from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowbg.config import RunConfig
from lowbg.jobs.drift import sampling
from lowbg.jobs.drift.sampling import DrawTask, draw, priorities
from lowbg.runs import mapping
from lowbg.runs.executors.serial import SerialExecutor
from lowbg.runs.inputs import discover
from lowbg.runs.mapping import Workers

CONFIG = RunConfig()
Write = Callable[[Path, Sequence[str]], Path]


@pytest.fixture
def corpus(tmp_path: Path, write: Write) -> Path:
    for name, size in (("a", 70), ("b", 5), ("c", 125)):
        write(tmp_path / f"{name}.jsonl", [f"{name}{i} word" for i in range(size)])
    return tmp_path


@pytest.mark.slow
def test_same_sample_in_any_order_batches_and_workers(corpus: Path) -> None:
    shards = discover([str(corpus)])
    expected = draw(shards, DrawTask(CONFIG, 40, 7))
    assert len(expected) == 40
    assert expected.seen == 200
    priority = expected.rows["priority"].to_numpy()
    assert (np.diff(priority.astype(object)) > 0).all()
    small = dataclasses.replace(CONFIG, batch_bytes=64)
    for other in (
        draw(shards[::-1], DrawTask(CONFIG, 40, 7)),
        draw(shards, DrawTask(small, 40, 7)),
        draw(shards, DrawTask(CONFIG, 40, 7), Workers(2)),
    ):
        assert other.rows.equals(expected.rows)
    assert not draw(shards, DrawTask(CONFIG, 40, 8)).rows.equals(expected.rows)


def test_larger_sample_holds_the_smaller_one(corpus: Path) -> None:
    shards = discover([str(corpus)])
    large = draw(shards, DrawTask(CONFIG, 100, 0)).text.to_pylist()
    assert draw(shards, DrawTask(CONFIG, 30, 0)).text.to_pylist() == large[:30]


def test_every_document_is_as_likely() -> None:
    drawn = np.zeros(200)
    for seed in range(600):
        order = np.argsort(
            np.concatenate([priorities(seed, s, np.arange(n)) for s, n in (("a", 150), ("b", 50))])
        )
        drawn[order[:40]] += 1
    # 600 draws of 20 %: a binomial of mean 120 and standard deviation 9.8, for 200 documents.
    assert abs(drawn[:150].mean() - 120) < 2.5
    assert drawn.min() > 120 - 4.5 * 9.8
    assert drawn.max() < 120 + 4.5 * 9.8
    assert 7.5 < drawn.std() < 12.0


def test_cut_shard_is_named_and_the_rest_is_drawn(corpus: Path) -> None:
    import gzip

    rows = "".join(json.dumps({"text": f"z{i} word"}) + "\n" for i in range(5_000)).encode()
    (corpus / "z.jsonl.gz").write_bytes(gzip.compress(rows)[:-200])
    sample = draw(discover([str(corpus)]), DrawTask(CONFIG, 6_000, 0))
    (broken,) = (shard for shard in sample.shards if not shard.complete)
    assert "z.jsonl.gz" in broken.problems[0].message
    assert 200 < len(sample) < 5_200


def test_unread_records_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\nnonsense\n{"body": "two"}\n')
    sample = draw(discover([str(tmp_path)]), DrawTask(CONFIG, 10, 0))
    assert (len(sample), sample.seen, sample.unread) == (1, 1, 2)
    assert "body" in sample.shards[0].seen_fields


def test_an_interruption_ends_the_executor(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Generator[Any]] = []
    cuts = 0

    class Kept(SerialExecutor):
        """Its work is referred to from elsewhere, so that only `close` ends it."""

        def run(self, *args: Any) -> Iterator[Any]:
            ends = super().run(*args)
            started.append(end for end in ends)
            return started[-1]

    def interrupt(_: object) -> None:
        nonlocal cuts
        cuts += 1
        if cuts == 2:  # The first one is the worker's, inside the executor.
            raise KeyboardInterrupt

    monkeypatch.setattr(mapping, "SerialExecutor", Kept)
    monkeypatch.setattr(sampling._Lowest, "cut", interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw(discover([str(corpus)]), DrawTask(CONFIG, 40, 7))
    assert inspect.getgeneratorstate(started[0]) == inspect.GEN_CLOSED
