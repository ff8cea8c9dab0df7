from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lowbg.formats.row_sizes import part_ends, row_sizes


@pytest.mark.parametrize(
    ("column", "sizes"),
    [
        (pa.array(["a", "", None, "\u00e9\u00e9"]), [1, 0, 0, 4]),
        (pa.array([b"abc", b""], pa.large_binary()), [3, 0]),
        (pa.array([1, None], pa.int32()), [4, 4]),
        (pa.array([True, None]), [1, 1]),
        (pa.nulls(2), [0, 0]),
        (pa.array(["aa", "b", None, "aa"]).dictionary_encode(), [2, 1, 0, 2]),
        (pa.array([["a", "bcd"], [], None, ["e"]]), [4, 0, 0, 1]),
        (pa.array([[["a"], ["bc"]], [None]], pa.large_list(pa.list_(pa.string()))), [3, 0]),
        (pa.array([[("k", "v1")], []], pa.map_(pa.string(), pa.string())), [3, 0]),
        (pa.array([{"t": "abc", "n": 1}, None]), [11, 8]),
        (pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float64(), 2)), [17, 17, 17]),
        (pa.array(["a"] * 2, pa.string_view()), [16, 16]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_the_bytes_of_each_row(column: pa.Array, sizes: list[int]) -> None:
    rows = pa.RecordBatch.from_arrays([column], ["c"])
    if pa.types.is_fixed_size_list(column.type):
        sizes = [-(-column.nbytes // len(column))] * len(column)
    assert row_sizes(rows).tolist() == sizes
    # A slice is as large as its rows, not as what they are cut from.
    if not pa.types.is_fixed_size_list(column.type):
        assert row_sizes(rows.slice(1)).tolist() == sizes[1:]


def test_columns_add_up() -> None:
    rows = pa.record_batch({"a": ["abc", "d"], "b": pa.array([1, 2], pa.int64())})
    assert row_sizes(rows).tolist() == [11, 9]
    assert row_sizes(rows.slice(0, 0)).tolist() == []


@pytest.mark.parametrize(
    ("sizes", "ends"),
    [
        ([], []),
        ([1], [1]),
        ([4, 4, 4, 4, 4], [3, 5]),
        ([100, 1, 1, 100, 1], [1, 4, 5]),
        ([10, 10], [1, 2]),
        ([0, 0, 0], [3]),
    ],
)
def test_a_part_ends_with_the_row_that_fills_it(sizes: list[int], ends: list[int]) -> None:
    assert part_ends(np.array(sizes, np.int64), 10) == ends
