"""Row groups come in slices of bounded bytes, whatever their columns hold."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import FieldNames
from lowbg.formats.parquet.reader import ParquetReader
from lowbg.formats.parquet.slices import (
    LARGE_GROUP,
    SLICE_BYTES,
    SLICE_ROWS,
    GroupSlices,
)
from lowbg.records import Batch

BATCH_BYTES = 6 << 20


def stored(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=len(table), **options)
    return sink.getvalue()


def slices(data: bytes) -> list[pa.RecordBatch]:
    def again(columns: Any) -> pq.ParquetFile:
        return pq.ParquetFile(io.BytesIO(data), read_dictionary=[*columns])

    file = again(())
    group = file.metadata.row_group(0)
    found = GroupSlices(file, file.schema_arrow, again)
    return [*found.of(0, group.num_rows, group.total_byte_size)]


def batches(data: bytes) -> list[Batch]:
    with ParquetReader(
        io.BytesIO(data), FieldNames(), batch_bytes=BATCH_BYTES, max_record_bytes=64 << 20, name="s"
    ) as reader:
        return [*reader]


def texts(found: list[Batch]) -> list[str]:
    return [text for batch in found for text in batch.text.to_pylist()]


def test_slices_of_ordinary_rows_are_small_and_whole() -> None:
    table = pa.table({"id": range(5000), "text": [f"{i} " * 500 for i in range(5000)]})
    found = slices(stored(table))
    assert pa.Table.from_batches(found).equals(table)
    assert max(rows.nbytes for rows in found) < 2 * SLICE_BYTES


def test_slices_of_a_large_group_have_few_rows() -> None:
    text = [f"{i} " * 600 for i in range(24_000)]
    data = stored(pa.table({"text": text}))
    assert pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).total_byte_size > LARGE_GROUP
    found = slices(data)
    assert [text for rows in found for text in rows["text"].to_pylist()] == text
    assert max(len(rows) for rows in found) == SLICE_ROWS


LONG = [f"text {i} " * 5000 for i in range(50)]
REPEATED = [LONG[i * 7 % 50] for i in range(2000)]


@pytest.mark.parametrize("codec", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("is_nested", [False, True], ids=["flat", "nested"])
def test_text_that_is_stored_once_and_repeated(codec: str, is_nested: bool) -> None:
    """80 MB of text in 2 MB of a dictionary and its places."""
    table = pa.table({"id": range(2000), "text": REPEATED})
    if is_nested:
        both = pa.StructArray.from_arrays([table["text"].combine_chunks()], ["body"])
        table = pa.table({"id": range(2000), "doc": both})
    found = slices(stored(table, compression=codec, dictionary_pagesize_limit=1 << 30))
    assert pa.Table.from_batches(found).equals(table)
    assert max(rows.nbytes for rows in found) < 2 * SLICE_BYTES


def test_dictionaries_of_short_values_are_read_as_text() -> None:
    table = pa.table({"text": ["a b", "c", None, "d"] * 500})
    data = stored(table)
    opened: list[Any] = []

    def again(columns: Any) -> pq.ParquetFile:
        opened.append(columns)
        return pq.ParquetFile(io.BytesIO(data), read_dictionary=[*columns])

    file = pq.ParquetFile(io.BytesIO(data))
    found = [*GroupSlices(file, file.schema_arrow, again).of(0, 2000, len(data))]
    assert pa.Table.from_batches(found).equals(table)
    assert len(found) == 1
    assert opened == [["text"]]


def test_a_dictionary_column_is_judged_in_batches_of_bounded_text() -> None:
    text = pa.array(REPEATED).dictionary_encode()
    found = batches(stored(pa.table({"text": text}), dictionary_pagesize_limit=1 << 30))
    assert texts(found) == REPEATED
    assert max(int(batch.sizes.sum()) for batch in found) < BATCH_BYTES + len(LONG[-1])


def test_a_few_long_rows_behind_many_short_ones() -> None:
    """Sorted by length: the first slice that has long rows is as long as those before it."""
    rows = ["short"] * 200_000 + [f"{i} " * 100_000 for i in range(300)] + ["short"] * 500
    found = slices(stored(pa.table({"text": rows}), use_dictionary=False, write_batch_size=16))
    assert [text for part in found for text in part["text"].to_pylist()] == rows
    large = [part for part in found if part.nbytes > 4 * SLICE_BYTES]
    assert [len(part) <= SLICE_ROWS for part in large] == [True]
    assert len([part for part in found if part.nbytes > SLICE_BYTES]) > 5


def test_records_keep_their_numbers_where_reading_begins_again() -> None:
    rows = [None if i % 9 == 4 else "x" for i in range(3000)] + ["y " * 200_000] * 40
    found = batches(stored(pa.table({"text": rows}), use_dictionary=False, write_batch_size=16))
    numbers = [r for batch in found for r in batch.records.tolist()]
    assert numbers == [i for i, text in enumerate(rows) if text is not None]
    assert [r.record for batch in found for r in batch.rejected] == [
        i for i, text in enumerate(rows) if text is None
    ]
