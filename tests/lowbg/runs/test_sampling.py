"""The numbers that samples and mixes are drawn by: pinned, because stored ones depend on them."""

from __future__ import annotations

import numpy as np

from lowbg.jobs.drift.sampling import priorities
from lowbg.jobs.mix.selection import record_keys
from lowbg.kernels.hashes import extend, extend_each, splitmix64
from lowbg.runs.drawing import keys_of

PLACES = np.array([0, 1])


def test_the_draws_of_a_shard_are_pinned() -> None:
    assert keys_of(3, "a", PLACES).tolist() == [0xEEA172BA4A4D917C, 0x6E10450CC102340B]
    assert priorities(3, "a", PLACES).tolist() == [0x92C3F1F635CE2E87, 0x3BB1117E6431AFF0]
    assert record_keys(3, "a", PLACES).tolist() == [0x591B6BC1EEBF5CD, 0x2C601E2BD5C0DE0D]


def test_names_that_are_no_text_have_draws_too() -> None:
    assert len(keys_of(3, "\udc80", PLACES)) == len(priorities(3, "\udc80", PLACES)) == 2


def test_the_finaliser_is_that_of_splitmix64() -> None:
    found = splitmix64(np.array([1, 2], np.uint64))
    assert found.tolist() == [0x5692161D100B05E5, 0xDBD238973A2B148A]


def test_arrays_of_ngrams_have_the_hashes_that_kernels_give() -> None:
    random = np.random.default_rng(1)
    contexts, words = random.integers(0, 2**64, (2, 50), np.uint64)
    each = [int(extend(c, w)) for c, w in zip(contexts, words, strict=True)]
    assert extend_each(contexts, words).tolist() == each
