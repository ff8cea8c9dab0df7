"""Who watches a run: told how far its shards are, and of every one that ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import Struct

from lowbg.report.results import ShardResult


class Progress(Struct, frozen=True):
    """How far a shard is: stored bytes read so far, records seen, and of them scored and AI ones.

    `earlier` of the bytes were read by a run that this one goes on from. `tokens` are what a causal
    LM has read in this run.
    """

    shard: str
    consumed: int
    records: int
    ai: int
    scored: int = 0
    earlier: int = 0
    done: bool = False
    quarantined: int = 0
    tokens: int = 0


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Observer:
    """What is told of a run; null where nobody listens.

    `progress` is told after every batch, from any thread; `shard` of every shard that ends, and of
    one that is tried again of each time.
    """

    progress: OnProgress | None = None
    shard: Callable[[ShardResult], None] | None = None


NOBODY: Final = Observer()
