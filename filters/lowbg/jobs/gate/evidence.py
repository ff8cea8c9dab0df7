"""What a gate judges: counts of a data set, and where its documents lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lowbg.report.estimate import share
from lowbg.report.results import ShardResult
from lowbg.report.statistics import Statistics
from lowbg.storage.left_out import LeftOut

NO_SOURCE = "(none)"
"""The source of records that don't have the field."""


@dataclass(frozen=True, slots=True)
class Part:
    """The scored documents of a shard, language, host …; `path` is the file, empty if none.

    Of those that are human by provenance, only the ones with a score are among them.
    """

    name: str
    human: int
    ai: int
    path: str = ""

    @property
    def scored(self) -> int:
        """Documents that were judged human or AI."""
        return self.human + self.ai

    @property
    def ai_share(self) -> float | None:
        """AI documents over scored ones; null where none was scored."""
        return share(self.ai, self.scored)


@dataclass(frozen=True, slots=True)
class Example:
    """A document that holds a phrase: where it lies, `record` 0-based, and "category:phrase"."""

    shard: str
    path: str
    record: int
    phrase: str

    @property
    def category(self) -> str:
        """The phrase's category."""
        return self.phrase.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """A uniform random sample: `size` of the data set's `documents` were judged."""

    size: int
    documents: int
    seed: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was counted of one shard, without writing anything.

    `sources` counts human, AI and unscored documents by source, null without a source field.
    `examples` are the first documents of each limited phrase category. `squared_words` is the sum
    of the squares of the documents' words. Under a sample `documents` is how many the shard has.
    """

    result: ShardResult
    sources: Mapping[str, Sequence[int]] | None
    examples: tuple[Example, ...]
    squared_words: int
    documents: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that rules look at.

    `statistics` counts the judged documents, and every record in quarantine; `records` are those
    of the whole data set. `sample` is null where all documents were judged. `sources` is null
    where nothing was counted by source, `examples` are empty where records are not at hand (a
    report). `broken` says of each input that was not read whole what happened; `unreadable` are
    inputs with records of which none could be read: of another form, or without the text field.
    `left_out` lay among the inputs and wasn't read. `models` are SHA-256 of what judged, by name;
    `notes` what there is to say of it.
    """

    subject: str
    statistics: Statistics
    records: int
    shards: tuple[Part, ...]
    sources: tuple[Part, ...] | None = None
    examples: tuple[Example, ...] = ()
    sample: Sample | None = None
    squared_words: int = 0
    broken: tuple[str, ...] = ()
    unreadable: tuple[Part, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    results: tuple[ShardResult, ...] = field(default=(), repr=False)
    models: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
