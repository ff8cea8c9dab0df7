"""The first reading: how much every document is, and what the selection needs to know of it.

Of each shard a file of fixed-size rows is kept, a row a readable document, in their order: a few
bytes a document on disk instead of all of them in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled
from lowbg.config import Mix, MixSelect, MixUnit, RunConfig
from lowbg.errors import InputError, StoppedError
from lowbg.formats import open_reader
from lowbg.jobs.mix import ngrams
from lowbg.jobs.mix.inputs import HUMAN, role_of
from lowbg.jobs.mix.selection import record_keys
from lowbg.records import Batch
from lowbg.runs.checkpoints import FOLDER, encode, key_of
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.shard import OnProgress, Progress
from lowbg.runs.stopping import STOP
from lowbg.storage.files import naming, replace_file
from lowbg.storage.locks import share_of_worker
from lowbg.text.characters import folding_of
from lowbg.text.origins import NO_HOST, hosts
from lowbg.text.tokens import DIGITS, SYMBOLS, Tokens, tokenize

ROW: Final = np.dtype([("record", "<i8"), ("units", "<i8"), ("source", "<u4"), ("score", "<f4")])
"""A document: its position in the shard, its size in the mix's unit (−1: not known), the number of
its source among the shard's, and its `ai_score` (NaN: none)."""

_MAX_UNITS = 1 << 32
"""Most tokens of a document: sums over a chunk of documents, each 255 times, stay in 64 bits."""


@dataclass(frozen=True, slots=True)
class Measured:
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


def folder(output: Path) -> Path:
    """Where a mix keeps what it measured."""
    return output / FOLDER / "mix"


def rows_of(output: Path, name: str) -> NDArray[Any]:
    """The rows of a measured shard, from disk as they are looked at."""
    path = folder(output) / f"{key_of(name)}.rows"
    if not path.stat().st_size:
        return np.empty(0, ROW)
    return np.memmap(path, ROW, "r")


def load(output: Path, shard: Shard, select: MixSelect) -> Measured | None:
    """What an earlier run measured of the shard, if it is still what it was and all still there."""
    path = folder(output) / f"{key_of(shard.name)}.json"
    try:
        values = json.loads(path.read_bytes())
        found = Measured(**{**values, "sources": tuple(values["sources"])})
        whole = path.with_suffix(".rows").stat().st_size == found.documents * ROW.itemsize
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if select is MixSelect.NOVEL:  # A mix that is finished keeps no bigrams.
        whole = whole and path.with_suffix(".grams.npz").is_file()
    return found if whole and found.is_of(shard) else None


@dataclass(frozen=True, slots=True)
class MeasureSetup:
    """Makes a worker; pickles."""

    config: RunConfig
    mix: Mix
    output: Path

    def __call__(self) -> MeasureWorker:
        """The worker, in its own process."""
        share_of_worker(self.output)
        engine = Engine(self.config.policy).setup() if self.mix.weights else None
        return MeasureWorker(self, engine)


class MeasureWorker:
    """Measures shards."""

    def __init__(self, setup: MeasureSetup, engine: Engine | None) -> None:
        self._setup = setup
        self._engine = engine

    def __call__(self, task: Shard, on_progress: OnProgress | None) -> Measured:
        """Reads a shard to its end, or as far as it goes."""
        mix, output = self._setup.mix, self._setup.output
        key = key_of(task.name)
        state = InputState.of(task)
        counting = _Counting(task, mix, self._engine)
        path = folder(output) / f"{key}.rows"
        problem: str | None = None
        with naming(path):
            path.with_suffix(".json").unlink(missing_ok=True)
        with naming(path), path.open("wb") as file, STOP.watched():
            try:
                reader = open_reader(task.path, self._setup.config, task.name)
                try:
                    for batch in reader:
                        counting.quarantined += sum(r.count for r in batch.rejected)
                        if len(batch):
                            file.write(counting.rows(batch).tobytes())
                        if on_progress is not None:
                            on_progress(
                                Progress(f"1:{task.name}", batch.consumed, counting.documents, 0)
                            )
                        if STOP.asked:
                            raise StoppedError(f"{task.name}: stopped")
                finally:
                    reader.close()
            except InputError as error:
                problem = str(error)
        if counting.grams is not None:
            counting.grams.save(folder(output), key)
        measured = Measured(
            task.name, state.size, state.mtime_ns, counting.documents, counting.units,
            counting.unsized, counting.quarantined, tuple(counting.sources), problem,
        )  # fmt: skip
        replace_file(folder(output) / f"{key}.json", encode(asdict(measured)))
        return measured


class _Counting:
    """What is counted of a shard, batch by batch."""

    def __init__(self, shard: Shard, mix: Mix, engine: Engine | None) -> None:
        self.documents = self.units = self.unsized = self.quarantined = 0
        self.sources: dict[str, int] = {}
        self.grams: ngrams.Grams | None = None
        if mix.select is MixSelect.NOVEL:
            self.grams = ngrams.Grams(own_keys=role_of(shard) != HUMAN)
        self._shard = shard
        self._mix = mix
        self._engine = engine

    def rows(self, batch: Batch) -> NDArray[Any]:
        """The rows of a batch."""
        rows = np.zeros(len(batch), ROW)
        rows["record"] = batch.records
        rows["units"] = self._units(batch)
        rows["score"] = np.nan
        if self._mix.max_per_source is not None:
            rows["source"] = [
                self.sources.setdefault(name, len(self.sources))
                for name in _source_names(batch, self._mix.source_field, self._shard.name)
            ]
        if self._engine is not None:
            score = self._engine.judge(batch.text, batch.metadata).decisions.score
            rows["score"] = filled(score, np.nan)
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
