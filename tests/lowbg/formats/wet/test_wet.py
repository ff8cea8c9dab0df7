"""WET: what is read of it, what is wrong with it, and that bytes in are bytes out."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wet_files import Page, read_again, wet

from lowbg.config import FieldNames, RunConfig
from lowbg.errors import CheckpointError, CutStreamError, FormatError, InputError
from lowbg.formats import endings, open_reader, recognise_file
from lowbg.formats.base import Output, Reader
from lowbg.formats.wet import FORMAT
from lowbg.records import Batch, BytesPayload, Position
from lowbg.storage.compression import CODECS, open_output
from lowbg.storage.files import Part

PAGES = [
    Page(
        b"Words, \xc3\xa9t\xc3\xa9.\n", "https://example.org/a", "2021-03-04T05:06:07Z", "fra,eng"
    ),
    Page(b"", "https://example.org/b"),
    Page(b"No such tongue.", "https://example.org/c", languages="tlh"),
    Page(b"Last.\r\n\r\nWords.", "https://example.org/d", languages="eng"),
]
HTML = Page(b"HTTP/1.1 200 OK\r\n\r\n<p>")
GET = Page(b"GET / HTTP/1.1\r\n\r\n")
ALL_FIELDS = FieldNames(others=("digest", "warc-refers-to", "WARC-Identified-Content-Language"))


def records_of(stored: bytes) -> list[bytes]:
    """The records' bytes, by their own Content-Length."""
    found, at = [], 0
    while at < len(stored):
        content = stored.index(b"\r\n\r\n", at) + 4
        header = stored[at:content].lower()
        size = int(header.partition(b"content-length:")[2].split(b"\r\n")[0])
        found.append(stored[at : content + size + 4])
        at = content + size + 4
    return found


def opened(data: bytes, config: RunConfig | None = None, name: str = "a.warc.wet") -> Reader:
    return open_reader(io.BytesIO(data), config or RunConfig(), name)


class Read:
    """All batches of a shard, and how it ended."""

    def __init__(self, data: bytes, **config: Any) -> None:
        self.batches: list[Batch] = []
        self.fault: InputError | None = None
        self.reader = opened(data, RunConfig(**config))
        try:
            self.batches.extend(self.reader)
        except InputError as fault:
            self.fault = fault
        self.rejected = [each for batch in self.batches for each in batch.rejected]

    def column(self, of: Any) -> list[Any]:
        return [value for batch in self.batches for value in of(batch).to_pylist()]

    @property
    def texts(self) -> list[str]:
        return self.column(lambda batch: batch.text)

    @property
    def records(self) -> list[int]:
        return [int(record) for batch in self.batches for record in batch.records]

    @property
    def kept(self) -> list[bytes]:
        """The records that a writer which keeps all would write."""
        found = []
        for batch in self.batches:
            assert isinstance(batch.payload, BytesPayload)
            ends = zip(batch.payload.starts, batch.payload.ends, strict=True)
            found += [batch.payload.buffer[start:end] for start, end in ends]
        return found


@pytest.mark.parametrize("batch_bytes", [1, 700, 1 << 20])
def test_a_record_is_a_document_with_its_headers(batch_bytes: int) -> None:
    got = Read(wet(PAGES), fields=ALL_FIELDS, batch_bytes=batch_bytes)
    assert got.texts == [page.text.decode() for page in PAGES]
    assert got.records == [0, 1, 2, 3]
    assert got.column(lambda b: b.metadata.url) == [page.url for page in PAGES]
    assert got.column(lambda b: b.metadata.id)[1] == f"<urn:uuid:{1:032d}>"
    assert got.column(lambda b: b.metadata.date)[0] == "2021-03-04T05:06:07Z"
    assert got.column(lambda b: b.metadata.language) == ["fr", None, "tlh", "en"]
    others = {
        name: got.column(lambda b, n=name: b.metadata.others[n]) for name in ALL_FIELDS.others
    }
    assert all(value.startswith("sha1:") for value in others["digest"])
    assert others["warc-refers-to"][2] == f"<urn:uuid:{2:030d}99>"
    assert others["WARC-Identified-Content-Language"] == ["fra,eng", None, "tlh", "eng"]
    sizes = [int(size) for batch in got.batches for size in batch.sizes]
    assert sizes == [len(record) for record in records_of(wet(PAGES))[1:]]
    assert {"text", "url", "WARC-Date"} <= got.reader.seen_fields.keys()
    assert not got.rejected
    assert got.fault is None
    assert got.kept == records_of(wet(PAGES))


