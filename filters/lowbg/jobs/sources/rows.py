"""Rows of `lowbg score` as documents: scores that are there are counted, nothing is scored."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from lowbg.arrays import encoded, filled, is_known
from lowbg.config import FieldNames, Verdict
from lowbg.errors import ConfigError, FormatError, InputError, OutputError, cause
from lowbg.jobs.sources.cells import Cells, ScoredRows, cells_from
from lowbg.records import Metadata
from lowbg.runs import manifest
from lowbg.runs.checkpoints import FOLDER, RECORD
from lowbg.storage.compression import open_binary
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address
from lowbg.text import languages
from lowbg.text.dates import read_dates
from lowbg.text.sources import SourceBy

_NEEDED: Final = {"words": pa.int64(), "ai_score": pa.float32(), "verdict": pa.string()}
_ROWS: Final = 16_384
_BLOCK: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class RowFolder:
    """A finished output of `lowbg score`: its files of rows, and the models that scored."""

    path: Path
    files: tuple[Path, ...]
    models: Mapping[str, str]


def row_folder(path: Path) -> RowFolder | None:
    """The directory, or what is at a URL, as one of rows; null where it is none.

    Raises `ConfigError` where its manifest can't be used.
    """
    if not path.is_dir() and not is_object_url(path):
        return None
    try:
        record = RECORD.read(path / FOLDER / "run.json")
    except (OSError, OutputError):
        return None
    content = manifest.read(path) if record.command == "score" else None
    if content is None:
        return None
    files = [path / f.path for f in content.files if f.path.endswith((".parquet", ".jsonl"))]
    own = [file for file in files if file.relative_to(path).parts[0] != "quarantine"]
    return RowFolder(path, tuple(own), content.models or {})


def row_cells(
    folder: RowFolder, fields: FieldNames, by: SourceBy, before: object
) -> Iterator[tuple[int, Cells]]:
    """How many rows there are in each part of the folder, and their cells.

    `before` is the cut-off, a date or null. Raises `ConfigError` where the rows lack what says what
    their source is.
    """
    wanted = {
        **_NEEDED,
        **dict.fromkeys((fields.id, "language", fields.date, fields.url, *by.fields), pa.string()),
    }
    source = by.field or fields.url
    for file in folder.files:
        for rows in _read(file, wanted):
            if source not in rows.schema.names:
                raise ConfigError(
                    f"{address(file)}: its rows have no {source!r}, which says what their source "
                    "is; score again, keeping that field"
                )
            yield len(rows), _cells(rows, fields, by, before)


def _read(file: Path, wanted: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    where = address(file)
    try:
        if file.suffix == ".parquet":
            with open_binary(where) as stored, pq.ParquetFile(stored) as table:
                there = [name for name in wanted if name in table.schema_arrow.names]
                yield from table.iter_batches(_ROWS, columns=there)
            return
        with io.BufferedReader(open_binary(where), _BLOCK) as lines:  # type: ignore[type-var]
            there = []
            while block := lines.readlines(_BLOCK):
                if not there:
                    named = pa.json.read_json(io.BytesIO(block[0])).schema.names
                    there = [name for name in wanted if name in named]
                options = pa.json.ParseOptions(
                    explicit_schema=pa.schema([(name, wanted[name]) for name in there]),
                    unexpected_field_behavior="ignore",
                )
                read = pa.json.read_json(io.BytesIO(b"".join(block)), parse_options=options)
                yield from read.combine_chunks().to_batches()
    except (OSError, InputError, pa.ArrowException) as error:
        raise FormatError(f"{where}: its rows can't be read ({cause(error)})") from error


def _cells(rows: pa.RecordBatch, fields: FieldNames, by: SourceBy, before: object) -> Cells:
    def text(name: str) -> pa.StringArray:
        if name not in rows.schema.names:
            return pa.nulls(len(rows), pa.string())
        return rows.column(name).cast(pa.string())

    metadata = Metadata(
        id=text(fields.id),
        language=text("language"),
        date=text(fields.date),
        url=text(fields.url),
        others={name: text(name) for name in by.fields},
    )
    dates = read_dates(metadata.date)
    score = rows.column("ai_score").cast(pa.float32())
    codes, names = encoded(metadata.language)
    places = {code: place for place, code in enumerate(languages.CODES)}
    language = np.array([places.get(name or "", -1) for name in names], np.int64)
    verdicts = np.array(rows.column("verdict").to_pylist(), object)
    return cells_from(
        ScoredRows(
            metadata=metadata,
            language=language[codes],
            year=dates.years(),
            before=np.zeros(len(rows), np.bool_) if before is None else dates.before(before),  # type: ignore[arg-type]
            words=filled(rows.column("words").cast(pa.int64()), 0),
            scored=is_known(score),
            score=filled(score, 0.5).astype(np.float64),
            called=np.asarray(verdicts == Verdict.AI.value, np.bool_),
        ),
        by,
    )
