"""Arrow columns as NumPy arrays, with nulls spelled out.

`pa.Array.to_numpy` looks on disk for pandas each time, which costs 20 µs: what is asked for every
batch reads the buffers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_numpy(column: pa.Array) -> NDArray[Any]:
    """The values of a column of numbers, not copied; booleans as uint8; anything for nulls."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    values = np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())
    return values[column.offset : column.offset + len(column)]


def is_known(column: pa.Array) -> NDArray[np.bool_]:
    """Which rows of a column are not null."""
    return to_numpy(column.is_valid()).view(np.bool_)


def filled(column: pa.Array, null: float) -> NDArray[Any]:
    """The values of a column of numbers in its own type, `null` for nulls."""
    values = to_numpy(column)
    if column.null_count:
        values = np.where(is_known(column), values, values.dtype.type(null))
    return values


def floats(column: pa.Array) -> NDArray[np.float64]:
    """The values of a column of numbers, NaN for nulls."""
    return np.asarray(filled(column.cast(pa.float64()), np.nan), np.float64)


def bools(column: pa.BooleanArray, *, null: bool = False) -> NDArray[np.bool_]:
    """The values of a column of booleans, `null` for nulls."""
    return filled(column.cast(pa.uint8()), null).view(np.bool_)


def encoded(column: pa.Array) -> tuple[NDArray[np.int64], list[str | None]]:
    """Codes of every row and the distinct values; a null is a value like any other."""
    found = column.dictionary_encode(null_encoding="encode")
    return to_numpy(found.indices).astype(np.int64), found.dictionary.to_pylist()


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
