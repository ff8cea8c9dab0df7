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
from lowbg.config import ExecutorName, RunConfig
from lowbg.errors import InputError
from lowbg.records import Batch, Metadata
from lowbg.runs.inputs import Shard
from lowbg.runs.run import choose_executor, closing, reader_opener
from lowbg.runs.shard import OnProgress, Progress

_COLUMNS = ("priority", "text", "id", "language", "date", "url")


@dataclass(frozen=True, slots=True)
class Sample:
    """Documents in random order, as a table of `priority`, `text` and their metadata.

    `seen` documents could be read in all, `unread` records could not. `problems` says, a message
    each, which shards could not be read to their end. `fields` are top-level ones that there were.
    """

    rows: pa.Table
    seen: int
    unread: int = 0
    problems: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

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
    config: RunConfig,
    size: int,
    seed: int,
    *,
    workers: int = 1,
    executor: ExecutorName = ExecutorName.PROCESSES,
    stdin: BinaryIO | None = None,
    on_progress: OnProgress | None = None,
) -> Sample:
    """`size` documents of all shards, or all where there are fewer. Any document is as likely."""
    # Only this process has its standard input and what a shell's <(…) stands for.
    if any(not s.resumable or s.path.startswith(("/dev/", "/proc/")) for s in shards):
        executor = ExecutorName.SERIAL
    runner, _ = choose_executor(executor, workers, len(shards))
    lowest = _Lowest(size)
    seen = unread = 0
    problems: dict[int, str] = {}
    fields: set[str] = set()
    setup = _Setup(config, size, seed, stdin)
    with closing(runner.run(setup, list(shards), on_progress)) as ends:
        for end in ends:
            if end.result is None:
                problems[end.index] = f"{shards[end.index].name}: {end.error}"
                continue
            lowest.parts.append(end.result.rows)
            lowest.cut()
            seen += end.result.seen
            unread += end.result.unread
            fields.update(end.result.fields)
            if end.result.problems:
                problems[end.index] = end.result.problems[0]
    in_order = tuple(problems[index] for index in sorted(problems))
    rows = lowest.parts[0] if lowest.parts else _nothing()
    return Sample(rows, seen, unread, in_order, tuple(sorted(fields)))


@dataclass(frozen=True, slots=True)
class _Setup:
    """Makes a worker; pickles (without `stdin`), so that it can be sent to a fresh process."""

    config: RunConfig
    size: int
    seed: int
    stdin: BinaryIO | None

    def __call__(self) -> _Worker:
        return _Worker(self)


class _Worker:
    def __init__(self, setup: _Setup) -> None:
        self._setup = setup

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> Sample:
        setup = self._setup
        lowest = _Lowest(setup.size)
        seen = unread = 0
        problems: tuple[str, ...] = ()
        fields: tuple[str, ...] = ()
        try:
            reader = reader_opener(task, setup.stdin, setup.config)()
            try:
                for batch in reader:
                    unread += sum(rejected.count for rejected in batch.rejected)
                    seen += len(batch)
                    lowest.add(batch, priorities(setup.seed, task.name, batch.records))
                    if on_progress is not None:
                        on_progress(Progress(task.name, batch.consumed, seen, 0))
            finally:
                fields = tuple(reader.seen_fields)
                reader.close()
        except InputError as error:
            problems = (str(error),)
        lowest.cut()
        rows = lowest.parts[0] if lowest.parts else _nothing()
        return Sample(rows, seen, unread, problems, fields)


def priorities(seed: int, shard: str, records: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The random number of each document: splitmix64 (Steele et al. 2014) at its place."""
    digest = hashlib.blake2b(f"{seed}\0{shard}".encode("utf-8", "surrogatepass"), digest_size=8)
    start = np.full(len(records), int.from_bytes(digest.digest(), "little"), np.uint64)
    z = start + (records.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def _nothing() -> pa.Table:
    types = (pa.uint64(), pa.large_string(), *[pa.string()] * 4)
    return pa.table({name: pa.array([], kind) for name, kind in zip(_COLUMNS, types, strict=True)})
