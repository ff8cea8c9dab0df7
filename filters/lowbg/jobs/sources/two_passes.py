"""Two passes over a crawl: the first scores, keeps the scores and counts by source; the second
routes by both without scoring again.

What is kept lies in `.lowbg/first/` of the output directory: a shard's scores and features
(`KEY.arrow`), its cells by source, and, last, a note that both are whole. A run that is resumed
goes on from there.
"""

from __future__ import annotations

import os
import shutil
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import to_numpy
from lowbg.config import RunConfig, Sources
from lowbg.errors import CheckpointError, InputError, OutputError, cause
from lowbg.jobs.sources.runs import merged_runs
from lowbg.jobs.sources.sources import CountedShard, Counter, header_of, reading
from lowbg.jobs.sources.table import write_table
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.runs.checkpoints import FOLDER, key_of
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.mapping import Workers, map_shards
from lowbg.runs.progress import Observer, OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.scorers.base import Documents
from lowbg.storage.files import replace_file
from lowbg.storage.typed import Closed, FileType
from lowbg.text import languages
from lowbg.text.tokens import COUNTS, only_counts

TABLE: Final = "sources.parquet"
"""What the table of a run's sources is called, in `.lowbg/` of its output directory."""

_FIRST: Final = "first"


class Scored(Closed, frozen=True, tag="lowbg.scored/1", tag_field="schema"):
    """A shard whose scores are kept: `starts` are the first records of the batches that they lie
    in, `runs` the files of its cells."""

    input: InputState
    starts: list[int]
    runs: list[str]
    documents: int
    without_source: int


SCORED: Final[FileType[Scored]] = FileType(
    Scored, "a note on kept scores", CheckpointError, "The shard is scored again"
)


def make_table(
    shards: Sequence[Shard],
    output: Path,
    config: RunConfig,
    crew: Workers,
    observer: Observer,
) -> Path:
    """Scores every shard, and makes the table of their sources; where it lies.

    What an earlier run scored is not scored again. A shard that can't be read whole is counted as
    far as it goes: the second pass meets the same again.
    """
    folder = output / FOLDER / _FIRST
    table = output / FOLDER / TABLE
    if table.exists() and all(_kept(folder, shard) is not None for shard in shards):
        return table
    folder.mkdir(parents=True, exist_ok=True)
    alone = replace(config, policy=replace(config.policy, sources=_without_table(config)))
    engine = Engine(alone.policy)
    waiting = tuple(shard for shard in shards if _kept(folder, shard) is None)
    task = ScoreOnceTask(alone, folder)
    for ended in map_shards(task, waiting, crew, Observer(observer.progress), engine):
        if ended.error is not None:
            raise OutputError(f"{ended.shard.name}: {ended.error}. Run it again with resume.")
    notes = [SCORED.read(_note(folder, shard)) for shard in shards]
    header = msgspec.structs.replace(
        header_of(alone.policy, engine.model_digests()),
        documents=sum(note.documents for note in notes),
        without_source=sum(note.without_source for note in notes),
    )
    merging = folder / "merging"
    shutil.rmtree(merging, ignore_errors=True)
    merging.mkdir()
    runs = []
    for note in notes:
        for run in note.runs:  # A merge removes what it has read.
            linked = merging / run
            os.link(folder / run, linked)
            runs.append(linked)
    new = merging / TABLE
    write_table(new, merged_runs(runs, merging), engine.source_model(), header)
    new.replace(table)
    shutil.rmtree(merging, ignore_errors=True)
    return table


def forget(output: Path) -> None:
    """Removes the kept scores, once nothing is left to route; the table stays."""
    shutil.rmtree(output / FOLDER / _FIRST, ignore_errors=True)


def _without_table(config: RunConfig) -> Sources:
    return replace(config.policy.sources, table=None)


def _note(folder: Path, shard: Shard) -> Path:
    return folder / f"{key_of(shard.name)}.json"


def _kept(folder: Path, shard: Shard) -> Scored | None:
    """What is noted of a shard whose scores are kept, if they are of its present state."""
    try:
        note = SCORED.read(_note(folder, shard))
    except (CheckpointError, OSError):
        return None
    return note if note.input == InputState.of(shard) else None


