from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowbg.config import Policy, RunConfig
from lowbg.decision.source_evidence import read_header
from lowbg.errors import OutputError
from lowbg.jobs.sources import table
from lowbg.jobs.sources.breaks import breaks_of
from lowbg.jobs.sources.cells import IDS, UNIT, Cells, Keys, combined
from lowbg.jobs.sources.runs import Spill, merged, merged_runs, read_run, write_run
from lowbg.jobs.sources.sources import header_of
from lowbg.jobs.sources.table import write_table
from lowbg.jobs.sources.table_cells import read_cells
from lowbg.jobs.sources.two_passes import ScoreOnceTask, make_table
from lowbg.runs.checkpoints import FOLDER
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import survey
from lowbg.runs.mapping import ALONE
from lowbg.runs.progress import NOBODY

Row = tuple[str, int, int, float]
"""Source, year, bin and log-odds of a document."""


def documents(n: int, seed: int, sources: int = 40) -> list[Row]:
    draw = random.Random(seed)
    return [
        (f"s{draw.randrange(sources)}.example", draw.choice([0, 2019, 2024]), 9, draw.gauss(0, 3))
        for _ in range(n)
    ]


def cells(rows: Sequence[Row]) -> Cells:
    """The cells of documents, one after another."""
    parts = []
    for name, year, bin, log_odds in rows:
        one = np.zeros(1, np.int64)
        units = round(log_odds * UNIT)
        key = Keys(one + 3, one + year, np.array([year == 2019]), one + bin).packed()
        counts = np.array([[1, 100 + units % 7, int(log_odds > 2), units, units * units]])
        names = pa.array([name], pa.string())
        ids = pa.array([f"{name}-{units}"], pa.string())
        parts.append(Cells(names, one, key, counts, one, one + units, ids))
    return combined(parts)


def plain(found: Cells) -> list[tuple[object, ...]]:
    names = found.names.to_pylist()
    rows = zip(found.source.tolist(), found.keys.tolist(), found.counts.tolist(), strict=True)
    ids = zip(found.id_source.tolist(), found.id_score.tolist(), found.ids.to_pylist(), strict=True)
    return [
        *((names[s], key, tuple(counts)) for s, key, counts in rows),
        *((names[s], score, name) for s, score, name in ids),
    ]


def test_keys_unpack_to_what_was_packed() -> None:
    language, year = np.array([-1, 0, 78]), np.array([0, 1900, 2099])
    keys = Keys(language, year, np.array([False, True, True]), np.array([-1, 0, 27]))
    found = Keys.unpacked(keys.packed())
    assert found.language.tolist() == [-1, 0, 78]
    assert found.year.tolist() == [0, 1900, 2099]
    assert found.before.tolist() == [False, True, True]
    assert found.bin.tolist() == [-1, 0, 27]


def test_parts_add_up_to_the_whole_in_any_order(tmp_path: Path) -> None:
    rows = documents(400, 1)
    whole = cells(rows)
    assert int(whole.counts[:, 0].sum()) == 400
    assert whole.names.to_pylist() == sorted({row[0] for row in rows})
    assert max(np.bincount(whole.id_source)) == IDS
    for order in (rows, rows[::-1]):
        parts = [cells(order[i : i + 37]) for i in range(0, 400, 37)]
        assert plain(combined(parts)) == plain(whole)
        runs = []
        for i, part in enumerate(parts):
            runs.append(tmp_path / f"{i}.arrow")
            write_run(runs[-1], [part])
        streamed = [*merged([read_run(run) for run in runs])]
        assert plain(combined(streamed)) == plain(whole)
        seen = [name for part in streamed for name in part.names.to_pylist()]
        assert seen == sorted(set(seen))


def test_what_does_not_fit_into_memory_is_spilled(tmp_path: Path) -> None:
    rows = documents(600, 2, sources=200)
    spill = Spill(tmp_path, "x", max_cells=50)
    for i in range(0, 600, 10):
        spill.add(cells(rows[i : i + 10]))
    runs = spill.end()
    assert len(runs) > 3
    found = combined([*merged_runs(runs, tmp_path)])
    assert plain(found) == plain(cells(rows))


