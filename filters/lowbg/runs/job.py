"""What a run is asked to do, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lowbg.config import Changed, Durability, ExecutorName, Existing, RunConfig
from lowbg.report import Report
from lowbg.report.results import ShardResult
from lowbg.runs.executors.ray import Share
from lowbg.runs.inputs import Shard
from lowbg.runs.mapping import Workers
from lowbg.runs.shards import PIECE_BYTES
from lowbg.runs.splitting import SplitNote
from lowbg.storage.left_out import LeftOut, all_there

if TYPE_CHECKING:
    from lowbg.jobs.reserve import Reserved


@dataclass(frozen=True, slots=True)
class Job:
    """What one run is to do: `shards` into the directory `output`.

    `workers` processes are used where there is more than one shard; `retries` is how often a shard
    that fails is tried again; `command` is the command line for the report; `left_out` lay among
    the inputs and isn't read. `changed` is what an incremental run does about inputs that are
    others than when they were processed. `split` says which part of all inputs the shards are,
    where other runs do the rest, and `whole` are all of them then. `published` is the URL in an
    object store at which the outputs come to lie; `output` is then where the run works
    (`publishing.scratch_of`). `piece_bytes` are stored bytes of a shard that a worker does by
    itself where others would wait for it. `share` is what a task on a Ray cluster takes of its
    node.
    """

    shards: tuple[Shard, ...]
    output: Path
    config: RunConfig
    workers: int = 1
    executor: ExecutorName = ExecutorName.PROCESSES
    existing: Existing = Existing.REFUSE
    durability: Durability = field(default_factory=Durability)
    retries: int = 0
    command: str = ""
    left_out: tuple[LeftOut, ...] = ()
    changed: Changed = Changed.REFUSE
    split: SplitNote | None = None
    whole: tuple[Shard, ...] = ()
    published: str | None = None
    piece_bytes: int = PIECE_BYTES
    share: Share = field(default_factory=Share)

    @property
    def works_elsewhere(self) -> bool:
        """Whether workers may be on other machines, each with disks of its own."""
        return self.executor is ExecutorName.RAY

    @property
    def all_there(self) -> bool:
        """Whether every input that was found has its data."""
        return all_there(self.left_out)

    @property
    def crew(self) -> Workers:
        """Who does it."""
        return Workers(self.workers, self.executor, self.retries, self.share)


@dataclass(frozen=True, slots=True)
class StreamJob:
    """What one run is to do: `shards`, in their order, into one stream.

    `stdin` is what the shard "-" reads, by default this process's own.
    """

    shards: tuple[Shard, ...]
    config: RunConfig
    stdin: BinaryIO | None = None
    command: str = ""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def all_there(self) -> bool:
        """Whether every input that was found has its data."""
        return all_there(self.left_out)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: its report, and every shard's result in the shards' order.

    `resumed` of them an earlier run had finished; `notes` is what there is to say of that. Of an
    incremental run `shards` are those that are new, and `resumed` counts the others.
    `reserved`: what was added to the reserve, where there is one. `all_there` is false where the
    data of an input isn't.
    """

    report: Report
    shards: tuple[ShardResult, ...]
    resumed: int = 0
    notes: tuple[str, ...] = ()
    reserved: Reserved | None = None
    all_there: bool = True

    @property
    def complete(self) -> bool:
        """Whether every input was there and read to its end, and every output written."""
        return self.all_there and all(shard.complete for shard in self.shards)

    @property
    def quarantined(self) -> int:
        """Records that could not be read."""
        return sum(shard.statistics.documents()["quarantined"] for shard in self.shards)

    @property
    def scored(self) -> int:
        """Documents that the AI share is a share of; see `Statistics.scored`."""
        return sum(int(shard.statistics.scored()[0]) for shard in self.shards)

    @property
    def ai_share(self) -> float:
        """AI documents over scored documents; 0 where none was scored."""
        ai = sum(shard.statistics.documents()["ai"] for shard in self.shards)
        return ai / self.scored if self.scored else 0.0
