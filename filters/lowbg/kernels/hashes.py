"""The hashes by which words and n-grams are known."""

from __future__ import annotations

import numpy as np

from lowbg.kernels.compiler import inlined

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S29 = np.uint64(29)
_S32 = np.uint64(32)


@inlined
def mix(h: np.uint64) -> np.uint64:
    """A bijective scramble of 64 bits (the finaliser of splitmix64, shortened by one shift)."""
    h = (h ^ (h >> _S32)) * MIX_1
    h = (h ^ (h >> _S29)) * MIX_2
    return h ^ (h >> _S32)


@inlined
def extend(context: np.uint64, word: np.uint64) -> np.uint64:
    """Hash of the n-gram that has `context` as its head and `word` as its last word."""
    h = (context * GOLDEN) ^ word
    return (h ^ (h >> _S29)) * MIX_1
