"""Tables of counters by name, which add up exactly, whatever the order.

Everything is an integer, so that a merge is the same in any order and at any batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CountTable:
    """Rows of `width` integers by name, each added to at once for a whole batch.

    `max_rows` bounds the distinct names; later ones are counted under `other`. Two tables are
    equal when every name has equal counts, in whatever order they came.
    """

    __slots__ = ("_counts", "_slots", "max_rows", "other", "width")

    def __init__(self, width: int, max_rows: int | None = None, other: str = "(other)") -> None:
        self.width = width
        self.max_rows = max_rows
        self.other = other
        self._slots: dict[str, int] = {}
        self._counts = np.zeros((8, width), np.int64)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    @property
    def names(self) -> list[str]:
        """The names, in the order in which they came."""
        return list(self._slots)

    @property
    def counts(self) -> NDArray[np.int64]:
        """One row a name, in the order of `names`."""
        return self._counts[: len(self._slots)]

    def add(self, names: Sequence[str], counts: NDArray[np.int64]) -> None:
        """Adds row i of `counts` to the name i; names may repeat."""
        self._add(names, counts, self.max_rows)

    def merge(self, other: CountTable) -> None:
        """Adds all rows of another table; the union of names isn't bounded."""
        if other._slots:
            self._add(other.names, other.counts, None)

    def _add(self, names: Sequence[str], counts: NDArray[np.int64], limit: int | None) -> None:
        if not names:
            return
        slots = self._slots
        rows = list(map(slots.get, names))
        if None in rows:
            if limit is None or len(slots) + len(names) <= limit:
                rows = [slots.setdefault(name, len(slots)) for name in names]
            else:
                rows = [self._bounded(name, limit) for name in names]
        if len(slots) > len(self._counts):
            grown = np.zeros((max(len(slots), 2 * len(self._counts)), self.width), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        index = np.asarray(rows, np.int64)
        if len(set(rows)) == len(rows):
            self._counts[index] += counts
        else:  # Unlike `+=` on rows, this counts a row that comes twice twice; it takes longer.
            np.add.at(self._counts, index, counts)

    def _bounded(self, name: str, limit: int) -> int:
        slot = self._slots.get(name)
        if slot is None:
            # The row of what is left over doesn't count against the limit.
            full = len(self._slots) - (self.other in self._slots) >= limit
            slot = self._slots.setdefault(self.other if full else name, len(self._slots))
        return slot

    def largest(self, n: int, columns: Sequence[int] = (0,)) -> CountTable:
        """The `n` names with the largest sum of `columns` (ties by name), the rest as `other`."""
        table = CountTable(self.width, self.max_rows, self.other)
        size = self.counts[:, list(columns)].sum(axis=1).tolist()
        names = [name for name in self._slots if name != self.other]
        ranked = sorted(names, key=lambda name: (-size[self._slots[name]], name))
        rows = [self._slots[name] for name in ranked]
        table.add(ranked[:n], self._counts[rows[:n]])
        rest = rows[n:]
        if self.other in self._slots:
            rest.append(self._slots[self.other])
        if rest:
            table._add([self.other], self._counts[rest].sum(axis=0, keepdims=True), None)
        return table

    def only(self, known: CountTable) -> CountTable:
        """The rows whose names `known` has, too, the rest as `other`."""
        table = CountTable(self.width, self.max_rows, self.other)
        table.add([name if name in known else self.other for name in self.names], self.counts)
        return table

    def row(self, name: str) -> NDArray[np.int64]:
        """The counts of a name; zeros of one that there isn't."""
        slot = self._slots.get(name)
        return np.zeros(self.width, np.int64) if slot is None else self._counts[slot]

    def to_dict(self) -> dict[str, list[int]]:
        """Plain JSON values: the counts by name, names sorted."""
        rows = self.counts.tolist()
        return {name: rows[self._slots[name]] for name in sorted(self._slots)}

    def update(self, values: dict[str, list[int]]) -> None:
        """Adds what `to_dict` returned. Raises `ValueError` where it is of another width."""
        if odd := [name for name, row in values.items() if len(row) != self.width]:
            raise ValueError(f"{odd[0]}: {len(values[odd[0]])} counts; expected {self.width}")
        if values:
            self._add(list(values), np.array(list(values.values()), np.int64), None)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "max_rows": self.max_rows,
            "other": self.other,
            "names": self.names,
            "counts": self.counts.copy(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.width = state["width"]
        self.max_rows = state["max_rows"]
        self.other = state["other"]
        self._slots = {name: i for i, name in enumerate(state["names"])}
        self._counts = state["counts"]
