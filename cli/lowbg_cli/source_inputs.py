"""What the inputs of `lowbg sources` are: tables, finished outputs of `score`, and data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.config import RunConfig, Sources
from lowbg.errors import ConfigError, cause
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address, size_of
from lowbg_cli.configure import ConfigOptions

if TYPE_CHECKING:
    from lowbg.jobs.sources.rows import RowFolder


@dataclass(frozen=True, slots=True)
class ToCount:
    """Tables that were made before, finished outputs of `score`, and data."""

    tables: tuple[Path, ...]
    rows: tuple[RowFolder, ...]
    data: tuple[str, ...]

    def table_bytes(self) -> int:
        """The stored size of all tables. Raises `ConfigError` where one isn't there any more."""
        try:
            return sum(map(size_of, self.tables))
        except OSError as error:
            raise ConfigError(f"a table of sources can't be read ({cause(error)})") from error


def to_count(given: Sequence[str]) -> ToCount:
    """What the inputs are. Raises `ConfigError` where of tables of parts one isn't there."""
    from lowbg.runs.splitting import refuse_missing

    tables, others = _tables(given)
    refuse_missing(tables)
    rows, data = _row_folders(others)
    return ToCount(tables, rows, data)


def _tables(given: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The inputs that are tables of sources, and the others."""
    named = [name for each in given for name in _matches(each)]
    tables = [name for name in named if _is_table(name)]
    return tuple(map(Path, tables)), tuple(name for name in named if name not in tables)


def _is_table(name: str) -> bool:
    from lowbg.decision.source_evidence import read_header

    there = name.endswith(".parquet") and (is_object_url(name) or Path(name).is_file())
    return there and read_header(Path(name)) is not None


def _matches(given: str) -> list[str]:
    """The input; of a folder that has tables alone, or a glob that no shell expands, the tables."""
    from lowbg.decision.source_tables import tables_at
    from lowbg.runs.inputs import discover

    if "://" in given and not is_object_url(given):
        return [given]
    found = [address(path) for path in tables_at(Path(given))]
    if found[:1] in ([], [address(Path(given))]) or not _is_table(found[0]):
        return [given]
    whole = sorted(address(Path(shard.path)) for shard in discover([given]))
    return found if whole == found else [given]


def _row_folders(given: Sequence[str]) -> tuple[tuple[RowFolder, ...], tuple[str, ...]]:
    """The inputs that are finished outputs of `score`, and the others."""
    from lowbg.jobs.sources.rows import row_folder

    found = {
        name: folder
        for name in given
        if ("://" not in name or is_object_url(name))
        and (folder := row_folder(Path(name))) is not None
    }
    return tuple(found.values()), tuple(name for name in given if name not in found)


def as_in(tables: Sequence[Path], options: ConfigOptions, config: RunConfig) -> RunConfig:
    """What a source is, and the cut-off, as the tables have it where nothing else is said."""
    from lowbg.decision.source_evidence import read_header

    header = read_header(tables[0]) if tables else None
    if header is None:
        return config
    policy = config.policy
    if not options.changes.within("sources.by") and policy.sources == Sources():
        policy = replace(policy, sources=replace(policy.sources, by=header.by))
    if policy.trust_before is None and header.before is not None:
        policy = replace(policy, trust_before=dt.date.fromisoformat(header.before))
    return replace(config, policy=policy)
