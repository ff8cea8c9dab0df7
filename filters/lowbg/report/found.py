"""The values that a batch's documents hold in lists, such as named phrases: documents by value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.arrays import is_known, list_lengths, to_numpy
from lowbg.config import VERDICTS


class Found(Struct, frozen=True):
    """Distinct (document, value) pairs: each pair's verdict and value."""

    parents: NDArray[np.int64]
    codes: NDArray[np.int64]
    values: list[str]
    verdicts: NDArray[np.int64]

    def by_value(self) -> tuple[list[str], NDArray[np.int64]]:
        """Documents by value and verdict."""
        return self.values, self._count(self.parents, self.codes, len(self.values))

    def by_category(self) -> tuple[list[str], NDArray[np.int64]]:
        """Documents by what is in front of the colon, and verdict."""
        slots: dict[str, int] = {}
        category = [slots.setdefault(v.partition(":")[0], len(slots)) for v in self.values]
        codes = np.asarray(category, np.int64)[self.codes]
        parents, codes = _distinct(self.parents, codes, len(slots))
        return list(slots), self._count(parents, codes, len(slots))

    def _count(
        self, parents: NDArray[np.int64], codes: NDArray[np.int64], size: int
    ) -> NDArray[np.int64]:
        keys = codes * len(VERDICTS) + self.verdicts[parents]
        return np.bincount(keys, minlength=size * len(VERDICTS)).reshape(size, len(VERDICTS))


def documents_by_value(column: pa.Array, verdicts: NDArray[np.int64]) -> Found:
    """The distinct values of every document's list."""
    lengths = list_lengths(column)
    if not lengths.any():
        empty = np.empty(0, np.int64)
        return Found(empty, empty, [], verdicts)
    flat = column.flatten()
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    parents = np.repeat(np.arange(len(column)), lengths)
    if flat.null_count:
        parents = parents[is_known(flat)]
        flat = flat.drop_null()
    encoded = flat.dictionary_encode()
    values: list[str] = encoded.dictionary.to_pylist()
    codes = to_numpy(encoded.indices).astype(np.int64)
    return Found(*_distinct(parents, codes, len(values)), values, verdicts)


def _distinct(
    parents: NDArray[np.int64], codes: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct pairs; codes are below `size`."""
    if not size:
        return parents, codes
    keys = np.sort(parents * size + codes)
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    parents, codes = np.divmod(keys, size)
    return parents, codes
