"""How many bytes each row takes, whatever its neighbours take and however they are stored."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_map)

_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def row_sizes(rows: pa.RecordBatch) -> NDArray[np.int64]:
    """The bytes of each row's values, int64[rows]; a dictionary's count wherever they stand."""
    sizes = np.zeros(len(rows), np.int64)
    for column in rows.columns:
        sizes += _sizes(column)
    return sizes


def part_ends(sizes: NDArray[np.int64], limit: int) -> list[int]:
    """Where parts of consecutive rows end, each with the row with which it reaches `limit` bytes;
    the last has the rest."""
    behind = np.cumsum(sizes)
    found: list[int] = []
    before = 0
    while len(behind) and (not found or found[-1] < len(behind)):
        end = min(int(np.searchsorted(behind, before + limit)) + 1, len(behind))
        found.append(end)
        before = int(behind[end - 1])
    return found


def _sizes(column: pa.Array) -> NDArray[np.int64] | int:
    """The bytes of each value of a column, or of every one."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if any(is_kind(kind) for is_kind in _TEXTS):
        return np.asarray(pc.binary_length(column).fill_null(0), np.int64)
    if pa.types.is_dictionary(kind):
        values = np.broadcast_to(_sizes(column.dictionary), len(column.dictionary))
        places = np.asarray(column.indices.cast(pa.int64()).fill_null(-1))
        chosen: NDArray[np.int64] = np.append(values, 0)[places]
        return chosen
    if pa.types.is_struct(kind):
        fields = [_sizes(column.field(i)) for i in range(kind.num_fields)]
        return sum(fields, np.zeros(len(column), np.int64))
    if any(is_kind(kind) for is_kind in _LISTS):
        offsets = np.asarray(column.offsets, np.int64)
        first, last = int(offsets[0]), int(offsets[-1])
        each = _sizes(column.values.slice(first, last - first))
        behind = np.append(0, np.cumsum(np.broadcast_to(each, last - first)))
        in_lists: NDArray[np.int64] = np.diff(behind[offsets - first])
        return in_lists
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:  # Views, unions, lists of a fixed size: as large as their neighbours.
        return -(-int(column.nbytes) // max(1, len(column)))
