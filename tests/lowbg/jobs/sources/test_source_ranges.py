"""Tables that are added up by ranges of sources hold what one run makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lowbg.jobs.sources.test_source_cells import cells, documents

from lowbg.config import Policy, RunConfig
from lowbg.decision import source_tables
from lowbg.decision.source_evidence import Header, Range, SourceEvidence, read_header
from lowbg.errors import ConfigError, FormatError, OutputError
from lowbg.jobs.sources import in_ranges, table
from lowbg.jobs.sources.ranges import Footer, each_once, range_cells, ranges
from lowbg.jobs.sources.sources import SourcesJob, SourcesOutcome, find_sources, header_of
from lowbg.jobs.sources.table import Totals, rows_of, write_table
from lowbg.jobs.sources.table_cells import read_cells
from lowbg.runs.engine import Engine
from lowbg.runs.executors.serial import SerialExecutor
from lowbg.runs.mapping import Workers
from lowbg.runs.splitting import Split

ENGINE = Engine(Policy())


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three tables of some 40 sources, in groups of seven rows."""
    monkeypatch.setattr(table, "ROWS_A_GROUP", 7)
    return [made(tmp_path / f"{i}.parquet", documents(500, i), without=i + 1) for i in range(3)]


def made(path: Path, rows: Sequence[tuple[str, int, int, float]], without: int = 0) -> Path:
    header = header_of(Policy(), ENGINE.model_digests())
    header = msgspec.structs.replace(header, documents=len(rows) + without, without_source=without)
    write_table(path, [cells(rows)] if rows else [], ENGINE.source_model(), header)
    return path


def merge(
    tables: Sequence[Path], output: Path, index: int | None = None, count: int = 1
) -> SourcesOutcome:
    job = SourcesJob((), output, RunConfig(), tuple(tables))
    return find_sources(job if index is None else replace(job, split=Split(index, count)))


def split(tables: Sequence[Path], folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    parts = [folder / f"{i}.parquet" for i in range(count)]
    for i, part in enumerate(parts):
        merge(tables, part, i, count)
    return parts


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_ranges_together_are_the_whole_table(
    tables: list[Path], tmp_path: Path, count: int
) -> None:
    whole, again = tmp_path / "whole.parquet", tmp_path / "again.parquet"
    merge(tables, whole)
    parts = split(tables, tmp_path / "parts", count)
    rows = pa.concat_tables([pq.read_table(part) for part in parts])
    assert rows.equals(pq.read_table(whole))
    headers = [read_header(part) for part in parts]
    assert [h.range.index for h in headers if h and h.range] == [*range(count)]
    assert [h.without_source for h in headers if h] == [6, *[0] * (count - 1)]
    assert sum(h.documents for h in headers if h) == 1506
    merge(parts[::-1], again)
    assert again.read_bytes() == whole.read_bytes()


def test_ranges_are_about_as_large_as_each_other(tables: list[Path], tmp_path: Path) -> None:
    sizes = [len(pq.read_table(part)) for part in split(tables, tmp_path / "parts", 3)]
    assert sum(sizes) == 40
    assert min(sizes) >= 7


def test_a_part_reads_its_groups_alone(tables: list[Path], tmp_path: Path) -> None:
    """A table that is damaged elsewhere does for it; its footer is whole."""
    last = pq.read_metadata(tables[0]).row_group(5).column(0)
    data = bytearray(tables[0].read_bytes())
    data[last.dictionary_page_offset : last.dictionary_page_offset + 40] = bytes(40)
    tables[0].write_bytes(data)
    outcome = merge(tables, tmp_path / "first.parquet", 0, 3)
    assert outcome.header.sources > 0
    for index in (None, 2):
        with pytest.raises(FormatError, match="can't be read"):
            merge(tables, tmp_path / "other.parquet", index, 3)


def test_every_part_finds_the_same_ranges_whatever_the_order(tables: list[Path]) -> None:
    header = header_of(Policy(), {})
    footers = [Footer.read(path) for path in tables]
    found = ranges(footers, header, 4)
    assert ranges(footers[::-1], header, 4) == found
    assert [part.start for part in found[1:]] == [part.end for part in found[:-1]]
    assert found[0].start is found[-1].end is None
    others = (
        ranges(footers[:2], header, 4),
        ranges(footers, header, 5),
        ranges(footers, msgspec.structs.replace(header, bound=0.1), 4),
    )
    assert len({found[0].merge, *(other[0].merge for other in others)}) == 4


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(NAMES, max_size=12), min_size=1, max_size=4),
    st.integers(1, 6),
    st.sampled_from([0, 5_000]),
)
def test_each_source_is_in_one_range(
    tmp_path_factory: pytest.TempPathFactory, named: list[list[str]], count: int, longer: int
) -> None:
    """Whatever the names; of those that are too long for a footer it says nothing."""
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table, "ROWS_A_GROUP", 3)
        paths = [
            made(folder / f"{i}.parquet", [(name + "é" * longer, 2019, 3, 0.5) for name in names])
            for i, names in enumerate(named)
        ]
    footers = [Footer.read(path) for path in paths]
    for footer in footers:
        whole = [name for part in read_cells(footer.path) for name in part.names.to_pylist()]
        found = [
            name
            for part in ranges(footers, header_of(Policy(), {}), count)
            for piece in range_cells(footer, part)
            for name in piece.names.to_pylist()
        ]
        assert found == whole