def test_tables_add_up_byte_for_byte(tmp_path: Path) -> None:
    engine = Engine(Policy())
    model, header = engine.source_model(), header_of(Policy(), engine.model_digests())
    rows = documents(900, 3)
    parts = [rows[:100], rows[100:650], rows[650:]]
    paths = []
    for i, part in enumerate([*parts, rows]):
        paths.append(tmp_path / f"{i}.parquet")
        write_table(paths[-1], [cells(part)], model, header)
        found = read_header(paths[-1])
        assert found is not None
        assert found.sources == len({row[0] for row in part})
        assert plain(combined([*read_cells(paths[-1])])) == plain(cells(part))
    again = tmp_path / "again.parquet"
    write_table(again, merged([read_cells(path) for path in paths[:3]]), model, header)
    assert again.read_bytes() == paths[3].read_bytes()


@pytest.mark.parametrize(("rows", "cells_a_group"), [(7, 10**9), (10**9, 40), (9, 40)])
def test_groups_of_rows_do_not_depend_on_how_tables_came_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, cells_a_group: int
) -> None:
    monkeypatch.setattr(table, "ROWS_A_GROUP", rows)
    monkeypatch.setattr(table, "CELLS_A_GROUP", cells_a_group)
    engine = Engine(Policy())
    model, header = engine.source_model(), header_of(Policy(), engine.model_digests())
    whole = cells(documents(700, 6))
    made = []
    for i, size in enumerate((1, 3, 40)):
        made.append(tmp_path / f"{i}.parquet")
        write_table(made[-1], whole.pieces(size), model, header)
    assert len({path.read_bytes() for path in made}) == 1
    metadata = pq.read_metadata(made[0])
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sum(groups) == len(whole.names)
    assert max(groups) <= rows
    assert len(groups) > 2
    upto = np.searchsorted(whole.source, np.cumsum([0, *groups]))
    # A group is full with the source that brings it to so many cells.
    assert (np.diff(upto) < cells_a_group + 20).all()


def test_a_source_that_changed_hands_shows_a_break() -> None:
    draw = random.Random(4)
    rows: list[Row] = []
    for year in range(2015, 2026):
        for _ in range(6):
            rows.append(("steady.example", year, 9, draw.gauss(-2, 1)))
            rows.append(("sold.example", year, 9, draw.gauss(-2 if year < 2021 else 3, 1)))
    rows += [("few.example", year, 9, 9.0 * (year > 2020)) for year in range(2018, 2024)]
    found = cells(rows)
    breaks = breaks_of(found, Keys.unpacked(found.keys))
    by_name = dict(zip(found.names.to_pylist(), breaks.year.tolist(), strict=True))
    assert by_name == {"few.example": 0, "sold.example": 2021, "steady.example": 0}
    at = found.names.to_pylist().index("sold.example")
    assert breaks.low[at] < 5.0 < breaks.high[at]


def test_what_a_first_pass_scored_is_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (output / FOLDER).mkdir(parents=True)
    for i in range(2):
        line = f'{{"text": "A short text.", "url": "https://s{i}.example/a"}}\n'
        (data / f"{i}.jsonl").write_text(line, encoding="utf-8")
    shards = survey([str(data)]).shards
    table = make_table(shards, output, RunConfig(), ALONE, NOBODY)
    made = table.read_bytes()
    table.unlink()

    def refuse(*_: object) -> None:
        raise ValueError("scored again")

    monkeypatch.setattr(ScoreOnceTask, "__call__", refuse)
    monkeypatch.setattr(ScoreOnceTask, "together", refuse, raising=False)
    assert make_table(shards, output, RunConfig(), ALONE, NOBODY).read_bytes() == made
    (data / "1.jsonl").write_text('{"text": "Another."}\n', encoding="utf-8")
    with pytest.raises(OutputError, match="scored again"):
        make_table(shards, output, RunConfig(), ALONE, NOBODY)
