"""Which synthetic documents add n-grams that the human text has few of.

Word bigrams are hashed into `BUCKETS` buckets, so that memory is bounded (hashed n-grams describe
a corpus well enough to select by: Xie et al. 2023, DSIR). A bucket is thin where human text has
fewer than `THIN` of its bigrams. Of all synthetic documents that have a bigram only one is credited
with it, the one with the smallest key: of copies the first one adds something, the others nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.hashes import extend_each
from lowbg.storage.files import naming
from lowbg.text.tokens import Tokens

BITS: Final = 22
BUCKETS: Final = 1 << BITS
THIN: Final = 5
MANY: Final = 255
"""Counts end here: nothing asks for more than `THIN`, and a byte a bucket holds it."""

NOBODY: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
"""The owner of a bucket that no synthetic document has."""

_LEVELS = 256


def bigrams(tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bucket of every bigram within a document, and the document it is in."""
    words = tokens.words
    if len(words) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    hashed = extend_each(words[:-1], words[1:])
    document = np.repeat(np.arange(len(tokens)), tokens.words_per_document)
    inside = document[:-1] == document[1:]
    return (hashed[inside] >> np.uint64(64 - BITS)).astype(np.int64), document[:-1][inside]


def add(counts: NDArray[np.uint8], held: NDArray[Any], more: NDArray[Any]) -> None:
    """Adds `more` bigrams of the (distinct) buckets `held`; what is above `MANY` stays there."""
    counts[held] = np.minimum(counts[held].astype(np.int64) + more, MANY)


class Grams:
    """The bigrams of a shard by bucket: how many, and for synthetic text which key owns each."""

    def __init__(self, *, own_keys: bool) -> None:
        self.counts = np.zeros(BUCKETS, np.uint8)
        self.owners = np.full(BUCKETS, NOBODY, np.uint64) if own_keys else None

    def add(self, tokens: Tokens, keys: NDArray[np.uint64]) -> None:
        """Counts the documents of a batch; `keys` has one entry a document."""
        buckets, documents = bigrams(tokens)
        add(self.counts, *np.unique(buckets, return_counts=True))
        if self.owners is not None:
            np.minimum.at(self.owners, buckets, keys[documents])

    def save(self, folder: Path, key: str) -> None:
        """Writes the buckets that hold something."""
        held = np.flatnonzero(self.counts)
        arrays: dict[str, NDArray[Any]] = {"held": held.astype(np.int32)}
        arrays["counts"] = self.counts[held]
        if self.owners is not None:
            arrays["owners"] = self.owners[held]
        path = folder / f"{key}.grams.npz"
        with naming(path), path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Tables:
    """By bucket: bigrams of human and of synthetic text, and the key that owns it."""

    human: NDArray[np.uint8]
    synthetic: NDArray[np.uint8]
    owners: NDArray[np.uint64]


def gather(folder: Path, human: Iterable[str], synthetic: Iterable[str]) -> Tables:
    """The sums over shards, given by their keys; the order doesn't matter."""
    tables = Tables(
        np.zeros(BUCKETS, np.uint8), np.zeros(BUCKETS, np.uint8), np.full(BUCKETS, NOBODY, "u8")
    )
    for key in human:
        with np.load(folder / f"{key}.grams.npz") as grams:
            add(tables.human, grams["held"], grams["counts"])
    for key in synthetic:
        with np.load(folder / f"{key}.grams.npz") as grams:
            held = grams["held"]
            add(tables.synthetic, held, grams["counts"])
            tables.owners[held] = np.minimum(tables.owners[held], grams["owners"])
    return tables


def save_owners(folder: Path, tables: Tables) -> None:
    """Writes what `added` needs: who owns each thin bucket."""
    path = folder / "owners.npy"
    with naming(path):
        np.save(path, np.where(tables.human < THIN, tables.owners, NOBODY))


def load_owners(folder: Path) -> NDArray[np.uint64]:
    """The key that owns each thin bucket, `NOBODY` elsewhere; workers share the file's pages."""
    owners: NDArray[np.uint64] = np.load(folder / "owners.npy", mmap_mode="r")
    return owners


def added(
    tokens: Tokens, keys: NDArray[np.uint64], owners: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """How many thin buckets each document is credited with."""
    buckets, documents = bigrams(tokens)
    credited = owners[buckets] == keys[documents]
    # A bucket has one owner, so that its first bigram stands for all of them.
    _, first = np.unique(buckets[credited], return_index=True)
    return np.bincount(documents[credited][first], minlength=len(tokens))


def ranks(
    novelty: NDArray[np.int64], units: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The order in which documents are taken: most thin buckets a unit first, then by key.

    Densities are compared in steps of 1/8 of a power of two. A document that adds nothing, or has
    no units, gets `NOBODY`: it isn't taken.
    """
    density = (novelty << 16) // np.maximum(units, 1)
    density = np.clip(density, 1, (1 << 32) - 1)
    _, exponents = np.frexp(density.astype(np.float64))
    exponents = exponents.astype(np.int64) - 1
    fraction = ((density << 3) >> exponents) & 7
    level = (_LEVELS - 1) - (exponents * 8 + fraction)
    order = (level.astype(np.uint64) << np.uint64(56)) | (keys >> np.uint64(8))
    return np.where((novelty > 0) & (units > 0), order, NOBODY)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of `buckets`, which hold a bigram of any input, hold `THIN` bigrams or more.

    `human` by human text alone, `mixed` by the mix, `everything` by all inputs: what could be had.
    """

    buckets: int
    human: int
    mixed: int
    everything: int


def coverage(
    human: NDArray[np.uint8], synthetic: NDArray[np.uint8], taken: NDArray[np.uint8]
) -> Coverage:
    """The coverage, from the bigrams by bucket: of both inputs, and of what was `taken`."""
    together = human.astype(np.uint16) + synthetic
    return Coverage(
        buckets=int((together > 0).sum()),
        human=int((human >= THIN).sum()),
        mixed=int((human.astype(np.uint16) + taken >= THIN).sum()),
        everything=int((together >= THIN).sum()),
    )
