"""A uniform random sample of a data set's documents, judged in place of all of them.

Every document gets a pseudo-random key from the seed, its shard's name and its place there; the
sample is the documents with the smallest keys. One pass, three times the sample in memory at most
(and twice in each worker), and the same documents at any batch size and number of workers. All
records are read, the sample alone is scored.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import to_numpy, whole
from lowbg.errors import InputError
from lowbg.formats.base import Reader
from lowbg.jobs.gate.evidence import Evidence, Sample, Scanned
from lowbg.jobs.gate.scan import CountingSinks, GateJob, gather, map_shards
from lowbg.records import Batch, BytesPayload, Metadata
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.checkpoints import Tally
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import Shard
from lowbg.runs.run import reader_opener
from lowbg.runs.shard import OnProgress, Progress, statistics_batch

_METADATA = ("id", "language", "date", "url")
_ROWS_A_BATCH = 2_000


def scan_sample(
    job: GateJob, size: int, seed: int, on_progress: OnProgress | None = None
) -> Evidence:
    """Judges `size` documents drawn at random from all shards; every record is read.

    A data set of no more documents is judged whole. Raises as `scan` does.
    """
    pool = _Pool(size)
    for index, drawn in map_shards(job, _DrawSetup(job, size, seed), on_progress):
        pool.add(index, drawn)
    pool.prune()
    engine = Engine(job.config.policy).setup()
    parts = [pool.parts[index] for index in range(len(job.shards))]
    pairs = zip(job.shards, parts, strict=True)
    evidence = gather(job, [_judged(job, shard, part, engine) for shard, part in pairs])
    documents = sum(part.documents for part in parts)
    if documents <= size:
        return evidence
    return replace(evidence, sample=Sample(size, documents, seed))


def document_keys(seed: int, shard: str, records: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The sampling key of each record of a shard, uniform over 64 bits.

    The finaliser of SplitMix64 (Steele, Lea & Flood 2014) over the record's place, from a start
    that seed and shard give.
    """
    named = f"{seed}\0{shard}".encode("utf-8", "surrogatepass")
    start = np.frombuffer(hashlib.sha256(named).digest()[:8], np.uint64)[0]
    with np.errstate(over="ignore"):
        x = start + records.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


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
class _DrawSetup:
    """Makes a worker; pickles, so that it can be sent to a fresh process."""

    job: GateJob
    size: int
    seed: int

    def __call__(self) -> _DrawWorker:
        return _DrawWorker(self)


class _DrawWorker:
    def __init__(self, setup: _DrawSetup) -> None:
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> Scanned:
        setup = self._setup
        return _Draw(task, setup.size, setup.seed).run(
            reader_opener(task, None, setup.job.reading), on_progress
        )


