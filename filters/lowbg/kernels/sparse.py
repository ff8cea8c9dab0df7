"""Products of a sparse matrix, whose entries are all 1, and a vector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.compiler import seldom

Floats = NDArray[np.float64]


@seldom
def _add_rows(
    starts: NDArray[np.int64], columns: NDArray[np.int32], vector: Floats, out: Floats
) -> None:
    for i in range(len(starts) - 1):
        total = 0.0
        for k in range(starts[i], starts[i + 1]):
            total += vector[columns[k]]
        out[i] = total


@seldom
def _add_columns(
    starts: NDArray[np.int64], columns: NDArray[np.int32], vector: Floats, out: Floats
) -> None:
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            out[columns[k]] += vector[i]


def times(starts: NDArray[np.int64], columns: NDArray[np.int32], vector: Floats) -> Floats:
    """The product with a vector of an entry a column."""
    out = np.zeros(len(starts) - 1)
    _add_rows(starts, columns, vector, out)
    return out


def transposed_times(
    starts: NDArray[np.int64], columns: NDArray[np.int32], vector: Floats, width: int
) -> Floats:
    """The product of the transposed matrix, which has `width` rows, with a vector."""
    out = np.zeros(width)
    _add_columns(starts, columns, vector, out)
    return out
