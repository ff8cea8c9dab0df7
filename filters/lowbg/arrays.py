"""Arrow columns as NumPy arrays and back, with nulls spelled out.

`pa.Array.to_numpy`, `pa.array` and `pa.scalar` import pandas where there is one, which takes a
quarter of a second, and in older versions look for it on disk each time; a cast, a take or any
function of Arrow imports `pyarrow.compute`, a tenth of a run's start. What is asked for every batch
reads and makes the buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_numpy(column: pa.Array) -> NDArray[Any]:
    """The values of a column of numbers, not copied; booleans as uint8; anything for nulls."""
    if pa.types.is_boolean(column.type):
        return _bits(column, 1)
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    values = np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())
    return values[column.offset : column.offset + len(column)]


def is_known(column: pa.Array) -> NDArray[np.bool_]:
    """Which rows of a column are not null."""
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.bool_)
    return _bits(column, 0).view(np.bool_)


def _bits(column: pa.Array, buffer: int) -> NDArray[np.uint8]:
    """What a column's buffer of bits says of its rows, 0 or 1 each."""
    if not len(column):
        return np.empty(0, np.uint8)
    first, skipped = divmod(column.offset, 8)
    packed = np.frombuffer(column.buffers()[buffer], np.uint8)[first:]
    return np.unpackbits(packed, count=skipped + len(column), bitorder="little")[skipped:]


def list_lengths(column: pa.ListArray) -> NDArray[np.int64]:
    """How many values each row's list has; 0 where there is no list."""
    if not len(column):
        return np.empty(0, np.int64)
    wide = pa.types.is_large_list(column.type)
    offsets = np.frombuffer(column.buffers()[1], np.int64 if wide else np.int32)
    lengths = np.diff(offsets[column.offset : column.offset + len(column) + 1]).astype(np.int64)
    return np.where(is_known(column), lengths, 0)


def filled(column: pa.Array, null: float) -> NDArray[Any]:
    """The values of a column of numbers in its own type, `null` for nulls."""
    values = to_numpy(column)
    if column.null_count:
        values = np.where(is_known(column), values, values.dtype.type(null))
    return values


def floats(column: pa.Array) -> NDArray[np.float64]:
    """The values of a column of numbers, NaN for nulls."""
    values = to_numpy(column).astype(np.float64)
    if column.null_count:
        values[~is_known(column)] = np.nan
    return values


def bools(column: pa.BooleanArray, *, null: bool = False) -> NDArray[np.bool_]:
    """The values of a column of booleans, `null` for nulls."""
    return filled(column, null).view(np.bool_)


def encoded(column: pa.Array) -> tuple[NDArray[np.int64], list[str | None]]:
    """Codes of every row and the distinct values; a null is a value like any other."""
    if _is_one_string(column):
        return np.zeros(len(column), np.int64), column.slice(0, 1).to_pylist()
    found = column.dictionary_encode(null_encoding="encode")
    return to_numpy(found.indices).astype(np.int64), found.dictionary.to_pylist()


def _is_one_string(column: pa.Array) -> bool:
    """Whether all rows of a column hold the same string, as where a shard is of one language."""
    if column.type not in (pa.string(), pa.large_string()) or column.null_count or not len(column):
        return False
    kind = np.int32 if column.type == pa.string() else np.int64
    _, places, data = column.buffers()
    offsets = np.frombuffer(places, kind)[column.offset : column.offset + len(column) + 1]
    length = int(offsets[1] - offsets[0])
    if (np.diff(offsets) != length).any():
        return False
    rows = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return not length or bool((rows[length:] == rows[:-length]).all())


def float32_or_none(column: pa.FloatArray) -> list[np.float32 | None]:
    """The values as float32 scalars, so that JSON gets their shortest form; None for nulls."""
    return [
        value if known else None
        for value, known in zip(to_numpy(column), is_known(column).tolist(), strict=True)
    ]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A table's column as one array."""
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def distinct(
    values: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """`np.unique` with first places and inverse, and without numpy's masked arrays behind it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.ones(len(values), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    inverse = np.empty(len(values), np.int64)
    inverse[order] = np.cumsum(begins) - 1
    return ordered[begins], order[begins], inverse


def column_of(values: NDArray[Any], *, null: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers or booleans as a column of their own type, not copied; null where `null` says so."""
    valid = None
    if null is not None and null.any():
        valid = pa.py_buffer(np.packbits(~null, bitorder="little"))
    if values.dtype == np.bool_:
        kind, data = pa.bool_(), np.packbits(values, bitorder="little")
    else:
        kind, data = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)])


def strings_of(values: Sequence[str | bytes | None], kind: pa.DataType) -> pa.Array:
    """Strings or bytes as a column of `kind`, a type of either.

    Raises `UnicodeEncodeError`, a `ValueError`, for lone surrogates, `TypeError` for other values,
    and `OverflowError` for more than `kind` has room for.
    """
    own = [b"" if value is None else value.encode() if isinstance(value, str) else value
           for value in values]  # fmt: skip
    small = kind in (pa.string(), pa.binary())
    offsets = np.fromiter(accumulate(map(len, own), initial=0), np.int64, len(own) + 1)
    if small and offsets[-1] > np.iinfo(np.int32).max:
        raise OverflowError(f"{offsets[-1]:,} bytes in a column of {kind}")
    places = pa.py_buffer(offsets.astype(np.int32) if small else offsets)
    valid = None
    if None in values:
        known = np.array([value is not None for value in values], np.bool_)
        valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, len(own), [valid, places, pa.py_buffer(b"".join(own))])