class _Draw:
    """One pass over a shard: counts every record, keeps the documents with the smallest keys."""

    def __init__(self, shard: Shard, size: int, seed: int) -> None:
        self._shard = shard
        self._size = size
        self._seed = seed
        self._tally = Tally()
        self._statistics = Statistics()
        self._documents = 0
        self._bound = np.uint64(2**64 - 1)
        self._tables: list[pa.Table] = []
        self._held = 0

    def run(self, open_reader: Any, on_progress: OnProgress | None) -> Scanned:
        """Reads to the end; what breaks off is noted, and what came before it stays."""
        started, cpu = time.perf_counter(), time.process_time()
        reader: Reader | None = None
        complete = True
        try:
            reader = open_reader()
            assert reader is not None
            for batch in reader:
                self._add(batch)
                if on_progress is not None:
                    on_progress(Progress(self._shard.name, batch.consumed, self._tally.records, 0))
        except InputError as error:
            complete = False
            kind = type(error).__name__.removesuffix("Error").lower()
            self._tally.add_problem(kind, str(error), 0)
        finally:
            if reader is not None:
                reader.close()
        self._compact()
        tally = self._tally
        if on_progress is not None:
            on_progress(Progress(self._shard.name, tally.consumed, tally.records, 0, done=True))
        result = ShardResult(
            shard=self._shard.name, source=self._shard.path,
            format=reader.format.name if reader is not None else "unknown",
            compression=reader.compression if reader is not None else "unknown",
            records=tally.records, complete=complete, statistics=self._statistics, outputs=(),
            problems=tuple(tally.problems.values()), read_bytes=tally.consumed,
            text_bytes=tally.text_bytes, lenient=tally.lenient, blank=tally.blank,
            seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu,
            seen_fields=tuple(sorted(reader.seen_fields)) if reader is not None else (),
        )  # fmt: skip
        rows = self._tables[0] if self._tables else None
        if rows is None:
            return Scanned(result, None, (), 0, self._documents)
        return Drawn(result, None, (), 0, self._documents, to_numpy(whole(rows["key"])), rows)

    def _add(self, batch: Batch) -> None:
        tally = self._tally
        tally.consumed = batch.consumed
        tally.lenient += batch.lenient
        tally.blank += batch.blank
        tally.records += len(batch) + sum(rejected.count for rejected in batch.rejected)
        tally.text_bytes += int(batch.sizes.sum())
        for rejected in batch.rejected:
            tally.text_bytes += len(rejected.raw)
            tally.add_problem(rejected.reason.value, rejected.message, rejected.count)
            self._statistics.add_quarantined(
                rejected.reason.value, rejected.count, len(rejected.raw)
            )
        self._documents += len(batch)
        keys = document_keys(self._seed, self._shard.name, batch.records)
        low = np.flatnonzero(keys <= self._bound)
        if len(low):
            self._tables.append(_rows(batch, keys).take(pa.array(low)))
            self._held += len(low)
            if self._held >= 2 * self._size:
                self._compact()

    def _compact(self) -> None:
        """Lets go of all but the documents with the smallest keys."""
        if not self._tables:
            return
        rows = pa.concat_tables(self._tables).combine_chunks()
        keys = to_numpy(whole(rows["key"]))
        if len(keys) > self._size:
            kept = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            rows = rows.take(pa.array(kept)).combine_chunks()
            self._bound = to_numpy(whole(rows["key"])).max()
        self._tables, self._held = [rows], len(rows)


def _rows(batch: Batch, keys: NDArray[np.uint64]) -> pa.Table:
    columns: dict[str, Any] = {
        "key": pa.array(keys),
        "record": pa.array(batch.records),
        "size": pa.array(batch.sizes),
        "text": batch.text,
        **{name: getattr(batch.metadata, name) for name in _METADATA},
    }
    return pa.table(columns)


def _judged(job: GateJob, shard: Shard, drawn: Scanned, engine: Engine) -> Scanned:
    """A shard's part of the sample, judged and counted; its records in quarantine stay counted."""
    counted = CountingSinks(shard, job.gate)
    if isinstance(drawn, Drawn):
        statistics = drawn.result.statistics
        for first in range(0, len(drawn.rows), _ROWS_A_BATCH):
            chosen = np.arange(first, min(first + _ROWS_A_BATCH, len(drawn.rows)))
            batch = _batch(drawn.rows.take(pa.array(chosen)))
            judged = engine.judge(batch.text, batch.metadata)
            statistics.add(statistics_batch(batch, judged))
            counted.write(batch, judged)
    return counted.scanned(drawn.result, drawn.documents)


def _batch(rows: pa.Table) -> Batch:
    """Rows as a batch whose records are nowhere any more."""
    metadata = {name: whole(rows[name]) for name in _METADATA}
    empty = np.empty(0, np.int64)
    return Batch(
        records=to_numpy(whole(rows["record"])),
        text=whole(rows["text"]),
        metadata=Metadata(**metadata),
        sizes=to_numpy(whole(rows["size"])),
        payload=BytesPayload(b"", empty, empty),
        rejected=(),
        consumed=0,
    )
