"""Tables that grow on others: what is in both adds up, and little is lost."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lowbg.jobs.learn.grown import Base, grown_table
from lowbg.jobs.train.log_odds import Weights, make_table, quantise
from lowbg.jobs.train.windows import Vocabulary
from lowbg.kernels.tables import build, grow

HASHES = (np.arange(1, 40_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)


def read(
    table: NDArray[np.uint32], scales: tuple[float, float], hashes: NDArray[np.uint64]
) -> dict[int, tuple[float, float]]:
    """Both weights of the n-grams that a table has, by their number."""
    found = {}
    for i, h in enumerate(hashes.tolist()):
        at = (h & (len(table) // 4 - 1)) * 4
        for slot in table[at : at + 4].tolist():
            if slot >> 16 == (h >> 48) | 1:
                root = (slot & 0xFF) - 128
                found[i] = ((slot >> 8 & 0xFF) - 128) * scales[0], root * abs(root) * scales[1]
    return found


def vocabulary(hashes: NDArray[np.uint64]) -> Vocabulary:
    n = len(hashes)
    return Vocabulary(hashes, np.ones(n, np.int8), np.full(n, 10, np.int64))


def base(hashes: NDArray[np.uint64], weights: Weights, slots: int) -> Base:
    payload, scales = quantise(weights)
    table, _ = build(hashes, payload, slots)
    there = table != 0
    stored = (table & np.uint32(0xFFFF)).astype(np.int64)
    one = np.where(there, (stored >> 8) - 128, 0)
    two = np.where(there, (stored & 0xFF) - 128, 0)
    read_back = Weights(one * scales[0], two * np.abs(two) * scales[1])
    return Base("0" * 64, table, read_back, Weights(np.zeros(1), np.zeros(1)))


def test_weights_of_both_add_up() -> None:
    random = np.random.default_rng(1)
    old, new = HASHES[:3_000], HASHES[2_000:5_000]
    first, second = (Weights(random.normal(0, 1, 3_000), random.normal(0, 1, 3_000)) for _ in "ab")
    under = base(old, first, 1 << 13)
    table, scales, lost = grown_table(under, vocabulary(new), second)
    found = read(table, scales, HASHES[:5_000])
    assert lost < 150
    assert len(found) > 4_700
    nb, lr = np.zeros(5_000), np.zeros(5_000)
    nb[:3_000] += first.naive_bayes
    nb[2_000:] += second.naive_bayes
    lr[:3_000] += first.logistic
    lr[2_000:] += second.logistic
    missing = len(old) - len(read(under.slots, scales, old))
    wrong = [i for i, (one, _) in found.items() if abs(one - nb[i]) > 0.05]
    assert len(wrong) <= missing  # an n-gram that the first table had lost
    roots = [i for i, (_, two) in found.items() if abs(two - lr[i]) > 0.15]
    assert len(roots) <= missing


def test_the_heavier_of_two_takes_a_place() -> None:
    hashes = np.array([(k << 48) | 0 for k in (3, 5, 7, 9, 11, 13)], np.uint64)
    slots = np.zeros(4, np.uint32)
    one, two = np.zeros(4), np.zeros(4)
    lost = grow(slots, one, two, hashes[:4], np.array([4.0, -0.1, 3.0, 2.0]), np.zeros(4), 1.0, 1.0)
    assert lost == 0
    assert sorted(one.tolist()) == [-0.1, 2.0, 3.0, 4.0]
    lost = grow(slots, one, two, hashes[4:], np.array([0.05, -0.5]), np.zeros(2), 1.0, 1.0)
    assert lost == 1
    assert sorted(one.tolist()) == [-0.5, 2.0, 3.0, 4.0]
    assert len(np.unique(slots)) == 4


def test_an_empty_table_grows_as_one_is_made() -> None:
    random = np.random.default_rng(2)
    weights = Weights(random.normal(0, 1, 500), random.normal(0, 1, 500))
    own = vocabulary(HASHES[:500])
    nothing = Weights(np.zeros(1 << 12), np.zeros(1 << 12))
    under = Base("", np.zeros(1 << 12, np.uint32), nothing, nothing)
    grown, scales, _ = grown_table(under, own, weights)
    made, made_scales, _ = make_table(own, weights, 1 << 12)
    assert scales == pytest.approx(made_scales)
    one, other = read(grown, scales, own.hashes), read(made, made_scales, own.hashes)
    assert one.keys() == other.keys()
    assert np.array([*one.values()]) == pytest.approx(np.array([*other.values()]))
