from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.config import FieldNames, RunConfig
from lowbg.errors import CutStreamError, FormatError, InputError
from lowbg.formats import open_reader
from lowbg.formats.jsonl import objects as json_objects
from lowbg.formats.jsonl import reader as jsonl
from lowbg.formats.jsonl.reader import RAW_BYTES, JsonlReader
from lowbg.records import Batch, BytesPayload, Rejected, RejectReason

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}
BATCH_SIZES = [1, 7, 64, 4096, 1 << 22]


@dataclass
class Read:
    """Everything that came out of a shard, without the borders of batches."""

    records: list[int]
    text: list[str]
    lines: list[bytes]
    ids: list[str | None]
    rejected: list[Rejected]
    lenient: int
    blank: int
    fault: InputError | None
    sizes: list[int] = field(default_factory=list, compare=False)


def stored_lines(batch: Batch) -> Iterator[bytes]:
    assert isinstance(batch.payload, BytesPayload)
    for start, end in zip(batch.payload.starts, batch.payload.ends, strict=True):
        yield batch.payload.buffer[start:end]


def read(
    data: bytes,
    batch_bytes: int = 1 << 22,
    fields: FieldNames | None = None,
    max_record_bytes: int = 1 << 20,
) -> Read:
    out = Read([], [], [], [], [], 0, 0, None)
    with JsonlReader(
        io.BytesIO(data),
        fields or FieldNames(),
        batch_bytes=batch_bytes,
        max_record_bytes=max_record_bytes,
        name="s.jsonl",
    ) as reader:
        try:
            for batch in reader:
                batch.text.validate(full=True)
                lines = list(stored_lines(batch))
                assert len(batch) == len(batch.text) == len(lines) == len(batch.metadata.id)
                assert batch.sizes.tolist() == [len(line) for line in lines]
                out.sizes.append(len(batch) + len(batch.rejected) + batch.blank)
                out.records += batch.records.tolist()
                out.text += batch.text.to_pylist()
                out.lines += lines
                out.ids += batch.metadata.id.to_pylist()
                out.rejected += batch.rejected
                out.lenient += batch.lenient
                out.blank += batch.blank
        except InputError as fault:
            out.fault = fault
    return out


ACCEPTED: list[tuple[bytes, str, int]] = [
    # line, text, lenient
    (b'{"text":"a"}', "a", 0),
    (b'{"text":""}', "", 0),
    (b'  {"text" : "a" }  ', "a", 0),
    (b'{"text":"a"}\r', "a", 0),
    ('{"text":"\u00e9 \U0001f600"}'.encode(), "\u00e9 \U0001f600", 0),
    (b'{"text":"\\u00e9\\n"}', "\u00e9\n", 0),
    (b'{"text":"a","text":"b"}', "b", 0),
    (b'{"text":"a","x":1.0,"y":[{"z":null}],"n":1e400}', "a", 1),
    (b'{"text":"a","x":NaN}', "a", 1),
    (b'{"text":"a","x":[-Infinity]}', "a", 1),
    (b'{"text":"a\\ud800b"}', "a\ufffdb", 1),
    (b'{"text":"\\ud83d\\ude00"}', "\U0001f600", 0),
    (b'{"text":"a","x":"\\udc00"}', "a", 1),
    (b'{"text":"a","x":' + b"9" * 400 + b"}", "a", 1),
    (b'\xef\xbb\xbf{"text":"a"}', "a", 1),
]

