"""Hash tables of n-grams: 16 bits of fingerprint and two bytes of payload a slot.

An n-gram is known by its 64-bit hash alone (`hashes.extend`). A look-up touches one bucket of
four slots; an n-gram that isn't in the table is taken for one that is about once in 8,000
look-ups.

A language has two tables that are asked for nearly the same n-grams. `paired` lays them as one, a
bucket of each side by side, so that both wait for one cache line. That wait is what a look-up
costs, and the branch that guesses whether the n-gram is there: so the loops over many ask for
lines ahead (`fetch_ahead`) and branch on nothing that is found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from lowbg.kernels.compiler import part, seldom
from lowbg.kernels.vectors import address, bits_of, every, lowest, prefetch, vector_at

BUCKET = 4
"""Slots a bucket."""

_FINGERPRINT_SHIFT = np.uint64(48)
_ONE = np.uint32(1)


@part
def find(slots: NDArray[np.uint32], h: np.uint64) -> Any:
    """The place of the slot that holds the hash `h`, or −1 where none does."""
    fingerprint = np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE
    mask = np.uint64(len(slots) // 4 - 1)
    at = np.int64(h & mask) * 4
    for k in range(4):
        if (slots[at + k] >> 16) == fingerprint:
            return at + k
    return -1


@part
def probe(slots: NDArray[np.uint32], h: np.uint64) -> Any:
    """The two payload bytes stored under the hash `h`, or −1 where there are none."""
    at = find(slots, h)
    return np.int64(slots[at] & np.uint32(0xFFFF)) if at >= 0 else -1


@seldom
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


@seldom
def _grow(
    slots: NDArray[np.uint32],
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    hashes: NDArray[np.uint64],
    own_one: NDArray[np.float64],
    own_two: NDArray[np.float64],
    spread_one: float,
    spread_two: float,
) -> int:
    lost = 0
    mask = np.uint64(len(slots) // 4 - 1)
    for i in range(len(hashes)):
        h = hashes[i]
        at = find(slots, h)
        if at >= 0:
            one[at] += own_one[i]
            two[at] += own_two[i]
            continue
        first = np.int64(h & mask) * 4
        best, least = 0, np.inf
        for k in range(4):
            size = abs(one[first + k]) / spread_one + abs(two[first + k]) / spread_two
            if size < least:
                best, least = k, size
        if least < abs(own_one[i]) / spread_one + abs(own_two[i]) / spread_two:
            slots[first + best] = (np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE) << np.uint32(16)
            one[first + best] = own_one[i]
            two[first + best] = own_two[i]
        else:
            lost += 1
    return lost


def grow(
    slots: NDArray[np.uint32],
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    hashes: NDArray[np.uint64],
    own_one: NDArray[np.float64],
    own_two: NDArray[np.float64],
    spread_one: float,
    spread_two: float,
) -> int:
    """Adds n-grams with two weights each to a table, whose weights are `one` and `two` by slot, all
    three in place; how many found no place.

    Weights of an n-gram that is there add up. Another takes a free slot of its bucket, else that of
    the lightest by |weight| / spread, if it is heavier itself. The payloads are left to be written.
    """
    return int(_grow(slots, one, two, hashes, own_one, own_two, spread_one, spread_two))


def paired(
    first: NDArray[np.uint32] | None, second: NDArray[np.uint32] | None
) -> NDArray[np.uint32]:
    """Two tables as one: buckets of eight slots, four of `first`, then four of `second`.

    The smaller table is repeated until it is as large as the other, a missing one is empty: what
    is found is the same. A bucket begins at a multiple of its size and so lies in one cache line.
    """
    halves = [half.reshape(-1, BUCKET) for half in (first, second) if half is not None]
    buckets = max((len(half) for half in halves), default=1)
    size = 2 * BUCKET * buckets
    room = np.zeros(size + 2 * BUCKET, np.uint32)
    begin = -room.ctypes.data % (2 * BUCKET * room.itemsize) // room.itemsize
    pairs = room[begin : begin + size]
    for k, half in enumerate((first, second)):
        if half is not None:
            repeated = pairs.reshape(-1, half.size // BUCKET, 2, BUCKET)
            repeated[:, :, k] = half.reshape(-1, BUCKET)
    return pairs


def _comparison(count: int) -> Any:
    """Compares `count` slots at once: bit k of its result is set where slot k has the fingerprint.

    All in vector registers, as LLVM lays it out for the processor at hand: a load, a shift, a
    comparison. In scalar code it would be four or five instructions a slot.
    """
    vector = ir.VectorType(ir.IntType(32), count)

    def compare(typing_context: Any, slots: Any, index: Any, fingerprint: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            bucket = vector_at(builder, address(context, builder, signature, arguments), vector)
            undefined = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(undefined, arguments[2], ir.IntType(32)(0))
            wanted = builder.shuffle_vector(one, undefined, every(vector, 0))
            stored = builder.lshr(bucket, every(vector, 16))
            return bits_of(builder, builder.icmp_unsigned("==", stored, wanted))

        return types.uint64(slots, index, types.uint32), generate

    return intrinsic(compare)


_compare_four: Any = _comparison(4)
_compare_eight: Any = _comparison(8)


@part
def bucket_of(pairs: NDArray[np.uint32], h: np.uint64) -> Any:
    """Which bucket of a table made by `paired` would hold the hash `h`."""
    return h & np.uint64(len(pairs) // 8 - 1)


@part
def fetch_ahead(pairs: NDArray[np.uint32], h: np.uint64) -> None:
    """Asks for the cache line of the bucket that would hold the hash `h`."""
    prefetch(pairs, bucket_of(pairs, h) << np.uint64(3))


@part
def match_four(pairs: NDArray[np.uint32], at: np.uint64, h: np.uint64) -> Any:
    """Which of the four slots from `at` on hold the hash `h`: bit k stands for slot `at` + k."""
    return _compare_four(pairs, at, np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE)


@part
def match_eight(pairs: NDArray[np.uint32], at: np.uint64, h: np.uint64) -> Any:
    """`match_four` of both tables at once: eight slots, eight bits."""
    return _compare_eight(pairs, at, np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE)


@part
def lowest_match(matches: np.uint64) -> Any:
    """The slot, 0 … 3, of the lowest of four match bits; 3 where there is none."""
    return np.uint64(lowest(matches | np.uint64(8)))


@seldom
def holds(
    table: NDArray[np.uint32], hashes: NDArray[np.uint64], ranks: NDArray[np.uint16]
) -> NDArray[np.bool_]:
    """Which of the hashes are in the table with their payload."""
    out = np.zeros(len(hashes), np.bool_)
    for i in range(len(hashes)):
        out[i] = probe(table, hashes[i]) == np.int64(ranks[i])
    return out
