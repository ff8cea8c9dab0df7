"""Tables of sources read: their headers compared, and the cells that they are added up by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lowbg.arrays import to_numpy
from lowbg.decision.source_evidence import Header
from lowbg.errors import ConfigError, FormatError, InputError, cause
from lowbg.jobs.sources.cells import Cells, Keys, Pages
from lowbg.storage.whole_files import address, local_copy
from lowbg.text import languages

ROWS_READ: Final = 512
"""Rows that are read at a time: many tables are merged side by side."""

CELLS: Final = ("source", "ids", "cells", "lm_pages")
"""The columns that tables are merged by."""


def check_alike(headers: Mapping[Path, Header], wanted: Header) -> None:
    """Raises `ConfigError` where tables can't be added up: they count different things."""
    for path, header in headers.items():
        for name, what in (
            ("by", "sources are told apart by"),
            ("before", "its cut-off is"),
        ):
            own, other = getattr(header, name), getattr(wanted, name)
            if own != other:
                raise ConfigError(
                    f"{path}: {what} {own or 'none'}, elsewhere {other or 'none'}; tables that "
                    "are merged have to agree. Make one of them again"
                )
        if header.models != wanted.models:
            odd = sorted({*header.models.items()} ^ {*wanted.models.items()})
            raise ConfigError(
                f"{path}: scored with other tables ({odd[0][0]}); scores of two kinds don't add "
                "up. Make it again"
            )
        if header.lm and wanted.lm and header.lm != wanted.lm:
            raise ConfigError(
                f"{path}: its pages were read by another probe ({', '.join(header.lm)}); make one "
                "of the tables again, or leave `extras.lm.model` out"
            )


def read_cells(path: Path) -> Iterator[Cells]:
    """The cells of a table, sorted by source, some rows at a time."""
    with reading(path), pq.ParquetFile(local_copy(path)) as file:
        for batch in file.iter_batches(ROWS_READ, columns=[*CELLS]):
            yield cells_of_rows(batch)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises `FormatError` where a table can't be read."""
    try:
        yield
    except (OSError, InputError, pa.ArrowException) as error:
        why = cause(error)
        raise FormatError(f"{address(path)}: the table of sources can't be read ({why})") from error


def cells_of_rows(rows: pa.RecordBatch) -> Cells:
    """The cells of rows of which the columns `CELLS` are there."""
    cells, ids = rows.column("cells"), rows.column("ids")
    parts, id_parts = cells.flatten(), ids.flatten()
    places: dict[str | None, int] = {code: i for i, code in enumerate(languages.CODES)}
    code, names = _codes(parts.field("language"))
    keys = Keys(
        language=np.array([places.get(name, -1) for name in names], np.int64)[code],
        year=to_numpy(parts.field("year")).astype(np.int64),
        before=to_numpy(parts.field("before")).astype(np.bool_),
        bin=to_numpy(parts.field("bin")).astype(np.int64),
    ).packed()
    counts = [to_numpy(parts.field(n)) for n in ("documents", "words", "called", "log_odds")]
    return Cells(
        names=rows.column("source"),
        source=_parents(cells),
        keys=keys,
        counts=np.stack([*counts, to_numpy(parts.field("squares"))], axis=1),
        id_source=_parents(ids),
        id_score=to_numpy(id_parts.field("log_odds")),
        ids=id_parts.field("id"),
        pages=_pages_of_rows(rows),
    )


def _pages_of_rows(rows: pa.RecordBatch) -> Pages:
    if "lm_pages" not in rows.schema.names:  # A table of before there were any.
        return Pages.none()
    lists = rows.column("lm_pages")
    parts = lists.flatten()
    return Pages(_parents(lists), to_numpy(parts.field("z")), to_numpy(parts.field("hash")))


def _codes(column: pa.StringArray) -> tuple[NDArray[np.int64], list[str | None]]:
    encoded = column.dictionary_encode(null_encoding="encode")
    return to_numpy(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


def _parents(lists: pa.ListArray) -> NDArray[np.int64]:
    offsets = to_numpy(lists.offsets).astype(np.int64)
    return np.repeat(np.arange(len(lists)), offsets[1:] - offsets[:-1])
