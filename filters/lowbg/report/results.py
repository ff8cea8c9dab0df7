"""What a run leaves behind as values: one `ShardResult` a shard, merged into a `RunResult`.

Everything here pickles (workers send it home) and turns into plain JSON values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lowbg.errors import ProblemKind
from lowbg.report.statistics import Statistics
from lowbg.storage.files import WrittenFile


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong with a shard as a whole, or a kind of record in it.

    `count` is how many records it concerns (0: the shard as a whole); `message` is the first one's,
    located.
    """

    kind: ProblemKind
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What became of one shard.

    `complete` is false when the input could not be read to its end or an output not written.
    `read_bytes` are the stored (compressed) bytes of the input; `text_bytes` the decompressed ones
    of its records. `seconds` is wall-clock time, `cpu_seconds` this worker's CPU time on it;
    `lm_seconds` is that part of the wall-clock time which a causal LM took. Of `records` and
    `text_bytes`, `earlier_records` and `earlier_text_bytes` are what was done before the run that
    reports them: all of a shard that it found finished, and what lay before the checkpoint that it
    went on from. They are no part of what became of it: equal results may differ in them.
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
    earlier_records: int = field(default=0, compare=False)
    earlier_text_bytes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What the report says of the run itself.

    `started` and `finished` are UTC in ISO 8601; `configuration` and `policy` are plain JSON
    values; `models` and `scorers` map names to SHA-256 and versions.
    """

    version: str
    command: str
    started: str
    finished: str
    seconds: float
    workers: int
    executor: str
    configuration: dict[str, object]
    policy: dict[str, object]
    policy_sha256: str
    models: dict[str, str]
    scorers: dict[str, int]
    machine: dict[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
