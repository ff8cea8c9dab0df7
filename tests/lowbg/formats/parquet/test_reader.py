from __future__ import annotations

import contextlib
import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import FieldNames, RunConfig
from lowbg.errors import FormatError, InputError
from lowbg.formats import open_reader
from lowbg.formats.parquet.reader import ParquetReader
from lowbg.records import Batch, RejectReason, RowPayload


def stored(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def read(
    data: bytes, fields: FieldNames | None = None, batch_bytes: int = 1 << 22
) -> tuple[list[Batch], InputError | None]:
    batches = []
    with ParquetReader(
        io.BytesIO(data),
        fields or FieldNames(),
        batch_bytes=batch_bytes,
        max_record_bytes=1 << 20,
        name="s.parquet",
    ) as reader:
        try:
            for batch in reader:
                batch.text.validate(full=True)
                assert isinstance(batch.payload, RowPayload)
                assert len(batch) == len(batch.text) == batch.payload.rows.num_rows
                batches.append(batch)
        except InputError as fault:
            return batches, fault
    return batches, None


def texts(batches: list[Batch]) -> list[str]:
    return [text for batch in batches for text in batch.text.to_pylist()]


VALUES = ["a", "", "\u00e9\U0001f600", "b" * 1000]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.binary(),
        pa.large_binary(),
    ],
    ids=str,
)
def test_every_kind_of_text_column(kind: pa.DataType) -> None:
    column = pa.array([v.encode() for v in VALUES], pa.binary()).cast(pa.string())
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
    batches, fault = read(stored(pa.table({"text": column})))
    assert fault is None
    assert texts(batches) == VALUES
    assert batches[0].text.type == pa.large_string()
    assert batches[0].sizes.tolist() == [len(v.encode()) for v in VALUES]


@pytest.mark.parametrize("batch_bytes", [1, 500, 1 << 22])
def test_null_text_is_quarantined_with_its_row(batch_bytes: int) -> None:
    table = pa.table({"id": [1, 2, 3, 4], "text": ["a", None, "b", None]})
    batches, fault = read(stored(table, row_group_size=3), batch_bytes=batch_bytes)
    assert fault is None
    assert texts(batches) == ["a", "b"]
    assert [r for b in batches for r in b.records] == [0, 2]
    rejected = [r for b in batches for r in b.rejected]
    assert [(r.record, r.reason, r.encoding) for r in rejected] == [
        (1, RejectReason.NULL_TEXT, "arrow-ipc"),
        (3, RejectReason.NULL_TEXT, "arrow-ipc"),
    ]
    assert rejected[0].line is None
    row = pa.ipc.open_stream(rejected[0].raw).read_all()
    assert row.to_pylist() == [{"id": 2, "text": None}]
    assert [i for b in batches for i in b.metadata.id.to_pylist()] == ["1", "3"]


@pytest.mark.parametrize("as_string", [True, False])
def test_invalid_utf8_is_quarantined_with_its_bytes(as_string: bool) -> None:
    column = pa.array([b"a", b"b\xff", b"c"], pa.binary())
    if as_string:
        column = pa.Array.from_buffers(pa.string(), 3, column.buffers())
    batches, _ = read(stored(pa.table({"text": column})))
    assert texts(batches) == ["a", "c"]
    (rejected,) = batches[0].rejected
    assert rejected.reason is RejectReason.INVALID_UTF8
    assert rejected.record == 1
    assert b"b\xff" in rejected.raw
    assert "0xff" in rejected.message


def test_a_text_above_the_limit_is_quarantined() -> None:
    batches, _ = read(stored(pa.table({"text": ["a", "x" * ((1 << 20) + 1), "b"]})))
    assert texts(batches) == ["a", "b"]
    (rejected,) = [r for b in batches for r in b.rejected]
    assert rejected.reason is RejectReason.TOO_LARGE


