"""What a run leaves behind as values: one `ShardResult` a shard, merged into a `RunResult`.

Everything here pickles (workers send it home) and is a part of files (`storage.typed`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from lowbg.errors import ProblemKind
from lowbg.report.statistics import Statistics
from lowbg.storage.files import WrittenFile
from lowbg.storage.left_out import LeftOut, LeftOutKind
from lowbg.storage.typed import Closed, Count, Interval, Open, Seconds, Share

_NOTES_SHOWN = 3


class Problem(Closed, frozen=True):
    """Something that went wrong with a shard as a whole, or a kind of record in it.

    `count` is how many records it concerns (0: the shard as a whole); `message` is the first one's,
    located.
    """

    kind: ProblemKind
    message: str
    count: Count


class ShardResult(Closed, frozen=True, eq=False):
    """What became of one shard.

    `complete` is false when the input could not be read to its end or an output not written.
    `read_bytes` are the stored (compressed) bytes of the input; `text_bytes` the decompressed ones
    of its records. `seconds` is wall-clock time, `cpu_seconds` this worker's CPU time on it;
    `lm_seconds` is that part of the wall-clock time which a causal LM took. Of `records` and
    `text_bytes`, `earlier_records` and `earlier_text_bytes` are what was done before the run that
    reports them: all of a shard that it found finished, and what lay before the checkpoint that it
    went on from. They are no part of what became of it: equal results may differ in them. `notes`
    say what of the input the outputs don't keep. `seen_fields` hold text, the longest first.
    """

    shard: str
    source: str
    format: str
    compression: str
    records: int
    complete: bool
    statistics: Statistics
    outputs: tuple[WrittenFile, ...]
    problems: tuple[Problem, ...]
    read_bytes: int
    text_bytes: int
    lenient: int
    blank: int
    seconds: float
    cpu_seconds: float
    input_sha256: str | None = None
    seen_fields: tuple[str, ...] = ()
    lm_seconds: float = 0.0
    earlier_records: int = 0
    earlier_text_bytes: int = 0
    notes: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardResult):
            return NotImplemented
        own, others = (
            msgspec.structs.replace(result, earlier_records=0, earlier_text_bytes=0)
            for result in (self, other)
        )
        return msgspec.structs.astuple(own) == msgspec.structs.astuple(others)

    __hash__ = None  # type: ignore[assignment]


def notes_of(shards: Iterable[ShardResult]) -> tuple[str, ...]:
    """The shards' notes, the first few of them."""
    notes = [note for shard in shards for note in shard.notes]
    more = len(notes) - _NOTES_SHOWN
    return (*notes[:_NOTES_SHOWN], *([f"and {more:,} more such files"] if more > 0 else []))


def fields_of(shards: Iterable[ShardResult]) -> list[str]:
    """The fields in which the shards' text is, those with most of it first."""
    return list(dict.fromkeys(field for shard in shards for field in shard.seen_fields))


class ByVerdict(Open, frozen=True):
    """Documents, bytes or words by what became of them."""

    human: Count
    ai: Count
    unscored: Count
    quarantined: Count


class ShardRow(Open, frozen=True, kw_only=True):
    """All that a report tells of a shard but what was found in it; otherwise as `ShardResult`.

    `scored` documents are those that the AI share is a share of (`Statistics.scored`); null in
    reports of versions that took human and AI ones for it.
    """

    shard: str
    source: str
    format: str
    compression: str
    complete: bool
    records: Count
    documents: ByVerdict
    bytes: ByVerdict
    words: ByVerdict
    scored: Count | None = None
    ai_share_of_scored: Share | None
    ai_share_of_scored_interval: Interval | None
    balanced: bool
    read_bytes: Count
    text_bytes: Count
    lenient: Count
    blank: Count
    seconds: Seconds
    cpu_seconds: Seconds
    lm_seconds: Seconds = 0.0
    input_sha256: str | None
    seen_fields: list[str]
    outputs: list[WrittenFile]
    problems: list[Problem]


class RuleLimit(Open, frozen=True):
    """A limit of rule `thresholds`; `rate` of human text lies beyond it, null where unknown."""

    value: float
    rate: Share | None


class RuleLimits(Open, frozen=True):
    """A language's limits; `together` of human text lies beyond one, null where some are given."""

    min_perplexity: RuleLimit
    min_burstiness: RuleLimit
    max_phrase_hits: RuleLimit
    together: Share | None


class RunInfo(Open, frozen=True):
    """What the report says of the run itself.

    `started` and `finished` are UTC in ISO 8601; `configuration` and `policy` are plain JSON
    values; `skipped` lay among the inputs and wasn't read (older versions give no reasons);
    `models` and `scorers` map names to SHA-256 and versions. `records` and `text_bytes` are
    what the run dealt with itself, and not what an earlier one had done; a report that has runs of
    older versions doesn't say it of them. `limits` are those of rule `thresholds`, by language;
    `thresholds` are the scores from which documents are called AI under rule `calibrated`.
    """

    version: str
    command: str
    started: str
    finished: str
    seconds: Seconds
    workers: Count
    executor: str
    configuration: dict[str, Any]
    policy: dict[str, Any]
    policy_sha256: str
    models: dict[str, str]
    scorers: dict[str, Count]
    machine: dict[str, str] = msgspec.field(default_factory=dict)
    limits: dict[str, RuleLimits] = msgspec.field(default_factory=dict)
    thresholds: dict[str, Share] = msgspec.field(default_factory=dict)
    skipped: tuple[LeftOut | str, ...] = ()
    records: Count | UnsetType = UNSET
    text_bytes: Count | UnsetType = UNSET

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What wasn't read; a reason that an older version didn't give is that of what it left."""
        return tuple(
            LeftOut(each, LeftOutKind.ENDING, "no reason is given")
            if isinstance(each, str)
            else each
            for each in self.skipped
        )


def left_out_of(runs: Iterable[RunInfo]) -> tuple[LeftOut, ...]:
    """What the runs left out, each file once, for the reason that the last of them gives."""
    return tuple({each.path: each for run in runs for each in run.left_out}.values())
