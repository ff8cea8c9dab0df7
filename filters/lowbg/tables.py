"""Hash tables of n-grams: 16 bits of fingerprint and two bytes of payload a slot.

An n-gram is known by its 64-bit hash alone (`tokens.extend`). A look-up touches one bucket of
four slots, which is a quarter of a cache line; an n-gram that isn't in the table is taken for
one that is about once in 16,000 look-ups.

What a look-up costs is the wait for its cache line, and the branch that guesses whether the
n-gram is there. So the kernels that read many (`locate`) ask for a block's lines first
(`fetch_ahead`) and branch on nothing that is found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from lowbg.kernels import njit

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


@njit(cache=True, nogil=True, inline="always")
def locate(slots: NDArray[np.uint32], h: np.uint64) -> Any:
    """`probe` without a branch: the place of the slot that holds the hash `h`, its payload, and 1.

    Where no slot holds it: any place of its bucket, 0 and 0.
    """
    fingerprint = np.uint32(h >> _FINGERPRINT_SHIFT) | _ONE
    # Unsigned, so that no index is taken for one that counts from the end.
    at = (h & np.uint64(len(slots) // 4 - 1)) << np.uint64(2)
    first = slots[at]
    second = slots[at + np.uint64(1)]
    third = slots[at + np.uint64(2)]
    fourth = slots[at + np.uint64(3)]
    is_first = np.uint32((first >> np.uint32(16)) == fingerprint)
    is_second = np.uint32((second >> np.uint32(16)) == fingerprint)
    is_third = np.uint32((third >> np.uint32(16)) == fingerprint)
    is_fourth = np.uint32((fourth >> np.uint32(16)) == fingerprint)
    slot = first * is_first | second * is_second | third * is_third | fourth * is_fourth
    place = at + np.uint64(is_second + np.uint32(2) * is_third + np.uint32(3) * is_fourth)
    hit = np.int64(is_first | is_second | is_third | is_fourth)
    return place, np.int64(slot & np.uint32(0xFFFF)), hit


def _prefetch_line(typing_context: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of `array[index]`; changes nothing (LLVM's llvm.prefetch)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        wanted = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], wanted)
        # To be read (0), soon and often (3), as data (1).
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


_prefetch: Any = intrinsic(_prefetch_line)


@njit(cache=True, nogil=True, inline="always")
def fetch_ahead(slots: NDArray[np.uint32], h: np.uint64) -> None:
    """Asks for the cache line that `locate` will read for the hash `h`."""
    _prefetch(slots, (h & np.uint64(len(slots) // 4 - 1)) << np.uint64(2))


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
