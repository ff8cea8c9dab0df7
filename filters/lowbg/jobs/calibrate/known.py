"""Documents that are known to be human, by a label or by their date, with their scores."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lowbg.arrays import filled, floats, is_known
from lowbg.decision import lm
from lowbg.errors import ConfigError
from lowbg.records import Batch
from lowbg.report.results import ShardResult
from lowbg.report.sections.dates import told
from lowbg.report.statistics import Statistics, merged
from lowbg.runs.engine import Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.judging import Judging
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.reading import refuse_broken


@dataclass(frozen=True, slots=True)
class KnownBy:
    """How a document is known to be human: dated earlier than `human_before`, or by `label_field`.

    Exactly one is set. A label is human when it is `label_human`, in any case; any other is AI.
    `stratum_field` names a field whose values are strata of their own.
    """

    human_before: dt.date | None = None
    label_field: str | None = None
    label_human: str = "human"
    stratum_field: str | None = None

    def __post_init__(self) -> None:
        if (self.human_before is None) == (self.label_field is None):
            raise ConfigError(
                "how is a document known to be human? Give either `human_before=…` or "
                "`label_field=…`"
            )


@dataclass(frozen=True, slots=True)
class LmKnown:
    """What a causal LM says of documents, one entry each: those of `Known`, and short ones.

    `words`, `is_human` and `by_artifact` as there. `tables_z` is the z of the word tables, NaN
    where they abstain; `evidence` the LM's by feature (`decision.lm.evidence`), NaN where it didn't
    read the document; `surprise` its evenness (`scorers.lm.surprise`), NaN likewise; null where it
    reads none.
    """

    language: NDArray[np.str_]
    words: NDArray[np.int64]
    is_human: NDArray[np.bool_]
    stratum: NDArray[np.str_] | None
    by_artifact: NDArray[np.bool_]
    tables_z: NDArray[np.float64]
    feature: str
    evidence: NDArray[np.float64]
    surprise: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The scored documents, one entry each, a text that comes again left out.

    Those that are not `is_human` are AI by their label, or not dated before the cut-off.
    `score` is `ai_score`; `called_ai` the verdict by the text alone under the engine's policy;
    `by_artifact` where that is AI whatever the score, by a near-certain phrase;
    `stratum` is null without a field for it. `unscored` and `repeated` count human documents left
    out, `unlabelled` documents. `shards` says what became of each, in their order. `lm` is there
    where the engine has a causal LM.
    """

    language: NDArray[np.str_]
    words: NDArray[np.int64]
    score: NDArray[np.float32]
    called_ai: NDArray[np.bool_]
    by_artifact: NDArray[np.bool_]
    is_human: NDArray[np.bool_]
    stratum: NDArray[np.str_] | None = None
    unscored: int = 0
    repeated: int = 0
    unlabelled: int = 0
    lm: LmKnown | None = None
    shards: tuple[ShardResult, ...] = ()

    @property
    def unread(self) -> int:
        """Records that could not be read."""
        return sum(shard.statistics.documents()["quarantined"] for shard in self.shards)


@dataclass(slots=True)
class _Gathered:
    """What was read so far: columns in parts, and counts."""

    columns: dict[str, list[NDArray[np.generic]]] = field(default_factory=lambda: defaultdict(list))
    feature: str | None = None
    seen: set[int] = field(default_factory=set)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("unscored", "repeated", "unlabelled"), 0)
    )
    documents: int = 0


def read_known(
    shards: Sequence[Shard], judging: Judging, by: KnownBy, observer: Observer = NOBODY
) -> Known:
    """Judges every document of the shards; what came before damage counts.

    Raises `ConfigError` where none is known to be human, or `InputError` where that is because a
    shard breaks off.
    """
    date_field = judging.config.fields.date
    wanted = [name for name in (by.label_field, by.stratum_field) if name is not None]
    judging.require([*wanted, *([date_field] if by.human_before is not None else [])])
    gathered = _Gathered()
    human = 0
    results = []
    for shard in shards:
        with judging.reading(shard, wanted, observer.progress) as reading:
            for step in reading:
                if step.judged is not None:
                    reading.statistics.add_dates(step.judged.dates)
                    fresh = partial(_fresh, judging, step.batch, gathered.seen)
                    human += _add(gathered, step.batch, step.judged, by, fresh)
        results.append(reading.result())
    if not human:
        refuse_broken(results)
        statistics = merged(result.statistics for result in results)
        raise ConfigError(_nothing(by, date_field, gathered.documents, statistics))
    return replace(_whole(gathered, by), shards=tuple(results))


def _nothing(by: KnownBy, date_field: str, documents: int, statistics: Statistics) -> str:
    if by.human_before is not None:
        return "; ".join(
            (
                f"none of {documents:,} documents has a date before {by.human_before} in the field "
                f"{date_field!r}",
                *(sentence.removesuffix(".") for sentence in told(statistics)),
                "name the one that holds it with `fields.date`",
            )
        )
    return (
        f"none of {documents:,} documents is labelled {by.label_human!r} in the field "
        f"{by.label_field!r}; see `label_field` and `label_human`"
    )


