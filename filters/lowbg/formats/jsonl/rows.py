"""Arrow rows → JSON."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa

from lowbg.arrays import float32_or_none
from lowbg.records import BytesPayload

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def json_values(rows: pa.RecordBatch) -> list[bytes]:
    """Each row as a JSON object; float32 values in their shortest decimal form.

    What JSON has no type for: a decimal is text, bytes are base64, a duration is in seconds.
    """
    columns = [python_values(column) for column in rows.columns]
    names = rows.schema.names
    return [
        orjson.dumps(dict(zip(names, row, strict=True)), default=_spelled, option=_NUMPY)
        for row in zip(*columns, strict=True)
    ]


def python_values(column: pa.Array) -> Sequence[object]:
    """A column's values; a float32 as such, so that JSON gets its shortest form."""
    return float32_or_none(column) if pa.types.is_float32(column.type) else column.to_pylist()


def _spelled(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def lines(values: Iterable[bytes]) -> BytesPayload:
    """JSON values as lines."""
    stored = [value + b"\n" for value in values]
    ends = np.cumsum([len(line) for line in stored], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if stored else ends
    return BytesPayload(b"".join(stored), starts, ends)