def test_objects_are_headers_and_fields() -> None:
    (batch,) = Read(wet(PAGES)).batches
    objects = list(FORMAT.objects(batch.payload))
    assert [each["text"] for each in objects] == [page.text.decode() for page in PAGES]
    assert objects[0]["url"] == objects[0]["WARC-Target-URI"] == PAGES[0].url
    assert (objects[0]["language"], "language" in objects[1]) == ("fr", False)


def test_the_text_has_one_name() -> None:
    with pytest.raises(FormatError, match=r"no field 'content'; .* 'text', beside id, url"):
        opened(wet(PAGES), RunConfig(fields=FieldNames(text="content")))


@pytest.mark.parametrize("kind", ["response", "request", "resource", "revisit"])
def test_crawled_pages_are_refused_before_anything_is_written(kind: str) -> None:
    with pytest.raises(FormatError, match=rf"crawled pages .*'{kind}' at byte \d+.* WET files"):
        opened(wet([GET if kind == "request" else HTML], kind=kind), name="a.warc")


def test_a_page_among_texts_ends_the_reading() -> None:
    got = Read(wet(PAGES) + wet([HTML], kind="response"))
    assert got.records == [0, 1, 2, 3]
    assert isinstance(got.fault, FormatError)
    assert not got.rejected


def test_other_records_are_no_documents_and_stay() -> None:
    data = wet(PAGES[:1]) + wet([Page(b"fetchTimeMs: 7")], kind="metadata") + wet(PAGES[1:2])
    for batch_bytes in (1, 1 << 20):
        got = Read(data, batch_bytes=batch_bytes)
        assert got.records == [0, 1]
        assert got.kept == records_of(data)


