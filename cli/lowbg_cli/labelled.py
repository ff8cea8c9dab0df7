"""Labelled shards → judgements: the reading half of `lowbg eval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from lowbg.config import RunConfig
from lowbg.errors import ConfigError, CutStreamError

if TYPE_CHECKING:
    from lowbg.formats.base import Format
    from lowbg.jobs.eval.judging import Judging
    from lowbg.records import Batch
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard
    from lowbg.runs.shard import OnProgress

LABELS = {"human": False, "ai": True, "0": False, "1": True, "false": False, "true": True}
"""What a label may say, in any case, and whether it means AI."""

GROUPINGS: dict[str, Callable[[dict[str, Any], bool], object]] = {
    "domain": lambda record, _: record.get("domain"),
    "dataset": lambda record, _: record.get("dataset"),
    "generator": lambda record, is_ai: record.get("generator") if is_ai else "",
}
"""What results are grouped by, beside language and length: a record's own fields."""


@dataclass(slots=True)
class Labelled:
    """What was judged of the labelled documents, and what was left out.

    `cut` are the shards, by name, that broke off: their documents before that are in.
    """

    judging: Judging
    unlabelled: int = 0
    unread: int = 0
    cut: dict[str, CutStreamError] = field(default_factory=dict)


def judge_labelled(
    shards: Sequence[Shard],
    config: RunConfig,
    label_field: str,
    engine: Engine,
    stdin: BinaryIO | None,
    on_progress: OnProgress | None = None,
) -> Labelled:
    """Every document of the shards that has a label, judged.

    Raises `ConfigError` for a label that is neither human nor AI, and where none is there at all;
    `CutStreamError` where that is because a shard breaks off.
    """
    from lowbg.jobs.eval.judging import Judging
    from lowbg.runs.run import reader_opener
    from lowbg.runs.shard import Progress

    labelled = Labelled(Judging())
    for shard in shards:
        reader = reader_opener(shard, stdin, config)()
        try:
            for batch in reader:
                _add(labelled, batch, reader.format, engine, label_field, shard.name)
                done = labelled.judging
                if on_progress is not None:
                    on_progress(Progress(shard.name, batch.consumed, done.documents, done.called))
        except CutStreamError as error:
            labelled.cut[shard.name] = error
        finally:
            reader.close()
    if not labelled.judging.documents:
        if labelled.cut:
            raise next(iter(labelled.cut.values()))
        raise ConfigError(
            f"no record has the field {label_field!r}; name the one that says human or ai with "
            "--label-field"
        )
    return labelled


def _add(
    labelled: Labelled, batch: Batch, form: Format, engine: Engine, label_field: str, name: str
) -> None:
    labelled.unread += sum(rejected.count for rejected in batch.rejected)
    labels: list[bool | None] = []
    groups: dict[str, list[str]] = {grouping: [] for grouping in GROUPINGS}
    for i, record in enumerate(form.objects(batch.payload)):
        label = _look_up(record, label_field)
        is_ai = LABELS.get(str(label).lower()) if label is not None else None
        if label is not None and is_ai is None:
            raise ConfigError(
                f"{name}: record {batch.records[i]} is labelled {label!r}; a label is human or ai"
            )
        labels.append(is_ai)
        for grouping, group in GROUPINGS.items():
            groups[grouping].append(str(group(record, bool(is_ai)) or ""))
    labelled.unlabelled += labels.count(None)
    labelled.judging.add(engine.judge(batch.text, batch.metadata), labels, groups)


def _look_up(record: dict[str, Any], path: str) -> Any:
    if path in record:
        return record[path]
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
