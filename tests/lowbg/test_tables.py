"""The fingerprint tables against a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from lowbg.tables import BUCKET, build, fetch_ahead, locate, probe


@njit
def _locate(table: NDArray[np.uint32], h: np.uint64) -> Any:
    fetch_ahead(table, h)
    return locate(table, h)


@given(
    st.dictionaries(st.integers(1, 2**64 - 1), st.integers(0, 65535), max_size=40),
    st.lists(st.integers(0, 2**64 - 1), max_size=20),
)
@settings(deadline=None)
def test_finds_what_was_stored(entries: dict[int, int], others: list[int]) -> None:
    hashes = np.array(list(entries), np.uint64)
    payloads = np.array(list(entries.values()), np.uint16)
    table, lost = build(hashes, payloads, 256)
    placed: dict[tuple[int, int], int] = {}
    size: dict[int, int] = {}
    for h, payload in entries.items():
        bucket, fingerprint = h & (256 // BUCKET - 1), (h >> 48) | 1
        if (bucket, fingerprint) not in placed and size.get(bucket, 0) < BUCKET:
            placed[bucket, fingerprint] = payload
            size[bucket] = size.get(bucket, 0) + 1
    assert lost == len(entries) - len(placed)
    for h in [*entries, *others]:
        key = (h & (256 // BUCKET - 1), (h >> 48) | 1)
        assert probe(table, np.uint64(h)) == placed.get(key, -1)
        place, payload, hit = _locate(table, np.uint64(h))
        assert (payload, hit) == ((placed[key], 1) if key in placed else (0, 0))
        assert place // BUCKET == key[0]
        assert not hit or table[place] == key[1] << 16 | payload


def test_an_empty_table_holds_nothing() -> None:
    table, lost = build(np.empty(0, np.uint64), np.empty(0, np.uint16), BUCKET)
    assert lost == 0
    assert probe(table, np.uint64(0)) == -1


def test_a_full_bucket_keeps_the_first() -> None:
    hashes = np.array([(k << 49) | 1 for k in range(1, 7)], np.uint64)
    table, lost = build(hashes, np.arange(6, dtype=np.uint16), BUCKET)
    assert lost == 2
    assert [probe(table, h) for h in hashes] == [0, 1, 2, 3, -1, -1]


@pytest.mark.parametrize("slots", [0, 1, 2, 3, 5, 6, 12])
def test_slots_are_a_power_of_two(slots: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        build(np.empty(0, np.uint64), np.empty(0, np.uint16), slots)


def test_a_misfit_of_payloads_is_an_error() -> None:
    with pytest.raises(ValueError, match="payloads"):
        build(np.ones(2, np.uint64), np.ones(1, np.uint16), BUCKET)
