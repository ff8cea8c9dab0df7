"""The fingerprint tables against a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from lowbg.kernels.tables import (
    BUCKET,
    bucket_of,
    build,
    fetch_ahead,
    find,
    lowest_match,
    match_eight,
    match_four,
    paired,
    probe,
)


@njit
def _find(table: NDArray[np.uint32], h: np.uint64) -> Any:
    return find(table, h)


@njit
def _match(pairs: NDArray[np.uint32], h: np.uint64) -> Any:
    fetch_ahead(pairs, h)
    at = np.uint64(8) * bucket_of(pairs, h)
    four = match_four(pairs, at, h), match_four(pairs, at + np.uint64(4), h)
    return at, match_eight(pairs, at, h), four, lowest_match(four[0]), lowest_match(four[1])


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
        place = _find(table, np.uint64(h))
        if key in placed:
            assert place // BUCKET == key[0]
            assert table[place] == key[1] << 16 | placed[key]
        else:
            assert place == -1


ENTRIES = st.dictionaries(st.integers(1, 2**64 - 1), st.integers(0, 65535), max_size=40)


@given(ENTRIES, ENTRIES, st.sampled_from([4, 64, 256]), st.sampled_from([4, 64, 256]))
@settings(deadline=None)
def test_a_pair_of_tables_finds_what_each_finds(
    first: dict[int, int], second: dict[int, int], slots: int, other_slots: int
) -> None:
    tables = []
    for entries, size in ((first, slots), (second, other_slots)):
        hashes = np.array(list(entries), np.uint64)
        tables.append(build(hashes, np.array(list(entries.values()), np.uint16), size)[0])
    pairs = paired(*tables)
    assert pairs.ctypes.data % 32 == 0
    assert len(pairs) == 2 * max(slots, other_slots)
    for h in [*first, *second]:
        at, eight, four, *lowest = _match(pairs, np.uint64(h))
        assert eight == four[0] | four[1] << 4
        for k, table in enumerate(tables):
            place = int(_find(table, np.uint64(h)))
            if place < 0:
                assert (four[k], lowest[k]) == (0, 3)
            else:
                assert four[k] == 1 << place % BUCKET
                assert lowest[k] == place % BUCKET
                assert pairs[int(at) + BUCKET * k + place % BUCKET] == table[place]


@pytest.mark.parametrize("only", [0, 1])
def test_a_pair_of_one_table(only: int) -> None:
    table, _ = build(np.array([5], np.uint64), np.array([7], np.uint16), 16)
    pairs = paired(*((table, None) if only == 0 else (None, table)))
    assert (pairs.reshape(-1, 2, BUCKET)[:, only].ravel() == table).all()
    assert not pairs.reshape(-1, 2, BUCKET)[:, 1 - only].any()
    assert len(paired(None, None)) == 2 * BUCKET


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
