from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg import arrays

NUMBERS = pa.array([9, 1, None, 3], pa.int64()).slice(1)
FLOATS = pa.array([9.0, 0.1, None, 0.3], pa.float32()).slice(1)
BOOLS = pa.array([True] * 9 + [True, None, False]).slice(9)


@pytest.mark.parametrize("column", [NUMBERS, FLOATS, BOOLS])
def test_nulls_of_a_slice_are_known(column: pa.Array) -> None:
    assert arrays.is_known(column).tolist() == [True, False, True]
    assert arrays.is_known(column.drop_null()).tolist() == [True, True]


def test_numbers_keep_their_type_and_nulls_become_what_is_asked() -> None:
    assert arrays.filled(NUMBERS, 7).tolist() == [1, 7, 3]
    assert arrays.filled(NUMBERS, 7).dtype == np.int64
    singles = arrays.filled(FLOATS, np.nan)
    assert singles.dtype == np.float32
    assert np.array_equal(singles, np.array([0.1, np.nan, 0.3], np.float32), equal_nan=True)
    doubles = arrays.floats(NUMBERS)
    assert doubles.dtype == np.float64
    assert np.array_equal(doubles, [1.0, np.nan, 3.0], equal_nan=True)


def test_booleans() -> None:
    assert arrays.bools(BOOLS).tolist() == [True, False, False]
    assert arrays.bools(BOOLS, null=True).tolist() == [True, True, False]
    assert arrays.bools(BOOLS).dtype == np.bool_


def test_values_and_their_codes() -> None:
    codes, values = arrays.encoded(pa.array(["x", None, "y", "x"]))
    assert [values[code] for code in codes] == ["x", None, "y", "x"]
    assert len(values) == 3


def test_a_column_of_one_string_throughout() -> None:
    column = pa.array(["", "en", "en", "en", "de"])
    for kind in (pa.string(), pa.large_string()):
        codes, values = arrays.encoded(column.cast(kind).slice(1, 3))
        assert (codes.tolist(), values) == ([0, 0, 0], ["en"])
        for few in (column.slice(0, 2), column.slice(3), pa.array(["en", None])):
            codes, values = arrays.encoded(few.cast(kind))
            assert [values[code] for code in codes] == few.to_pylist()
            assert len(values) == 2
    assert arrays.encoded(pa.array(["", ""]))[1] == [""]


@pytest.mark.parametrize("wide", [False, True])
def test_lengths_of_lists(wide: bool) -> None:
    kind = (pa.large_list if wide else pa.list_)(pa.int8())
    lists = pa.array([[1], [], None, [1, 2, 3], [4, 5]], kind)
    assert arrays.list_lengths(lists).tolist() == [1, 0, 0, 3, 2]
    assert arrays.list_lengths(lists.slice(2, 2)).tolist() == [0, 3]
    assert arrays.list_lengths(pa.array([], kind)).tolist() == []
    offsets = pa.array([0, 2, 3], pa.int64() if wide else pa.int32())
    null_with_values = type(lists).from_arrays(
        offsets, pa.array([1, 2, 3], pa.int8()), mask=pa.array([True, False])
    )
    assert arrays.list_lengths(null_with_values).tolist() == [0, 1]


def test_columns_of_nulls_and_of_no_numbers_are_known() -> None:
    assert arrays.is_known(pa.nulls(2)).tolist() == [False, False]
    assert arrays.is_known(pa.array(["x", None]).slice(1)).tolist() == [False]


def test_single_precision_stays_for_json() -> None:
    assert arrays.float32_or_none(FLOATS) == [np.float32(0.1), None, np.float32(0.3)]


@pytest.mark.parametrize("kind", [pa.int8(), pa.float32(), pa.bool_()])
def test_no_rows(kind: pa.DataType) -> None:
    nothing = pa.array([], kind)
    assert len(arrays.to_numpy(nothing)) == len(arrays.is_known(nothing)) == 0
    assert len(arrays.whole(pa.chunked_array([], kind))) == 0


def test_a_column_of_chunks_is_one_array() -> None:
    column = pa.chunked_array([["a"], [], ["b", None]], pa.large_string())
    assert arrays.whole(column).to_pylist() == ["a", "b", None]


def test_columns_are_what_arrow_makes() -> None:
    null = np.array([False, True, False])
    for values in (
        np.array([1.5, 2.0, np.nan], np.float32),
        np.arange(3, dtype=np.int64),
        np.arange(6, dtype=np.int32)[::2],
        np.array([True, False, True]),
        np.empty(0, np.int8),
    ):
        assert arrays.column_of(values).equals(pa.array(values)) or np.isnan(values).any()
        assert str(arrays.column_of(values)) == str(pa.array(values))
        if len(values):
            own, other = arrays.column_of(values, null=null), pa.array(values, mask=null)
            assert (own.type, own.null_count) == (other.type, 1)
            assert str(own) == str(other)
            own.validate(full=True)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.large_binary()])
def test_strings_are_what_arrow_makes(kind: pa.DataType) -> None:
    for values in ([], ["a", None, "", "日本"], ["x"], [None]):
        own = arrays.strings_of(values, kind)
        own.validate(full=True)
        assert own.equals(pa.array(values, kind))


@pytest.mark.parametrize("value", [1, 1.5, True, ["a"], {"a": 1}, "\ud800"])
def test_what_is_no_string_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        arrays.strings_of(["a", value], pa.string())


@given(st.lists(st.integers(-3, 3)))
def test_distinct_values(values: list[int]) -> None:
    own = arrays.distinct(np.array(values, np.int64))
    other = np.unique(np.array(values, np.int64), return_index=True, return_inverse=True)
    for one, two in zip(own, other, strict=True):
        assert one.tolist() == two.tolist()
