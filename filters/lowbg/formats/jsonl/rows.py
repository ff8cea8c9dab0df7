"""Arrow rows → JSON."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import orjson
import pyarrow as pa

from lowbg.arrays import float32_or_none
from lowbg.records import BytesPayload

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def json_values(rows: pa.RecordBatch) -> list[bytes]:
    """Each row as a JSON object; float32 values in their shortest decimal form."""
    columns = [
        float32_or_none(column) if pa.types.is_float32(column.type) else column.to_pylist()
        for column in rows.columns
    ]
    names = rows.schema.names
    return [
        orjson.dumps(dict(zip(names, row, strict=True)), option=_NUMPY)
        for row in zip(*columns, strict=True)
    ]


def lines(values: Iterable[bytes]) -> BytesPayload:
    """JSON values as lines."""
    stored = [value + b"\n" for value in values]
    ends = np.cumsum([len(line) for line in stored], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if stored else ends
    return BytesPayload(b"".join(stored), starts, ends)