REJECTED: list[tuple[bytes, RejectReason, str]] = [
    (b'{"text" "a"}', RejectReason.INVALID_JSON, "expecting ':' delimiter at column 9"),
    (b'{"text":"a"', RejectReason.INVALID_JSON, "at column 12"),
    (b'{"text":"a"} {"text":"b"}', RejectReason.INVALID_JSON, "extra data"),
    (b"not json", RejectReason.INVALID_JSON, "column 1"),
    (b"\x00" * 50, RejectReason.INVALID_JSON, "column 1"),
    (b'{"text":"a\tb"}', RejectReason.INVALID_JSON, "control character"),
    (b'{"text":"a","x":' + b"9" * 5000 + b"}", RejectReason.INVALID_JSON, "digits"),
    (b'{"text":"a","x":' + b"[" * 3000 + b"]" * 3000 + b"}", RejectReason.INVALID_JSON, "deep"),
    (b"[" * 100_000, RejectReason.INVALID_JSON, ""),
    (b'{"text":"a\xff"}', RejectReason.INVALID_UTF8, "0xff at column 11"),
    (b'{"text":"\xed\xa0\x80"}', RejectReason.INVALID_UTF8, "0xed"),
    (b'{"text":NaN,"x":"\xff"}', RejectReason.INVALID_UTF8, ""),
    (b'["text"]', RejectReason.NOT_AN_OBJECT, "an array"),
    (b'"text"', RejectReason.NOT_AN_OBJECT, "a string"),
    (b"42", RejectReason.NOT_AN_OBJECT, "a number"),
    (b"null", RejectReason.NOT_AN_OBJECT, "null"),
    (b"true", RejectReason.NOT_AN_OBJECT, "a boolean"),
    (b"NaN", RejectReason.NOT_AN_OBJECT, "a number"),
    (b"{}", RejectReason.MISSING_TEXT, "'text'"),
    (b'{"Text":"a"}', RejectReason.MISSING_TEXT, "'text'"),
    (b'{"text":null}', RejectReason.NULL_TEXT, "null"),
    (b'{"text":42}', RejectReason.TEXT_NOT_STRING, "a number"),
    (b'{"text":NaN}', RejectReason.TEXT_NOT_STRING, "a number"),
    (b'{"text":true}', RejectReason.TEXT_NOT_STRING, "a boolean"),
    (b'{"text":["a"]}', RejectReason.TEXT_NOT_STRING, "an array"),
    (b'{"text":{"a":1}}', RejectReason.TEXT_NOT_STRING, "an object"),
    (b'{"text":"%s"}' % (b"a" * 200_000), RejectReason.TOO_LARGE, "200011 bytes"),
]

BLANK = [b"", b"  ", b"\t \r", b"\x0b"]


@pytest.mark.parametrize(("line", "text", "lenient"), ACCEPTED)
@pytest.mark.parametrize("fields", [FieldNames(), FieldNames(id="meta.id")])
def test_record(line: bytes, text: str, lenient: int, fields: FieldNames) -> None:
    # Neighbours on both sides show that one line's fate is its own.
    neighbour = b'{"text":"n"}\n'
    got = read(neighbour + line + b"\n" + neighbour, fields=fields)
    assert got.text == ["n", text, "n"]
    assert got.lines == [neighbour, line + b"\n", neighbour]
    assert got.lenient == lenient
    assert not got.rejected
    assert got.records == [0, 1, 2]


@pytest.mark.parametrize(("line", "reason", "words"), REJECTED)
@pytest.mark.parametrize("fields", [FieldNames(), FieldNames(id="meta.id")])
def test_rejected(line: bytes, reason: RejectReason, words: str, fields: FieldNames) -> None:
    neighbour = b'{"text":"n"}\n'
    data = neighbour + b"\n" + line + b"\n" + neighbour
    got = read(data, fields=fields, max_record_bytes=150_000)
    assert got.text == ["n", "n"]
    assert got.records == [0, 2]
    (rejected,) = got.rejected
    assert rejected.reason is reason
    assert (rejected.record, rejected.line, rejected.offset) == (1, 3, 14)
    whole = line + b"\n"
    assert rejected.raw == (whole[:RAW_BYTES] if reason is RejectReason.TOO_LARGE else whole)
    assert rejected.message.startswith("s.jsonl:3: ")
    assert rejected.message.endswith(". Record quarantined.")
    assert words in rejected.message
    assert got.blank == 1


@pytest.mark.parametrize("line", BLANK)
def test_blank_lines_are_no_records(line: bytes) -> None:
    got = read(line + b'\n{"text":"a"}\n' + line + b"\n")
    assert got.text == ["a"]
    assert got.records == [0]
    assert got.blank == 2
    assert not got.rejected


def test_empty_lines_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []

    def noting(lines: list[bytes], fields: FieldNames) -> json_objects.Parsed:
        looked_at.extend(lines)
        return json_objects.parse(lines, fields)

    monkeypatch.setattr(jsonl, "parse", noting)
    got = read(b"\n\r\nNaN\r\n" * 1000 + b"\r")
    assert got.blank == 2001
    assert [rejected.line for rejected in got.rejected] == list(range(3, 3001, 3))
    assert looked_at == [b"NaN\r"] * 1000


