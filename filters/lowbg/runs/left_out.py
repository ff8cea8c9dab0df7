"""What lies among shards and is none: told by its name, and by its first bytes."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from lowbg.errors import FormatError, InputError
from lowbg.formats import UNPACKED_BY, holds
from lowbg.storage.left_out import LeftOut, LeftOutKind, broken_link

_METADATA: Final = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json"})
DATASET_INFO: Final = "dataset_info.json"
_DATASET_STATE: Final = "state.json"

_DESCRIBES: Final = re.compile(
    r"(read-?me|licen[cs]e|copying|notice|citation|change(log|s)|authors|makefile|dockerfile)"
    r"([._-].*)?|.*\.(md|rst|py|ipynb|sh|ya?ml|toml|ini|cfg|bib|log|crc|md5|sha\d+|sig|asc)"
    r"|(md5|sha\d+)sums?(\..*)?|checksums?(\..*)?",
    re.IGNORECASE,
)
"""Names of documentation, code, settings, logs and checksums."""


def is_metadata(name: str, beside: Collection[str]) -> bool:
    """Whether a file or directory of this name, among these others, holds no records of a data set.

    Hugging Face describes a data set in `dataset_info.json` and `state.json`; what begins with an
    underscore is Hadoop's, Spark's or Delta's own, but for a partition (`_day=1`).
    """
    if name.startswith("_"):
        return "=" not in name
    return name in _METADATA or (name == _DATASET_STATE and DATASET_INFO in beside)


def metadata(path: str) -> LeftOut:
    """What describes a data set, or a job left of its own."""
    return LeftOut(path, LeftOutKind.METADATA, "describes data, or is what a job left of its own")


def excluded(path: str) -> LeftOut:
    """What was asked to be left out."""
    return LeftOut(path, LeftOutKind.EXCLUDED, "excluded, as was asked for")


def written(path: str) -> LeftOut:
    """What lowbg itself wrote."""
    return LeftOut(path, LeftOutKind.OUTPUT, "an output of lowbg")


def same_file(path: str, first: str) -> LeftOut:
    """Another name of what is read already."""
    return LeftOut(path, LeftOutKind.SAME_FILE, f"the same as {first}, which is read")


def by_name(path: str, others: Collection[str] = ()) -> LeftOut | None:
    """What isn't a shard for what it is called; null where the name says nothing.

    `others` are the names beside it.
    """
    name = path.rpartition("/")[2]
    if name.lower().endswith(".dvc"):
        if name[: -len(".dvc")] in others:
            return metadata(path)
        advice = f"dvc pull {shlex.quote(path)}"
        told = f"a DVC pointer: the data has not been fetched; {advice}"
        return LeftOut(path, LeftOutKind.BROKEN_LINK, told)
    if _DESCRIBES.fullmatch(name):
        return LeftOut(path, LeftOutKind.METADATA, "documentation, code or checksums, by its name")
    return None


def by_ending(path: str) -> LeftOut:
    """A file whose ending no format has, where it can't be looked into."""
    ending = _ending(path)
    told = f"ending {ending!r} is of no format that is read" if ending else "it has no ending"
    return LeftOut(path, LeftOutKind.ENDING, told)


def looked_at(file: Path, others: Collection[str] = ()) -> LeftOut:
    """Why a local file isn't read whose name isn't a shard's; `others` are the names beside it."""
    path = str(file)
    broken = broken_link(path)
    if broken is not None:
        return LeftOut(path, LeftOutKind.BROKEN_LINK, broken)
    if not file.is_file():
        return LeftOut(path, LeftOutKind.IRREGULAR, "a pipe, socket or device, not a file")
    if not file.stat().st_size:
        return LeftOut(path, LeftOutKind.METADATA, "empty")
    return by_name(path, others) or _by_content(path)


def _by_content(path: str) -> LeftOut:
    found = by_ending(path)
    unpacked_by = UNPACKED_BY.get(_ending(path).lower())
    if unpacked_by is not None:
        command = f"{unpacked_by} {shlex.quote(path)} | lowbg filter - …"
        return LeftOut(path, found.kind, f"{found.reason}; decompress it on its way: {command}")
    try:
        title = holds(path)
    except FormatError as error:
        return LeftOut(path, found.kind, str(error).removeprefix(f"{path}: "))
    except InputError as error:
        return LeftOut(path, found.kind, f"{found.reason} ({str(error).removeprefix(f'{path}: ')})")
    if title is None:
        return found
    return LeftOut(
        path, found.kind, f"{found.reason}, though it holds {title}; name the file to read it"
    )


def _ending(path: str) -> str:
    return os.path.splitext(path.rpartition("/")[2])[1]  # noqa: PTH122 (a URL is no path)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relative POSIX path, or a directory above it, is one that a glob names.

    A glob without a slash is for any part of the path; in one with a slash `*` takes slashes too.
    """
    parts = name.split("/")
    above = ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]
    return any(
        fnmatch.fnmatchcase(path, pattern.strip("/"))
        for pattern in patterns
        for path in (above if "/" in pattern.strip("/") else parts)
    )
