"""Lists of sources for others: hosts and domains that are AI, or human, with dates and evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from lowbg.amounts import counted, share_text
from lowbg.config import SourceListForm, SourceVerdict
from lowbg.decision.source_evidence import Header, required_header
from lowbg.errors import ConfigError, FormatError, cause
from lowbg.storage.whole_files import write_whole

_COLUMNS: Final = (
    *("source", "scored", "ai_share", "ai_share_low", "ai_share_high", "verdict", "decided_by"),
    "years",
)
_ROWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Listed:
    """How many sources a list has, of those that the table has."""

    sources: int
    of: int


def write_list(
    table: Path, path: Path, form: SourceListForm, verdict: SourceVerdict, today: dt.date
) -> Listed:
    """Writes the sources of `table` with this verdict; what it has.

    Raises `ConfigError` for a table whose sources are values of a field, or paths where the form
    has none.
    """
    header = required_header(table)
    if header.by.startswith("field:"):
        raise ConfigError(
            f"{table}: its sources are values of the field {header.by[6:]!r}, and lists are of "
            "hosts and domains"
        )
    if header.by.startswith("path:") and form is SourceListForm.URLFILTER:
        raise ConfigError(
            f"{table}: its sources are paths, and a URL filter's list has hosts; take plain or "
            "adblock"
        )
    lines = [*_head(header, form, verdict, today)]
    found = 0
    for row in _rows(table):
        if row["verdict"] == verdict.value:
            found += 1
            lines.append(_line(row, header, form))
    write_whole(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))
    return Listed(found, header.sources)


def _rows(table: Path) -> Iterator[Mapping[str, object]]:
    try:
        with pq.ParquetFile(table) as file:
            for batch in file.iter_batches(_ROWS, columns=[*_COLUMNS]):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise FormatError(
            f"{table}: the table of sources can't be read ({cause(error)})"
        ) from error


def _head(
    header: Header, form: SourceListForm, verdict: SourceVerdict, today: dt.date
) -> Iterator[str]:
    said = (
        f"sources that are {verdict.value}, by lowbg {header.version} on {today.isoformat()}",
        f"of {counted(header.sources, 'source')}, {counted(header.documents, 'document')}; "
        f"told apart by {header.by}; at most {share_text(header.bound)} of human sources are meant "
        "to be called AI",
    )
    if form is SourceListForm.URLFILTER:  # It has no comments.
        return
    if form is SourceListForm.ADBLOCK:
        yield "[Adblock Plus 2.0]"
        yield from (f"! {line[:1].upper()}{line[1:]}" for line in said)
    else:
        yield from (f"# {line}" for line in said)


def _line(row: Mapping[str, object], header: Header, form: SourceListForm) -> str:
    source = str(row["source"])
    if form is SourceListForm.URLFILTER:
        return source
    if form is SourceListForm.ADBLOCK:
        # A rule for a path has no separator behind it: what begins so is meant.
        return f"||{source}" if "/" in source else f"||{source}^"
    end = "/" if header.by.startswith("path:") and "/" in source else ""
    return f"{source}{end}  # {_evidence(row)}"


def _evidence(row: Mapping[str, object]) -> str:
    years = row["years"]
    assert isinstance(years, list)
    dated = [year["year"] for year in years]
    when = f", {min(dated)}–{max(dated)}" if dated else ""
    documents = counted(int(str(row["scored"])), "scored document")
    if row["ai_share"] is None:
        return f"{documents}{when}, by {row['decided_by']}"
    share, low, high = (
        share_text(float(str(row[name]))) for name in ("ai_share", "ai_share_low", "ai_share_high")
    )
    return f"AI share {share} ({low} – {high}) of {documents}{when}"
