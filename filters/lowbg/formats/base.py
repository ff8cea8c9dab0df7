"""What a reader and a writer are: batches of records out of a shard, and kept ones into a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.records import Batch, Payload, Position
from lowbg.storage.files import PartState, WrittenFile

Annotations: TypeAlias = Sequence[bytes] | pa.StructArray | None
"""What is added to records as their field `lowbg`, one entry a record of the payload, kept or
not: JSON values for lines, structs for rows."""


class Reader(Protocol):
    """Yields the records of one shard in their order.

    Iterating raises `CutStreamError` or `FormatError` after the last batch that could be read:
    everything before the damage has been yielded when it raises. `format` is "jsonl" or
    "parquet"; `compression` is the stream's codec ("none", "gzip", "zstd", "bz2", "xz"; for
    Parquet "none", the codec is inside). `seen_fields` names top-level fields that there are (of
    the first records), to explain a wrong field option.
    """

    format: str
    compression: str
    seen_fields: set[str]

    def __iter__(self) -> Iterator[Batch]: ...

    def position(self) -> Position:
        """Where the reader stands after the batch that it yielded last."""
        ...

    def start_at(self, position: Position) -> None:
        """Makes the first batch the one that followed `position`; call it before iterating.

        What lies before is read, not parsed. Iterating raises `CheckpointError` when the input
        ends before the position.
        """
        ...

    def close(self) -> None:
        """Releases the file; safe to call twice."""
        ...


class Writer(Protocol):
    """Writes kept records in their stored form to a temporary name; `commit` renames it."""

    def write(
        self, payload: Payload, keep: NDArray[np.bool_], annotations: Annotations = None
    ) -> None:
        """Appends the records of `payload` where `keep` is true, in order."""
        ...

    def checkpoint(self, turn: int) -> PartState:
        """Makes what was written durable and says how far it is.

        Files beside the part that are rewritten each time are told apart by `turn`: those of the
        checkpoint before stay.
        """
        ...

    def finish(self) -> WrittenFile:
        """Flushes and syncs to disk; the file is whole, and lacks only its name."""
        ...

    def publish(self) -> None:
        """Renames to the final name; `finish` comes first."""
        ...

    def commit(self) -> WrittenFile:
        """Flushes, syncs to disk and renames to the final name."""
        ...

    def abort(self) -> None:
        """Removes the temporary file; safe after `commit`, safe to call twice.

        A part stays, for a later run to go on with.
        """
        ...
