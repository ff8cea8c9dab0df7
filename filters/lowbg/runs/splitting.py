"""One of several runs that share the shards out, none of which knows of the others.

Every run lists the same inputs and takes its own part of them: a pure function of the shards'
names and sizes. Each writes into a directory of its own, and `jobs.merge` makes one of them.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lowbg.errors import ConfigError
from lowbg.runs.shards import Shard
from lowbg.storage.typed import Closed, Count

PARTS: Final = "part-*-of-*"
"""What the directories of such runs are called."""


_FILE = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.\w+")


def refuse_missing(files: Sequence[Path]) -> None:
    """Raises `ConfigError` where of files that are called as parts one isn't there."""
    found: dict[tuple[str, int], set[int]] = {}
    for path in files:
        if named := _FILE.fullmatch(str(path)):
            found.setdefault((named[1], int(named[3])), set()).add(int(named[2]))
    for (name, count), there in found.items():
        if missing := sorted({*range(count)} - there):
            raise ConfigError(
                f"{name}-{missing[0]:05}-of-{count:05}: missing, so that the parts aren't all "
                f"({len(there):,} of {count:,}); make it, then add them up with `lowbg sources`"
            )


class SplitNote(Closed, frozen=True):
    """Which part of the shards a run did: the part `index` of `count`, from 0.

    `places` are its shards' among all that there were, of which `sha256` is the digest.
    """

    index: Count
    count: Count
    places: list[Count]
    sha256: str


@dataclass(frozen=True, slots=True)
class Split:
    """The part `index` (from 0) of `count`. Raises `ConfigError` where there is no such part."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"there is no part {self.index} of {self.count}: parts are numbered from 0 to "
                f"{max(0, self.count - 1)}"
            )

    def folder(self, output: Path) -> Path:
        """Where this part's run writes: parts that are given one output don't meet."""
        return output / f"part-{self.index:05}-of-{self.count:05}"

    def file(self, output: Path) -> Path:
        """What this part's run writes where its output is one file."""
        ending = f"-{self.index:05}-of-{self.count:05}{output.suffix}"
        return output.with_name(output.stem + ending)

    def places(self, shards: Sequence[Shard]) -> list[int]:
        """Which of the shards are this part's, in their order: about as many bytes as any other's.

        The largest go first, each to the part that has least so far; where sizes are unknown, or
        alike, parts get as many shards.
        """
        order = sorted(range(len(shards)), key=lambda i: (-shards[i].size, shards[i].name))
        parts = [(0, 0, index) for index in range(self.count)]
        own = []
        for i in order:
            size, number, index = parts[0]
            heapq.heapreplace(parts, (size + shards[i].size, number + 1, index))
            if index == self.index:
                own.append(i)
        return sorted(own)

    def note(self, shards: Sequence[Shard]) -> SplitNote:
        """Which part it is, and of what. Raises `ConfigError` for what only one run can read."""
        for shard in shards:
            if not shard.resumable:
                raise ConfigError(
                    f"{shard.path}: can be read only once, so that runs can't share it; write it "
                    "to a file"
                )
        digest = hashlib.sha256()
        for shard in shards:
            digest.update(f"{shard.name}\0{shard.size}\n".encode("utf-8", "surrogatepass"))
        return SplitNote(self.index, self.count, self.places(shards), digest.hexdigest())
