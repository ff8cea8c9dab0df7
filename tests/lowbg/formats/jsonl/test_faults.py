"""What is wrong with a line is found for a block at once, and is what a look at it alone says."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lowbg.config import RunConfig
from lowbg.formats.jsonl import reader as jsonl
from lowbg.formats.jsonl.faults import BLANK, UNDECIDED, FaultFinder
from lowbg.formats.jsonl.objects import Refused, parse
from lowbg.formats.quarantine import QuarantineWriter
from lowbg.kernels.json_bytes import PADDING
from lowbg.kernels.json_lines import MAX_DEPTH, MAX_NUMBER
from lowbg.runs.inputs import discover
from lowbg.runs.reading import ShardReading, Source

FIELDS = RunConfig().fields


def found(lines: list[bytes], text_field: str = "text") -> list[Refused | None]:
    """What is said of each line; null where it is undecided."""
    block = b"".join(line + b"\n" for line in lines) + PADDING
    ends = np.cumsum([len(line) + 1 for line in lines]).astype(np.int64) - 1
    starts = ends - np.array([len(line) for line in lines], np.int64)
    which, refused = FaultFinder(text_field).find(block, starts, ends)
    said = {UNDECIDED: None, BLANK: Refused(None), **dict(enumerate(refused))}
    assert len({*refused}) == len(refused)
    return [said[i] for i in which.tolist()]


DECIDED = [
    b" ", b"\x0b\t", b"x", b"x\r", b"'a'", b"{", b"{ ", b"{a", b'{"a', b'{"a"', b'{"a" ', b'{"a":',
    b'{"a":1', b'{"a":1 ', b'{"a":1 "b"', b'{"a":1,', b'{"a":1,b', b'{"text":"a",}', b'{"text":}',
    b'{"text": "a"', b'{"text":"a"}}', b'{"text":"a"},', b'{"text":"a"} x', b"{'text':1}",
    b'{"text":"a\tb"}', b'{"text":"a\r', b'{"text":"\\', b'{"text":"\\x"}', b'{"text":"\\"}',
    '{"тест":"é € 😀" x'.encode(), '"é'.encode(), b"[", b"[1", b"[1,", b"[1,]", b"[1 2]", b"[1}",
    b"[[],{}", b'{"a":{"text":1}', b"01", b"-", b"-x", b"1.", b"1.x", b"1e", b"1e+", b"tru",
    b"truex", b"1", b"-1.5e-7", b'"s"', b"[]", b"[{}]", b"true", b"false", b"null", b"{}",
    b'{"id":1}', b'{"a":{"text":"b"}}', b'{"text":null}', b'{"text":1}', b'{"text":true}',
    b'{"text":["a"]}', b'{"text":{"text":"a"}}', b'{"text":"a","text":7}', b"\xff",
    b'{"text":"a\xc3"}', b"\xe2\x82", b"a\xed\xa0\x80", b"\xf0\x9f\x98x", b"\xf4\x90\x80\x80",
    b"\xe0\x9f\xbf", b"\xc0\x80", b'{"a":"\\u0041\\ud83d\\ude00" 1}',
]  # fmt: skip

UNDECIDED_LINES = [
    b'{"text":"a"}', b'{"text":"a","id":NaN}', b"NaN", b"-Infinity", b'{"text":"\\ud800"}',
    b'{"te\\u0078t":"a"}', b'{"a":"\\u00g0"}', b'"\\u0041', b'\xef\xbb\xbf{"text":1}',
    b"[" * (MAX_DEPTH + 1), b"[1" + b"0" * MAX_NUMBER,
]  # fmt: skip


@pytest.mark.parametrize("line", DECIDED)
def test_a_fault_is_found_in_a_block(line: bytes) -> None:
    """Without a look at the line alone: what makes it fast must not be lost unseen."""
    assert found([b"x", line, b"{}"])[1] == parse([line], FIELDS).refused[0]


def test_what_may_be_a_record_is_left_to_another_look() -> None:
    assert found(UNDECIDED_LINES) == [None] * len(UNDECIDED_LINES)


@pytest.mark.parametrize("text_field", ["a.text", "text[]"])
def test_where_a_path_leads_is_left_to_another_look(text_field: str) -> None:
    assert found([b'{"text":1}'], text_field) == [None]
    assert found([b"[1]", b"{"], text_field).count(None) == 0


def test_a_name_beyond_ascii() -> None:
    said = found(['{"é":1}'.encode(), b'{"e":1}'], "é")
    assert [each and each.error for each in said] == [
        "field 'é' is a number, not a string", "no field 'é'"
    ]  # fmt: skip


pieces = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"text"', b'"text":', b'"a":', b"1", b"-",
        b"0", b".", b"e", b"+", b"null", b"true", b"false", b"NaN", b" ", b"\t", b"\r", b"\x00",
        b"\\u", b"\\u0041", b"\\ud83d", b"\\ude00", b"\\n", b"x", b"u", "é".encode(), "😀".encode(),
        b"\xc3", b"\xe2\x82", b"\xff", b"\x80", b"\xef\xbb\xbf", b'{"text":"a"}', b'"b"',
        b"Infinity",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=1500)
@given(lines=st.lists(st.lists(pieces, max_size=12).map(b"".join), min_size=1, max_size=8))
@example([b'{"a":1 ,\t}', b"[1 , ]", b'[{"a":1,}'])
def test_what_is_found_is_what_another_look_says(lines: list[bytes]) -> None:
    refused = parse(lines, FIELDS).refused
    for i, (line, said) in enumerate(zip(lines, found(lines), strict=True)):
        assert said is None or said == refused.get(i), line


BROKEN = b'{"a\nx\n{"text": }\n{"id": 1}\n[7]\n{"text": "\xff"}\n\n{"text": null}\n{"text": "a",}\n'


def quarantined(stored: Path, lines: int) -> int:
    """Reads a shard of so many broken lines, as every command does; how many are in quarantine."""
    stored.write_bytes(BROKEN * (lines // BROKEN.count(b"\n")))
    writer = QuarantineWriter(stored.parent / "q.jsonl", stored.parent, max_bytes=lines)
    (shard,) = discover([str(stored)])
    with ShardReading(Source(shard, RunConfig(force=True))) as reading:
        for step in reading:
            writer.write(shard.name, step.batch.rejected)
    writer.commit()
    return writer.records


def calls_of(function: Callable[[], Any]) -> int:
    """How many calls of Python functions that takes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_broken_lines_cost_no_call_each(tmp_path: Path) -> None:
    stored = tmp_path / "a.jsonl"
    assert quarantined(stored, 900) == 800
    few, many = (calls_of(partial(quarantined, stored, lines)) for lines in (900, 45_000))
    assert many - few < 45_000 // 10


def test_broken_lines_take_some_bytes_each_of_a_batch_and_none_of_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(batch_lines: int, lines: int) -> int:
        monkeypatch.setattr(jsonl, "MOST_LINES", batch_lines)
        tracemalloc.start()
        try:
            quarantined(tmp_path / "a.jsonl", lines)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(900, 900)
    small, large, all_of_them = peak(9_000, 18_000), peak(9_000, 90_000), peak(90_000, 90_000)
    assert large - small < 30 * 72_000
    assert all_of_them - large < 200 * 81_000