@dataclass(frozen=True, slots=True)
class ScoreOnceTask:
    """Scores a shard, keeps its scores in `folder`, and counts it by source."""

    config: RunConfig
    folder: Path
    loaded: Engine | None = None

    def start(self) -> ScoreOnceTask:
        """The task in a worker."""
        return replace(self, loaded=Engine(self.config.policy).setup())

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> CountedShard:
        """The shard's documents, scored and counted."""
        key = key_of(shard.name)
        state = InputState.of(shard)
        counter = Counter(self.config.policy, self.folder, key)
        source = Source(shard, reading(self.config), label=f"{shard.name} (scores)")
        pass_over = ShardReading(source, self.loaded, on_progress)
        starts: list[int] = []
        path = self.folder / f"{key}.arrow"
        with _Writer(path) as writer, pass_over:
            for step in pass_over:
                if step.judged is not None:
                    starts.append(int(step.batch.records[0]))
                    writer.write(step.batch, step.judged)
                    counter.add(step.batch, step.judged)
                # Before the next batch is made, this one has to be gone.
                del step
        result: ShardResult = pass_over.result()
        found = counter.end(result)
        note = Scored(
            input=state,
            starts=starts,
            runs=[run.name for run in found.runs],
            documents=found.documents,
            without_source=found.without_source,
        )
        replace_file(_note(self.folder, shard), SCORED.encode(note))
        return found


class _Writer:
    """Writes what is known of scored batches, one Arrow batch each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> _Writer:
        try:
            self._file = self._path.open("wb")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({cause(error)})") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def write(self, batch: Batch, judged: Judged) -> None:
        """Appends a batch."""
        tokens = judged.documents.tokens
        counts = pa.array(tokens.counts.ravel())
        columns = {
            "record": pa.array(batch.records),
            "language": pa.array(judged.documents.languages),
            "words": pa.array(tokens.words_per_document),
            "counts": pa.FixedSizeListArray.from_arrays(counts, len(COUNTS)),
            **{f"column:{name}": column for name, column in judged.columns.items()},
        }
        rows = pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._file, rows.schema, options=options)
        self._writer.write_batch(rows)


class KeptScores:
    """The kept scores of a shard, by the positions of its records; from any thread."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        note = SCORED.read(_note(folder, shard))
        self._name = shard.name
        self._starts = note.starts
        self._lock = threading.Lock()
        self._latest: tuple[int, pa.RecordBatch] | None = None
        self._file = None
        if note.starts:
            self._file = pa.ipc.open_file(
                pa.memory_map(str(folder / f"{key_of(shard.name)}.arrow"))
            )

    def rows(self, records: NDArray[np.int64]) -> pa.Table:
        """What is kept of the records at these positions, which rise.

        Raises `InputError` where one of them isn't there: the input is another than it was.
        """
        first, last = int(records[0]), int(records[-1])
        low = max(0, bisect_right(self._starts, first) - 1)
        high = bisect_right(self._starts, last)
        table = pa.Table.from_batches([self._batch(i) for i in range(low, high)])
        there = to_numpy(table.column("record").combine_chunks())
        at = np.searchsorted(there, records)
        if len(there) == 0 or not np.array_equal(there[np.minimum(at, len(there) - 1)], records):
            raise InputError(f"{self._name}: changed between the two passes. Run it again.")
        if len(at) == len(there):
            return table
        return table.take(pa.array(at))

    def _batch(self, i: int) -> pa.RecordBatch:
        with self._lock:
            if self._latest is None or self._latest[0] != i:
                assert self._file is not None
                self._latest = i, self._file.get_batch(i)
            return self._latest[1]


@dataclass(frozen=True, slots=True)
class KeptJudge:
    """Judges a shard's documents by their kept scores, with what `engine` knows of sources."""

    engine: Engine
    scores: KeptScores

    def judge_batches(self, batches: Sequence[Batch]) -> Sequence[Judged]:
        """Everything that is known of batches of the shard; by the records' positions."""
        return [self._judged(batch) for batch in batches]

    def _judged(self, batch: Batch) -> Judged:
        rows = self.scores.rows(batch.records)
        columns = {name: rows.column(name).combine_chunks() for name in rows.column_names}
        documents = _documents(batch.text, columns)
        scored = {
            name.removeprefix("column:"): column
            for name, column in columns.items()
            if name.startswith("column:")
        }
        return self.engine.judge_scored(
            documents, scored, batch.metadata, lambda i: self._ngrams(batch.text, documents, i)
        )

    def _ngrams(
        self, text: pa.LargeStringArray, documents: Documents, i: int
    ) -> Sequence[tuple[str, float]]:
        """Of one document, whose words are read again for that."""
        own = self.engine.documents(text[i : i + 1], documents.languages[i : i + 1])
        return self.engine.ngrams(own, 0)


def _documents(text: pa.LargeStringArray, columns: Mapping[str, pa.Array]) -> Documents:
    """Documents of which only the counts are known."""
    counts = to_numpy(columns["counts"].flatten()).reshape(len(text), len(COUNTS))
    tokens = only_counts(to_numpy(columns["words"]), counts)
    return Documents(text, tokens, to_numpy(columns["language"]), languages.CODES)


def kept_judge(engine: Engine, output: Path, shard: Shard) -> KeptJudge:
    """What judges a shard in the second pass."""
    return KeptJudge(engine, KeptScores(output / FOLDER / _FIRST, shard))
