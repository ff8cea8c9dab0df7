from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.errors import OutputError
from lowbg.formats.parquet.layout import ParquetLayout
from lowbg.formats.parquet.writer import ParquetWriter, leaf_paths
from lowbg.formats.rows import CHUNK_ROWS, GROUP_BYTES
from lowbg.records import BytesPayload, RowPayload

ROWS = 1000


def as_read(table: pa.Table) -> pa.Table:
    """The table as it comes out of a file: Arrow names a map's entries when it reads one."""
    sink = io.BytesIO()
    pq.write_table(table, sink, use_compliant_nested_type=False)
    return pq.read_table(sink)


def nested_table() -> pa.Table:
    kind = pa.struct(
        [
            ("tags", pa.list_(pa.string())),
            ("n", pa.int64()),
            ("deep", pa.struct([("x", pa.bool_())])),
        ]
    )
    meta = [
        None if i % 7 == 0 else {"tags": [str(i)] * (i % 3), "n": i, "deep": {"x": i % 2 == 0}}
        for i in range(ROWS)
    ]
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.int32()),
            "text": [f"text {i}" for i in range(ROWS)],
            "metadata": pa.array(meta, kind),
            "map": pa.array([[("k", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int64())),
            "source": pa.array([f"s{i % 5}" for i in range(ROWS)]).dictionary_encode(),
            "words": pa.array([["a"]] * ROWS, pa.list_(pa.field("element", pa.string()))),
            "vector": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
        }
    ).replace_schema_metadata({"origin": "crawl", "huggingface": '{"info":{}}'})


TABLE = as_read(nested_table())
LEAVES = [path for field in TABLE.schema for path in leaf_paths(field)]
CODECS = tuple(
    ["zstd", "snappy", "gzip", "none", "lz4", "brotli"][i % 6] for i in range(len(LEAVES))
)


def write(
    path: Path,
    sizes: list[int],
    keep: Any = None,
    rows_per_group: int = 300,
    annotate: bool = False,
) -> None:
    keep = np.ones(ROWS, np.bool_) if keep is None else keep
    layout = ParquetLayout(CODECS, rows_per_group, "")
    writer = ParquetWriter(path, path.parent, TABLE.schema, layout, annotate=annotate)
    at = 0
    for size in [*sizes, ROWS]:
        rows = TABLE.slice(at, size).combine_chunks().to_batches()
        for batch in rows:
            notes = None
            if annotate:
                notes = pa.array(
                    [{"ai_score": 0.5, "verdict": "ai", "reasons": [str(at)]}] * len(batch)
                )
            writer.write(RowPayload(batch), keep[at : at + len(batch)], notes)
        at = min(ROWS, at + size)
    written = writer.commit()
    writer.abort()
    stored = path.read_bytes()
    assert (written.path, written.records) == (path.name, int(keep.sum()))
    assert (written.bytes, written.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_leaf_paths_are_parquets_own() -> None:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, use_compliant_nested_type=False)
    group = pq.read_metadata(sink).row_group(0)
    assert [group.column(i).path_in_schema for i in range(group.num_columns)] == LEAVES


def test_schema_metadata_nesting_and_codecs_are_kept(tmp_path: Path) -> None:
    keep = np.arange(ROWS) % 3 != 0
    path = tmp_path / "a.parquet"
    write(path, [], keep)
    got = pq.read_table(path)
    assert got.schema.equals(TABLE.schema, check_metadata=True)
    assert got.to_pylist() == TABLE.filter(pa.array(keep)).to_pylist()
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [
        300,
        300,
        66,
    ]
    names = {"none": "UNCOMPRESSED"}
    group = metadata.row_group(0)
    assert [group.column(i).compression for i in range(group.num_columns)] == [
        names.get(codec, codec.upper()) for codec in CODECS
    ]


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), max_size=8), seed=st.integers(0, 3))
def test_bytes_do_not_depend_on_batch_sizes(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("out")
    keep = np.random.default_rng(seed).random(ROWS) < 0.7
    write(folder / "once.parquet", [], keep)
    write(folder / "many.parquet", sizes, keep)
    assert (folder / "once.parquet").read_bytes() == (folder / "many.parquet").read_bytes()


def test_dictionaries_that_differ_between_batches_give_equal_bytes(tmp_path: Path) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("source", kind)])
    values = ["b", "a", "c", "a", None, "c"]

    def encoded(part: list[str | None], dictionary: list[str]) -> pa.Array:
        indices = [None if value is None else dictionary.index(value) for value in part]
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(dictionary))

    whole = encoded(values, ["unused", "c", "b", "a"])
    halves = [encoded(values[:3], ["b", "a", "c"]), encoded(values[3:], ["c", "unused", "a"])]
    digests = []
    for name, arrays in (("one", [whole]), ("two", halves)):
        writer = ParquetWriter(tmp_path / name, tmp_path, schema, ParquetLayout())
        for array in arrays:
            rows = pa.record_batch([array], schema=schema)
            writer.write(RowPayload(rows), np.ones(len(rows), np.bool_))
        digests.append(writer.commit().sha256)
        assert pq.read_table(tmp_path / name).schema == schema
        assert pq.read_table(tmp_path / name)["source"].to_pylist() == values
    assert digests[0] == digests[1]