BROKEN = {
    "no record": b"nothing of the kind\r\n\r\n",
    "length too small": records_of(wet([Page(b"a" * 40)]))[1].replace(b": 40", b": 20"),
    "length too large": records_of(wet([Page(b"a" * 40)]))[1].replace(b": 40", b": 44"),
    "length beyond the end": records_of(wet([Page(b"a" * 40)]))[1].replace(b": 40", b": 40000"),
    "no length": records_of(wet([Page(b"a" * 40)]))[1].replace(b"Content-Length", b"Content"),
    "negative": records_of(wet([Page(b"a" * 40)]))[1].replace(b": 40", b": -4"),
    "endless header": b"WARC/1.0\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("batch_bytes", [1, 600, 1 << 20])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_goes_to_quarantine_with_its_bytes(broken: bytes, batch_bytes: int) -> None:
    info, first, *others = records_of(wet(PAGES))
    data = b"".join((info, first, broken, *others))
    got = Read(data, batch_bytes=batch_bytes)
    assert got.texts == [page.text.decode() for page in PAGES]
    assert got.records == [0, 2, 3, 4]
    (rejected,) = got.rejected
    assert (rejected.record, rejected.line, rejected.encoding) == (1, None, "warc")
    assert rejected.offset == len(info) + len(first)
    assert rejected.reason == "malformed"
    assert rejected.raw == broken
    assert f"a.warc.wet: record 1 at byte {rejected.offset}: " in rejected.message
    assert got.fault is None


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_text_that_is_not_utf8_goes_to_quarantine(batch_bytes: int) -> None:
    pages = [PAGES[0], Page(b"caf\xe9"), PAGES[3]]
    got = Read(wet(pages), batch_bytes=batch_bytes)
    assert (got.records, len(got.rejected)) == ([0, 2], 1)
    assert got.rejected[0].reason == "invalid_utf8"
    assert got.rejected[0].raw == records_of(wet(pages))[2]
    assert got.kept == [r for i, r in enumerate(records_of(wet(pages))) if i != 2]


@pytest.mark.parametrize("batch_bytes", [3, 5_000, 1 << 20])
def test_a_record_that_is_too_large_is_not_held(batch_bytes: int) -> None:
    pages = [PAGES[0], Page(b"a" * 600_000), PAGES[3]]
    got = Read(wet(pages), batch_bytes=batch_bytes, max_record_bytes=100_000)
    assert (got.records, len(got.rejected)) == ([0, 2], 1)
    large = records_of(wet(pages))[2]
    assert got.rejected[0].reason == "too_large"
    assert f"record of {len(large)} bytes" in got.rejected[0].message
    assert got.rejected[0].raw == large[: 64 << 10]


def test_empty_lines_between_records_are_no_records() -> None:
    first, *others = records_of(wet(PAGES))
    data = first + b"\r\n" + others[0] + b"\n\n" + b"".join(others[1:])
    for batch_bytes in (1, 1 << 20):
        got = Read(data, batch_bytes=batch_bytes)
        assert got.records == [0, 1, 2, 3]
        assert sum(batch.blank for batch in got.batches) == 2


@pytest.mark.slow
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_a_cut_file_gives_what_was_whole_and_names_the_rest(batch_bytes: int) -> None:
    data = wet(PAGES)
    ends = np.cumsum([len(record) for record in records_of(data)])
    for size in range(ends[0] + 1, len(data)):
        got = Read(data[:size], batch_bytes=batch_bytes)
        whole = int(np.searchsorted(ends, size, "right")) - 1
        assert got.records == list(range(whole))
        if size in ends:
            assert (got.fault, got.rejected) == (None, [])
            continue
        assert isinstance(got.fault, CutStreamError)
        (rejected,) = got.rejected
        assert (rejected.record, rejected.reason) == (whole, "cut")
        assert rejected.raw == data[ends[whole] : size]


def test_a_cut_is_told_again_to_who_goes_on_behind_it() -> None:
    data = wet(PAGES)[:-3]
    reader = opened(data, RunConfig(batch_bytes=1))
    positions: list[Position] = []
    with pytest.raises(CutStreamError) as first:
        positions.extend(reader.position() for _ in reader)
    for position in positions:
        again = opened(data, RunConfig(batch_bytes=1))
        again.start_at(position)
        with pytest.raises(CutStreamError, match=re.escape(str(first.value))):
            list(again)


def test_what_is_too_large_keeps_no_bytes_of_what_follows() -> None:
    pages = [PAGES[0], Page(b"a" * 3_000), *PAGES]
    got = Read(wet(pages), batch_bytes=1 << 20, max_record_bytes=2_000)
    assert [rejected.raw for rejected in got.rejected] == [records_of(wet(pages))[2]]


@pytest.mark.parametrize("codec", CODECS)
def test_a_cut_compressed_file_is_named(codec: str) -> None:
    out = io.BytesIO()
    stream = open_output(out, codec)
    stream.write(wet(PAGES * 50))
    stream.finish()
    assert Read(out.getvalue()).records == list(range(200))
    got = Read(out.getvalue()[:-20])
    assert isinstance(got.fault, CutStreamError)
    assert [r.reason for r in got.rejected] in (["cut"], [])
    assert len(got.records) + len(got.rejected) <= 200


def test_reading_goes_on_from_any_batch() -> None:
    data = wet([*PAGES, Page(b"\xff"), *PAGES])
    whole = opened(data, RunConfig(batch_bytes=1))
    positions: list[tuple[int, Position]] = []
    for batch in whole:
        positions.append((len(batch), whole.position()))
    before = 0
    texts = Read(data).texts
    for count, position in positions:
        before += count
        again = opened(data, RunConfig(batch_bytes=1 << 20))
        again.start_at(position)
        assert [t for batch in again for t in batch.text.to_pylist()] == texts[before:]
    shorter = opened(wet(PAGES[:1]))
    shorter.start_at(positions[-1][1])
    with pytest.raises(CheckpointError):
        list(shorter)


def written(
    data: bytes, keep: Sequence[bool], root: Path, codec: str = "none", batch_bytes: int = 1 << 20,
    annotations: pa.StructArray | None = None,
) -> bytes:  # fmt: skip
    """What a writer makes of the documents of `data` where `keep` is true."""
    reader = opened(data, RunConfig(batch_bytes=batch_bytes))
    writer = FORMAT.open_writer(reader, Output(root / "out", root, codec))
    for batch in reader:
        notes = annotations.take(pa.array(batch.records)) if annotations is not None else None
        writer.write(batch.payload, np.array([keep[r] for r in batch.records], np.bool_), notes)
    assert writer.commit().records == FORMAT.count(root / "out")
    return (root / "out").read_bytes()


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_what_is_kept_is_kept_byte_for_byte_and_the_description_always(
    batch_bytes: int, tmp_path: Path
) -> None:
    data = wet(PAGES)
    info, *documents = records_of(data)
    keep = [False, True, False, True]
    got = written(data, keep, tmp_path, batch_bytes=batch_bytes)
    assert got == b"".join((info, documents[1], documents[3]))
    assert written(data, [False] * 4, tmp_path, batch_bytes=batch_bytes) == info


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
def test_each_record_is_compressed_by_itself(codec: str, tmp_path: Path) -> None:
    data = wet(PAGES)
    got = written(data, [True] * 4, tmp_path, codec)
    assert Read(got).kept == records_of(data)
    for record in records_of(data):
        out = io.BytesIO()
        stream = open_output(out, codec)
        stream.write(record)
        stream.finish()
        assert out.getvalue() in got


def test_warcio_reads_it_again(tmp_path: Path) -> None:
    got = written(wet(PAGES, gzip=True), [True, True, False, True], tmp_path, "gzip")
    before = read_again(wet(PAGES))
    assert read_again(got) == [record for i, record in enumerate(before) if i != 3]


def test_an_output_without_records_is_a_file_of_its_codec(tmp_path: Path) -> None:
    reader = opened(wet(PAGES))
    FORMAT.open_writer(reader, Output(tmp_path / "a.warc.wet.gz", tmp_path, "gzip")).commit()
    stored = (tmp_path / "a.warc.wet.gz").read_bytes()
    assert stored[:2] == b"\x1f\x8b"
    assert gzip.decompress(stored) == b""
    assert list(opened(stored, name="a.warc.wet.gz")) == []


def test_an_annotation_is_a_header(tmp_path: Path) -> None:
    scores = pa.array([0.1, 0.2, 0.3, 0.4], pa.float32())
    notes = pa.StructArray.from_arrays([scores, pa.array(list("hahé"))], names=["s", "v"])
    got = read_again(written(wet(PAGES), [False, True, False, True], tmp_path, "gzip", 1, notes))
    before = read_again(wet(PAGES))
    assert got[0] == before[0]
    for (_, headers, content), record, score in zip(got[1:], (2, 4), (0.2, 0.4), strict=True):
        note = orjson.loads(headers.pop("lowbg"))
        assert note == {"s": score, "v": "a" if record == 2 else "é"}
        assert (headers, content) == before[record][1:]


def test_a_writer_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    (batch,) = Read(wet(PAGES)).batches
    once = written(wet(PAGES + PAGES), [True] * 8, tmp_path, "gzip")
    assert isinstance(batch.payload, BytesPayload)
    parts = tmp_path / "parts"
    writer = FORMAT.open_writer(
        opened(wet(PAGES)), Output(tmp_path / "b", tmp_path, "gzip", part=Part(parts, "b"))
    )
    (second,) = Read(b"".join(records_of(wet(PAGES + PAGES))[5:])).batches
    writer.write(batch.payload, np.ones(4, np.bool_))
    state = writer.checkpoint(1)
    writer.write(batch.payload, np.ones(4, np.bool_))
    writer.abort()
    again = FORMAT.open_writer(
        opened(wet(PAGES)), Output(tmp_path / "b", tmp_path, "gzip", part=Part(parts, "b", state))
    )
    again.write(second.payload, np.ones(4, np.bool_))
    assert again.commit().records == 8
    assert read_again((tmp_path / "b").read_bytes()) == read_again(once)


@settings(deadline=None, max_examples=60)
@given(
    pages=st.lists(
        st.builds(
            Page,
            st.one_of(st.text(max_size=60).map(str.encode), st.binary(max_size=60)),
            languages=st.sampled_from([None, "eng", "deu,eng", ""]),
        ),
        max_size=6,
    ),
    batch_bytes=st.integers(1, 4_000),
    data=st.data(),
)
def test_bytes_in_are_bytes_out(
    pages: list[Page], batch_bytes: int, data: st.DataObject, tmp_path_factory: Any
) -> None:
    root = tmp_path_factory.mktemp("wet")
    stored = wet(pages)
    info, *documents = records_of(stored)
    keep = data.draw(st.lists(st.booleans(), min_size=len(pages), max_size=len(pages)))
    got = Read(stored, batch_bytes=batch_bytes)
    refused = {each.record: each.raw for each in got.rejected}
    assert all(raw == documents[record] for record, raw in refused.items())
    assert sorted([*got.records, *refused]) == list(range(len(pages)))
    kept = [info, *(d for i, d in enumerate(documents) if keep[i] and i not in refused)]
    assert written(stored, keep, root, batch_bytes=batch_bytes) == b"".join(kept)


@settings(deadline=None, max_examples=150)
@given(
    places=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=8),
    batch_bytes=st.sampled_from([1, 300, 1_000]),
)
def test_damage_loses_nothing_whatever_the_batches(
    places: list[tuple[int, int]], batch_bytes: int
) -> None:
    stored = bytearray(wet(PAGES))
    for place, value in places:
        stored[place % len(stored)] = value
    stored[:5] = b"WARC/"
    try:
        whole = Read(bytes(stored))
    except FormatError:  # The damage made a type of it that is refused.
        return
    parts = Read(bytes(stored), batch_bytes=batch_bytes)
    assert parts.texts == whole.texts
    assert parts.rejected == whole.rejected
    assert parts.kept == whole.kept
    assert str(parts.fault) == str(whole.fault)
    if not isinstance(whole.fault, FormatError):
        found = [*whole.kept, *(each.raw for each in whole.rejected)]
        lost = len(stored) - sum(map(len, found))
        assert 0 <= lost <= sum(stored[i] in b"\r\n" for i in range(len(stored)))


