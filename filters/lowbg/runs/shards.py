"""A shard: one input to read, what it is called, and what tells that it is still the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from lowbg.records import Position
from lowbg.storage.left_out import LeftOut
from lowbg.storage.typed import Closed

STDIN = "-"

STDIN_NAME = "stdin"
"""What messages call it."""

RUN_FOLDER = ".lowbg"
"""What marks a directory as one that lowbg wrote."""

NO_DATA = ("quarantine", "report.json", "report.html", "manifest.json")
"""What lies in such a directory beside data, and would pass for it."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What Hive calls the directory of records whose value is null."""

PIECE_BYTES: Final = 64 << 20
"""Stored bytes of a piece of a shard, at most: some seconds of work."""

MAGIC = frozenset("*?[")
"""What makes a path a glob."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One input to read.

    `path` is a local path, an fsspec URL or "-"; `name` is the relative POSIX path that outputs
    are mirrored under; `size` is the stored size in bytes, 0 where unknown.
    """

    path: str
    name: str
    size: int

    @property
    def whole(self) -> Shard:
        """The shard that this is a piece of; itself."""
        return self

    @property
    def partition(self) -> dict[str, str]:
        """What the directories of its path say of all its records, as Hive names them: `date=…/`.

        The values are percent-decoded; the innermost of equal names counts.
        """
        if self.path == STDIN:
            return {}
        # Whole: the same file says the same from wherever it is named.
        path = urlsplit(self.path).path if "://" in self.path else str(Path.cwd() / self.path)
        named = (part.partition("=") for part in path.split("/")[:-1])
        return {
            unquote(name): unquote(value)
            for name, mark, value in named
            if mark and name and value not in ("", _NO_VALUE)
        }

    @property
    def resumable(self) -> bool:
        """Whether it can be read again from its beginning: not standard input, not a pipe."""
        if self.path == STDIN:
            return False
        return "://" in self.path or Path(self.path).is_file()


@dataclass(frozen=True, slots=True)
class Piece(Shard):
    """A part of a shard, for a worker to read: what lies from `start` to before `stop`.

    It has the shard's path and name; `size` is its own, in stored bytes, of which `begin` lie
    before it. It is the `number`th of `count`, from 0. `start` is null for the first, `stop` for
    the last.
    """

    of: Shard
    number: int
    count: int
    begin: int
    start: Position | None
    stop: Position | None

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"{self.name} ({self.number + 1} of {self.count})"

    @property
    def whole(self) -> Shard:
        """The shard that this is a piece of."""
        return self.of


class InputState(Closed, frozen=True):
    """What tells that an input is still the same: stored size in bytes, and time of change.

    The time is null for what isn't a local file.
    """

    size: int
    mtime_ns: int | None

    @classmethod
    def of(cls, shard: Shard) -> InputState:
        """The input's state now; of a missing file it is empty."""
        if shard.path == STDIN or "://" in shard.path:
            return cls(shard.whole.size, None)
        try:
            info = Path(shard.path).stat()
        except OSError:
            return cls(0, None)
        return cls(info.st_size, info.st_mtime_ns)


class Found(Struct):
    """What one input argument stands for: its shards, named relative to `label`'s directory.

    `root` is that directory as the paths of what is left out begin with it.
    """

    label: str
    shards: list[Shard] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    root: str = ""


def safe_name(name: str) -> str:
    """`name` as a relative POSIX path that stays below any root it is joined to.

    Leading slashes, empty and "." parts go; "..", control characters, what reverses the direction
    of writing, and bytes that are not UTF-8 are percent-encoded. Never empty.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(_safe_part(part) for part in parts) or "shard"


def _safe_part(part: str) -> str:
    if part == "..":
        return "%2E%2E"
    if part.isprintable():
        return part
    return "".join(c if _is_plain(c) else _percent(c) for c in part)


def _is_plain(c: str) -> bool:
    control = ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0
    direction = 0x202A <= ord(c) < 0x202F or 0x2066 <= ord(c) < 0x206A
    return not (control or direction or 0xD800 <= ord(c) < 0xE000)


def _percent(c: str) -> str:
    return "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogateescape"))


def in_order(shard: Shard) -> list[str]:
    """What shards are sorted by."""
    return shard.name.split("/")
