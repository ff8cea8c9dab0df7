"""How much synthetic text the floor allows, and which documents are taken.

Documents are looked at in the order of their ranks, and each is taken that still fits. What was
taken depends on seed, names and content of the shards alone: not on their order, on workers or on
blocks, which only bound the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels import selection
from lowbg.kernels.hashes import splitmix64

BLOCK: Final = 4 << 20
"""How many documents are sorted at once."""

CHUNK: Final = 1 << 20
"""How many documents of a shard are looked at at once."""

UNLIMITED: Final = (1 << 63) - 1

_BIN_BITS = 16


def allowance(human: int, min_human: Fraction) -> int:
    """The most synthetic units beside `human` units: human / (human + synthetic) ≥ `min_human`."""
    if min_human == 0:
        return UNLIMITED
    of = min_human
    return min(UNLIMITED, human * (of.denominator - of.numerator) // of.numerator)


def floor_holds(human: int, synthetic: int, min_human: Fraction) -> bool:
    """Whether the human share is at least `min_human`; an empty mix has no share to fall short."""
    return human * min_human.denominator >= min_human.numerator * (human + synthetic)


def shard_key(seed: int, shard: str) -> int:
    """64 bits from the seed and the shard's name."""
    name = shard.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "little")


def record_keys(seed: int, shard: str, records: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each record, by seed, shard and position alone: the order of a draw.

    Records of one shard never share one.
    """
    return splitmix64(np.asarray(records, np.uint64) + np.uint64(shard_key(seed, shard)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive documents of a shard, one entry each.

    `ranks` (uint64) is their order; `units` their size, 0 or less where a document can't be taken;
    `sources` their source's number among all; `wanted` how many times each is wanted at most.
    """

    ranks: NDArray[np.uint64]
    units: NDArray[np.int64]
    sources: NDArray[np.int64]
    wanted: NDArray[np.int64]


class Candidates(Protocol):
    """The documents of a shard that may be taken."""

    def __len__(self) -> int: ...

    def chunk(self, start: int, stop: int) -> Chunk:
        """The documents `start` … `stop` − 1."""
        ...


def select(
    shards: Sequence[Candidates],
    taken: Sequence[NDArray[np.uint8]],
    left: int,
    left_by_source: NDArray[np.int64],
    block: int = BLOCK,
) -> int:
    """Notes in `taken`, a document an entry, how many times each is taken; returns units left.

    `left` units may be taken in all, and `left_by_source` of each source: it is lowered as they
    are. A document is taken as often as it is wanted and fits, or not at all.
    """
    for low, high in _ranges(shards, block):
        found = [_within(shard, low, high) for shard in shards]
        ranks = np.concatenate([chunk.ranks for _, chunk in found])
        # Stable, so that equal ranks stand in the order of shards and records.
        order = np.argsort(ranks, kind="stable")
        counts = np.zeros(len(order), np.uint8)
        left = int(
            selection.take(
                order,
                np.concatenate([chunk.units for _, chunk in found]),
                np.concatenate([chunk.sources for _, chunk in found]),
                np.concatenate([chunk.wanted for _, chunk in found]),
                left_by_source,
                left,
                counts,
            )
        )
        start = 0
        for (places, _), into in zip(found, taken, strict=True):
            into[places] = counts[start : start + len(places)]
            start += len(places)
    return left


def _ranges(shards: Sequence[Candidates], block: int) -> list[tuple[int, int]]:
    """Ranges of bins of ranks, each with about `block` documents at most, in their order.

    Documents that can't be taken don't count: those that add nothing share one rank.
    """
    bins = np.zeros(1 << _BIN_BITS, np.int64)
    for shard in shards:
        for start in range(0, len(shard), CHUNK):
            chunk = shard.chunk(start, min(start + CHUNK, len(shard)))
            ranks = chunk.ranks[chunk.units > 0]
            bins += np.bincount(_bins(ranks), minlength=1 << _BIN_BITS)
    ranges: list[tuple[int, int]] = []
    low, held = 0, 0
    for at in np.flatnonzero(bins).tolist():
        if held and held + bins[at] > block:
            ranges.append((low, at))
            low, held = at, 0
        held += int(bins[at])
    return [*ranges, (low, 1 << _BIN_BITS)] if held else ranges


def _bins(ranks: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (ranks >> np.uint64(64 - _BIN_BITS)).astype(np.int64)


def _within(shard: Candidates, low: int, high: int) -> tuple[NDArray[np.int64], Chunk]:
    """The documents of a shard to take whose bins are `low` … `high` − 1, and their places."""
    places: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    parts: list[Chunk] = [Chunk(*(np.empty(0, kind) for kind in ("u8", "i8", "i8", "i8")))]
    for start in range(0, len(shard), CHUNK):
        chunk = shard.chunk(start, min(start + CHUNK, len(shard)))
        bins = _bins(chunk.ranks)
        inside = np.flatnonzero((bins >= low) & (bins < high) & (chunk.units > 0))
        places.append(start + inside)
        parts.append(
            Chunk(
                chunk.ranks[inside], chunk.units[inside], chunk.sources[inside],
                chunk.wanted[inside],
            )
        )  # fmt: skip
    return np.concatenate(places), Chunk(
        np.concatenate([part.ranks for part in parts]),
        np.concatenate([part.units for part in parts]),
        np.concatenate([part.sources for part in parts]),
        np.concatenate([part.wanted for part in parts]),
    )