@pytest.mark.parametrize("end", ["", "\n", "\nx"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_batch_of_short_lines_is_bounded(
    monkeypatch: pytest.MonkeyPatch, end: str, cut: bool
) -> None:
    """Each line takes some bytes of columns, and a block has room for millions of them."""
    lines = ['{"text":"a"}', "x", "", '{"text":"b","n":1e400}', "{}", "y"]
    data = ("\n".join(lines * 4) + end).encode()
    stored = gzip.compress(data)[:-8] if cut else data
    whole = read(stored)
    assert len(whole.text) == 8
    for most in (1, 6, 7, 12, 23, 24):
        monkeypatch.setattr(jsonl, "MOST_LINES", most)
        again = read(stored)
        # What stands behind the last line end belongs to the last batch.
        assert max(again.sizes) <= most + 1
        assert str(again.fault) == str(whole.fault)
        assert replace(again, fault=whole.fault) == whole


@pytest.mark.parametrize(
    ("data", "lines", "blank"),
    [
        (b"", [], 0),
        (b"\n", [], 1),
        (b"\xef\xbb\xbf", [], 1),
        (b'\xef\xbb\xbf{"text":"a"}\n', [b'\xef\xbb\xbf{"text":"a"}\n'], 0),
        (b'{"text":"a"}', [b'{"text":"a"}'], 0),
        (b'{"text":"a"}\r\n{"text":"b"}\r\n', [b'{"text":"a"}\r\n', b'{"text":"b"}\r\n'], 0),
        (b'{"text":"a"}\n\n', [b'{"text":"a"}\n'], 1),
        (b'{"text":"a"}\n ', [b'{"text":"a"}\n'], 1),
    ],
)
@pytest.mark.parametrize("batch_bytes", BATCH_SIZES)
def test_line_ends_stay_as_stored(
    data: bytes, lines: list[bytes], blank: int, batch_bytes: int
) -> None:
    got = read(data, batch_bytes)
    assert got.lines == lines
    assert got.blank == blank
    assert got.lenient == 0
    assert not got.rejected


@pytest.mark.parametrize("codec", COMPRESS)
def test_batch_size_never_changes_a_result(codec: str) -> None:
    lines = [line for line, *_ in ACCEPTED] + [line for line, *_ in REJECTED] + BLANK
    data = COMPRESS[codec](b"\n".join(lines * 2) + b'\n{"text":"last"}')
    reads = [read(data, size, max_record_bytes=150_000) for size in [100, 5000, 1 << 22]]
    assert reads[0].text[-1] == "last"
    assert all(other == reads[0] for other in reads[1:])


@pytest.mark.parametrize("batch_bytes", BATCH_SIZES)
def test_a_mark_is_that_of_a_file_only_at_its_start(batch_bytes: int) -> None:
    marked = b'\xef\xbb\xbf{"text":"a"}\n'
    got = read(marked * 3, batch_bytes)
    assert got.text == ["a"] * 3
    assert got.lenient == 2


json_lines = st.one_of(
    st.binary(max_size=40).filter(lambda b: b"\n" not in b),
    st.dictionaries(st.sampled_from(["text", "id", "x"]), st.text(max_size=20)).map(
        lambda d: json.dumps(d, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
    st.sampled_from([line for line, *_ in ACCEPTED] + BLANK),
)


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(json_lines, max_size=12),
    final_line_end=st.booleans(),
    codec=st.sampled_from(["none", "gzip", "zstd"]),
    batch_bytes=st.integers(1, 200),
)
def test_bytes_in_are_bytes_out(
    lines: list[bytes], final_line_end: bool, codec: str, batch_bytes: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if final_line_end and lines else b"")
    # What starts like a codec or UTF-16 is another test's matter.
    data = b"\n" + data
    got = read(COMPRESS[codec](data), batch_bytes)
    pieces = [*zip(got.records, got.lines, strict=True)]
    pieces += [(r.record, r.raw) for r in got.rejected]
    assert [record for record, _ in sorted(pieces)] == list(range(len(pieces)))
    *ended, last = data.split(b"\n")
    expected = [line + b"\n" for line in ended] + [last]
    assert [raw for _, raw in sorted(pieces)] == [line for line in expected if line.strip()]
    assert got.blank == len([line for line in expected if not line.strip() and line])
    assert got.fault is None
    for rejected in got.rejected:
        assert rejected.offset is not None
        assert data[rejected.offset :].startswith(rejected.raw)
        assert rejected.line == data[: rejected.offset].count(b"\n") + 1


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("batch_bytes", BATCH_SIZES)
def test_cut_stream_gives_its_complete_lines_and_quarantines_the_last(
    codec: str, batch_bytes: int
) -> None:
    lines = [b'{"text":"%d"}\n' % i for i in range(50)]
    unfinished = b'{"text":"unfinis'
    # Two members: the second is cut at its end, so that all content comes out.
    stored = COMPRESS[codec](b"".join(lines) + unfinished) + COMPRESS[codec](b"x")[:-1]
    got = read(stored, batch_bytes)
    assert got.lines == lines
    last = got.rejected[-1]
    assert (last.record, last.line, last.reason) == (50, 51, RejectReason.CUT)
    assert last.raw.startswith(unfinished)
    assert last.offset == len(b"".join(lines))
    assert isinstance(got.fault, CutStreamError)
    assert "s.jsonl" in str(got.fault)


@pytest.mark.parametrize("end", [b"", b"  "])
def test_cut_after_a_whole_line_quarantines_nothing(end: bytes) -> None:
    stored = gzip.compress(b'{"text":"a"}\n' + end)[:-4]
    got = read(stored)
    assert got.text == ["a"]
    assert not got.rejected
    assert got.blank == (1 if end else 0)
    assert isinstance(got.fault, CutStreamError)


@pytest.mark.parametrize("batch_bytes", [10, 4096, 1 << 20])
@pytest.mark.parametrize("last", [b"\n", b""])
def test_a_line_too_large_is_never_held(batch_bytes: int, last: bytes) -> None:
    size = 40 << 20
    stored = gzip.compress(
        b'{"text":"a"}\n{"text":"' + b"x" * size + b'"}\n{"text":"b"}' + last, compresslevel=1
    )
    tracemalloc.start()
    try:
        got = read(stored, max(batch_bytes, 4096), max_record_bytes=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got.text == ["a", "b"]
    assert got.records == [0, 2]
    (large,) = got.rejected
    assert (large.record, large.line, large.offset) == (1, 2, 13)
    assert large.reason is RejectReason.TOO_LARGE
    assert len(large.raw) == RAW_BYTES
    assert f"{size + 11} bytes at offset 13" in large.message
    assert peak < 12 << 20


def test_the_limit_is_exact_at_any_batch_size() -> None:
    at_limit, above = b'{"text":"1234"}', b'{"text":"12345"}'
    for batch_bytes in BATCH_SIZES:
        for end in (b"\n", b""):
            got = read(at_limit + b"\n" + above + end, batch_bytes, max_record_bytes=15)
            assert got.text == ["1234"]
            assert [r.reason for r in got.rejected] == [RejectReason.TOO_LARGE]
            assert "16 bytes at offset 16" in got.rejected[0].message


@pytest.mark.parametrize(
    ("path", "line", "text"),
    [
        ("text", b'{"text":"a"}', "a"),
        ("doc.text", b'{"doc":{"text":"a"}}', "a"),
        ("doc.text", b'{"doc.text":"literal","doc":{"text":"a"}}', "literal"),
        ("a.b.c", b'{"a":{"b":{"c":"deep"}}}', "deep"),
    ],
)
def test_text_field_paths(path: str, line: bytes, text: str) -> None:
    assert read(line, fields=FieldNames(text=path)).text == [text]


@pytest.mark.parametrize("line", [b'{"doc":[1]}', b'{"doc":{"x":1}}', b'{"doc":"text"}'])
def test_dotted_path_that_leads_nowhere_is_missing_text(line: bytes) -> None:
    (rejected,) = read(line, fields=FieldNames(text="doc.text")).rejected
    assert rejected.reason is RejectReason.MISSING_TEXT


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b'"x"', "x"),
        (b'""', ""),
        (b"7", "7"),
        (b"-12345678901234567890123", "-12345678901234567890123"),
        (b"9" * 308, "9" * 308),
        (b"9" * 309, "9" * 309),  # Infinite for orjson.
        (b"1e30", None),
        (b"9223372036854775808.0", None),
        (b"18446744073709551615", "18446744073709551615"),
        (b"1.5", None),
        (b"true", None),
        (b"null", None),
        (b"{}", None),
        (b'"\\ud800"', "\ufffd"),
    ],
)
def test_identifiers(value: bytes, text: str | None) -> None:
    line = b'{"text":"a","id":%s}\n' % value
    assert read(line + b'{"text":"a","id":"y"}\n{"text":"a"}').ids == [text, "y", None]


def test_an_identifier_beyond_64_bits_is_that_of_its_own_line() -> None:
    refused = b'{\n\n{"text":1,"id":%d}\n' % 3**50
    rows = b"".join(b'{"text":"a","doc":{"id":%d}}\n' % 3**i for i in (41, 50, 2))
    nested = b'{"text":"a","doc":{"id":1e99},"deep":' + b"[" * 1000 + b"]" * 1000 + b"}"
    seen = read(refused + rows + refused + rows + nested, fields=FieldNames(id="doc.id"))
    assert seen.ids == [str(3**41), str(3**50), "9"] * 2 + [None]


def test_metadata_columns() -> None:
    line = b'{"text":"a","id":1,"meta":{"lang":"en"},"date":2020,"url":"u"}'
    config = RunConfig(fields=FieldNames(language="meta.lang"))
    with open_reader(io.BytesIO(line), config, "s") as reader:
        (batch,) = reader
    got = batch.metadata
    columns = (got.id, got.language, got.date, got.url)
    assert [column.to_pylist() for column in columns] == [["1"], ["en"], ["2020"], ["u"]]
    assert all(str(column.type) == "string" for column in columns)


def test_seen_fields_explain_a_wrong_field() -> None:
    data = b'bad\n{"content":"a","n":1}\n' + b'{"body":"b"}\n' * 200 + b'{"late":"c"}\n'
    for batch_bytes in (10, 1 << 20):
        with JsonlReader(
            io.BytesIO(data),
            FieldNames(),
            batch_bytes=batch_bytes,
            max_record_bytes=1000,
            name="s",
        ) as reader:
            assert sum(len(batch.rejected) for batch in reader) == 203
            assert reader.seen_fields == {"content": 1, "body": 98}


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (gzip.compress(b'{"text":"a"}', mtime=0), "gzip inside zstd"),
        ('{"text":"a"}'.encode("utf-16"), "UTF-16"),
    ],
)
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_content_that_is_not_lines_is_named(inner: bytes, words: str, batch_bytes: int) -> None:
    got = read(COMPRESS["zstd"](inner), batch_bytes)
    assert isinstance(got.fault, FormatError)
    assert words in str(got.fault)


