"""A large shard that several workers read in pieces comes out as one that was read in one pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import (
    Compression,
    Durability,
    ExecutorName,
    Existing,
    FieldNames,
    Policy,
    RunConfig,
    ScoreFormat,
)
from lowbg.errors import CutStreamError
from lowbg.formats import piece_starts
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.score import ScoreJob, rows_path, score_shards
from lowbg.policy import AUTO, Sources
from lowbg.report.examples import Examples
from lowbg.report.results import ShardResult
from lowbg.report.sections.totals import SECTION as TOTALS
from lowbg.runs import mapping, pieces
from lowbg.runs.inputs import Shard, discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify
from lowbg.runs.mapping import Ended, Workers
from lowbg.runs.progress import Observer, Progress
from lowbg.runs.shards import Piece
from lowbg.storage.compression import compressed, open_input

EXAMPLES = Path(__file__).parents[3] / "examples" / "ai_styled.txt"
AI = EXAMPLES.read_text(encoding="utf-8").split("=====")
PROSE = (
    "the river was low that summer and we walked across on the stones with our shoes in our hands "
    "while the dogs ran ahead and somebody behind us kept singing the same two lines of a song "
)
WORDS = PROSE.split()
PIECES = 5
"""About how many there are of a shard."""


class Cut(Exception):
    """Ends the run."""


def document(i: int) -> str:
    if i % 5 == 0:
        return AI[i % len(AI)]
    chosen = np.random.default_rng(i).integers(0, len(WORDS), 60 + i % 190)
    return " ".join(WORDS[j] for j in chosen.tolist())


def record(i: int) -> dict[str, str]:
    host = f"site-{i % 40}.example"
    url = f"https://{host}/{i}"
    return {
        "id": str(i),
        "text": document(i),
        "url": url,
        "host": host,
        "date": f"20{10 + i % 15}-01-01",
    }


def content() -> bytes:
    """Lines with some of everything; the last has no end."""
    lines = []
    for i in range(700):
        lines.append(json.dumps(record(i)).encode())
        if i % 90 == 0:
            lines += [b"", b" \t\r", b"{broken"]
    return b"\n".join(lines)


def framed(codec: str) -> bytes:
    """The lines in frames of which none ends at a line's end."""
    data = content()
    return b"".join(compressed(data[i : i + 20_001], codec) for i in range(0, len(data), 20_001))


def parquet(path: Path) -> None:
    table = pa.Table.from_pylist([record(i) for i in range(700)])
    pq.write_table(table, path, row_group_size=70)


SHARDS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": lambda path: path.write_bytes(content()),
    "a.jsonl.zst": lambda path: path.write_bytes(framed("zstd")),
    "a.jsonl.gz": lambda path: path.write_bytes(framed("gzip")),
    "a.parquet": parquet,
}