def test_a_table_counts_twice_unless_every_byte_is_another_s(tmp_path: Path) -> None:
    one = made(tmp_path / "one.parquet", documents(50, 1))
    copy, other = tmp_path / "copy.parquet", tmp_path / "other.parquet"
    copy.write_bytes(one.read_bytes())
    data = bytearray(one.read_bytes())
    data[100] ^= 1
    other.write_bytes(data)
    footers = [Footer.read(path) for path in (one, other, copy, one)]
    assert len({footer.digest for footer in footers}) == 1
    found, repeated = each_once(footers)
    assert [footer.path for footer in found] == [one, other]
    assert repeated == [(copy, one), (one, one)]


def test_a_source_s_row_is_the_same_bits_whatever_is_beside_it() -> None:
    model = ENGINE.source_model()
    found = cells(documents(40_000, 5, 900))
    whole = rows_of(found, model, Totals())
    assert whole.column("ai_share").null_count == 0
    for size in (1, 2, 5, 31, 100, 333):
        for start in range(0, 900 - size, 200):
            part = rows_of(found.part(start, start + size), model, Totals())
            assert part.equals(whole.slice(start, size)), (start, size)


def test_evidence_of_ranges_is_that_of_the_whole(tables: list[Path], tmp_path: Path) -> None:
    merge(tables, tmp_path / "whole.parquet")
    parts = split(tables, tmp_path / "parts", 4)
    named = source_tables.source_tables(str(tmp_path / "parts"))
    assert list(named.paths) == parts
    one = SourceEvidence([tmp_path / "whole.parquet"])
    many = SourceEvidence(named.paths)
    names = [*sorted({row[0] for i in range(3) for row in documents(500, i)}), "x"]
    codes = np.arange(len(names))
    ours, theirs = one.find(codes, names), many.find(codes, names)
    assert ours.known.sum() > 20
    assert (ours.verdicts == theirs.verdicts).all()
    for code in ENGINE.models:
        assert np.array_equal(
            ours.thresholds(code, codes), theirs.thresholds(code, codes), equal_nan=True
        )
    assert [ours.told(i) for i in np.flatnonzero(ours.known).tolist()] == [
        theirs.told(i) for i in np.flatnonzero(theirs.known).tolist()
    ]


def test_what_is_no_whole_is_refused(tables: list[Path], tmp_path: Path) -> None:
    parts = split(tables, tmp_path / "parts", 4)
    others = split(tables[:2], tmp_path / "others", 4)
    whole = tmp_path / "whole.parquet"
    merge(tables, whole)

    def refused(*paths: Path) -> str:
        folder = tmp_path / "folder"
        folder.mkdir()
        for i, path in enumerate(paths):
            (folder / f"{i}.parquet").hardlink_to(path)
        with pytest.raises(ConfigError) as error:
            source_tables.source_tables(str(folder))
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        return str(error.value)

    assert "range 2 of its merge is missing (3 of 4 are there)" in refused(*parts[:2], parts[3])
    assert "range 0 of its merge is missing (1 of 4 are there)" in refused(parts[1])
    assert "range 1 of 4, as" in refused(*parts, parts[1])
    assert "a range of another merge" in refused(*parts[:2], *others[2:])
    assert "no range of a merge" in refused(*parts, whole)
    assert "no table of sources in it" in refused()
    with pytest.raises(ConfigError, match="range 3 of its merge is missing"):
        merge(parts[:3], tmp_path / "x.parquet")
    header = Header(version="1", by="domain", before=None, min_documents=1, bound=0.1, models={})
    part = Range(index=0, count=2, start=None, end="b", merge="m")
    with pytest.raises(ConfigError, match="range 0 of 2, as"):
        source_tables.refuse_incomplete(
            dict.fromkeys([Path("a"), Path("b")], msgspec.structs.replace(header, range=part))
        )


def test_several_workers_write_the_same_bytes(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their ranges end elsewhere than the groups of rows do."""
    one, many = tmp_path / "one.parquet", tmp_path / "many" / "many.parquet"
    many.parent.mkdir()
    expected = merge(tables, one)
    monkeypatch.setattr(in_ranges, "MIN_ROWS", 10)
    monkeypatch.setattr(Workers, "cores", lambda crew: 2)
    ran = []

    class Here(SerialExecutor):
        def run(self, setup: Any, tasks: Any, on_progress: Any) -> Any:
            ran.extend(tasks)
            # Ends come in any order.
            return iter([*super().run(setup, tasks, on_progress)][::-1])

    monkeypatch.setattr(in_ranges, "executor_of", lambda workers: Here())
    found = merge(tables, many)
    assert len(ran) == 8
    assert many.read_bytes() == one.read_bytes()
    assert found.header == expected.header
    assert [*many.parent.iterdir()] == [many]


@pytest.mark.slow
def test_processes_add_up_ranges(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    merge(tables, one)
    monkeypatch.setattr(in_ranges, "MIN_ROWS", 10)
    job = SourcesJob((), many, RunConfig(), tuple(tables), workers=2)
    find_sources(job)
    assert many.read_bytes() == one.read_bytes()


def test_what_goes_wrong_in_a_range_is_said(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_ranges, "MIN_ROWS", 10)
    monkeypatch.setattr(Workers, "cores", lambda crew: 2)
    monkeypatch.setattr(in_ranges, "executor_of", lambda workers: SerialExecutor())
    data = bytearray(tables[0].read_bytes())
    data[4:200] = bytes(196)
    tables[0].write_bytes(data)
    with pytest.raises(FormatError, match=r"0\.parquet: the table of sources can't be read"):
        merge(tables, tmp_path / "x.parquet")
    monkeypatch.setattr(in_ranges, "range_cells", lambda *_: 1 / 0)
    with pytest.raises(OutputError, match="range 0 was not made: division by zero"):
        merge(tables, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
