"""A uniform random sample of a data set's documents, judged in place of all of them.

Every document gets a pseudo-random key from the seed, its shard's name and its place there; the
sample is the documents with the smallest keys. One pass, three times the sample in memory at most
(and twice in each worker), and the same documents at any batch size and number of workers. All
records are read, the sample alone is scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import to_numpy, whole
from lowbg.config import RunConfig
from lowbg.jobs.gate.evidence import Evidence, Sample, Scanned
from lowbg.jobs.gate.scan import Counts, GateJob, gather, scanned_of
from lowbg.runs.drawing import Lowest, batch_of, keys_of
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import map_shards
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.shard import statistics_batch

_ROWS_A_BATCH = 2_000


def scan_sample(job: GateJob, sample: int, seed: int, observer: Observer = NOBODY) -> Evidence:
    """Judges `sample` documents drawn at random from all shards; every record is read.

    A data set of no more documents is judged whole. Raises as `scan` does.
    """
    plain = Engine(job.config.policy, job.config.extras)
    plain.prepare()
    job = job.selecting(plain)
    pool = _Pool(sample)
    index = {shard: i for i, shard in enumerate(job.shards)}
    for ended in map_shards(_DrawTask(job.reading, sample, seed), job.shards, job.crew, observer):
        pool.add(index[ended.shard], scanned_of(ended))
    pool.prune()
    engine = Engine(job.config.policy, job.config.extras).setup()
    parts = [pool.parts[index] for index in range(len(job.shards))]
    pairs = zip(job.shards, parts, strict=True)
    evidence = gather(job, [_judged(job, shard, part, engine) for shard, part in pairs], engine)
    documents = sum(part.documents for part in parts)
    if documents <= sample:
        return evidence
    return replace(evidence, sample=Sample(sample, documents, seed))


@dataclass(frozen=True, slots=True)
class Drawn(Scanned):
    """A shard's own sample, not judged yet: `rows` has a row a document, `keys` its key."""

    keys: NDArray[np.uint64]
    rows: pa.Table


class _Pool:
    """The shards' own samples; of them all, little more than the documents of one is held."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.parts: dict[int, Scanned] = {}

    def add(self, index: int, part: Scanned) -> None:
        """Takes a shard's own sample."""
        self.parts[index] = part
        if sum(len(drawn.keys) for drawn in self._drawn().values()) >= 2 * self._size:
            self.prune()

    def prune(self) -> None:
        """Lets go of all but the documents with the smallest keys."""
        drawn = self._drawn()
        keys = np.concatenate([np.empty(0, np.uint64), *(part.keys for part in drawn.values())])
        if len(keys) <= self._size:
            return
        bound = np.partition(keys, self._size - 1)[self._size - 1]
        for index, part in drawn.items():
            kept = np.flatnonzero(part.keys <= bound)
            rows = part.rows.take(pa.array(kept)).combine_chunks()
            self.parts[index] = replace(part, keys=part.keys[kept], rows=rows)

    def _drawn(self) -> dict[int, Drawn]:
        return {i: part for i, part in self.parts.items() if isinstance(part, Drawn)}


@dataclass(frozen=True, slots=True)
class _DrawTask:
    """Draws a shard's own sample: counts every record, keeps documents with the smallest keys."""

    config: RunConfig
    size: int
    seed: int

    def start(self) -> _DrawTask:
        """The task in a worker: nothing has to be loaded."""
        return self

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> Scanned:
        """Reads the shard to its end, or as far as it goes."""
        lowest = Lowest(self.size)
        with ShardReading(Source(shard, self.config), None, on_progress) as reading:
            for step in reading:
                lowest.add(step.batch, keys_of(self.seed, shard.name, step.batch.records))
        rows, result = lowest.rows(), reading.result()
        documents = reading.tally.records - reading.tally.quarantined
        if rows is None:
            return Scanned(result, None, (), 0, documents)
        return Drawn(result, None, (), 0, documents, to_numpy(whole(rows["key"])), rows)


def _judged(job: GateJob, shard: Shard, drawn: Scanned, engine: Engine) -> Scanned:
    """A shard's part of the sample, judged and counted; its records in quarantine stay counted."""
    counted = Counts(shard, job.gate)
    if isinstance(drawn, Drawn):
        statistics = drawn.result.statistics
        for first in range(0, len(drawn.rows), _ROWS_A_BATCH):
            chosen = np.arange(first, min(first + _ROWS_A_BATCH, len(drawn.rows)))
            batch = batch_of(drawn.rows.take(pa.array(chosen)))
            judged = engine.judge(batch.text, batch.metadata)
            statistics.add(statistics_batch(batch, judged))
            counted.add(batch, judged)
    return counted.scanned(drawn.result, drawn.documents)
