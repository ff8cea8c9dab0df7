"""Parquet timestamps of 96 bits come out as they were: as 96 bits, and as the same dates."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import RunConfig
from lowbg.formats import open_reader
from lowbg.formats.parquet import int96
from lowbg.formats.parquet.reader import ParquetReader
from lowbg.formats.parquet.writer import ParquetWriter
from lowbg.records import RowPayload

NEVER = dt.datetime(9999, 12, 31)
EXACT = np.datetime64("2021-02-03T04:05:06.123456789", "ns")


def table(date: Any, unit: str) -> pa.Table:
    """Two rows with a date beside the text, in a struct, a list and a map."""
    kind = pa.timestamp(unit)
    columns = {
        "date": (date, kind),
        "crawl": ({"at": date}, pa.struct([("at", kind)])),
        "seen": ([None, date], pa.list_(kind)),
        "by": ([("a", date)], pa.map_(pa.string(), kind)),
    }
    filled = {name: pa.array([None, value], typed) for name, (value, typed) in columns.items()}
    return pa.table({"text": ["One.", "Two."], **filled})


def stored(rows: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, **{"use_deprecated_int96_timestamps": True, **options})
    return sink.getvalue()


def copied(data: bytes, path: Path) -> pq.ParquetFile:
    """What comes out for an input all of whose rows are kept."""
    with open_reader(io.BytesIO(data), RunConfig(), "s.parquet") as reader:
        assert isinstance(reader, ParquetReader)
        writer = ParquetWriter(path, path.parent, reader.schema, reader.layout)
        for batch in reader:
            writer.write(batch.payload, np.ones(len(batch), np.bool_))
        writer.commit()
    return pq.ParquetFile(path)


def physical(file: pq.ParquetFile) -> list[str]:
    return [file.schema.column(i).physical_type for i in range(len(file.schema))]


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize(("date", "unit"), [(EXACT, "ns"), (NEVER, "us"), (dt.datetime.min, "us")])
def test_dates_stay_what_they_are(date: Any, unit: str, store_schema: bool, tmp_path: Path) -> None:
    data = stored(table(date, unit), store_schema=store_schema)
    out = copied(data, tmp_path / "s.parquet")
    before = pq.ParquetFile(io.BytesIO(data), coerce_int96_timestamp_unit=unit)
    after = pq.ParquetFile(tmp_path / "s.parquet", coerce_int96_timestamp_unit=unit)
    assert after.read().equals(before.read())
    assert physical(out) == physical(before)
    assert physical(out).count("INT96") == 4
    if unit == "us":
        assert after.read().column("crawl").to_pylist() == [None, {"at": date}]


@pytest.mark.parametrize("column", ["date", "crawl", "seen", "by"])
def test_one_far_date_at_any_depth_is_enough(column: str) -> None:
    near, far = table(dt.datetime(2020, 1, 1), "us"), table(NEVER, "us")
    mixed = near.set_column(near.schema.get_field_index(column), column, far.column(column))
    with open_reader(io.BytesIO(stored(mixed)), RunConfig(), "s.parquet") as reader:
        [batch] = reader
    assert isinstance(batch.payload, RowPayload)
    rows = pa.Table.from_batches([batch.payload.rows])
    assert rows.column(column).to_pylist() == far.column(column).to_pylist()


class Columns(list[Any]):
    """Columns of files that Arrow cannot write: it writes all timestamps of a file alike."""

    def column(self, i: int) -> Any:
        return self[i]


@pytest.mark.parametrize("all_alike", [True, False])
def test_beside_timestamps_of_64_bits_all_are_written_so(all_alike: bool) -> None:
    rows = table(EXACT, "ns").select(["text", "date"])
    columns = Columns()
    for data in (stored(rows), stored(rows, use_deprecated_int96_timestamps=all_alike)):
        schema = pq.ParquetFile(io.BytesIO(data)).schema
        columns += [schema.column(i) for i in range(len(schema))]
    assert int96.only(SimpleNamespace(schema=columns)) is all_alike


def test_a_damaged_group_is_quarantined_as_ever() -> None:
    rows = pa.concat_tables([table(EXACT, "ns")] * 3)
    data = stored(rows, row_group_size=2, compression="none", use_dictionary=False)
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(1)
    start = group.data_page_offset
    data = data[:start] + b"\xff" * 20 + data[start + 20 :]
    with open_reader(io.BytesIO(data), RunConfig(), "s.parquet") as reader:
        batches = iter(reader)
        seen = [next(batches), next(batches), next(batches)]
    assert [len(batch) for batch in seen] == [2, 0, 2]
    assert seen[1].rejected[0].count == 2
