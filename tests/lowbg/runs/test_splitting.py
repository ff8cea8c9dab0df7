from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.errors import ConfigError
from lowbg.runs.shards import Shard
from lowbg.runs.splitting import Split

SIZES = st.lists(st.integers(0, 1 << 40), max_size=60)


def _shards(sizes: Sequence[int]) -> list[Shard]:
    return [Shard(f"s3://b/{i}.jsonl", f"{i}.jsonl", size) for i, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 12))
def test_every_shard_is_one_part_s_and_parts_are_even(sizes: list[int], count: int) -> None:
    shards = _shards(sizes)
    parts = [Split(index, count).places(shards) for index in range(count)]
    assert sorted(i for part in parts for i in part) == [*range(len(shards))]
    assert all(part == sorted(part) for part in parts)
    bytes = [sum(sizes[i] for i in part) for part in parts]
    # Largest first to the emptiest: no part has more than the emptiest one and one shard.
    assert max(bytes) - min(bytes) <= max(sizes, default=0)


def test_the_largest_go_first() -> None:
    """In their own order the last would make one part three times the other."""
    sizes = [1, 1, 1, 1, 4]
    parts = [Split(index, 2).places(_shards(sizes)) for index in range(2)]
    assert [sum(sizes[i] for i in part) for part in parts] == [4, 4]


def test_where_sizes_are_unknown_parts_get_as_many_shards() -> None:
    shards = _shards([0] * 10)
    assert sorted(len(Split(index, 4).places(shards)) for index in range(4)) == [2, 2, 3, 3]


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0)])
def test_there_is_no_such_part(index: int, count: int) -> None:
    with pytest.raises(ConfigError, match=f"no part {index} of {count}"):
        Split(index, count)


def test_a_note_tells_other_inputs_apart() -> None:
    notes = [Split(0, 2).note(_shards(sizes)) for sizes in ([5, 4, 3], [5, 4, 3], [5, 4, 2])]
    assert notes[0] == notes[1]
    assert notes[0].places == [0]
    assert notes[0].sha256 != notes[2].sha256


def test_what_is_read_once_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only once"):
        Split(0, 2).note([Shard("-", "stdin", 0)])
