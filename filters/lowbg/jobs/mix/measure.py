"""The first reading: how much every document is, and what the selection needs to know of it.

Of each shard a file of fixed-size rows is kept, a row a readable document, in their order: a few
bytes a document on disk instead of all of them in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import RunConfig
from lowbg.errors import CheckpointError
from lowbg.jobs.mix import ngrams
from lowbg.jobs.mix.inputs import HUMAN, role_of
from lowbg.jobs.mix.selection import record_keys
from lowbg.jobs.mix.settings import Mix, MixSelect, MixUnit
from lowbg.records import Batch
from lowbg.runs.checkpoints import FOLDER, key_of
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.overlap import Step
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.stopping import STOP
from lowbg.storage.files import naming, replace_file, size_of_file
from lowbg.storage.locks import share_of_worker
from lowbg.storage.typed import Closed, FileType
from lowbg.text.characters import folding_of
from lowbg.text.origins import NO_HOST, hosts
from lowbg.text.tokens import DIGITS, SYMBOLS, Tokens, tokenize

ROW: Final = np.dtype([("record", "<i8"), ("units", "<i8"), ("source", "<u4"), ("score", "<f4")])
"""A document: its position in the shard, its size in the mix's unit (−1: not known), the number of
its source among the shard's, and its `ai_score` (NaN: none)."""

_MAX_UNITS = 1 << 32
"""Most tokens of a document: sums over a chunk of documents, each 255 times, stay in 64 bits."""


class Measured(Closed, frozen=True):
    """What was found in a shard: `documents` rows, `units` in all, `unsized` rows without units.

    `sources` are the names that rows number. `problem` says why the shard could not be read to its
    end; null where it was.
    """

    shard: str
    size: int
    mtime_ns: int | None
    documents: int
    units: int
    unsized: int
    quarantined: int
    sources: tuple[str, ...]
    problem: str | None

    def is_of(self, shard: Shard) -> bool:
        """Whether the shard's input is still what was measured."""
        return InputState.of(shard) == InputState(self.size, self.mtime_ns)


MEASURED: Final[FileType[Measured]] = FileType(
    Measured, "what a mix measured of a shard", CheckpointError, "It is measured again"
)


FOLDER_OF_NOTES: Final = f"{FOLDER}/mix"
"""Where a mix keeps what it measured, in its output."""


def folder(output: Path) -> Path:
    """The same, as a path."""
    return output / FOLDER_OF_NOTES


def rows_of(output: Path, name: str) -> NDArray[Any]:
    """The rows of a measured shard, from disk as they are looked at."""
    path = folder(output) / f"{key_of(name)}.rows"
    if not path.stat().st_size:
        return np.empty(0, ROW)
    return np.memmap(path, ROW, "r")


def load(output: Path, shard: Shard) -> Measured | None:
    """What an earlier run measured of the shard, if it is still what it was."""
    try:
        found = MEASURED.read(folder(output) / f"{key_of(shard.name)}.json")
    except CheckpointError:
        return None
    return found if found.is_of(shard) else None


def is_kept(output: Path, measured: Measured, select: MixSelect) -> bool:
    """Whether all that was kept of a measured shard beside the note is still there."""
    path = folder(output) / key_of(measured.shard)
    if size_of_file(path.with_suffix(".rows")) != measured.documents * ROW.itemsize:
        return False
    # A mix that is finished keeps no bigrams.
    return select is not MixSelect.NOVEL or path.with_suffix(".grams.npz").is_file()


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """Measures a shard; `engine` is what a worker judges with, null where nothing is judged."""

    config: RunConfig
    mix: Mix
    output: Path
    engine: Engine | None = None

    def start(self) -> MeasureTask:
        """The task in a worker."""
        share_of_worker(self.output)
        engine = Engine(self.config.policy).setup() if self.mix.weights else None
        return replace(self, engine=engine)

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> Measured:
        """Reads a shard to its end, or as far as it goes."""
        key, state = key_of(shard.name), InputState.of(shard)
        counting = _Counting(shard, self.mix)
        source = Source(shard, self.config, label=f"1:{shard.name}")
        reading = ShardReading(source, self.engine, on_progress, stoppable=True)
        path = folder(self.output) / f"{key}.rows"
        with naming(path):
            path.with_suffix(".json").unlink(missing_ok=True)
        with naming(path), path.open("wb") as file, STOP.watched(), reading:
            for step in reading:
                if len(step.batch):
                    file.write(counting.rows(step).tobytes())
        if counting.grams is not None:
            counting.grams.save(folder(self.output), key)
        measured = Measured(
            shard=shard.name,
            size=state.size,
            mtime_ns=state.mtime_ns,
            documents=counting.documents,
            units=counting.units,
            unsized=counting.unsized,
            quarantined=reading.tally.quarantined,
            sources=tuple(counting.sources),
            problem=None if reading.broken is None else str(reading.broken),
        )
        replace_file(folder(self.output) / f"{key}.json", MEASURED.encode(measured))
        return measured


