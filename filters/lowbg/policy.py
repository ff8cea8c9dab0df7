"""The decision as a policy states it. Every field that a policy file may state carries its key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

from lowbg.errors import ConfigError
from lowbg.settings import (
    ABOVE_ZERO,
    SHARE,
    Heading,
    Language,
    Vocabulary,
    check_limits,
    setting,
)


class Rule(StrEnum):
    """How features become a verdict."""

    CALIBRATED = "calibrated"
    THRESHOLDS = "thresholds"


class FprBound(StrEnum):
    """What the target false-positive rate bounds: collections of human text on average, or each."""

    MEAN = "mean"
    EVERY = "every"


class Unscored(StrEnum):
    """Where documents go that cannot be judged."""

    HUMAN = "human"
    SEPARATE = "separate"
    AI = "ai"


class Artifacts(StrEnum):
    """What comes of a near-certain phrase that a document says itself: AI, or only the report."""

    AI = "ai"
    REPORT = "report"


AUTO: Final = "auto"
"""In place of a table of sources: a run into a directory makes its own first."""


class WholeSource(StrEnum):
    """What becomes of the documents of a source that is AI: each is judged, or all are AI."""

    JUDGE = "judge"
    AI = "ai"


class SourceVerdict(StrEnum):
    """What a source is by its documents; mixed: some of them are AI; unknown: they can't tell."""

    UNKNOWN = "unknown"
    HUMAN = "human"
    AI = "ai"
    MIXED = "mixed"

    @property
    def code(self) -> int:
        """How arrays spell it: its place in the enumeration."""
        return [*SourceVerdict].index(self)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a source is, and when its documents tell something about one another.

    `by` as `text.sources.SourceBy` reads it. `min_documents` scored documents at least say what a
    source is; `bound` of human sources may be called AI. `table` is a table that `lowbg sources`
    made, or a folder or glob of all its ranges, whose evidence decides with a document's own score;
    "auto": a run makes its own first.
    """

    table: str | None = setting(
        "A table of lowbg sources, or a folder of all its ranges, which decides with each score; "
        "auto: two passes make it.",
        None,
        key="sources.table",
        flags="--sources",
        unit="FILE|DIR|auto",
        heading=Heading.SOURCES,
    )
    whole: WholeSource = setting(
        "Documents of a source that is AI: each is judged, or all are AI.",
        WholeSource.JUDGE,
        key="sources.whole",
        flags="--whole-source",
        heading=Heading.SOURCES,
    )
    by: str = setting(
        "What makes documents be of one source: domain, host, path:N or field:NAME.",
        "domain",
        key="sources.by",
        flags="--source-by",
        unit="BY",
        heading=Heading.SOURCES,
    )
    min_documents: int = setting(
        "Fewer scored documents say nothing of a source.",
        10,
        key="sources.min_documents",
        flags="--min-source-documents",
        unit="N",
        heading=Heading.SOURCES,
        least=2,
    )
    bound: float = setting(
        "Share of human sources that may be called AI.",
        0.02,
        key="sources.bound",
        flags="--source-bound",
        unit=SHARE,
        heading=Heading.SOURCES,
        least=ABOVE_ZERO,
        most=0.5,
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of `rule = "thresholds"`: human only if all of them hold.

    Null: the language's own, which with the others call at most `target_fpr` of human text AI.
    """

    min_perplexity: float | None = setting(
        "With rule thresholds: below this it is AI.",
        None,
        shown="by language and target_fpr",
        key="thresholds.min_perplexity",
        unit="X",
        heading=Heading.DECISION,
    )
    min_burstiness: float | None = setting(
        "With rule thresholds: below this it is AI.",
        None,
        shown="by language and target_fpr",
        key="thresholds.min_burstiness",
        unit="X",
        heading=Heading.DECISION,
    )
    max_phrase_hits: int | None = setting(
        "With rule thresholds: above this it is AI.",
        None,
        shown="by language and target_fpr",
        key="thresholds.max_phrase_hits",
        unit="N",
        heading=Heading.DECISION,
        least=0,
    )

    def __post_init__(self) -> None:
        check_limits(self)