def _add(
    gathered: _Gathered,
    batch: Batch,
    judged: Judged,
    by: KnownBy,
    first_of: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> int:
    """Adds a batch; how many of its documents are known to be human.

    `first_of` says which of some documents come for the first time: copies are no evidence.
    """
    counts = gathered.counts
    scores = judged.decisions.score
    scored = is_known(scores)
    labelled = np.ones(len(batch), np.bool_)
    if by.human_before is not None:
        human = judged.dates.before(by.human_before)
    else:
        assert by.label_field is not None
        labels = batch.metadata.others[by.label_field]
        labelled = is_known(labels)
        wanted = by.label_human.lower()
        human = np.array([str(v).lower() == wanted for v in labels.to_pylist()], np.bool_)
        human &= labelled
    evidence = _evidence(gathered, judged)
    read = scored if evidence is None else scored | ~np.isnan(evidence)
    fresh = first_of(read & labelled)
    counts["unlabelled"] += int((~labelled).sum())
    counts["unscored"] += int((human & ~scored).sum())
    counts["repeated"] += int((human & read & ~fresh).sum())
    codes = np.array([*judged.documents.language_codes, ""])
    columns = {
        "language": codes[judged.documents.languages],
        "words": judged.documents.tokens.words_per_document,
        "score": filled(scores, 0.0),
        "called_ai": judged.decisions.called_ai,
        "by_artifact": judged.decisions.by_artifact,
        "is_human": human,
        "scored": scored,
        "tables_z": judged.decisions.z,
    }
    if evidence is not None:
        columns["evidence"] = evidence
    if lm.LM_EVENNESS in judged.columns:
        columns["surprise"] = floats(judged.columns[lm.LM_EVENNESS])
    if by.stratum_field is not None:
        columns["stratum"] = np.array(
            batch.metadata.others[by.stratum_field].fill_null("").to_pylist(), np.str_
        )
    for name, values in columns.items():
        gathered.columns[name].append(values[fresh])
    gathered.documents += len(batch)
    return int(human.sum())


def _evidence(gathered: _Gathered, judged: Judged) -> NDArray[np.float64] | None:
    """What the LM says, by the better of the features that there are; null without an LM."""
    features = [name for name in lm.FEATURES if name in judged.columns]
    if not features:
        return None
    gathered.feature = features[0]
    words = judged.documents.tokens.words_per_document
    x = lm.evidence(judged.columns, features[0], words)
    decisions = judged.decisions
    can_be_judged = decisions.too_short | is_known(decisions.score)
    return np.where(can_be_judged & (words >= lm.MIN_WORDS), x, np.nan)


def _fresh(
    judging: Judging, batch: Batch, seen: set[int], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the documents `wanted` of a batch are none of those `seen`, which grow by them."""
    fresh = np.zeros(len(batch), np.bool_)
    for i in np.flatnonzero(wanted).tolist():
        digest = int(judging.digest(batch, i), 16)
        fresh[i] = digest not in seen
        seen.add(digest)
    return fresh


def _whole(gathered: _Gathered, by: KnownBy) -> Known:
    joined = {name: np.concatenate(parts) for name, parts in gathered.columns.items() if parts}
    scored = joined["scored"].astype(np.bool_)
    own = {name: values[scored] for name, values in joined.items()}
    return Known(
        language=own["language"].astype(np.str_),
        words=own["words"].astype(np.int64),
        score=own["score"].astype(np.float32),
        called_ai=own["called_ai"].astype(np.bool_),
        by_artifact=own["by_artifact"].astype(np.bool_),
        is_human=own["is_human"].astype(np.bool_),
        stratum=own["stratum"].astype(np.str_) if by.stratum_field is not None else None,
        unscored=gathered.counts["unscored"],
        repeated=gathered.counts["repeated"],
        unlabelled=gathered.counts["unlabelled"],
        lm=None if gathered.feature is None else _lm_known(joined, gathered.feature),
    )


def _lm_known(joined: Mapping[str, NDArray[np.generic]], feature: str) -> LmKnown:
    return LmKnown(
        language=joined["language"].astype(np.str_),
        words=joined["words"].astype(np.int64),
        is_human=joined["is_human"].astype(np.bool_),
        stratum=joined["stratum"].astype(np.str_) if "stratum" in joined else None,
        tables_z=joined["tables_z"].astype(np.float64),
        by_artifact=joined["by_artifact"].astype(np.bool_),
        feature=feature,
        evidence=joined["evidence"].astype(np.float64),
        surprise=joined["surprise"].astype(np.float64) if "surprise" in joined else None,
    )