def test_names_and_first_bytes_are_known(tmp_path: Path) -> None:
    assert {".wet", ".warc.wet.gz", ".warc", ".warc.zst", ".wet.zst"} <= set(endings())
    path = tmp_path / "CC-MAIN.warc.wet.gz"
    path.write_bytes(wet(PAGES, gzip=True))
    found, codec = recognise_file(path)
    assert (found.name, codec) == ("wet", "gzip")
    with pytest.raises(FormatError, match="not a WET file"):
        opened(b'{"text": "a"}')


WITHOUT = """
import sys
sys.modules["fastwarc"] = sys.modules["fastwarc.warc"] = None
sys.argv[0] = "lowbg"
from lowbg_cli.__main__ import main
main()
"""


@pytest.mark.slow
def test_without_the_extra_only_such_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Some words."}\n')
    command = [sys.executable, "-c", WITHOUT, "filter", str(tmp_path), "-o"]
    ended = subprocess.run(
        [*command, str(tmp_path / "one"), "-q"], capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "b.wet").write_bytes(wet(PAGES))
    (tmp_path / "one").rename(tmp_path.parent / f"{tmp_path.name}-one")
    ended = subprocess.run(
        [*command, str(tmp_path / "two"), "-q"], capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert b"pip install 'lowbg[warc]'" in ended.stderr
