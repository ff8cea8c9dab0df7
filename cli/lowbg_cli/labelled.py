"""Labelled shards → judgements: the reading half of `lowbg eval`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from lowbg.config import RunConfig
from lowbg.errors import ConfigError, CutStreamError

if TYPE_CHECKING:
    from lowbg.engine import Engine
    from lowbg.pipeline import OnProgress
    from lowbg.records import Batch
    from lowbg.shards import Shard
    from lowbg.training.evaluate import Judgements

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
    """What was read so far, one entry a labelled document; and what was left out.

    `cut` are the shards, by name, that broke off: their documents before that are in.
    """

    is_ai: list[bool] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    called_ai: list[bool] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    groups: dict[str, list[str]] = field(
        default_factory=lambda: {name: [] for name in ("language", *GROUPINGS)}
    )
    unlabelled: int = 0
    unread: int = 0
    cut: dict[str, CutStreamError] = field(default_factory=dict)

    def judgements(self) -> Judgements:
        """Everything as arrays; a grouping that no document has is left out."""
        import numpy as np

        from lowbg.training.evaluate import Judgements

        return Judgements(
            is_ai=np.array(self.is_ai, np.bool_),
            score=np.array(self.score, np.float64),
            called_ai=np.array(self.called_ai, np.bool_),
            words=np.array(self.words, np.int64),
            groups={name: np.array(own) for name, own in self.groups.items() if any(own)},
        )


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
    from lowbg.pipeline import Progress
    from lowbg.running import reader_opener

    labelled = Labelled()
    for shard in shards:
        reader = reader_opener(shard, stdin, config)()
        try:
            for batch in reader:
                _add(labelled, batch, engine, label_field, shard.name)
                if on_progress is not None:
                    called = sum(labelled.called_ai)
                    on_progress(Progress(shard.name, batch.consumed, len(labelled.is_ai), called))
        except CutStreamError as error:
            labelled.cut[shard.name] = error
        finally:
            reader.close()
    if not labelled.is_ai:
        if labelled.cut:
            raise next(iter(labelled.cut.values()))
        raise ConfigError(
            f"no record has the field {label_field!r}; name the one that says human or ai with "
            "--label-field"
        )
    return labelled


def _add(labelled: Labelled, batch: Batch, engine: Engine, label_field: str, name: str) -> None:
    import numpy as np

    labelled.unread += sum(rejected.count for rejected in batch.rejected)
    judged = engine.judge(batch.text, batch.metadata)
    score = np.asarray(judged.decisions.score.to_numpy(zero_copy_only=False), np.float64)
    codes = judged.documents.language_codes
    for i, record in enumerate(_records(batch)):
        label = _look_up(record, label_field)
        if label is None:
            labelled.unlabelled += 1
            continue
        is_ai = LABELS.get(str(label).lower())
        if is_ai is None:
            raise ConfigError(
                f"{name}: record {batch.records[i]} is labelled {label!r}; a label is human or ai"
            )
        language = int(judged.documents.languages[i])
        labelled.is_ai.append(is_ai)
        labelled.score.append(float(score[i]))
        labelled.called_ai.append(bool(judged.decisions.called_ai[i]))
        labelled.words.append(int(judged.documents.tokens.words_per_document[i]))
        labelled.groups["language"].append(codes[language] if language >= 0 else "")
        for grouping, group in GROUPINGS.items():
            labelled.groups[grouping].append(str(group(record, is_ai) or ""))


def _records(batch: Batch) -> Iterator[dict[str, Any]]:
    """The batch's records as they are stored."""
    import json

    from lowbg.records import LinePayload

    payload = batch.payload
    if not isinstance(payload, LinePayload):
        yield from payload.rows.to_pylist()
        return
    for start, end in zip(payload.starts.tolist(), payload.ends.tolist(), strict=True):
        yield json.loads(payload.buffer[start:end].decode("utf-8-sig"))


def _look_up(record: dict[str, Any], path: str) -> Any:
    if path in record:
        return record[path]
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