class GateStatistic(StrEnum):
    """Which figure of a data set's AI share a gate judges.

    RAW: what the verdicts say. ESTIMATE: corrected for what they get wrong. UPPER: the upper end
    of the 95 % interval, of the estimate where there is one, else of the raw share.
    """

    RAW = "raw"
    ESTIMATE = "estimate"
    UPPER = "upper"


class GateGroup(StrEnum):
    """What parts of a data set a gate judges by themselves."""

    LANGUAGE = "language"
    YEAR = "year"
    HOST = "host"
    SHARD = "shard"
    SOURCE = "source"

    @property
    def estimated(self) -> bool:
        """Whether reports estimate the AI share of such parts."""
        return self in (GateGroup.LANGUAGE, GateGroup.YEAR, GateGroup.HOST)


@dataclass(frozen=True, slots=True)
class Gate:
    """When `lowbg gate` fails a data set. Shares are 0 … 1; null: not judged.

    `max_ai_share` is judged of the whole, `max_ai_share_by` of each part that has at least
    `min_group_documents` scored documents; `source_field` names the records' field whose values
    are the parts of `GateGroup.SOURCE`. `max_phrase_hits`: by category, how many documents may
    hold one of its phrases. `max_quarantined_share` is of records, `min_human_token_share` of the
    words of all documents.
    """

    max_ai_share: float | None = setting(
        "Fail above this AI share of the scored documents (0 to 1).",
        None,
        key="gate.max_ai_share",
        unit=SHARE,
        least=0.0,
        most=1.0,
    )
    statistic: GateStatistic = setting(
        "Which AI share; upper: its interval's end.",
        GateStatistic.UPPER,
        key="gate.statistic",
        heading=Heading.LIMITS,
    )
    max_ai_share_by: Mapping[GateGroup, float] = setting(
        "The same for each language, year, host, shard or source; may be repeated.",
        factory=dict,
        key="gate.max_ai_share_by",
        unit="GROUP=SHARE",
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )
    source_field: str | None = setting(
        "The field that says a record's source.",
        None,
        key="gate.source_field",
        unit="FIELD",
        heading=Heading.LIMITS,
    )
    min_group_documents: int = setting(
        "Parts with fewer scored documents aren't judged by themselves.",
        100,
        key="gate.min_group_documents",
        unit="N",
        heading=Heading.LIMITS,
        least=1,
    )
    max_phrase_hits: Mapping[str, int] = setting(
        "Fail where more documents hold such a phrase; may be repeated.",
        factory=dict,
        key="gate.max_phrase_hits",
        unit="CATEGORY=N",
        heading=Heading.LIMITS,
        least=0,
    )
    max_quarantined_share: float | None = setting(
        "Fail above this share of records that cannot be read.",
        None,
        key="gate.max_quarantined_share",
        unit=SHARE,
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )
    min_human_token_share: float | None = setting(
        "Fail below this share of words that are in human documents.",
        None,
        key="gate.min_human_token_share",
        unit=SHARE,
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )
    min_scored_documents: int = setting(
        "Fail with fewer scored documents.",
        1,
        key="gate.min_scored_documents",
        unit="N",
        heading=Heading.LIMITS,
        least=0,
    )

    max_left_out_files: int = setting(
        "Fail where more files among the inputs may be data and aren't read.",
        0,
        key="gate.max_left_out_files",
        unit="N",
        heading=Heading.LIMITS,
        least=0,
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if (GateGroup.SOURCE in self.max_ai_share_by) != (self.source_field is not None):
            raise ConfigError(
                "gate.max_ai_share_by.source and gate.source_field go together: the limit, and the "
                "field whose values are the sources",
                key="gate.source_field",
            )
        raw_only = [group for group in self.max_ai_share_by if not group.estimated]
        if raw_only and self.statistic is GateStatistic.ESTIMATE:
            raise ConfigError(
                f"gate.statistic is 'estimate', and there are no estimates by {raw_only[0]}; "
                f"take 'raw' or 'upper', or leave out gate.max_ai_share_by.{raw_only[0]}",
                key="gate.statistic",
            )

    @property
    def empty(self) -> bool:
        """Whether it limits nothing."""
        limits = (self.max_ai_share, self.max_quarantined_share, self.min_human_token_share)
        return not (
            any(limit is not None for limit in limits)
            or self.max_ai_share_by
            or self.max_phrase_hits
            or self.min_scored_documents > 1
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of documents by where they come from, whatever their text says.

    `fields` maps a field to globs of its values, and `allow_sources` are patterns of hosts and
    addresses (see `provenance.SourcePatterns`): such documents are human. Documents of
    `deny_sources` are AI, whatever else is known of them. `count_fields` are counted by value in
    the report, and decide nothing.
    """

    fields: Mapping[str, tuple[str, ...]] = setting(
        "Documents whose field has this value (a glob) are human by provenance; repeatable.",
        factory=dict,
        key="trust.fields",
        flags="--trust",
        unit="FIELD=VALUE",
        example="metadata.license=CC-BY-*",
        heading=Heading.PROVENANCE,
    )
    allow_sources: tuple[str, ...] = setting(
        "Host (and those below), glob, host/path, or @FILE of them: human by provenance.",
        (),
        key="trust.allow_sources",
        flags="--allow-source",
        unit="SOURCE",
        heading=Heading.PROVENANCE,
    )
    deny_sources: tuple[str, ...] = setting(
        "Likewise: AI, whatever else is known of them.",
        (),
        key="trust.deny_sources",
        flags="--deny-source",
        unit="SOURCE",
        heading=Heading.PROVENANCE,
    )
    count_fields: tuple[str, ...] = setting(
        "Count the documents by this field's values (C2PA, sidecars); repeatable.",
        (),
        key="trust.count_fields",
        flags="--count-field",
        unit="FIELD",
        heading=Heading.PROVENANCE,
    )


LmFeature = Annotated[str, Vocabulary("feature")]
"""A column of a causal LM that can be evidence."""


@dataclass(frozen=True, slots=True)
class LmSpread:
    """How an LM's evidence x spreads over human text of a language: mean, variance parts τ² and
    σ² of τ² + σ²/words, correlation of its z with the tables' z, and the fewest words it judges.
    """

    mean: float = setting("Of the evidence.")
    between: float = setting("τ².", least=ABOVE_ZERO)
    within: float = setting("σ².", least=0.0)
    correlation: float = setting("Of its z with the tables' z.")
    min_words: int = setting("Fewer aren't judged.", least=0)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class LmSurprise:
    """How evenness, which says how little a text surprises an LM, spreads over human text of a
    language: mean, and variance parts as in `LmSpread`. The higher of its z and the joint z counts.
    """

    mean: float = setting("Of the evenness.")
    between: float = setting("τ².", least=ABOVE_ZERO)
    within: float = setting("σ².", least=0.0)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class LmCalibration:
    """What lets a causal LM take part in the decision; `lowbg calibrate --lm` makes it.

    It holds for one model (`model`: SHA-256 of its files, and of the performer's if there is one),
    whatever part of the documents it reads. `feature` is the column that is evidence; the others
    are by language. A threshold belongs to a kind of evidence: `min_ai_scores` to documents that
    both the tables and the LM judge, `min_ai_scores_alone` to those too short for the tables; a
    language without one has none judged. Both are on the scale of the joint score before it is
    moved to where the tables' own threshold is the one of all (`Decider`). Where a language is in
    `surprise`, that of the model counts as well, if it is the higher one: the thresholds are of
    both.
    """

    model: str = setting("SHA-256 of the model's files.")
    feature: LmFeature = setting("The column that is evidence.")
    languages: Mapping[Language, LmSpread] = setting("How the evidence spreads.")
    min_ai_scores: Mapping[Language, float] = setting("The joint thresholds.", least=0.0, most=1.0)
    min_ai_scores_alone: Mapping[Language, float] = setting(
        "The thresholds where the LM alone judges.", factory=dict, least=0.0, most=1.0
    )
    surprise: Mapping[Language, LmSurprise] = setting("How its surprise spreads.", factory=dict)

    def __post_init__(self) -> None:
        check_limits(self)
        if not self.languages:
            raise ConfigError("[calibration.lm] lacks languages", key="calibration.lm")
        odd = sorted(self.min_ai_scores.keys() ^ self.languages.keys())
        if odd:
            raise ConfigError(
                "[calibration.lm] must have the same languages in min_ai_scores and languages; "
                f"see {odd[0]!r}",
                key="calibration.lm",
            )
        unknown = sorted(self.surprise.keys() - self.languages.keys())
        if unknown:
            raise ConfigError(
                f"[calibration.lm] has {unknown[0]!r} in surprise, and not in languages",
                key="calibration.lm",
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """The decision, as a policy file states it.

    `target_fpr` is the share of human documents that may be called AI, between 0 and 0.5;
    `fpr_bound` says whether that holds on average over collections of human text that no table
    was fitted to, or on every one of them.
    `trust_before`: documents dated earlier are human by provenance; `date_field` names the field
    that holds the date. `provenance`: what else tells who wrote. `min_ai_scores`: by language, the
    `ai_score` from which a document is called AI, in place of the shipped threshold (what
    `lowbg calibrate` writes).
    `tables`: a directory of model files of the user's own (what `lowbg train` writes); a language's
    own file stands in place of the embedded one.
    `lm`: what a causal LM needs to take part; null: it is only reported.
    `scorers`: the settings of scorers by name, as the file has them; the scorer itself checks them.
    """

    rule: Rule = setting(
        "How features become a verdict.",
        Rule.CALIBRATED,
        key="decision.rule",
        heading=Heading.DECISION,
    )
    target_fpr: float = setting(
        "Share of human documents that may be called AI.",
        0.01,
        key="decision.target_fpr",
        unit=SHARE,
        least=ABOVE_ZERO,
        most=0.5,
    )
    fpr_bound: FprBound = setting(
        "The target rate holds on average over collections of human text, or on every one.",
        FprBound.MEAN,
        key="decision.fpr_bound",
        heading=Heading.DECISION,
    )
    artifacts: Artifacts = setting(
        "Near-certain phrases (an assistant of itself, chat-tool residue): AI, or only told.",
        Artifacts.AI,
        key="decision.artifacts",
        heading=Heading.DECISION,
    )
    unscored: Unscored = setting(
        "Where documents go that cannot be judged.",
        Unscored.HUMAN,
        key="decision.unscored",
        heading=Heading.OUTPUT,
    )
    tables: str | None = setting(
        "Tables that lowbg train wrote: beside the embedded ones, or instead, by language.",
        None,
        key="decision.tables",
        unit="DIR",
        heading=Heading.DECISION,
    )
    thresholds: Thresholds = field(default_factory=Thresholds)
    trust_before: dt.date | None = setting(
        "Documents dated earlier are human by provenance.",
        None,
        key="trust.before",
        unit="DATE",
        heading=Heading.PROVENANCE,
    )
    date_field: str | None = setting(
        "The field that holds the date.", None, key="trust.date_field", flags=None
    )
    min_ai_scores: Mapping[Language, float] = setting(
        "The ai_score from which a document is called AI, by language.",
        factory=dict,
        key="calibration.min_ai_scores",
        flags=None,
        least=0.0,
        most=1.0,
    )
    gate: Gate = field(default_factory=Gate)
    provenance: Provenance = field(default_factory=Provenance)
    sources: Sources = field(default_factory=Sources)
    lm: LmCalibration | None = setting(
        "What a causal LM needs to take part; `lowbg calibrate` writes it.",
        None,
        key="calibration.lm",
        flags=None,
    )
    scorers: Mapping[str, Mapping[str, Any]] = setting(
        "The settings of a scorer, which checks them itself.",
        factory=dict,
        key="scorers",
        flags=None,
    )

    def __post_init__(self) -> None:
        check_limits(self)