def test_dotted_paths_reach_into_structs() -> None:
    rows = [{"text": "a", "lang": "en"}, None, {"text": None, "lang": "de"}]
    kind = pa.struct([("text", pa.string()), ("lang", pa.string())])
    table = pa.table({"doc": pa.array(rows, kind), "doc.id": ["x", "y", "z"]})
    fields = FieldNames(text="doc.text", language="doc.lang", id="doc.id", url="doc.nothing")
    batches, _ = read(stored(table), fields)
    assert texts(batches) == ["a"]
    assert len(batches[0].rejected) == 2
    got = batches[0].metadata
    assert [c.to_pylist() for c in (got.language, got.id, got.url)] == [["en"], ["x"], [None]]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array(["2020-01-02"]), "2020-01-02"),
        (pa.array([dt.date(2020, 1, 2)]), "2020-01-02"),
        (pa.array([dt.datetime(2020, 1, 2, 3)], pa.timestamp("ms")), "2020-01-02T03:00:00.000"),
        (
            pa.array([dt.datetime(2020, 1, 2, 3)], pa.timestamp("ms", tz="UTC")),
            "2020-01-02T03:00:00.000Z",
        ),
        (
            pa.array([dt.datetime(2020, 1, 2, 3)], pa.timestamp("us", tz="Europe/Berlin")),
            "2020-01-02T03:00:00.000000Z",
        ),
        (pa.array(["2020"]).dictionary_encode(), "2020"),
        (pa.array([2020]), "2020"),
        (pa.array([2020], pa.uint16()), "2020"),
        (pa.array([Decimal(7**40)], pa.decimal128(38)), str(7**40)),
        (pa.array([Decimal("20.20")]), None),
        (pa.array([b"2020"]), "2020"),
        (pa.array([b"20\xff"]), "20\ufffd"),
        (pa.array([1.5]), None),
        (pa.array([True]), None),
        (pa.array([["2020"]]), None),
        (pa.nulls(1), None),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_metadata_as_text(column: pa.Array, text: str | None) -> None:
    batches, _ = read(stored(pa.table({"text": ["a"], "id": column})))
    assert batches[0].metadata.id.to_pylist() == [text]
    assert batches[0].metadata.id.type == pa.string()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"content": ["a"], "id": [1]}), r"no column 'text'\. Text is in: content\."),
        (pa.table({"text": [1]}), "column 'text' is int64, not text"),
        (pa.table({"text": [["a"]]}), "not text"),
        (pa.table({"text": [{"a": "b"}]}), "not text"),
    ],
)
def test_a_wrong_text_column_is_named_with_those_there_are(table: pa.Table, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read(stored(table))


def test_a_column_without_any_value_is_null_text() -> None:
    batches, _ = read(stored(pa.table({"text": pa.nulls(3)})))
    assert [r.reason for r in batches[0].rejected] == [RejectReason.NULL_TEXT] * 3


def test_no_rows() -> None:
    batches, fault = read(stored(pa.table({"text": pa.array([], pa.string())})))
    assert texts(batches) == []
    assert fault is None


def big_table(rows: int) -> pa.Table:
    return pa.table({"id": range(rows), "text": [f"text {i} " * 20 for i in range(rows)]})


@pytest.mark.parametrize("batch_bytes", [1000, 1 << 22])
def test_a_damaged_row_group_is_counted_and_the_others_are_read(batch_bytes: int) -> None:
    data = bytearray(stored(big_table(900), row_group_size=300, compression="zstd"))
    column = pq.read_metadata(io.BytesIO(data)).row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    batches, fault = read(bytes(data), batch_bytes=batch_bytes)
    records = [r for b in batches for r in b.records]
    assert records == [*range(300), *range(600, 900)]
    (rejected,) = [r for b in batches for r in b.rejected]
    assert rejected.reason is RejectReason.UNREADABLE
    assert (rejected.record, rejected.count, rejected.raw) == (300, 300, b"")
    assert "row group 1" in rejected.message
    assert isinstance(fault, FormatError)
    assert "row group 1 of 3" in str(fault)


def test_small_row_groups_make_one_batch() -> None:
    table = pa.table({"text": [None if i % 7 == 3 else f"text {i}" for i in range(60)]})
    data = stored(table, row_group_size=1)
    (batch,), fault = read(data)
    assert fault is None
    several, _ = read(data, batch_bytes=100)
    assert 1 < len(several) < 60
    alone, _ = read(data, batch_bytes=1)
    assert len(alone) == 60
    assert batch.text.to_pylist() == texts(several) == texts(alone)
    for batches in (several, alone):
        assert [r for b in batches for r in b.rejected] == batch.rejected
        assert [r for b in batches for r in b.records] == batch.records.tolist()
        assert batches[-1].consumed == batch.consumed


def test_damage_between_small_row_groups_keeps_its_place() -> None:
    data = bytearray(stored(big_table(9), row_group_size=1, compression="zstd"))
    column = pq.read_metadata(io.BytesIO(data)).row_group(4).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    batches, fault = read(bytes(data))
    assert [b.records.tolist() for b in batches] == [[0, 1, 2, 3], [], [5, 6, 7, 8]]
    (rejected,) = [r for b in batches for r in b.rejected]
    assert (rejected.record, rejected.count) == (4, 1)
    assert "1 rows from row 4 on" in rejected.message
    assert "row group 4 of 9" in str(fault)


def test_reading_goes_on_among_small_row_groups() -> None:
    data = stored(big_table(60), row_group_size=3)
    with ParquetReader(
        io.BytesIO(data), FieldNames(), batch_bytes=3000, max_record_bytes=1 << 20, name="s"
    ) as reader:
        positions = [(reader.position(), reader.records) for _ in reader]
    assert 1 < len(positions) < 20
    for position, records in positions:
        with ParquetReader(
            io.BytesIO(data), FieldNames(), batch_bytes=1 << 22, max_record_bytes=1 << 20, name="s"
        ) as reader:
            reader.start_at(position)
            rest = [r for batch in reader for r in batch.records]
        assert rest == list(range(records, 60))


def test_a_quarantined_row_keeps_its_own_dictionary() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    text = [None if i % 2 else f"text {i}" for i in range(8)]
    tables = [pa.table({"text": pa.array(text[i : i + 2], kind)}) for i in range(0, 8, 2)]
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    whole, _ = read(sink.getvalue())
    alone, _ = read(sink.getvalue(), batch_bytes=16)
    raw = [r.raw for batch in whole for r in batch.rejected]
    assert raw == [r.raw for batch in alone for r in batch.rejected]
    rows = [pa.ipc.open_stream(each).read_all()["text"].chunk(0) for each in raw]
    assert [row.dictionary.to_pylist() for row in rows] == [[t] for t in text if t]


def test_a_flipped_bit_is_found_by_the_page_checksum() -> None:
    data = bytearray(
        stored(
            big_table(300),
            compression="none",
            use_dictionary=False,
            write_page_checksum=True,
        )
    )
    data[data.index(b"text 150")] ^= 1
    batches, fault = read(bytes(data))
    assert isinstance(fault, FormatError)
    assert sum(len(b) + sum(r.count for r in b.rejected) for b in batches) == 300


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: data[:-1],
        lambda data: data[:-60] + b"\xff" * 52 + data[-8:],
    ],
)
def test_a_file_without_its_footer_is_a_format_error(damage: Any) -> None:
    with pytest.raises(FormatError, match=r"s\.parquet: not a whole Parquet file"):
        read(damage(stored(big_table(100))))