def job(source: Path, output: Path, **options: Any) -> FilterJob:
    config = options.pop("config", RunConfig())
    shards = tuple(discover([str(source)]))
    size = shards[0].size // PIECES
    config = replace(config, frame_bytes=size // 8)
    return FilterJob(shards, output, config, workers=2, piece_bytes=size, **options)


def in_one_pass(source: Path, output: Path, **options: Any) -> Outcome:
    one = job(source, output, executor=ExecutorName.SERIAL, **options)
    return filter_shards(replace(one, workers=1))


def in_pieces(source: Path, output: Path, **options: Any) -> tuple[Outcome, set[str]]:
    """The run in two processes, and what progress called what they read."""
    seen: list[Progress] = []
    outcome = filter_shards(job(source, output, **options), Observer(seen.append))
    # What is read in one pass after all is called by the shard's name.
    return outcome, {progress.shard for progress in seen if progress.consumed}


def files(folder: Path) -> dict[str, bytes]:
    paths = [p for p in folder.rglob("*") if p.is_file() and p.parent != folder]
    named = {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
    return {name: data for name, data in named.items() if not name.startswith(".lowbg")}


def same(one: ShardResult, other: ShardResult) -> None:
    """What became of a shard is equal, but for the time that it took.

    Of a shard below 1 MiB a report shows fewer examples, of pieces as many as of one above.
    """
    if Path(one.source).stat().st_size < 1 << 20:
        for result in (one, other):
            result.statistics.examples = Examples()
    for name in ShardResult.__struct_fields__:
        if name not in ("seconds", "cpu_seconds"):
            assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(RunConfig(), id="as it is"),
        pytest.param(
            RunConfig(annotate=True, compression=Compression.ZSTD),
            id="annotated",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_pieces_give_what_one_pass_gives(name: str, config: RunConfig, tmp_path: Path) -> None:
    SHARDS[name](tmp_path / name)
    one = in_one_pass(tmp_path / name, tmp_path / "one", config=config)
    two, read = in_pieces(tmp_path / name, tmp_path / "two", config=config)
    assert len(read) > 2
    assert name not in read
    assert files(tmp_path / "one") == files(tmp_path / "two")
    same(one.shards[0], two.shards[0])
    assert verify(tmp_path / "two") == verify(tmp_path / "one")
    assert not [*(tmp_path / "two" / ".lowbg").glob("parts/*")]


def scored(source: Path, output: Path, form: ScoreFormat, workers: int) -> tuple[Outcome, set[str]]:
    """Its rows, and what progress called what was read."""
    made = job(source, output, config=RunConfig(fields=FieldNames(others=("host",))))
    seen: list[Progress] = []
    executor = ExecutorName.PROCESSES if workers > 1 else ExecutorName.SERIAL
    outcome = score_shards(
        ScoreJob(
            *(made.shards, output, made.config, workers, executor),
            piece_bytes=made.piece_bytes,
            format=form,
        ),
        Observer(seen.append),
    )
    return outcome, {progress.shard for progress in seen if progress.consumed}


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (ScoreFormat.JSONL, "a.jsonl"),
        (ScoreFormat.JSONL, "a.parquet"),
        (ScoreFormat.PARQUET, "a.jsonl.zst"),
        (ScoreFormat.PARQUET, "a.parquet"),
    ],
)
def test_rows_of_pieces_are_those_of_one_pass(form: ScoreFormat, name: str, tmp_path: Path) -> None:
    SHARDS[name](tmp_path / name)
    one, _ = scored(tmp_path / name, tmp_path / "one", form, 1)
    two, read = scored(tmp_path / name, tmp_path / "two", form, 2)
    assert len(read) > 2
    assert name not in read
    rows = [tmp_path / folder / rows_path(form, name) for folder in ("one", "two")]
    assert rows[0].read_bytes() == rows[1].read_bytes()
    assert one.shards[0].outputs[0].records == 700
    assert files(tmp_path / "one") == files(tmp_path / "two")
    same(one.shards[0], two.shards[0])
    assert verify(tmp_path / "two") == verify(tmp_path / "one")
    assert not [*(tmp_path / "two" / ".lowbg").glob("parts/*")]


def test_dolma_s_attributes_are_written_in_one_pass(tmp_path: Path) -> None:
    """A line without a record has no place among them, and all of a shard's are counted."""
    lines = [line for line in content().split(b"\n") if line.endswith(b"}")]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    _, read = scored(tmp_path / "a.jsonl", tmp_path / "two", ScoreFormat.DOLMA, 2)
    assert read == {"a.jsonl"}


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
def test_outputs_are_in_frames_where_the_input_is(name: str, tmp_path: Path) -> None:
    """So that pieces need not be compressed again; what is one frame stays one."""
    SHARDS[name](tmp_path / name)
    in_one_pass(tmp_path / name, tmp_path / "framed")
    with open_input(tmp_path / name) as stream:
        lines = stream.read(1 << 30)
    (tmp_path / name).write_bytes(compressed(lines, "zstd" if name.endswith("zst") else "gzip"))
    in_one_pass(tmp_path / name, tmp_path / "one")
    frames: list[int] = []
    for folder in ("framed", "one"):
        for kind in ("human", "ai"):
            with open_input(tmp_path / folder / kind / name) as stream:
                begun: list[int] = []
                stream.on_frame = begun.append
                assert stream.read(1 << 30).strip().endswith(b"}")
                frames.append(len(begun))
    assert frames[0] > 5
    assert frames[1] > 5
    assert frames[2:] == [1, 1]


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
def test_frames_end_at_the_same_places_after_an_interruption(name: str, tmp_path: Path) -> None:
    SHARDS[name](tmp_path / name)
    config = RunConfig(batch_bytes=60_000)
    in_one_pass(tmp_path / name, tmp_path / "one", config=config)
    often = Durability(bytes=1)
    for stop in (2, 7, 11):
        seen: list[Progress] = []

        def progress(event: Progress, seen: list[Progress] = seen, stop: int = stop) -> None:
            seen.append(event)
            if len(seen) == stop:
                raise Cut

        one = job(tmp_path / name, tmp_path / f"{stop}", config=config, durability=often)
        one = replace(one, workers=1, executor=ExecutorName.SERIAL)
        assert not filter_shards(one, Observer(progress)).complete
        filter_shards(replace(one, existing=Existing.RESUME), Observer(seen.append))
        assert max(progress.earlier for progress in seen) > 0 or stop == 2
        assert files(tmp_path / f"{stop}") == files(tmp_path / "one")


def test_positions_are_those_of_a_reader(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.zst", "a.jsonl.gz"):
        SHARDS[name](tmp_path / name)
        data = content()
        size = (tmp_path / name).stat().st_size
        config = RunConfig(frame_bytes=size // PIECES)
        starts = piece_starts(str(tmp_path / name), config, name, size // PIECES)
        assert len(starts) > 2
        for start in starts:
            before = data[: start.offset]
            assert before.endswith(b"\n")
            assert start.line == before.count(b"\n") + 1
            assert start.record == sum(1 for line in before.splitlines() if line.strip())


def test_what_is_one_frame_is_read_in_one_pass(tmp_path: Path) -> None:
    for codec, name in (("zstd", "a.jsonl.zst"), ("gzip", "a.jsonl.gz"), ("xz", "a.jsonl.xz")):
        (tmp_path / name).write_bytes(compressed(content(), codec))
        config = RunConfig(frame_bytes=1_000)
        assert piece_starts(str(tmp_path / name), config, name, 1_000) == []


def test_only_what_others_would_wait_for_is_split(tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    large.write_bytes(content())
    size = large.stat().st_size
    shard = Shard(str(large), "large.jsonl", size)
    crew = Workers(2, ExecutorName.PROCESSES)

    def split(others: int, crew: Workers = crew, piece: int = size // PIECES) -> bool:
        many = [shard, *(Shard(str(large), f"{i}", size) for i in range(others))]
        return "large.jsonl" in pieces.pieces_of(many, RunConfig(), crew, piece)

    assert split(0)
    assert split(6)
    assert not split(7)
    assert not split(0, Workers(2, ExecutorName.SERIAL))
    assert not split(0, Workers(1, ExecutorName.PROCESSES))
    assert not split(0, piece=size)


@pytest.mark.slow
def test_a_damaged_shard_ends_as_in_one_pass(tmp_path: Path) -> None:
    data = framed("zstd")
    (tmp_path / "a.jsonl.zst").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(CutStreamError):
        piece_starts(str(tmp_path / "a.jsonl.zst"), RunConfig(frame_bytes=1_000), "a", 1_000)
    parquet(tmp_path / "a.parquet")
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    column = metadata.row_group(7).column(1)
    # Behind the header, so that the group looks sound until its values are decoded.
    middle = column.data_page_offset + column.total_compressed_size // 2
    whole[middle : middle + 400] = bytes(400)
    (tmp_path / "a.parquet").write_bytes(whole)
    for name in ("a.jsonl.zst", "a.parquet"):
        one = in_one_pass(tmp_path / name, tmp_path / f"one-{name}")
        two, _ = in_pieces(tmp_path / name, tmp_path / f"two-{name}")
        assert not one.complete
        assert files(tmp_path / f"one-{name}") == files(tmp_path / f"two-{name}")
        same(one.shards[0], two.shards[0])


@pytest.mark.slow
def test_quarantine_has_its_bounds_over_all_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content())
    config = RunConfig(max_quarantine_bytes=30)
    one = in_one_pass(tmp_path / "a.jsonl", tmp_path / "one", config=config)
    two, read = in_pieces(tmp_path / "a.jsonl", tmp_path / "two", config=config)
    assert "a.jsonl" in read
    assert any(name.startswith("a.jsonl (1 of ") for name in read)
    assert one.shards[0].notes == two.shards[0].notes != ()
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_pieces_get_smaller_towards_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content())
    (shard,) = discover([str(tmp_path / "a.jsonl")])
    crew = Workers(2, ExecutorName.PROCESSES)
    planned = pieces.pieces_of([shard], RunConfig(), crew, shard.size // PIECES)[shard.name]
    sizes = [piece.size for piece in planned]
    assert sum(sizes) == shard.size
    assert max(sizes[:2]) > 3 * max(sizes[-4:])


def cut_after_two(patched: pytest.MonkeyPatch, source: Path, output: Path) -> None:
    """A run in pieces that ends when two of them were read."""
    mapped = mapping.map_shards

    def cut(*arguments: Any) -> Iterator[Any]:
        ends = mapped(*arguments)
        yield next(ends)
        yield next(ends)
        raise Cut

    with patched.context() as inside:
        inside.setattr(pieces, "map_shards", cut)
        with pytest.raises(Cut):
            in_pieces(source, output)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_pieces_that_were_read_are_not_read_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SHARDS[name](tmp_path / name)
    one = in_one_pass(tmp_path / name, tmp_path / "one")
    cut_after_two(monkeypatch, tmp_path / name, tmp_path / "two")
    whole = [*(tmp_path / "two" / ".lowbg" / "parts").glob("*.whole.json")]
    assert len(whole) >= 2
    assert not files(tmp_path / "two")
    seen: list[Progress] = []
    two = filter_shards(
        job(tmp_path / name, tmp_path / "two", existing=Existing.RESUME), Observer(seen.append)
    )
    first = {progress.shard: progress for progress in reversed(seen)}
    for note in whole:  # The others may have begun.
        label = f"{name} ({int(note.name.split('.')[1]) + 1} of "
        (found,) = (progress for shard, progress in first.items() if shard.startswith(label))
        assert found.earlier == found.consumed > 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    same(one.shards[0], two.shards[0])


def test_a_log_that_was_touched_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces aren't waited for to be on the disk: their logs' digests tell what of them is."""
    source = tmp_path / "a.jsonl"
    source.write_bytes(content())
    one = in_one_pass(source, tmp_path / "one")
    cut_after_two(monkeypatch, source, tmp_path / "two")
    parts = tmp_path / "two" / ".lowbg" / "parts"
    log = next(
        p for p in sorted(parts.glob("*.human")) if p.name.count(".") == 2 and p.read_bytes()
    )
    log.write_bytes(bytes(log.stat().st_size))
    two = filter_shards(job(source, tmp_path / "two", existing=Existing.RESUME))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    same(one.shards[0], two.shards[0])


@pytest.mark.slow
def test_a_log_that_was_touched_is_not_used(tmp_path: Path) -> None:
    """The shard is read in one pass then."""
    (tmp_path / "a.jsonl").write_bytes(content())
    one = in_one_pass(tmp_path / "a.jsonl", tmp_path / "one")
    mapped = mapping.map_shards
    touched: list[Path] = []

    def touching(*arguments: Any) -> Iterator[Ended[ShardResult]]:
        ends: Iterator[Ended[ShardResult]] = mapped(*arguments)
        for end in ends:
            if isinstance(end.shard, Piece) and not touched:
                assert end.result is not None
                log = tmp_path / "two" / end.result.outputs[0].path
                log.write_bytes(log.read_bytes()[:-10])
                touched.append(log)
            yield end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "map_shards", touching)
        two, read = in_pieces(tmp_path / "a.jsonl", tmp_path / "two")
    assert touched
    assert "a.jsonl" in read
    assert files(tmp_path / "one") == files(tmp_path / "two")
    same(one.shards[0], two.shards[0])


def test_a_shard_in_pieces_is_one_shard_of_the_progress(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content())
    seen: list[Progress] = []
    filter_shards(job(tmp_path / "a.jsonl", tmp_path / "out"), Observer(seen.append))
    last = {progress.shard: progress for progress in seen}
    assert sum(progress.done for progress in last.values()) == 1
    assert sum(progress.consumed for progress in last.values()) == len(content())
    with open_input(tmp_path / "out" / "human" / "a.jsonl") as stream:
        assert stream.read(1)


@pytest.mark.slow
def test_two_passes_over_sources_are_the_same_in_pieces(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(content())
    policy = Policy(sources=Sources(table=AUTO))
    config = RunConfig(policy=policy, batch_bytes=20_000)
    one = in_one_pass(source, tmp_path / "one", config=config)
    two, read = in_pieces(source, tmp_path / "two", config=config)
    assert len({name for name in read if name != "a.jsonl"}) > 1
    same(one.shards[0], two.shards[0])
    assert one.shards[0].complete
    assert one.report[TOTALS].ai.documents > 0
    assert files(tmp_path / "two") == files(tmp_path / "one")
