"""A uniform random sample of documents, drawn from shards as they stream by.

Every document has a random number that depends on the seed, its shard's name and its place in the
shard; the sample is the documents with the lowest ones (bottom-k sampling: Cohen & Kaplan 2007).
So it is a simple random sample without replacement, the same in any order of shards, at any batch
size and with any number of workers, and holds at most twice its size in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import to_numpy, whole
from lowbg.config import RunConfig
from lowbg.records import Batch, Metadata
from lowbg.report.results import ShardResult
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import ALONE, Workers, failed_shard, map_shards
from lowbg.runs.progress import NOBODY, Observer, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.sampling import document_keys, named
from lowbg.text.dates import read_dates

_COLUMNS = ("priority", "text", "id", "language", "date", "url")


@dataclass(frozen=True, slots=True)
class Sample:
    """Documents in random order, as a table of `priority`, `text` and their metadata.

    `seen` documents could be read in all. `shards` says, in their order, what became of those that
    it was drawn from; `all_there` is false where inputs are missing beside these.
    """

    rows: pa.Table
    seen: int
    shards: tuple[ShardResult, ...] = ()
    all_there: bool = True

    @property
    def unread(self) -> int:
        """Records that could not be read."""
        return sum(shard.statistics.documents()["quarantined"] for shard in self.shards)

    @property
    def complete(self) -> bool:
        """Whether every shard was there, and read to its end."""
        return self.all_there and all(shard.complete for shard in self.shards)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def text(self) -> pa.LargeStringArray:
        """The documents' text."""
        return whole(self.rows["text"])

    @property
    def metadata(self) -> Metadata:
        """What the documents say of themselves."""
        return Metadata(**{name: whole(self.rows[name]) for name in _COLUMNS[2:]})


@dataclass(slots=True)
class _Lowest:
    """The `size` rows of lowest priority so far, and some more until the next `cut`."""

    size: int
    parts: list[pa.Table] = field(default_factory=list)
    bound: int = 2**64 - 1

    def add(self, batch: Batch, priority: NDArray[np.uint64]) -> None:
        kept = pa.array(np.flatnonzero(priority <= np.uint64(self.bound)))
        if not len(kept):
            return
        own = batch.metadata
        columns = (pa.array(priority), batch.text, own.id, own.language, own.date, own.url)
        # `take` copies: the batch's own buffers are let go.
        self.parts.append(pa.table(list(columns), names=list(_COLUMNS)).take(kept))
        if sum(part.num_rows for part in self.parts) > 2 * self.size:
            self.cut()

    def rows(self) -> pa.Table:
        """The lowest ones, in rising order."""
        self.cut()
        return self.parts[0] if self.parts else _nothing()

    def cut(self) -> None:
        """Keeps the lowest ones, in rising order."""
        if not self.parts:
            return
        rows = pa.concat_tables(self.parts)
        priority = to_numpy(whole(rows["priority"]))
        order = np.argsort(priority, kind="stable")[: self.size]
        self.parts = [rows.take(pa.array(order)).combine_chunks()]
        if len(order) == self.size:
            self.bound = int(priority[order[-1]])


def draw(
    shards: Sequence[Shard],
    task: DrawTask,
    workers: Workers = ALONE,
    observer: Observer = NOBODY,
) -> Sample:
    """A sample of all shards; all documents where there are fewer. Any document is as likely."""
    lowest = _Lowest(task.size)
    results: dict[Shard, ShardResult] = {}
    seen = 0
    for ended in map_shards(task, shards, workers, observer):
        if ended.result is None:
            results[ended.shard] = failed_shard(ended.shard, ended.error)
            continue
        lowest.parts.append(ended.result.rows)
        lowest.cut()
        seen += ended.result.seen
        (results[ended.shard],) = ended.result.shards
    return Sample(lowest.rows(), seen, tuple(results[shard] for shard in shards))


@dataclass(frozen=True, slots=True)
class DrawTask:
    """Draws `size` documents of a shard. `stdin` is what "-" reads, by default this process's.

    Where the policy trusts documents by date, the dates of all that are read are counted.
    """

    config: RunConfig
    size: int
    seed: int
    stdin: BinaryIO | None = None

    def start(self) -> DrawTask:
        """The task in a worker: nothing has to be loaded."""
        return self

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> Sample:
        """The shard's own sample."""
        lowest = _Lowest(self.size)
        with ShardReading(Source(shard, self.config, self.stdin), None, on_progress) as reading:
            for step in reading:
                lowest.add(step.batch, priorities(self.seed, shard.name, step.batch.records))
                if self.config.policy.trust_before is not None:
                    reading.statistics.add_dates(read_dates(step.batch.metadata.date))
        seen = reading.tally.records - reading.tally.quarantined
        return Sample(lowest.rows(), seen, (reading.result(),))


def priorities(seed: int, shard: str, records: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The random number of each document of a shard."""
    digest = hashlib.blake2b(named(seed, shard), digest_size=8).digest()
    return document_keys(digest, records + 1)


def _nothing() -> pa.Table:
    types = (pa.uint64(), pa.large_string(), *[pa.string()] * 4)
    return pa.table({name: pa.array([], kind) for name, kind in zip(_COLUMNS, types, strict=True)})