def test_annotation_is_a_struct_column(tmp_path: Path) -> None:
    keep = np.arange(ROWS) % 2 == 0
    write(tmp_path / "a.parquet", [500], keep, annotate=True)
    got = pq.read_table(tmp_path / "a.parquet")
    assert got.schema.names == [*TABLE.schema.names, "lowbg"]
    assert got["lowbg"][0].as_py() == {"ai_score": 0.5, "verdict": "ai", "reasons": ["0"]}
    assert got["lowbg"][-1].as_py()["reasons"] == ["500"]
    assert got.drop(["lowbg"]).to_pylist() == TABLE.filter(pa.array(keep)).to_pylist()
    assert got.schema.field("lowbg").type.field("ai_score").type == pa.float32()


def test_annotating_again_replaces_the_column(tmp_path: Path) -> None:
    rows = pa.record_batch({"lowbg": ["old"], "text": ["a"]})
    writer = ParquetWriter(tmp_path / "a", tmp_path, rows.schema, ParquetLayout(), annotate=True)
    writer.write(RowPayload(rows), np.ones(1, np.bool_))
    writer.commit()
    assert pq.read_table(tmp_path / "a").to_pylist() == [{"lowbg": None, "text": "a"}]


def test_no_rows_is_a_file_with_the_schema(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [], np.zeros(ROWS, np.bool_))
    got = pq.read_table(tmp_path / "a.parquet")
    assert len(got) == 0
    assert got.schema.equals(TABLE.schema, check_metadata=True)


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path / "a", tmp_path, TABLE.schema, ParquetLayout(CODECS, 10))
    writer.write(RowPayload(TABLE.to_batches()[0]), np.ones(ROWS, np.bool_))
    writer.abort()
    writer.abort()
    del writer
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_output_error_that_names_the_file(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path / "a", tmp_path, TABLE.schema, ParquetLayout(CODECS, 10))

    class Full:
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    real, writer._file._file = writer._file._file, Full()  # type: ignore[assignment]
    with pytest.raises(OutputError, match=r"/a: .*No space left"):
        writer.write(RowPayload(TABLE.to_batches()[0]), np.ones(ROWS, np.bool_))
    writer._file._file = real
    writer.abort()
    assert not list(tmp_path.iterdir())


def test_lines_are_not_rows(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path / "a", tmp_path, TABLE.schema, ParquetLayout())
    lines = BytesPayload(b"", np.zeros(0, np.int64), np.zeros(0, np.int64))
    with pytest.raises(TypeError):
        writer.write(lines, np.zeros(0, np.bool_))
    writer.abort()


def test_chunks_of_a_row_group_are_those_of_its_rows_not_of_the_batches(tmp_path: Path) -> None:
    n = 2 * CHUNK_ROWS + 500
    words = np.random.default_rng(1).integers(0, 1 << 60, (n, 40))
    table = pa.table({"text": [" ".join(map(str, row)) for row in words.tolist()]})
    layout = ParquetLayout(("zstd",), n, "")
    digests = set()
    for size in (n, 1000, 333):
        path = tmp_path / f"{size}.parquet"
        writer = ParquetWriter(path, tmp_path, table.schema, layout)
        for batch in table.to_batches(max_chunksize=size):
            writer.write(RowPayload(batch), np.ones(len(batch), np.bool_))
        writer.commit()
        assert pq.read_table(path).equals(table)
        assert pq.read_metadata(path).num_row_groups == 1
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def written_in_parts(
    path: Path, table: pa.Table, rows_per_group: int, size: int
) -> pq.FileMetaData:
    writer = ParquetWriter(
        path,
        path.parent,
        table.schema,
        ParquetLayout(("zstd",) * len(table.schema), rows_per_group),
    )
    for batch in table.to_batches(max_chunksize=size):
        writer.write(RowPayload(batch), np.ones(len(batch), np.bool_))
    writer.commit()
    got = pq.read_table(path)
    assert got.schema.equals(table.schema)
    assert got["text"].cast(pa.string()).equals(table["text"].cast(pa.string()))
    return pq.read_metadata(path)


@pytest.mark.parametrize("is_dictionary", [False, True], ids=["text", "dictionary"])
def test_a_row_group_ends_with_the_row_that_fills_it(tmp_path: Path, is_dictionary: bool) -> None:
    """What is held doesn't depend on how many rows the input's groups had, nor on how they are
    stored, and the output's bytes don't depend on batches."""
    long = [f"{i} " * 150_000 for i in range(20)]
    rows = ["short"] * 3000 + [long[i % 20] for i in range(150)] + ["short"] * 100
    text = pa.array(rows)
    table = pa.table({"text": text.dictionary_encode() if is_dictionary else text})
    digests = set()
    for size in (4000, 333, 7):
        path = tmp_path / f"{size}.parquet"
        metadata = written_in_parts(path, table, 1 << 20, size)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    ends = np.cumsum([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])
    sizes = np.cumsum([len(text) for text in rows])
    held = np.diff(np.append(0, sizes[ends - 1]))
    assert len(held) > 1
    assert (held[:-1] >= GROUP_BYTES).all()
    assert (held < GROUP_BYTES + max(map(len, long))).all()


@pytest.mark.parametrize("rows_per_group", [700, CHUNK_ROWS, 1_500])
def test_a_row_group_has_no_more_rows_than_asked_for(tmp_path: Path, rows_per_group: int) -> None:
    """Whatever the chunks that are joined on the way to it."""
    table = pa.table({"text": [f"{i}" for i in range(4_000)]})
    for size in (4_000, 333):
        metadata = written_in_parts(tmp_path / "a.parquet", table, rows_per_group, size)
        groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        *full, last = groups
        assert {*full} == {rows_per_group}
        assert 0 < last <= rows_per_group
