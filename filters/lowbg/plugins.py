"""What installed packages bring: their entry points, by group.

`importlib.metadata` takes as long to import as ten packages' entry points to read, and few bring
any. So first they are looked for as installers write them, in files beside the packages.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, in no order."""
    if not _may_be(group):
        return ()
    from importlib import metadata

    return tuple(metadata.entry_points(group=group))


def _may_be(group: str) -> bool:
    """Whether a package may bring some: true where that can't be told by files alone."""
    return any(text is None or group.encode() in text for text in _texts(tuple(sys.path)))


@cache
def _texts(folders: tuple[str, ...]) -> tuple[bytes | None, ...]:
    """Every file of entry points; null for a place that isn't a folder of packages.

    Each importer but Python's own may know of more.
    """
    found: list[bytes | None] = []
    others = (importer for importer in sys.meta_path if importer is not PathFinder)
    if any(hasattr(importer, "find_distributions") for importer in others):
        found.append(None)
    for folder in folders:
        try:
            with os.scandir(folder or ".") as entries:
                names = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
        except NotADirectoryError:
            found.append(None)
            continue
        except OSError:
            continue
        for name in names:
            try:
                found.append(Path(name, "entry_points.txt").read_bytes())
            except OSError:
                continue
    return tuple(found)
