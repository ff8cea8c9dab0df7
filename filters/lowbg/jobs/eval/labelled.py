"""Labelled shards → labelled_scores: the reading half of `lowbg eval`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lowbg.errors import ConfigError
from lowbg.jobs.eval.labelled_scores import LabelledScoresBuilder
from lowbg.jobs.train.corpus import labels_of
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.runs.inputs import Shard
from lowbg.runs.judging import Judging
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.reading import refuse_broken

GROUPINGS: Final = ("domain", "dataset", "generator")
"""The fields that results are grouped by, beside language and length."""

_OF_AI: Final = "generator"


@dataclass(frozen=True, slots=True)
class Labelled:
    """What was judged of the labelled documents, and what was left out.

    `shards` says what became of each: of one that breaks off, the documents before that are in.
    """

    builder: LabelledScoresBuilder
    unlabelled: int
    shards: tuple[ShardResult, ...]

    @property
    def unread(self) -> int:
        """Records that could not be read."""
        return sum(shard.statistics.documents()["quarantined"] for shard in self.shards)

    @property
    def cut(self) -> list[str]:
        """The shards that were not read to their end."""
        return [shard.shard for shard in self.shards if not shard.complete]


def judge_labelled(
    shards: Sequence[Shard], judging: Judging, label_field: str, observer: Observer = NOBODY
) -> Labelled:
    """Every document of the shards that has a label, judged.

    Raises `ConfigError` for a label that is neither human nor AI, and where none is there at all;
    `InputError` where that is because a shard breaks off.
    """
    judging.require([label_field])
    builder = LabelledScoresBuilder()
    unlabelled = 0
    results = []
    for shard in shards:
        with judging.reading(shard, (label_field, *GROUPINGS), observer.progress) as reading:
            for step in reading:
                if step.judged is not None:
                    labels = labels_of(step.batch, label_field, shard.name)
                    unlabelled += labels.count(None)
                    builder.add(step.judged, labels, _groups(step.batch, labels))
        results.append(reading.result())
    if not builder.documents:
        refuse_broken(results)
        raise ConfigError(
            f"no record has the field {label_field!r}; name the one that says human or ai with "
            "`label_field`"
        )
    return Labelled(builder, unlabelled, tuple(results))


def _groups(batch: Batch, labels: Sequence[bool | None]) -> dict[str, list[str]]:
    """Each document's group by grouping, empty where it has none; only AI text has a generator."""
    groups = {name: batch.metadata.others[name].fill_null("").to_pylist() for name in GROUPINGS}
    own = zip(groups[_OF_AI], labels, strict=True)
    return {**groups, _OF_AI: [group if is_ai else "" for group, is_ai in own]}
