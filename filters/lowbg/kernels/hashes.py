"""The hashes by which words and n-grams are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import part

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S29 = np.uint64(29)
_S32 = np.uint64(32)


@part
def mix(h: np.uint64) -> np.uint64:
    """A bijective scramble of 64 bits (the finaliser of splitmix64, shortened by one shift)."""
    h = (h ^ (h >> _S32)) * MIX_1
    h = (h ^ (h >> _S29)) * MIX_2
    return h ^ (h >> _S32)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix` of every value, outside of kernels: there a call would compile it, at every start."""
    kernel: Any = mix
    found: NDArray[np.uint64] = kernel.py_func(values)
    return found


@part
def extend(context: np.uint64, word: np.uint64) -> np.uint64:
    """Hash of the n-gram that has `context` as its head and `word` as its last word."""
    h = (context * GOLDEN) ^ word
    return (h ^ (h >> _S29)) * MIX_1


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijective scramble of 64 bits, array by array: the finaliser of splitmix64.

    Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    values = (values ^ (values >> np.uint64(30))) * MIX_1
    values = (values ^ (values >> np.uint64(27))) * MIX_2
    return values ^ (values >> np.uint64(31))


def extend_each(contexts: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`extend`, array by array."""
    hashes = (contexts * GOLDEN) ^ words
    return (hashes ^ (hashes >> _S29)) * MIX_1
