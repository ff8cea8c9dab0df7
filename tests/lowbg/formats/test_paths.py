"""Texts that are spread over lists, by their path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import FieldNames, RunConfig
from lowbg.errors import FormatError
from lowbg.formats import open_reader
from lowbg.formats.columns import paths_of_text
from lowbg.formats.paths import of_strings, steps

ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "tool", "content": None},
            {"role": "assistant", "content": "World\n"},
        ],
        "paragraphs": ["a", "b"],
        "doc": {"parts": [["x"], ["y", "é"]]},
    },
    {"messages": [], "paragraphs": None, "doc": {"parts": []}},
    {"messages": None, "paragraphs": [None], "doc": {"parts": None}},
    {"messages": [{"role": "user", "content": "one"}], "paragraphs": [], "doc": None},
]


def test_steps() -> None:
    assert steps("a.b") == ("a", "b")
    assert steps("a[].b") == steps("a[*].b") == ("a", "[]", "b")
    assert steps("a[][*]") == ("a", "[]", "[]")
    assert steps("a[0]") == ("a", "[0]")


@pytest.fixture(params=["jsonl", "parquet", "large.parquet"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a.{request.param}"
    if request.param == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
        return path
    table = pa.Table.from_pylist(ROWS)
    if request.param == "large.parquet":
        strings = pa.large_list(pa.large_string())
        table = table.set_column(1, "paragraphs", table["paragraphs"].cast(strings))
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("messages[].content", {0: "Hello\n\nWorld\n", 1: "", 3: "one"}),
        ("messages[*].content", {0: "Hello\n\nWorld\n", 1: "", 3: "one"}),
        ("paragraphs[]", {0: "a\n\nb", 2: "", 3: ""}),
        ("doc.parts[][]", {0: "x\n\ny\n\né", 1: ""}),
    ],
)
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_strings_of_lists_are_one_text(
    path: str, texts: dict[int, str], batch_bytes: int, stored: Path
) -> None:
    config = RunConfig(fields=FieldNames(text=path), batch_bytes=batch_bytes)
    with open_reader(stored, config, stored.name) as reader:
        batches = list(reader)
    found = {
        int(record): text
        for batch in batches
        for record, text in zip(batch.records, batch.text.to_pylist(), strict=True)
    }
    assert found == texts
    refused = [each.record for batch in batches for each in batch.rejected]
    assert refused == [i for i in range(len(ROWS)) if i not in texts]


def test_what_is_no_string_in_a_list_is_refused(tmp_path: Path) -> None:
    rows = [{"t": ["a", 1]}, {"t": "a"}, {"t": [["a"]]}, {"t": ["\ud800"]}, {"t[]": "own name"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with open_reader(path, RunConfig(fields=FieldNames(text="t[]")), path.name) as reader:
        (batch,) = reader
    assert [(each.record, each.reason.value) for each in batch.rejected] == [
        (0, "text_not_string"), (1, "missing_text"), (2, "text_not_string")
    ]  # fmt: skip
    assert batch.text.to_pylist() == ["\ufffd", "own name"]


def read(path: Path, text: str) -> tuple[list[str], list[str]]:
    with open_reader(path, RunConfig(fields=FieldNames(text=text)), path.name) as reader:
        batches = list(reader)
    texts = [text for batch in batches for text in batch.text.to_pylist()]
    return texts, [each.reason.value for batch in batches for each in batch.rejected]


def test_a_key_that_no_element_has_is_no_empty_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"t": [{"a": "x"}, {"b": "y"}]},
        {"t": [{"b": "y"}]},
        {"t": [{"a": None}]},
        {"t": [None]},
        {"t": []},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert read(path, "t[].a") == (["x", "", "", ""], ["missing_text"])


def test_a_key_that_looks_like_a_list_leads_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a[]": {"b": "no"}, "a": [{"b": "yes"}]}\n{"a[].b": "own name"}\n')
    assert read(path, "a[].b") == (["yes", "own name"], [])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string(), 2),
        pa.list_view(pa.string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.binary()),
        pa.large_list(pa.string_view()),
    ],
    ids=str,
)
def test_lists_of_any_type(kind: pa.DataType, tmp_path: Path) -> None:
    column = pa.array([["a", "b"], None, ["c", None], ["d", "e"]], kind)
    path = tmp_path / "a.arrow"
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema([("t", kind)])) as file,
    ):
        file.write_table(pa.table({"t": column}))
    assert read(path, "t[]") == (["a\n\nb", "c", "d\n\ne"], ["null_text"])


def test_the_paths_of_strings_are_found() -> None:
    table = pa.Table.from_pylist(ROWS)
    paths = ["messages[].content", "messages[].role", "paragraphs[]", "doc.parts[][]"]
    assert sorted(paths_of_text(table.schema)) == sorted(paths)
    assert {path for path, _ in of_strings(ROWS[0])} == set(paths)
    assert list(of_strings({"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": "deep"}}}}}}}})) == [
        ("a.a.a.a.a.a.a.a", 4)
    ]
    assert list(of_strings({"n": 1, "t": None, "l": [1, {"s": ""}]})) == [("l[].s", 0)]


@pytest.mark.parametrize("path", ["paragraphs", "messages[]", "messages.content", "paragraphs[].x"])
def test_a_wrong_path_names_the_right_ones(path: str, tmp_path: Path) -> None:
    stored = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), stored)
    with pytest.raises(FormatError, match=r"Text is in: messages\[\]\.role, messages\[\]\.content"):
        open_reader(stored, RunConfig(fields=FieldNames(text=path)), stored.name)
