"""What a reader is: a shard in, batches of records out, and an honest word about the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from lowbg.records import Batch, Position


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
