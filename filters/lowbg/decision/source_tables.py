"""Which tables of sources go together as one: a whole table, or all ranges of a merge."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from msgspec import UNSET

from lowbg.decision.source_evidence import Header, Range, required_header, table_digest
from lowbg.errors import ConfigError, cause
from lowbg.storage.files import refuse_url
from lowbg.storage.objects import ObjectStore, is_object_url
from lowbg.storage.whole_files import address, is_there, local_copy

KEY: Final = "sources.table"
_ENDING: Final = ".parquet"
_MAGIC: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceTables:
    """Tables that hold each source once, as local files in the order of their sources.

    `name` is what they were named by; `header` that of the first one: in what a run goes by, all of
    them agree.
    """

    name: str
    paths: tuple[Path, ...]
    header: Header

    def digest(self) -> str:
        """SHA-256 (hex) of the table; of several, of their digests in a row."""
        digests = [table_digest(path) for path in self.paths]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def source_tables(named: str) -> SourceTables:
    """The table at a path or URL; or, of a folder or a glob, all ranges of a merge.

    What lies in an object store is fetched once a machine. Raises `ConfigError` where nothing is
    there, where a file is no table of sources, and where tables don't go together: a range is
    missing or there twice, or some are of another merge.
    """
    found = tables_at(Path(named))
    if not found:
        raise ConfigError(f"{address(named)}: no table of sources in it", key=KEY)
    headers = {path: required_header(_local(path)) for path in found}
    _refuse_others(headers, address(named))
    refuse_incomplete(headers)
    ordered = [path for _, path in sorted((_place(headers[path]), path) for path in found)]
    return SourceTables(address(named), tuple(map(_local, ordered)), headers[ordered[0]])


def _refuse_others(headers: Mapping[Path, Header], named: str) -> None:
    """Raises `ConfigError` for several tables that aren't ranges of one merge."""
    merges: dict[str, str] = {}
    for path, header in headers.items():
        if header.range is not UNSET:
            merges.setdefault(header.range.merge, address(path))
        elif len(headers) > 1:
            raise ConfigError(
                f"{address(path)}: no range of a merge, so that it may have the same sources as "
                f"others of {named}; add them up with `lowbg sources`",
                key=KEY,
            )
    if len(merges) > 1:
        first, second, *_ = merges.values()
        raise ConfigError(
            f"{second}: a range of another merge than {first}, so that they may have the same "
            "sources; name the ranges of one",
            key=KEY,
        )


def _place(header: Header) -> int:
    return 0 if header.range is UNSET else header.range.index


def refuse_incomplete(headers: Mapping[Path, Header]) -> None:
    """Raises `ConfigError` where of a merge whose ranges are among the tables one isn't there, or
    is there twice."""
    merges: dict[str, list[tuple[Range, Path]]] = {}
    for path, header in headers.items():
        if header.range is not UNSET:
            merges.setdefault(header.range.merge, []).append((header.range, path))
    for found in merges.values():
        there: dict[int, Path] = {}
        for part, path in found:
            if part.index in there:
                raise ConfigError(
                    f"{address(path)}: range {part.index} of {part.count}, as "
                    f"{address(there[part.index])} is; leave one of them out",
                    key=KEY,
                )
            there[part.index] = path
        count = found[0][0].count
        missing = [i for i in range(count) if i not in there]
        if missing:
            raise ConfigError(
                f"{address(found[0][1])}: range {missing[0]} of its merge is missing "
                f"({len(there):,} of {count:,} are there); make it with `lowbg sources`, as part "
                f"{missing[0]} of {count}, and name all",
                key=KEY,
            )


def tables_at(path: Path) -> Sequence[Path]:
    """What a path or URL stands for: itself, the tables at the top of a folder, or those that a
    glob matches; in the order of their names. Raises `ConfigError` where it can't be looked at."""
    if not is_object_url(path):
        refuse_url(path, read=True)
        if path.is_dir():
            files = (file for file in path.iterdir() if not file.name.startswith("."))
            return sorted(file for file in files if file.suffix == _ENDING)
        if not path.exists() and _MAGIC & set(str(path)):
            return sorted(map(Path, glob.glob(str(path))))  # noqa: PTH207 (the path may be absolute)
        return [path]
    url = address(path).rstrip("/")
    try:
        if "/" in url.partition("://")[2] and is_there(path):
            return [path]
        pattern = url if _MAGIC & set(url) else f"{glob.escape(url)}/*{_ENDING}"
        folder = url
        while _MAGIC & set(folder):
            folder = folder.rpartition("/")[0]
        names = [f"{folder}/{name}" for name in ObjectStore(folder).list()]
    except OSError as error:
        raise ConfigError(f"{url}: cannot be listed ({cause(error)})", key=KEY) from error
    # As on a disk a wildcard stands for a part of one name.
    alike = [name for name in names if name.count("/") == pattern.count("/")]
    found = [name for name in alike if fnmatchcase(name, pattern)]
    return [Path(name) for name in sorted(found)] or [path]


def _local(path: Path) -> Path:
    """Where a table can be read that may lie in an object store. Raises `ConfigError`."""
    try:
        return local_copy(path)
    except OSError as error:
        raise ConfigError(
            f"{address(path)}: the table of sources can't be read ({cause(error)})", key=KEY
        ) from error
