"""What a file that is no JSONL is taken for; and that JSONL, whole or broken, never is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.config import RunConfig
from lowbg.errors import FormatError
from lowbg.formats import open_reader, open_text
from lowbg.formats.foreign import HEAD_BYTES, binary_kind, text_kind
from lowbg.jobs.filter import FilterJob, FilterStreamJob, filter_shards, filter_stream
from lowbg.runs.inputs import discover

GOOD = b'{"text": "a, b", "n": [1, {"x": "\\u00e9"}]}\n'
LONG = json.dumps({"text": "a word " * HEAD_BYTES}).encode()

NO_OTHER_KIND = {
    "lines": GOOD * 3,
    "a mark and blank lines first": b"\xef\xbb\xbf\r\n \n" + GOOD,
    "one long line": LONG + b"\n" + GOOD,
    "a broken line first": b'{"text": "cut\n' + GOOD * 2,
    "two records on a line": GOOD.rstrip() + GOOD * 2,
    "a comma after one record": GOOD.rstrip() + b",\n" + GOOD * 2,
    "an object cut by a line end": b'{"text":\n' + GOOD * 2,
    "an object of several lines among others": b'{"text":\n"a"}\n' + GOOD * 2,
    "lines of lists": b"[1, 2]\n[3]\n",
    "a list among objects": b"[1, 2]\n" + GOOD,
    "a broken list": b"[1, x\n" + GOOD,
    "deep nesting": b"[" * HEAD_BYTES * 2,
    "words": b"id of a text, and more\nhello, you\n",
    "table and objects": b"id,text\n1,2\n" + GOOD,
    "lines of numbers": b"1\n2\n",
    "bytes": bytes(range(256)) * 4,
    "nothing": b"",
    "NaN": b'{"text": "a", "x": NaN}\n' * 2,
}


@pytest.mark.parametrize("data", NO_OTHER_KIND.values(), ids=NO_OTHER_KIND.keys())
def test_lines_however_broken_are_no_other_kind(data: bytes) -> None:
    head = data[:HEAD_BYTES]
    assert text_kind(head, "a.jsonl") is None
    assert binary_kind(head) is None


OTHER_KINDS = {
    "a list on one line": (b'[{"text": "a"}]', "JSON array"),
    "an empty list": (b"[]\n", "JSON array"),
    "a list longer than what is looked at": (b"[" + LONG + b",\n" + LONG + b"]", "JSON array"),
    "records longer than that": (b'{\n "text": ' + LONG + b"\n}\n", "several lines"),
    "objects without line ends": (GOOD.rstrip() * 5000, "without line ends"),
    "a table": (b"id,text\n1,hello\n2,world\n", "CSV"),
    "a table with line ends in it": (b'id,text\n1,"a\nb"\n2,"c"\n', "CSV"),
    "a long table": (b"id,text\n" + b"1,hello\n" * HEAD_BYTES, "CSV"),
    "tabs": (b"id\ttext\n1\thello\n", "TSV"),
}


@pytest.mark.parametrize(("data", "words"), OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_other_kinds_are_told(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=rf"^s\.jsonl: .*{words}"):
        open_reader(io.BytesIO(data), RunConfig(), "s.jsonl")


@given(head=st.binary(max_size=200), opening=st.sampled_from([b"", b"{", b"[", b"a,b\n", b'{"a":']))
def test_no_bytes_break_the_look(head: bytes, opening: bytes) -> None:
    text_kind(opening + head, "a")
    binary_kind(opening + head)


def test_a_text_may_look_like_a_table() -> None:
    data = b"id,text\n1,hello\n"
    with open_text(io.BytesIO(data), "essay") as stream:
        assert stream.read(100) == data


def test_nothing_is_written_where_no_shard_can_be_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_bytes(b'[{"text": "a"}]')
    shards = tuple(discover([str(tmp_path)]))
    out = tmp_path / "out"
    with pytest.raises(FormatError, match=r"none of the 2 files can be read; .*a\.json: a JSON"):
        filter_shards(FilterJob(shards, out, RunConfig()))
    assert not out.exists()
    with pytest.raises(FormatError, match="a JSON array"):
        filter_stream(FilterStreamJob(shards, RunConfig(), human=io.BytesIO(), ai=out))
    assert not out.exists()


def test_the_other_shards_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"text": "a"}]')
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    out = tmp_path / "out"
    outcome = filter_shards(
        FilterJob(tuple(discover([str(tmp_path)], output=out)), out, RunConfig())
    )
    assert not outcome.complete
    assert (out / "human" / "b.jsonl").read_bytes() == GOOD
    assert not (out / "human" / "a.json").exists()