def test_batches_are_bounded_and_do_not_change_results() -> None:
    data = stored(big_table(2000))
    few, _ = read(data)
    many, _ = read(data, batch_bytes=10_000)
    assert len(many) > 10 * len(few)
    assert texts(few) == texts(many)
    assert [b.consumed for b in many] == sorted(b.consumed for b in many)
    assert few[-1].consumed == many[-1].consumed > len(data) // 2


def test_layout_describes_the_file() -> None:
    data = stored(big_table(1000), row_group_size=400, compression={"id": "gzip", "text": "snappy"})
    with ParquetReader(
        io.BytesIO(data), FieldNames(), batch_bytes=1, max_record_bytes=1 << 20, name="s"
    ) as reader:
        assert reader.layout.compression == ("gzip", "snappy")
        assert reader.layout.rows_per_group == 400
        assert "parquet-cpp" in reader.layout.created_by
        assert [*reader.seen_fields] == ["text"]


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_open_reader_goes_by_content(tmp_path: Path) -> None:
    parquet, lines = stored(big_table(3)), b'{"text":"a"}\n'
    cases = [
        (parquet, "a.jsonl", "parquet"),
        (parquet, "a.parquet", "parquet"),
        (lines, "a.jsonl", "jsonl"),
        (lines, "a.json.gz", "jsonl"),
        (b"", "a.jsonl", "jsonl"),
    ]
    for data, name, expected in cases:
        path = tmp_path / name
        path.write_bytes(data)
        for source in (path, io.BytesIO(data)):
            with open_reader(source, RunConfig(), name) as reader:
                assert reader.format.name == expected
                sum(len(batch) for batch in reader)
                reader.close()


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "a.parquet", "not a Parquet file"),
        (b'{"text":"a"}', "a.pq", "not a Parquet file"),
    ],
)
def test_open_reader_refuses_what_is_not_what_it_says(data: bytes, name: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        open_reader(io.BytesIO(data), RunConfig(), name)


def test_parquet_from_a_pipe_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="give it as a file"):
        open_reader(_Pipe(stored(big_table(3))), RunConfig(), "stdin")


def test_open_reader_reads_lines_from_a_pipe_and_parquet_from_a_url() -> None:
    import fsspec

    with open_reader(_Pipe(b'{"text":"a"}\n'), RunConfig(), "stdin") as reader:
        assert [b.text.to_pylist() for b in reader] == [["a"]]
    with fsspec.open("memory://readers/a.parquet", "wb") as file:
        file.write(stored(big_table(3)))
    with open_reader("memory://readers/a.parquet", RunConfig(), "a.parquet") as reader:
        assert sum(len(b) for b in reader) == 3


ROWS = 777


@pytest.mark.parametrize("claimed", [-777, 0, 1, 778, 8191])
def test_a_footer_that_lies_about_its_rows(claimed: int) -> None:
    """Row counts stand in several places of a footer; each of them is falsified in turn."""
    data = stored(pa.table({"text": ["a"] * ROWS}))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    places = [at for at in range(footer, len(data) - 9) if data[at : at + 2] == count(ROWS)]
    assert len(places) > 2
    for at in places:
        lying = data[:at] + count(claimed) + data[at + 2 :]
        with contextlib.suppress(FormatError):  # Refused whole: nothing is lost in silence.
            batches, fault = read(lying)
            kept = sum(map(len, batches))
            assert fault is not None or kept == ROWS


def count(rows: int) -> bytes:
    """A number as a footer stores it, in two bytes: zigzag, seven bits a byte."""
    zigzag = rows * 2 if rows >= 0 else -rows * 2 - 1
    return bytes([zigzag & 0x7F | 0x80, zigzag >> 7])
