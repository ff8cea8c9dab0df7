"""What the compiled scanner calls plain is what orjson reads: the two give the same batches."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowbg.config import FieldNames
from lowbg.formats.jsonl.faults import UNDECIDED, FaultFinder
from lowbg.formats.jsonl.fields import FieldScanner, Lines
from lowbg.formats.jsonl.objects import Refused, parse
from lowbg.formats.jsonl.reader import JsonlReader
from lowbg.kernels.json_bytes import PADDING
from lowbg.kernels.json_lines import MAX_DEPTH, MAX_ID_DIGITS, MAX_NUMBER
from lowbg.records import LIST, OBJECT, Batch, BytesPayload, Metadata

PLAIN_NAMES = FieldNames()
NESTED_NAMES = FieldNames(
    id="meta.id", language="meta.a.b", url="x", others=("x", "meta", "meta.a", "n", "meta.id")
)
NAMES = [PLAIN_NAMES, NESTED_NAMES, FieldNames(text="meta.a.b", id="é", date="é", others=("",))]

LIMIT = 2000


class NothingPlain(FieldScanner):
    """Leaves every line to orjson, as the plain reference."""

    def scan(self, block: bytes, size: int, max_line: int) -> Lines:
        """No line is plain."""
        lines = block[:size].split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        ends = np.cumsum([len(line) + 1 for line in lines]).astype(np.int64) - 1
        nothing = parse([], self._fields)
        return Lines(ends, np.zeros(len(lines), np.bool_), nothing.text, nothing.metadata)


class NothingFound(FaultFinder):
    """Leaves every line to the second look of `objects`."""

    def find(
        self, block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[Refused]]:
        """No line is decided."""
        return np.full(len(starts), UNDECIDED, np.int64), []


def batches(
    data: bytes, fields: FieldNames, batch_bytes: int = 1 << 22, scanner: type = FieldScanner
) -> list[Batch]:
    """The batches of a shard, each array valid."""
    with JsonlReader(
        io.BytesIO(data), fields, batch_bytes=batch_bytes, max_record_bytes=LIMIT, name="s"
    ) as reader:
        reader._scanner = scanner(fields)
        if scanner is NothingPlain:
            reader._faults = NothingFound(fields.text)
        found = list(reader)
    for batch in found:
        batch.text.validate(full=True)
        for column in columns(batch.metadata).values():
            column.validate(full=True)
            assert column.type == pa.string()
    return found


def columns(metadata: Metadata) -> dict[str, pa.StringArray]:
    own = {name: getattr(metadata, name) for name in ("id", "language", "url")}
    own["date"] = pa.array(map(numbered, metadata.date.to_pylist()), pa.string())
    return own | {f"others {name}": column for name, column in metadata.others.items()}


def numbered(date: str | None) -> str | None:
    """A date; of 1.50 and 1.5, which are read alike, the shorter."""
    try:
        return repr(float(date)) if date and any(mark in date for mark in ".eE") else date
    except ValueError:
        return date


def content(found: list[Batch]) -> dict[str, object]:
    """Everything that is in the batches, but for where one ends and another begins."""
    rows: list[tuple[int, str, bytes]] = []
    for batch in found:
        assert isinstance(batch.payload, BytesPayload)
        spans = zip(batch.payload.starts.tolist(), batch.payload.ends.tolist(), strict=True)
        stored = [batch.payload.buffer[start:end] for start, end in spans]
        assert batch.sizes.tolist() == [len(line) for line in stored]
        rows += zip(batch.records.tolist(), batch.text.to_pylist(), stored, strict=True)
    names = columns(found[0].metadata) if found else []
    return {
        "rows": rows,
        "rejected": [rejected for batch in found for rejected in batch.rejected],
        "lenient": sum(batch.lenient for batch in found),
        "blank": sum(batch.blank for batch in found),
        **{
            name: [value for b in found for value in columns(b.metadata)[name].to_pylist()]
            for name in names
        },
    }


def assert_as_orjson(data: bytes, fields: FieldNames) -> None:
    fast, slow = batches(data, fields), batches(data, fields, scanner=NothingPlain)
    assert content(fast) == content(slow)
    for one, other in zip(fast, slow, strict=True):
        assert one.text.equals(other.text)
        for name, column in columns(one.metadata).items():
            assert column.equals(columns(other.metadata)[name])


def plain(line: bytes, fields: FieldNames = PLAIN_NAMES) -> bool:
    """Whether a line is plain, which stands between others."""
    data = b'{"text":"before"}\n' + line + b'\n{"text":"behind"}\n'
    first, it, last = FieldScanner(fields).scan(data + PADDING, len(data), LIMIT).plain.tolist()
    assert first
    assert last
    return bool(it)


# Lines that the scanner reads itself: what makes it fast must not be lost unseen.
PLAIN = [
    b'{"text":"a"}',
    b' \t{ "text" \r: "a" , "id" : 7 } \r',
    b'{"text":""}',
    b'{"text":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\u20aC\\uD83D\\uDe00"}',
    '{"text":"é € 😀 \U0010ffff \x7f","ключ":"значение"}'.encode(),
    b'{"x":[[],{},[{"text":1,"id":[]}],"\\ud83d\\ude00"],"text":"a","":null}',
    b'{"text":"a","n":[0,-0,-0.0,1.5e+10,2E-99,123456789012345678901234567890,true,false]}',
    b'{"text":"a","id":null,"language":true,"date":1.5,"url":{"text":2}}',
    b'{"text":"a","id":["x"],"date":-123456789012345678}',
    b'{"text":"a","date":{"$date":"2021-01-01T00:00:00Z"}}',
    b'{"text":"a","date":{"$date":1609459200000,"x":{"$date":1}}}',
    b'{"text":"a","date":{"$date":{"$numberLong":"1609459200000"}}}',
    b'{"text":"a","date":{"$date":[{"$numberLong":"1"}]}}',
    b'{"text":"a","date":{"$date":null}}',
    b'{"text":"a","date":{}}',
    b'{"text":"a","date":[ ]}',
    b'{"text":"a","date":""}',
    b'{"text":"a","date":1609459200.50}',
    b'{"text":"a","date":true}',
    b'{"text":"a","x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
    b'{"text":"a","x":"\\\\","x":"equal keys that nobody wants"}',
]

# Lines that it leaves to orjson, though some are valid.
ODD = [
    b"",
    b" \r",
    b"{}",
    b"[]",
    b'"text"',
    b'{"id":1}',
    b'{"text":1}',
    b'{"text":null}',
    b'{"text":"a","text":"b"}',
    b'{"id":1,"text":"a","id":2}',
    b'{"te\\u0078t":"a"}',
    b'{"text":"a","\\u0069d":1}',
    b'\xef\xbb\xbf{"text":"a"}',
    b'{"text":"\\ud800"}',
    b'{"text":"\\udc00\\ud800"}',
    b'{"text":"\\udc00\\udc00"}',
    b'{"text":"\\ud800\\ud800"}',
    b'{"text":"\\ud800\\ue000"}',
    b'{"text":"\\ud800\\u0041"}',
    b'{"text":"a","x":"\\ud800"}',
    b'{"text":"a","\\udfff":1}',
    b'{"text":"\\u00g0"}',
    b'{"text":"\\x"}',
    b'{"text":"\\',
    b'{"text":"\\u00',
    b'{"text":"\\ud83d\\ude',
    b'{"text":"a',
    b'{"text":"a"',
    b'{"text":"a"}}',
    b'{"text":"a"},',
    b'{"text":"a"} {}',
    b'{"text":"a",}',
    b'{,"text":"a"}',
    b'{"text":"a" "id":1}',
    b'{"text" "a"}',
    b'{text:"a"}',
    b'{"text":"a","x":[1,]}',
    b'{"text":"a","x":[,1]}',
    b'{"text":"a","x":[1 2]}',
    b'{"text":"a","x":[1}}',
    b'{"text":"a","x":[}}',
    b'{"text":"a","x":{]}',
    b'{"text":"a","x":{"y":1]}',
    b'{"text":"a","x":{1:2}}',
    b'{"text":"a","x":}',
    b'{"text":"a","x":nul}',
    b'{"text":"a","x":True}',
    b'{"text":"a","x":NaN}',
    b'{"text":"a","x":-}',
    b'{"text":"a","x":-Infinity}',
    b'{"text":"a","x":+1}',
    b'{"text":"a","x":01}',
    b'{"text":"a","x":-01}',
    b'{"text":"a","x":1.}',
    b'{"text":"a","x":.5}',
    b'{"text":"a","x":1e}',
    b'{"text":"a","x":1e+}',
    b'{"text":"a","x":1e400}',
    b'{"text":"a","x":0x1}',
    b'{"text":"a","x":1' + b"0" * MAX_NUMBER + b"}",
    b'{"text":"a","id":1' + b"0" * MAX_ID_DIGITS + b"}",
    b'{"text":"a","id":-0}',
    b'{"text":"a\tb"}',
    b'{"text":"a\x1fb"}',
    b'{"text":"a\x00b"}',
    b'{"text":"a"}\x00',
    b'{"text":"a"}\x0b',
    b'{"text":"a","x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    b'{"text":"%s"}' % (b"a" * LIMIT),
    *(
        b'{"text":"a %s b"}' % wrong
        for wrong in (
            b"\x80", b"\xc3", b"\xc3\xc3\xa9", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf",
            b"\xe2\x82", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98",
            b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xe2\x82\xac\x80",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("line", PLAIN)
def test_plain_lines_are_as_orjson_reads_them(line: bytes) -> None:
    assert plain(line)
    assert_as_orjson(b'{"text":"n"}\n' + line + b"\n\n" + line, PLAIN_NAMES)


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_are_left_to_orjson(line: bytes) -> None:
    assert not plain(line)
    for end in (b"\n", b""):
        assert_as_orjson(
            b'{"text":"n"}\n' + line + b'\n{"text":"m","id":2}\n' + line + end, NAMES[0]
        )


@pytest.mark.parametrize(
    ("line", "is_plain"),
    [
        (b'{"text":"t","meta":{"id":1,"a":{"b":"en","c":[]}},"x":"y"}', False),  # an object
        (b'{"text":"t","meta":null,"x":"y","n":-5}', True),
        (b'{"text":"t","n":true}', True),
        (b'{"text":"t","n":1.50}', False),
        (b'{"text":"t","n":[]}', False),
        (b'{"text":"t","meta.id":"literal"}', False),
        (b'{"text":"t","x":1.5}', False),  # null as `url`, "1.5" as one of the others
        (b'{"text":"t","x":true}', False),
        (b'{"text":"t","x":7}', True),
        (b'{"text":"t","y":{"meta.id":2,"meta":{"id":3}},"z":[{"n":{}}]}', True),
    ],
)
def test_dotted_and_other_fields(line: bytes, is_plain: bool) -> None:
    assert plain(line, NESTED_NAMES) == is_plain
    assert_as_orjson(line + b"\n" + line, NESTED_NAMES)


def test_paths_through_objects_are_plain() -> None:
    fields = replace(PLAIN_NAMES, id="m.id", language="m.a.lang", others=("m.a.n", "m.b"))
    line = b'{"m":{"id":"i","b":"c","a":{"n":1,"x":{"lang":2},"lang":"en"}},"lang":3,"text":"t"}'
    assert plain(line, fields)
    (batch,) = batches(line + b"\n" + line, fields)
    found = [column.to_pylist()[0] for column in columns(batch.metadata).values()]
    assert found == ["i", "en", None, None, "1", "c"]
    assert_as_orjson(line, fields)
    for twice in (b'"m":{}', b'"m":1', b'"m":{"a":{}}'):
        assert not plain(line[:-1] + b"," + twice + b"}", fields)
        assert_as_orjson(line[:-1] + b"," + twice + b"}", fields)
    assert not plain(line.replace(b'"id"', b'"a":1,"id"'), fields)


@pytest.mark.parametrize(
    ("value", "date"),
    [
        (b'"2021-01-01"', "2021-01-01"),
        (b"1609459200", "1609459200"),
        (b"1609459200.5", "1609459200.5"),
        (b'{"$date":"2021-01-01T00:00:00Z"}', "2021-01-01T00:00:00Z"),
        (b'{"$date":1609459200000}', "1609459200000"),
        (b'{"$date":{"$numberLong":"1609459200000"}}', "1609459200000"),
        (b'{"date":"2021-01-01"}', OBJECT),
        (b"[2021]", LIST),
        (b"false", "false"),
        (b"null", None),
    ],
)
def test_a_date_is_read_without_an_object_a_record(value: bytes, date: str | None) -> None:
    for fields, form in (
        (PLAIN_NAMES, b'{"text":"t","date":%s}'),
        (replace(PLAIN_NAMES, date="m.at"), b'{"text":"t","m":{"at":%s}}'),
    ):
        line = form % value
        assert plain(line, fields)
        (batch,) = batches(line + b"\n" + line, fields)
        assert batch.metadata.date.to_pylist() == [date, date]
        assert_as_orjson(line, fields)
    twice = b'{"text":"t","date.$date":1,"date":%s}' % value
    assert plain(twice)
    assert_as_orjson(twice, PLAIN_NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("length", [*range(70), 255, 256, 257, 1000])
@pytest.mark.parametrize("unit", ["a", "é", "€", "😀", "\n", '"', "\\u0430", "\\ud83d\\ude00"])
def test_strings_of_every_length_around_a_vector(length: int, unit: str) -> None:
    """The unit stands at every place of a vector, alone and up to the end of the string."""
    raw = unit if len(unit) > 2 else json.dumps(unit, ensure_ascii=False)[1:-1]
    text = "a" * length + raw
    lines = [f'{{"text":"{text}"}}', f'{{"id":"{raw * (length % 40)}","text":"{text}{text}"}}']
    assert all(plain(line.encode()) for line in lines if len(line) < LIMIT // 4)
    assert_as_orjson("\n".join(lines).encode(), PLAIN_NAMES)


@pytest.mark.parametrize("wrong", [b"\xff", b"\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
def test_invalid_utf8_at_every_place(wrong: bytes) -> None:
    for length in range(70):
        line = b'{"text":"%s%s"}' % (b"a" * length, wrong)
        assert not plain(line)
        key = b'{"%s%s":1,"text":"a"}' % (b"a" * length, wrong)
        assert not plain(key)
        assert_as_orjson(line + b'\n{"text":"\xc3\xa9"}\n' + key, PLAIN_NAMES)


@pytest.mark.parametrize(
    "start", ["é".encode(), "€".encode(), b"\x80", b"\xc0\x80", b"\xff", b"\xed\xa0\x80", b""]
)
def test_a_block_that_begins_with_other_bytes_than_ascii(start: bytes) -> None:
    for before in (b"", b"{", b'{"', b'{"a'):
        for end in (b'":1,"text":"a"}\n', b'":1,"text":"a"}', b"\n", b""):
            assert_as_orjson(before + start + end, PLAIN_NAMES)


def test_metadata_beyond_32_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"text":"long enough","id":"123"}\n{"text":"a","url":"1234"}\n'
    monkeypatch.setattr("lowbg.formats.jsonl.fields.MAX_BYTES", 4)
    assert len(batches(data, PLAIN_NAMES)[0]) == 2
    monkeypatch.setattr("lowbg.formats.jsonl.fields.MAX_BYTES", 3)
    with pytest.raises(OverflowError, match="more than 3 bytes"):
        batches(data, PLAIN_NAMES)


# Generated lines.

ALPHABETS = ["a", "abc xyz.,", "éüñ", "абвгд", "漢字かな", "😀🎉", "aé€😀"]
ESCAPES = ["\\n", '\\"', "\\\\", "\\/", "\\t", "\\u0041", "\\u00e9", "\\u0434", "\\u6f22",
           "\\uD83D\\uDE00", "\\u0000"]  # fmt: skip
WRONG_ESCAPES = ["\\ud83d", "\\ude00", "\\ud83d\\ue000", "\\ude00\\ude00", "\\ude00\\ud83d",
                 "\\ud83d\\u0041", "\\uD83D\\n", "\\ud83dx", "\\x", "\\u12", "\\u12G4", "\\U0041",
                 "\t", "\x00", "\x1f"]  # fmt: skip
NUMBERS = ["0", "-0", "7", "-1", "00", "01", "-01", "1.0", "-0.5", "1.", ".1", "-.1", "1e5", "1E+9",
           "2e-3", "1e", "1e+", "e1", "1e99", "9e100", "1e308", "1e309", "-1e400", "0e999", "+1",
           "--1", "1-1", "0x10", "1_0", "123456789012345678", "1234567890123456789",
           "9223372036854775807", "-9223372036854775808", "9223372036854775808",
           "18446744073709551615", "18446744073709551616", "9" * 64, "9" * 65, "9" * 309,
           "0." + "1" * 62, "0." + "1" * 63, "NaN", "Infinity", "-Infinity", "-"]  # fmt: skip
WORDS = ["true", "false", "null", "tru", "nulls", "True", "none", "n", "t"]
KEYS = ["text", "id", "language", "date", "url", "x", "n", "meta", "a", "b", "é", "", "meta.id",
        "meta.a", "meta.a.b", "te\\u0078t", "\\u0069d", "Text", "text "]  # fmt: skip
SPACES = ["", "", "", "", " ", "  ", "\t", "\r", " \r\t "]
WRONG_SPACES = ["\x0b", "\x00", "\xa0", "\ufeff", "//", "/**/"]


def make_string(random: Random) -> str:
    length = random.choice([0, 1, 2, 5, 14, 31, 32, 33, 63, 64, 65, random.randrange(200)])
    alphabet = random.choice(ALPHABETS)
    pieces = [random.choice(alphabet) for _ in range(length)]
    for _ in range(random.choice([0, 0, 1, 3, 40])):
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(ESCAPES))
    if random.random() < 0.02:
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(WRONG_ESCAPES))
    return '"' + "".join(pieces) + '"'


def space(random: Random) -> str:
    return random.choice(WRONG_SPACES if random.random() < 0.001 else SPACES)


def make_value(random: Random, depth: int) -> str:
    kind = random.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return make_string(random)
    if kind < 5:
        return random.choice(NUMBERS if random.random() < 0.15 else NUMBERS[:7:2])
    if kind == 5:
        return random.choice(WORDS if random.random() < 0.05 else WORDS[:3])
    if kind == 6:
        nested = random.choice([0, 1, 2, 60, 61, 62, 63, 64, 65, 1022, 1023, 1025])
        return "[" * nested + make_value(random, 4) + "]" * nested
    items = [make_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return "[" + ",".join(space(random) + item + space(random) for item in items) + "]"
    return make_object(random, depth + 1)


def make_object(random: Random, depth: int) -> str:
    keys = random.choices(KEYS, k=random.randrange(4)) + ["text"] * (depth == 0)
    random.shuffle(keys)
    members = []
    for key in dict.fromkeys(keys) if random.random() < 0.8 else keys:
        is_string = key in KEYS[:5] and random.random() < 0.7
        value = make_string(random) if is_string else make_value(random, depth)
        if key in ("meta", "meta.a", "a") and random.random() < 0.5 and depth < 4:
            value = make_object(random, depth + 1)
        parts = [f'"{key}"', ":", value]
        members.append("".join(space(random) + part + space(random) for part in parts))
    return "{" + ",".join(members) + "}"


def make_line(random: Random) -> bytes:
    """A line of JSON, mostly an object with text, and often changed."""
    line = make_object(random, 0) if random.random() < 0.97 else make_value(random, 0)
    data = (space(random) + line + space(random)).encode()
    if random.random() < 0.4:
        data = mutate(data, random)
    return data.replace(b"\n", b" ")


MARKS = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\\u", b"0", b"-", b".", b"e", b"\r",
         b"\xc3\xa9", b"\xed\xa0\x80", b""]  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice([0, 1, 1, 2, 6, 30]))
        instead = [random.choice(MARKS), bytes([random.randrange(256)]), data[at:to] * 2]
        data = data[:at] + random.choice(instead) + data[to:]
    return data


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(random=st.randoms(use_true_random=False), names=st.sampled_from(NAMES))
def test_the_scanner_reads_as_orjson_does(random: Random, names: FieldNames) -> None:
    lines = [make_line(random) for _ in range(random.randrange(1, 9))]
    data = b"\n".join(lines) + random.choice([b"", b"\n"])
    assert_as_orjson(b"\n" + data, names)


@pytest.mark.slow
def test_many_lines_at_any_size_of_blocks() -> None:
    """The generator makes both kinds: else the comparison would say nothing."""
    random = Random(5)
    lines = [make_line(random) for _ in range(700)]
    shares = [sum(plain(line, names) for line in lines) / len(lines) for names in NAMES[:2]]
    assert all(0.15 < share < 0.9 for share in shares), shares
    for names in NAMES:
        data = b"\n" + b"\n".join(lines)
        whole = content(batches(data, names, scanner=NothingPlain))
        for batch_bytes in (1, 100, 4096, 1 << 22):
            assert content(batches(data, names, batch_bytes)) == whole
