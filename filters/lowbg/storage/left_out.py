"""Files that lie among the inputs and aren't read: which, and why."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from lowbg.storage.typed import Open


class LeftOutKind(StrEnum):
    """Why a file isn't read.

    BROKEN_LINK: its content isn't here. ENDING: no format's files are called so. SAME_FILE: another
    name of what is read already. IRREGULAR: a pipe, a socket, a device. OUTPUT: what lowbg wrote.
    METADATA: what describes data, or a job left of its own. EXCLUDED: as was asked for.
    """

    BROKEN_LINK = "broken_link"
    ENDING = "ending"
    SAME_FILE = "same_file"
    IRREGULAR = "irregular"
    OUTPUT = "output"
    METADATA = "metadata"
    EXCLUDED = "excluded"

    @property
    def may_be_data(self) -> bool:
        """Whether it may be data for all we know, which nobody asked to leave out."""
        return self not in (self.OUTPUT, self.METADATA, self.EXCLUDED)


class LeftOut(Open, frozen=True):
    """A file or directory that isn't read, and why, for people in `reason`."""

    path: str
    kind: LeftOutKind
    reason: str

    @property
    def text(self) -> str:
        """Path and reason: "a/b.jsonl: a broken link to …"."""
        return f"{self.path}: {self.reason}"


def all_there(left_out: Iterable[LeftOut]) -> bool:
    """Whether none of these is data that isn't where it should be."""
    return all(each.kind is not LeftOutKind.BROKEN_LINK for each in left_out)


def broken_link(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a link that leads to nothing, and what to do; null where it is none."""
    place = Path(path)
    if not place.is_symlink() or place.exists():
        return None
    target = str(place.readlink())
    told = f"a broken link to {target}"
    if f"annex{os.sep}objects" in target:
        return f"{told}: the data has not been fetched; git annex get {shlex.quote(str(path))}"
    if f"{os.sep}.dvc{os.sep}" in target or f"dvc{os.sep}cache" in target:
        return f"{told}: the data has not been fetched; dvc pull {shlex.quote(str(path))}"
    return told