class _Counting:
    """What is counted of a shard, batch by batch."""

    def __init__(self, shard: Shard, mix: Mix) -> None:
        self.documents = self.units = self.unsized = 0
        self.sources: dict[str, int] = {}
        self.grams: ngrams.Grams | None = None
        if mix.select is MixSelect.NOVEL:
            self.grams = ngrams.Grams(own_keys=role_of(shard) != HUMAN)
        self._shard = shard
        self._mix = mix

    def rows(self, step: Step) -> NDArray[Any]:
        """The rows of a batch."""
        batch = step.batch
        rows = np.zeros(len(batch), ROW)
        rows["record"] = batch.records
        rows["units"] = self._units(batch)
        rows["score"] = np.nan
        if self._mix.max_per_source is not None:
            rows["source"] = [
                self.sources.setdefault(name, len(self.sources))
                for name in _source_names(batch, self._mix.source_field, self._shard.name)
            ]
        if step.judged is not None:
            rows["score"] = filled(step.judged.decisions.score, np.nan)
        known = rows["units"] >= 0
        self.documents += len(rows)
        self.unsized += int((~known).sum())
        self.units += int(rows["units"][known].sum())
        return rows

    def _units(self, batch: Batch) -> NDArray[np.int64]:
        by_field = self._mix.token_field is not None
        needs_tokens = self._mix.unit is not MixUnit.DOCUMENTS and not by_field
        tokens: Tokens | None = None
        if needs_tokens or self.grams is not None:
            # One folding for all: which letters are alike doesn't change how many words there are.
            tokens = tokenize(batch.text, np.full(len(batch), folding_of(None), np.uint8))
        if self.grams is not None:
            assert tokens is not None
            keys = record_keys(self._mix.seed, self._shard.name, batch.records)
            self.grams.add(tokens, keys)
        if self._mix.token_field is not None:
            return _numbers(batch.metadata.others[self._mix.token_field])
        if tokens is None or self._mix.unit is MixUnit.DOCUMENTS:
            return np.ones(len(batch), np.int64)
        words = tokens.words_per_document
        if self._mix.unit is MixUnit.WORDS:
            return words
        return words + tokens.counts[:, DIGITS] + tokens.counts[:, SYMBOLS]


def _numbers(column: pa.StringArray) -> NDArray[np.int64]:
    """The whole numbers of a field, −1 where there is none that can be a number of tokens."""
    return np.array(
        [
            int(value)
            if value is not None and value.isascii() and value.isdigit() and len(value) <= 16
            and int(value) <= _MAX_UNITS
            else -1
            for value in column.to_pylist()
        ],
        np.int64,
    )  # fmt: skip


def _source_names(batch: Batch, field: str | None, shard: str) -> Sequence[str]:
    """What each document's source is called: its field, else its host, else its shard."""
    coded = hosts(batch.metadata.url)
    by_host = [shard if name == NO_HOST else name for name in coded.names]
    names = [by_host[code] for code in coded.codes.tolist()]
    if field is None:
        return names
    given = batch.metadata.others[field].to_pylist()
    return [name if value is None else value for value, name in zip(given, names, strict=True)]
