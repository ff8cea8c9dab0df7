"""Arrow IPC files and streams: every record in, the same rows out, and what damage does to them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lowbg.config import ExecutorName, RunConfig
from lowbg.errors import CheckpointError, CutStreamError, FormatError, InputError
from lowbg.formats import count_records, open_reader, recognise_file
from lowbg.formats.arrow.messages import END, begins_stream
from lowbg.formats.base import Output
from lowbg.jobs.explain import find_record
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.records import Batch, RejectReason
from lowbg.runs.inputs import discover
from lowbg.runs.manifest import verify

ROWS = 60
BATCH = 7

VIEWS = pa.list_view(pa.string_view())

TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int32()),
        "text": pa.array([f"text {i} é" for i in range(ROWS)], pa.string_view()),
        "kind": pa.array([f"k{i * i % 5}" for i in range(ROWS)]).dictionary_encode(),
        "rank": pa.DictionaryArray.from_arrays(
            pa.array([i % 2 for i in range(ROWS)], pa.int8()),
            pa.array(["low", "high"]),
            ordered=True,
        ),
        "tags": pa.array([["a", None]] * ROWS, pa.list_(pa.string_view())),
        "runs": pa.array([[f"{i}" * 20] if i % 4 else None for i in range(ROWS)], VIEWS),
        "meta": pa.array([{"x": b"1"}, None] * (ROWS // 2), pa.struct([("x", pa.binary_view())])),
    }
).replace_schema_metadata({"huggingface": '{"info":{}}'})


def stored(
    table: pa.Table = TABLE, *, is_file: bool = False, codec: str | None = None, rows: int = BATCH
) -> bytes:
    sink = io.BytesIO()
    new = pa.ipc.new_file if is_file else pa.ipc.new_stream
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def opened(data: bytes) -> Any:
    return pa.ipc.open_file(data) if data[:6] == b"ARROW1" else pa.ipc.open_stream(data)


def read(data: bytes, batch_bytes: int = 1 << 22) -> tuple[list[Batch], InputError | None]:
    batches = []
    config = RunConfig(batch_bytes=batch_bytes)
    with open_reader(io.BytesIO(data), config, "s.arrow") as reader:
        try:
            for batch in reader:
                batches.append(batch)
        except InputError as fault:
            return batches, fault
    return batches, None


def texts(batches: list[Batch]) -> list[str]:
    return [text for batch in batches for text in batch.text.to_pylist()]


def written(data: bytes, folder: Path, keep: Callable[[int], bool], batch_bytes: int) -> bytes:
    """The file of the rows whose places `keep` takes."""
    config = RunConfig(batch_bytes=batch_bytes)
    with open_reader(io.BytesIO(data), config, "s.arrow") as reader:
        path = folder / f"{batch_bytes}.arrow"
        writer = reader.format.open_writer(reader, Output(path, folder))
        for batch in reader:
            writer.write(batch.payload, np.array([keep(i) for i in batch.records.tolist()], bool))
        assert writer.commit().records == sum(keep(i) for i in range(ROWS))
    return path.read_bytes()


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("is_file", [False, True])
def test_kept_rows_come_out_as_they_are(is_file: bool, codec: str | None, tmp_path: Path) -> None:
    data = stored(is_file=is_file, codec=codec)
    kept = [i for i in range(ROWS) if i % 3]
    outputs = {written(data, tmp_path, lambda i: i % 3 > 0, size) for size in (1, 500, 1 << 22)}
    (output,) = outputs
    table = opened(output).read_all()
    assert table.schema.equals(TABLE.schema, check_metadata=True)
    assert table.to_pylist() == [TABLE.to_pylist()[i] for i in kept]
    assert (output[:6] == b"ARROW1") is is_file
    with open_reader(io.BytesIO(output), RunConfig(), "o") as reader:
        layout = reader.layout  # type: ignore[attr-defined]
    assert (layout.codec, layout.rows_per_batch) == (codec or "none", BATCH)


def test_dictionaries_hold_what_was_kept_and_ordered_ones_stay(tmp_path: Path) -> None:
    data = stored(is_file=True)
    output = opened(written(data, tmp_path, lambda i: i % 5 == 0, 500)).read_all()
    assert output.column("kind").unify_dictionaries().chunk(0).dictionary.to_pylist() == ["k0"]
    assert output.column("rank").chunk(0).dictionary.to_pylist() == ["low", "high"]


@pytest.mark.parametrize("batch_bytes", [1, 300, 1 << 22])
@pytest.mark.parametrize("is_file", [False, True])
def test_reading_goes_on_from_any_batch(is_file: bool, batch_bytes: int) -> None:
    data = stored(is_file=is_file)
    config = RunConfig(batch_bytes=batch_bytes)
    whole, _ = read(data, batch_bytes)
    assert texts(whole) == TABLE["text"].to_pylist()
    with open_reader(io.BytesIO(data), config, "s") as reader:
        positions = [reader.position() for _ in reader]
    for at in (0, len(positions) // 2, len(positions) - 1):
        with open_reader(io.BytesIO(data), config, "s") as reader:
            reader.start_at(positions[at])
            assert texts(list(reader)) == texts(whole[at + 1 :])
    short = stored(TABLE.slice(0, 3), is_file=is_file)
    with open_reader(io.BytesIO(short), config, "s") as reader:
        reader.start_at(positions[-1])
        with pytest.raises(CheckpointError):
            list(reader)


@pytest.mark.parametrize("is_file", [False, True])
def test_small_record_batches_make_one(is_file: bool, tmp_path: Path) -> None:
    table = TABLE.drop_columns(["kind", "rank"])  # Dictionaries stay each row's own.
    data = stored(table, is_file=is_file, rows=1)
    (batch,), fault = read(data)
    assert fault is None
    assert batch.text.to_pylist() == TABLE["text"].to_pylist()
    assert 1 < len(read(data, 10_000)[0]) < ROWS
    outputs = {written(data, tmp_path, lambda i: i % 3 > 0, size) for size in (1, 500, 1 << 22)}
    (output,) = outputs
    assert opened(output).read_all().to_pylist() == [
        row for i, row in enumerate(table.to_pylist()) if i % 3
    ]
    if is_file:
        return
    batches, fault = read(data[: len(data) // 2])
    assert [len(batch) for batch in batches] == [len(texts(batches))]
    assert f"damaged after {len(texts(batches))} rows" in str(fault)


def test_a_row_without_a_readable_text_is_quarantined() -> None:
    column = pa.array([b"a", b"b\xff", None, b"d"], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 4, column.buffers())
    batches, fault = read(stored(pa.table({"text": column})))
    assert fault is None
    assert texts(batches) == ["a", "d"]
    assert [(r.record, r.reason) for b in batches for r in b.rejected] == [
        (1, RejectReason.INVALID_UTF8),
        (2, RejectReason.NULL_TEXT),
    ]


def test_a_cut_stream_gives_what_came_before() -> None:
    data = stored()
    middle = len(data) // 2
    batches, fault = read(data[:middle])
    assert isinstance(fault, FormatError)
    assert 0 < len(texts(batches)) < ROWS
    assert len(texts(batches)) % BATCH == 0
    assert f"damaged after {len(texts(batches))} rows" in str(fault)

    batches, fault = read(data.removesuffix(END))
    assert isinstance(fault, CutStreamError)
    assert "without its end mark" in str(fault)
    assert texts(batches) == TABLE["text"].to_pylist()


def test_streams_behind_one_another_are_not_read_as_one() -> None:
    data = stored()
    batches, fault = read(data + data)
    assert isinstance(fault, FormatError)
    assert "goes on after the end" in str(fault)
    assert len(texts(batches)) == ROWS


def test_a_file_without_its_index_gives_what_is_whole() -> None:
    data = stored(is_file=True)
    batches, fault = read(data[: len(data) - 20])
    assert "index is missing" in str(fault)
    assert texts(batches) == TABLE["text"].to_pylist()
    batches, fault = read(data[: len(data) // 2])
    assert isinstance(fault, FormatError)
    assert 0 < len(texts(batches)) < ROWS


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("codec", [None, "zstd"])
def test_damage_anywhere_is_a_fault_or_a_value(is_file: bool, codec: str | None) -> None:
    data = stored(is_file=is_file, codec=codec)
    noise = random.Random(5)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(noise.choice((1, 8))):
            damaged[noise.randrange(len(damaged))] = noise.randrange(256)
        try:
            batches, _ = read(bytes(damaged))
        except InputError:
            continue
        for batch in batches:
            batch.text.validate(full=True)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"body": ["a"]}), "no column 'text'"),
        (pa.table({"text": [1]}), "not text"),
        (
            pa.table({"text": ["a"], "x": pa.array([[[]]], pa.list_(VIEWS))}),
            "'x' is list.* of which Arrow can't take rows",
        ),
    ],
)
def test_a_schema_that_cannot_be_read_is_refused(table: pa.Table, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read(stored(table))


def test_a_stream_down_a_pipe_is_asked_for_as_a_file() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(FormatError, match="Arrow IPC, which cannot be read as a stream"):
        open_reader(Pipe(stored()), RunConfig(), "stdin")


def test_only_a_schema_begins_a_stream() -> None:
    data = stored()
    assert begins_stream(data[:512])
    old = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=True)
    with pa.ipc.new_stream(old, TABLE.schema, options=options) as writer:
        writer.write_table(TABLE)
    assert begins_stream(old.getvalue()[:512])
    batches, fault = read(old.getvalue())
    assert fault is None
    assert len(texts(batches)) == ROWS
    noise = random.Random(1)
    for size in (0, 4, 11, 200):
        for _ in range(200):
            assert not begins_stream(b"\xff\xff\xff\xff" + noise.randbytes(size))
            assert not begins_stream(noise.randbytes(size))
    assert not begins_stream(b'{"text": "a"}\n' * 40)


@pytest.mark.parametrize("name", ["a.arrow", "a.feather", "a.arrows"])
def test_what_polars_writes(name: str, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(9)],
            "kind": pl.Series([f"k{i % 2}" for i in range(9)], dtype=pl.Categorical),
            "tags": [["x"]] * 9,
        }
    )
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if name == "a.arrows":
        frame.write_ipc_stream(path)
    else:
        frame.write_ipc(path, compression="zstd" if name == "a.feather" else "uncompressed")
    out = tmp_path / "out"
    job = FilterJob(tuple(discover([str(path)])), out, RunConfig(), executor=ExecutorName.SERIAL)
    outcome = filter_shards(job)
    assert (outcome.complete, outcome.shards[0].format) == (True, "arrow")
    data = (out / "human" / name).read_bytes()
    back = pl.read_ipc_stream(data) if name == "a.arrows" else pl.read_ipc(data)
    assert back.equals(frame)
    assert verify(out) == []
    assert count_records(out / "human" / name) == 9


def test_a_folder_of_save_to_disk_is_read(tmp_path: Path) -> None:
    # As `datasets` writes it: streams, and what it says of them.
    folder = tmp_path / "saved" / "train"
    folder.mkdir(parents=True)
    (folder.parent / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text('{"_data_files": []}')
    for i in range(2):
        (folder / f"data-0000{i}-of-00002.arrow").write_bytes(stored())
    shards = tuple(discover([str(folder.parent)]))
    assert [shard.name for shard in shards] == [
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
    ]
    out = tmp_path / "out"
    outcome = filter_shards(FilterJob(shards, out, RunConfig(), executor=ExecutorName.SERIAL))
    assert outcome.complete
    assert sum(shard.records for shard in outcome.shards) == 2 * ROWS
    path = folder / "data-00000-of-00002.arrow"
    assert recognise_file(path)[0].name == "arrow"
    assert find_record(str(path), RunConfig(), record=None, id="7")[0] == "text 7 é"
