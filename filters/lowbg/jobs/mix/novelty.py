"""The readings that `--select novel` takes besides: what each document adds, and what was added."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Mix, RunConfig
from lowbg.errors import InputError, StoppedError
from lowbg.formats import open_reader
from lowbg.jobs.mix import ngrams
from lowbg.jobs.mix.copying import SelectingReader, taken_of
from lowbg.jobs.mix.measure import folder, rows_of
from lowbg.jobs.mix.selection import record_keys
from lowbg.runs.checkpoints import key_of
from lowbg.runs.inputs import Shard
from lowbg.runs.shard import OnProgress, Progress
from lowbg.runs.stopping import STOP
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
class NoveltySetup:
    """Makes a worker that ranks the documents of a shard; pickles."""

    config: RunConfig
    mix: Mix
    output: Path

    def __call__(self) -> NoveltyWorker:
        """The worker, in its own process."""
        share_of_worker(self.output)
        return NoveltyWorker(self, ngrams.load_owners(folder(self.output)))


class NoveltyWorker:
    """Ranks synthetic documents by what they add."""

    def __init__(self, setup: NoveltySetup, owners: NDArray[np.uint64]) -> None:
        self._setup = setup
        self._owners = owners

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> int:
        """Writes a rank a document; how many there are."""
        output = self._setup.output
        rows = rows_of(output, task.name)
        path = folder(output) / f"{key_of(task.name)}.ranks"
        temporary = path.with_suffix(".new")
        done = 0
        everything = np.ones(len(rows), np.uint8)
        inner = open_reader(task.path, self._setup.config, task.name)
        reader = SelectingReader(inner, rows["record"], everything, task.name)
        with naming(path), temporary.open("wb") as file, STOP.watched():
            try:
                for batch in reader:
                    keys = record_keys(self._setup.mix.seed, task.name, batch.records)
                    novelty = ngrams.added(_tokens(batch.text), keys, self._owners)
                    units = rows["units"][done : done + len(batch)].astype(np.int64)
                    file.write(ngrams.ranks(novelty, units, keys).tobytes())
                    done += len(batch)
                    if on_progress is not None:
                        on_progress(Progress(f"2:{task.name}", batch.consumed, done, 0))
                    if STOP.asked:
                        raise StoppedError(f"{task.name}: stopped")
            except InputError:
                if done != len(rows):
                    raise
            finally:
                reader.close()
        with naming(path):
            os.replace(temporary, path)  # noqa: PTH105
        return done


@dataclass(frozen=True, slots=True)
class CoverageSetup:
    """Makes a worker that counts the bigrams of what was taken; pickles."""

    config: RunConfig
    output: Path

    def __call__(self) -> CoverageWorker:
        """The worker, in its own process."""
        share_of_worker(self.output)
        return CoverageWorker(self)


class CoverageWorker:
    """Counts the bigrams of the documents that were taken of a shard."""

    def __init__(self, setup: CoverageSetup) -> None:
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> int:
        """Writes them; how many documents were taken."""
        output = self._setup.output
        records = rows_of(output, task.name)["record"]
        grams = ngrams.Grams(own_keys=False)
        documents = 0
        inner = open_reader(task.path, self._setup.config, task.name)
        reader = SelectingReader(inner, records, taken_of(output, task.name), task.name)
        with STOP.watched():
            try:
                for batch in reader:
                    grams.add(_tokens(batch.text), np.empty(0, np.uint64))
                    documents += len(batch)
                    if on_progress is not None:
                        on_progress(Progress(f"3:{task.name}", batch.consumed, documents, 0))
                    if STOP.asked:
                        raise StoppedError(f"{task.name}: stopped")
            except InputError:
                pass  # What could be read of it is what could be copied of it.
            finally:
                reader.close()
        grams.save(folder(output), f"{key_of(task.name)}.taken")
        return documents


def taken_bigrams(output: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """The bigrams of what was taken of the shards, by bucket."""
    counts = np.zeros(ngrams.BUCKETS, np.uint8)
    for name in names:
        with np.load(folder(output) / f"{key_of(name)}.taken.grams.npz") as grams:
            ngrams.add(counts, grams["held"], grams["counts"])
    return counts
