"""Hash tables of n-grams: 16 bits of fingerprint and two bytes of payload a slot.

An n-gram is known by its 64-bit hash alone (`tokens.extend`). A look-up touches one bucket of
four slots, which is a quarter of a cache line; an n-gram that isn't in the table is taken for
one that is about once in 16,000 look-ups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

BUCKET = 4
"""Slots a bucket."""

_FINGERPRINT_SHIFT = np.uint64(48)
_ONE = np.uint32(1)


@njit(cache=True, nogil=True, inline="always")
def probe(slots: NDArray[np.uint32], h: np.uint64) -> Any:
    """The two payload bytes stored under the hash `h`, or −1 where there are none."""
    fingerprint = np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE
    mask = np.uint64(len(slots) // 4 - 1)
    at = np.int64(h & mask) * 4
    for k in range(4):
        slot = slots[at + k]
        if (slot >> 16) == fingerprint:
            return np.int64(slot & np.uint32(0xFFFF))
    return -1


@njit(cache=True, nogil=True)
def _fill(
    slots: NDArray[np.uint32], hashes: NDArray[np.uint64], payloads: NDArray[np.uint16]
) -> int:
    mask = np.uint64(len(slots) // 4 - 1)
    lost = 0
    for i in range(len(hashes)):
        h = hashes[i]
        fingerprint = np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE
        at = np.int64(h & mask) * 4
        placed = False
        for k in range(4):
            slot = slots[at + k]
            if slot == 0:
                slots[at + k] = (fingerprint << np.uint32(16)) | np.uint32(payloads[i])
                placed = True
                break
            if (slot >> 16) == fingerprint:
                break
        if not placed:
            lost += 1
    return lost


def build(
    hashes: NDArray[np.uint64], payloads: NDArray[np.uint16], slots: int
) -> tuple[NDArray[np.uint32], int]:
    """A table of `slots` slots (a power of two) and how many entries found no place in it.

    Entries come in order of importance: where a bucket is full, or two share a fingerprint in
    one bucket, the later one is lost.
    """
    if slots < BUCKET or slots & (slots - 1):
        raise ValueError(f"slots is {slots}; it must be a power of two, at least {BUCKET}")
    if len(hashes) != len(payloads):
        raise ValueError(f"{len(hashes)} hashes, {len(payloads)} payloads")
    table = np.zeros(slots, np.uint32)
    lost = _fill(table, hashes, payloads)
    return table, int(lost)
