"""How an Arrow IPC file or stream is laid out."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ArrowLayout:
    """How a file or stream is laid out, so that an output can be laid out alike.

    `schema` is the stored one, whose views rows are handled without. `codec` is that of its buffers
    ("none", "lz4", "zstd"), and `rows_per_batch` how many rows its first record batch has.
    """

    schema: pa.Schema
    is_file: bool
    codec: str
    rows_per_batch: int