def test_consumed_rises_to_the_stored_size() -> None:
    noise = random.Random(1)
    stored = gzip.compress(
        b"".join(b'{"text":"%x"}\n' % noise.getrandbits(800) for _ in range(9000))
    )
    with JsonlReader(
        io.BytesIO(stored), FieldNames(), batch_bytes=1 << 18, max_record_bytes=1000, name="s"
    ) as reader:
        consumed = [batch.consumed for batch in reader]
    assert consumed == sorted(consumed)
    assert consumed[-1] == len(stored)
    assert len(set(consumed)) > 3


def outcome(batches: list[Batch]) -> tuple[list[int], list[Rejected], int]:
    records = [record for batch in batches for record in batch.records.tolist()]
    rejected = [each for batch in batches for each in batch.rejected]
    return records, rejected, sum(batch.blank for batch in batches)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(b'{"text":"a"}\n' * 9 + b'{"text":"cut')[:-9], id="cut"),
        pytest.param(gzip.compress(b'{"text":"a"}\n' * 9 + b"  ")[:-9], id="cut after blanks"),
        pytest.param(b'{"text":"a"}\n' + b"x" * 500, id="too large, without a line end"),
        pytest.param(gzip.compress(b'{"text":"a"}\n' + b"x" * 500)[:-9], id="too large, and cut"),
        pytest.param(b'{"text":"a"}\n' + b"x" * 500 + b"\n\n{}", id="too large, and more"),
    ],
)
def test_going_on_after_any_batch_misses_and_repeats_nothing(data: bytes) -> None:
    """Found by benchmarks/fuzz: after the last batch of a cut stream its tail came again."""

    def reader() -> JsonlReader:
        stream = io.BytesIO(data)
        return JsonlReader(stream, FieldNames(), batch_bytes=20, max_record_bytes=100, name="s")

    batches: list[Batch] = []
    positions = [reader().position()]
    with reader() as whole, contextlib.suppress(CutStreamError):
        for batch in whole:
            batches.append(batch)
            positions.append(whole.position())
    for done, position in enumerate(positions):
        rest: list[Batch] = []
        with reader() as second, contextlib.suppress(CutStreamError):
            second.start_at(position)
            rest.extend(second)
        assert outcome(batches[:done] + rest) == outcome(batches)
