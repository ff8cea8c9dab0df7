"""The readings that `--select novel` takes besides: what each document adds, and what was added."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import RunConfig
from lowbg.jobs.mix import ngrams
from lowbg.jobs.mix.copying import TakenSource, taken_source
from lowbg.jobs.mix.measure import folder, rows_of
from lowbg.jobs.mix.selection import record_keys
from lowbg.jobs.mix.settings import Mix
from lowbg.runs.checkpoints import key_of
from lowbg.runs.inputs import Shard
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading
from lowbg.stopping import STOP
from lowbg.storage.files import naming
from lowbg.storage.locks import share_of_worker
from lowbg.text.characters import folding_of
from lowbg.text.tokens import Tokens, tokenize


def _tokens(text: pa.LargeStringArray) -> Tokens:
    return tokenize(text, np.full(len(text), folding_of(None), np.uint8))


def ranks_of(output: Path, name: str) -> NDArray[np.uint64] | None:
    """The ranks of a shard's documents; null where they aren't known yet."""
    path = folder(output) / f"{key_of(name)}.ranks"
    if not path.exists():
        return None
    return np.memmap(path, np.uint64, "r") if path.stat().st_size else np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class NoveltyTask:
    """Ranks a shard's synthetic documents by what they add; `owners` is what a worker loads."""

    config: RunConfig
    mix: Mix
    output: Path
    owners: NDArray[np.uint64] | None = None

    def start(self) -> NoveltyTask:
        """The task in a worker."""
        share_of_worker(self.output)
        return replace(self, owners=ngrams.load_owners(folder(self.output)))

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> int:
        """Writes a rank a document; how many there are."""
        assert self.owners is not None
        rows = rows_of(self.output, shard.name)
        source = TakenSource(
            shard, self.config, label=f"2:{shard.name}",
            records=rows["record"], taken=np.ones(len(rows), np.uint8),
        )  # fmt: skip
        reading = ShardReading(source, None, on_progress, stoppable=True)
        path = folder(self.output) / f"{key_of(shard.name)}.ranks"
        temporary = path.with_suffix(".new")
        done = 0
        with naming(path), temporary.open("wb") as file, STOP.watched(), reading:
            for batch in (step.batch for step in reading):
                keys = record_keys(self.mix.seed, shard.name, batch.records)
                novelty = ngrams.added(_tokens(batch.text), keys, self.owners)
                units = rows["units"][done : done + len(batch)].astype(np.int64)
                file.write(ngrams.ranks(novelty, units, keys).tobytes())
                done += len(batch)
        if reading.broken is not None and done != len(rows):
            raise reading.broken
        with naming(path):
            os.replace(temporary, path)  # noqa: PTH105
        return done


@dataclass(frozen=True, slots=True)
class CoverageTask:
    """Counts the bigrams of the documents that were taken of a shard."""

    config: RunConfig
    output: Path

    def start(self) -> CoverageTask:
        """The task in a worker."""
        share_of_worker(self.output)
        return self

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> int:
        """Writes them; how many documents were taken."""
        grams = ngrams.Grams(own_keys=False)
        source = taken_source(shard, self.config, self.output, "3:")
        # What could be read of a broken shard is what could be copied of it.
        reading = ShardReading(source, None, on_progress, stoppable=True)
        with STOP.watched(), reading:
            for step in reading:
                grams.add(_tokens(step.batch.text), np.empty(0, np.uint64))
        grams.save(folder(self.output), f"{key_of(shard.name)}.taken")
        return reading.tally.records - reading.tally.quarantined


def taken_bigrams(output: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """The bigrams of what was taken of the shards, by bucket."""
    counts = np.zeros(ngrams.BUCKETS, np.uint8)
    for name in names:
        with np.load(folder(output) / f"{key_of(name)}.taken.grams.npz") as grams:
            ngrams.add(counts, grams["held"], grams["counts"])
    return counts
