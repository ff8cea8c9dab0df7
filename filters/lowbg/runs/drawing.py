"""The documents of shards with the smallest keys: a uniform random sample, drawn in one pass.

Every document's key is pseudo-random, from a seed, its shard's name and its place there: the same
documents are drawn at any batch size, in any order of the shards, and by any number of workers.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import to_numpy, whole
from lowbg.records import Batch, BytesPayload, Metadata
from lowbg.runs.sampling import document_keys, named

_METADATA = ("id", "language", "date", "url")
_OTHER = "other:"
"""What stands before the names of further fields among a sample's columns."""


def keys_of(seed: int, shard: str, records: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The sampling key of each record of a shard, uniform over 64 bits."""
    return document_keys(hashlib.sha256(named(seed, shard)).digest(), records)


class Lowest:
    """The documents with the smallest keys so far, twice `size` at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bound = np.uint64(2**64 - 1)
        self._tables: list[pa.Table] = []
        self._held = 0

    def add(self, batch: Batch, keys: NDArray[np.uint64]) -> None:
        """Takes a batch."""
        low = np.flatnonzero(keys <= self._bound)
        if len(low):
            self.add_rows(_rows(batch, keys).take(pa.array(low)))

    def add_rows(self, rows: pa.Table) -> None:
        """Takes what `rows` of another gave."""
        self._tables.append(rows)
        self._held += len(rows)
        if self._held >= 2 * self._size:
            self._compact()

    def rows(self) -> pa.Table | None:
        """A row a document; null where there is none."""
        self._compact()
        return self._tables[0] if self._tables else None

    def _compact(self) -> None:
        """Lets go of all but the documents with the smallest keys."""
        if not self._tables:
            return
        rows = pa.concat_tables(self._tables).combine_chunks()
        keys = to_numpy(whole(rows["key"]))
        if len(keys) > self._size:
            kept = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            rows = rows.take(pa.array(kept)).combine_chunks()
            self._bound = to_numpy(whole(rows["key"])).max()
        self._tables, self._held = [rows], len(rows)


def _rows(batch: Batch, keys: NDArray[np.uint64]) -> pa.Table:
    columns: dict[str, Any] = {
        "key": pa.array(keys),
        "record": pa.array(batch.records),
        "size": pa.array(batch.sizes),
        "text": batch.text,
        **{name: getattr(batch.metadata, name) for name in _METADATA},
        **{_OTHER + name: values for name, values in batch.metadata.others.items()},
    }
    return pa.table(columns)


def batch_of(rows: pa.Table) -> Batch:
    """Rows as a batch whose records are nowhere any more."""
    metadata: dict[str, Any] = {name: whole(rows[name]) for name in _METADATA}
    metadata["others"] = {
        name.removeprefix(_OTHER): whole(rows[name])
        for name in rows.column_names
        if name.startswith(_OTHER)
    }
    empty = np.empty(0, np.int64)
    return Batch(
        records=to_numpy(whole(rows["record"])),
        text=whole(rows["text"]),
        metadata=Metadata(**metadata),
        sizes=to_numpy(whole(rows["size"])),
        payload=BytesPayload(b"", empty, empty),
        rejected=(),
        consumed=0,
    )
