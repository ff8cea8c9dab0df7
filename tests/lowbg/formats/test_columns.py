"""What Arrow columns say of records, as strings."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from lowbg.config import FieldNames
from lowbg.formats.columns import metadata_of
from lowbg.text.dates import READ, read_dates

MOMENT = dt.datetime(2021, 1, 1, 5)


def dates_of(column: pa.Array) -> pa.StringArray:
    rows = pa.RecordBatch.from_arrays([column], names=["date"])
    return metadata_of(rows, FieldNames()).date


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((MOMENT, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        (MOMENT, pa.timestamp("us", "Europe/Berlin")),
        (MOMENT.date(), pa.date32()),
        (MOMENT.date(), pa.date64()),
        ("2021-01-01", pa.string_view()),
        (b"2021-01-01", pa.binary()),
        (1609459200, pa.int64()),
        (1609459200000, pa.uint64()),
        (1609459200.5, pa.float64()),
        (1609459200, pa.decimal128(12, 0)),
        (20210101, pa.int32()),
        ({"$date": "2021-01-01T00:00:00Z"}, pa.struct({"$date": pa.string()})),
        ({"$date": MOMENT}, pa.struct({"$date": pa.timestamp("ms")})),
        (
            {"$date": {"$numberLong": "1609459200000"}},
            pa.struct({"$date": pa.struct({"$numberLong": pa.string()})}),
        ),
    ],
)
def test_a_day_in_every_type(value: Any, kind: pa.DataType) -> None:
    column = pa.array([value, None], kind)
    columns = [column, column.dictionary_encode()] if not pa.types.is_nested(kind) else [column]
    for each in columns:
        found = read_dates(dates_of(each))
        assert found.days[0] == (MOMENT.date() - dt.date(1970, 1, 1)).days
        assert found.states.tolist() == [READ, 0]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([float("nan"), None]), [None, None]),
        (pa.array([MOMENT.time(), None]), ["(time64[us])", None]),
        (pa.array([["2021-01-01"], None]), ["(list)", None]),
        (pa.array([{"year": 2021}, None]), ["(object)", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_what_is_no_date_is_said_to_be_there(column: pa.Array, said: list[str | None]) -> None:
    assert dates_of(column).to_pylist() == said
