"""How often each document is in the mix: an array on disk for each shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.mix import ngrams, weights
from lowbg.jobs.mix.inputs import HUMAN, SYNTHETIC, role_of
from lowbg.jobs.mix.measure import Measured, folder, rows_of
from lowbg.jobs.mix.novelty import ranks_of
from lowbg.jobs.mix.selection import CHUNK, UNLIMITED, Chunk, allowance, record_keys, select
from lowbg.jobs.mix.settings import Mix, MixSelect, MixWeights
from lowbg.runs.checkpoints import key_of
from lowbg.runs.inputs import Shard
from lowbg.storage.files import naming


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each document is in the mix, by shard; `capped` sources had more than the cap.

    With weights `wanted_draws` were asked for, of human and synthetic documents together.
    """

    by_shard: Mapping[str, NDArray[np.uint8]]
    capped: int
    wanted_draws: int | None


def count(
    mix: Mix, output: Path, shards: Sequence[Shard], measured: Mapping[str, Measured]
) -> Counts:
    """Every human document once, and of the synthetic ones what the floor allows."""
    counts = {}
    for shard in shards:
        path = folder(output) / f"{key_of(shard.name)}.taken"
        size = measured[shard.name].documents
        counts[shard.name] = _array_on_disk(path, size, int(role_of(shard) == HUMAN))
    wanted: dict[str, NDArray[np.uint8]] = {}
    draws = None
    humans = [shard for shard in shards if role_of(shard) == HUMAN]
    if mix.weights is not None:
        draws = round(mix.weights.upsampling * sum(m.documents for m in measured.values()))
        wanted = _repeats(mix.weights, mix.seed, output, shards, draws)
        for shard in humans:
            counts[shard.name][:] = wanted[shard.name]
    human = sum(units_of(output, shard.name, counts[shard.name]) for shard in humans)
    synthetic = [shard for shard in shards if role_of(shard) == SYNTHETIC]
    numbers: dict[str, int] = {}
    documents = []
    for shard in synthetic:
        sources = _source_numbers(measured[shard.name], numbers)
        ranks = ranks_of(output, shard.name) if mix.select is MixSelect.NOVEL else None
        rows = rows_of(output, shard.name)
        documents.append(
            _Documents(shard.name, mix.seed, rows, sources, ranks, wanted.get(shard.name))
        )
    cap = UNLIMITED if mix.max_per_source is None else mix.max_per_source
    left = np.full(max(1, len(numbers)), cap, np.int64)
    taken = [counts[shard.name] for shard in synthetic]
    select(documents, taken, allowance(human, mix.min_human), left)
    return Counts(counts, _capped(documents, len(numbers), mix.max_per_source), draws)


def units_of(output: Path, name: str, counts: NDArray[np.uint8]) -> int:
    """The units that a shard has in the mix."""
    rows = rows_of(output, name)
    total = 0
    for start in range(0, len(rows), CHUNK):
        units = np.maximum(rows["units"][start : start + CHUNK], 0)
        total += int((units * counts[start : start + CHUNK]).sum())
    return total


@dataclass(frozen=True, slots=True)
class _Documents:
    """The synthetic documents of a shard, for `selection.select`."""

    shard: str
    seed: int
    rows: NDArray[Any]
    sources: NDArray[np.int64]
    ranks: NDArray[np.uint64] | None
    wanted: NDArray[np.uint8] | None

    def __len__(self) -> int:
        return len(self.rows)

    def chunk(self, start: int, stop: int) -> Chunk:
        rows = self.rows[start:stop]
        units = rows["units"].astype(np.int64)
        if self.ranks is None:
            order = record_keys(self.seed, self.shard, rows["record"])
        else:
            order = np.asarray(self.ranks[start:stop])
            units[order == ngrams.NOBODY] = 0
        wanted = np.ones(len(rows), np.int64)
        if self.wanted is not None:
            wanted = self.wanted[start:stop].astype(np.int64)
        return Chunk(order, units, self.sources[rows["source"]], wanted)


def _source_numbers(measured: Measured, numbers: dict[str, int]) -> NDArray[np.int64]:
    """The numbers of a shard's sources among all; a source that is new gets the next one."""
    own = [numbers.setdefault(name, len(numbers)) for name in measured.sources]
    return np.array(own or [0], np.int64)


def _capped(documents: Sequence[_Documents], sources: int, cap: int | None) -> int:
    """How many sources have more than the cap."""
    if cap is None:
        return 0
    units = np.zeros(max(1, sources), np.int64)
    for shard in documents:
        for rows in _chunks(shard.rows):
            np.add.at(units, shard.sources[rows["source"]], np.maximum(rows["units"], 0))
    return int((units > cap).sum())


def _repeats(
    by: MixWeights, seed: int, output: Path, shards: Sequence[Shard], draws: int
) -> dict[str, NDArray[np.uint8]]:
    """How often each document would be drawn, by shard, if `draws` are to be made."""

    def weighed() -> Iterator[NDArray[np.int64]]:
        for shard in shards:
            human = role_of(shard) == HUMAN
            for rows in _chunks(rows_of(output, shard.name)):
                yield weights.weigh(rows["score"], by, human=human)

    rate = weights.rate(weighed, draws, by.max_repeats)
    wanted = {}
    for shard in shards:
        human = role_of(shard) == HUMAN
        rows = rows_of(output, shard.name)
        path = folder(output) / f"{key_of(shard.name)}.wanted"
        wanted[shard.name] = drawn = _array_on_disk(path, len(rows), 0)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            drawn[start : start + CHUNK] = weights.repeats(
                weights.weigh(part["score"], by, human=human), rate,
                record_keys(seed, shard.name, part["record"]), by.max_repeats, human=human,
            )  # fmt: skip
    return wanted


def _chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _array_on_disk(path: Path, size: int, value: int) -> NDArray[np.uint8]:
    """An array of `size` small numbers, all `value`, in a new file: memory for none of it."""
    with naming(path):
        if not size:
            path.write_bytes(b"")
            return np.empty(0, np.uint8)
        array = np.memmap(path, np.uint8, "w+", shape=(size,))
    if value:
        array[:] = value
    return array
