"""The random numbers by which documents are drawn: those of a shard, by nothing but their place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.hashes import GOLDEN, splitmix64


def named(seed: int, shard: str) -> bytes:
    """What a shard's numbers start from, to be hashed."""
    return f"{seed}\0{shard}".encode("utf-8", "surrogatepass")


def document_keys(start: bytes, places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Numbers of splitmix64 (uint64), uniform over 64 bits, at the `places` of a sequence.

    The sequence starts from the first 8 bytes of the digest `start`. Equal places get equal
    numbers, so a sample by the smallest ones is the same in any order of shards and batches.
    """
    first = np.uint64(int.from_bytes(start[:8], "little"))
    return splitmix64(first + places.astype(np.uint64) * GOLDEN)
