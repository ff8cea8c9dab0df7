"""Types and codecs that outputs keep, as other tools write them; and the ones that are said."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import ExecutorName, RunConfig
from lowbg.formats.parquet.logical import _Wkb
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome

TEXTS = ["The river was high that spring. " * 20, "We left the house early. " * 20, "Short."]
POINT = struct.pack("<BIdd", 1, 1, 3.0, 4.0)

VIEW, BYTES = pa.string_view(), pa.binary_view()
NESTED = {
    "list": (pa.list_(VIEW), [["a"], None, ["b", None]]),
    "list of named elements": (
        pa.list_(pa.field("element", VIEW, nullable=False)),
        [["a"], [], ["b", "c"]],
    ),
    "large list": (pa.large_list(BYTES), [[b"a"], [], None]),
    "fixed list": (pa.list_(VIEW, 2), [["a", "b"], None, ["c", "d"]]),
    "struct": (pa.struct([("x", VIEW), ("n", pa.int8())]), [{"x": "a", "n": 1}, None, None]),
    "map": (pa.map_(VIEW, BYTES), [[("k", b"v")], [], None]),
    "deep": (
        pa.list_(pa.struct([("x", pa.map_(VIEW, pa.list_(VIEW)))])),
        [[{"x": [("k", ["v", "w"])]}], [], [{"x": None}]],
    ),
    "list view": (pa.list_view(VIEW), [["a"], None, ["b", "c"]]),
    "large list view": (pa.large_list_view(BYTES), [[b"a"], [], [b"c"]]),
    "list of list views": (pa.list_(pa.list_view(VIEW)), [[["a"]], [], [["b"], []]]),
}


def run(folder: Path, data: bytes) -> tuple[Outcome, pa.Table]:
    """What came of a shard, and the rows of both its outputs."""
    (folder / "a.parquet").write_bytes(data)
    out = folder / "out"
    job = FilterJob(
        tuple(discover([str(folder / "a.parquet")])),
        out,
        RunConfig(),
        executor=ExecutorName.SERIAL,
    )
    outcome = filter_shards(job)
    parts = [pq.read_table(out / part / "a.parquet") for part in ("human", "ai")]
    return outcome, pa.concat_tables(parts)


def stored(columns: dict[str, pa.Array], codec: str = "zstd") -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, **columns}), sink, compression=codec)
    return sink.getvalue()


def columns_of(path: Path) -> Iterator[tuple[str, str, object]]:
    """Each leaf's path, codec and logical type."""
    file = pq.ParquetFile(path)
    for i in range(file.metadata.num_columns):
        column = file.metadata.row_group(0).column(i)
        yield column.path_in_schema, column.compression, str(file.schema.column(i).logical_type)


@pytest.mark.parametrize(("kind", "values"), NESTED.values(), ids=NESTED.keys())
def test_views_at_any_depth_are_read_and_kept(
    kind: pa.DataType, values: list[object], tmp_path: Path
) -> None:
    data = stored({"x": pa.array(values, kind)})
    outcome, rows = run(tmp_path, data)
    assert outcome.complete
    assert outcome.quarantined == 0
    expected = pq.read_table(io.BytesIO(data)).to_pylist()
    assert sorted(rows.to_pylist(), key=lambda row: row["text"]) == sorted(
        expected, key=lambda row: row["text"]
    )


@pytest.mark.parametrize("kind", [pa.list_view(pa.string()), pa.large_list_view(pa.int8())])
def test_the_codec_of_a_list_view_is_kept(kind: pa.DataType, tmp_path: Path) -> None:
    sink = io.BytesIO()
    table = pa.table({"text": TEXTS, "x": pa.array([[], [], []], kind)})
    pq.write_table(table, sink, compression={"text": "zstd", "x.list.element": "gzip"})
    run(tmp_path, sink.getvalue())
    codecs = {path: codec for path, codec, _ in columns_of(tmp_path / "out/human/a.parquet")}
    assert codecs == {"text": "ZSTD", "x.list.element": "GZIP"}


def test_the_lz4_that_hadoop_writes(tmp_path: Path) -> None:
    # Arrow writes the later LZ4 (7 in the specification); the older one is 5. Their pages may be
    # alike: readers of the older one take both framings.
    data = stored({}, "lz4")
    older = data.replace(b"\x15\x0e\x16", b"\x15\x0a\x16")
    assert older != data
    assert pq.read_metadata(io.BytesIO(older)).row_group(0).column(0).compression == "UNKNOWN"
    outcome, rows = run(tmp_path, older)
    assert outcome.complete
    assert sorted(rows["text"].to_pylist()) == sorted(TEXTS)
    assert [codec for _, codec, _ in columns_of(tmp_path / "out/human/a.parquet")] == ["LZ4"]


@pytest.mark.parametrize(
    "described",
    [{}, {"edges": "spherical"}, {"crs": "srid:5070", "crs_type": "srid"}],
)
def test_geometries_stay_geometries(described: dict[str, str], tmp_path: Path) -> None:
    kind = _Wkb(pa.binary(), json.dumps(described).encode())
    points = pa.ExtensionArray.from_storage(kind, pa.array([POINT, None, POINT]))
    outcome, rows = run(tmp_path, stored({"g": points}))
    assert outcome.notes == ()
    got = dict(zip(rows["text"].to_pylist(), rows["g"].to_pylist(), strict=True))
    assert got == dict(zip(TEXTS, [POINT, None, POINT], strict=True))
    before = [logical for _, _, logical in columns_of(tmp_path / "a.parquet")]
    assert str(before[1]).startswith(("Geometry", "Geography"))
    for part in ("human", "ai"):
        file = pq.ParquetFile(tmp_path / "out" / part / "a.parquet")
        after = [str(file.schema.column(i).logical_type) for i in range(2)]
        assert after == before


def with_interval() -> bytes:
    """A file whose column `iv` is an interval, which Arrow doesn't write."""
    values = pa.array([b"0123456789ab"] * 3, pa.binary(12))
    data = stored({"iv": values})
    size = int.from_bytes(data[-8:-4], "little")
    # The footer's first `iv` is that of its schema; behind it a converted type, 21, is put in.
    at = data.index(b"\x18\x02iv", len(data) - size - 8) + 4
    return b"".join(
        [data[:at], b"\x25\x2a", data[at:-8], (size + 2).to_bytes(4, "little"), b"PAR1"]
    )


def test_a_type_that_is_lost_is_said(tmp_path: Path) -> None:
    data = with_interval()
    assert "Interval" in str(pq.ParquetFile(io.BytesIO(data)).schema)
    outcome, rows = run(tmp_path, data)
    assert rows["iv"].to_pylist() == [b"0123456789ab"] * 3
    (note,) = outcome.notes
    assert note.startswith("a.parquet: outputs keep the values of iv (Interval), but not that type")
    assert outcome.shards[0].notes == outcome.notes
