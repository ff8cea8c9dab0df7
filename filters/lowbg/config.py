"""What a run is: frozen, validated, and the same for every worker.

The command line turns raw options into one `RunConfig`; below it there are no option dicts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from lowbg.errors import ConfigError


class Verdict(StrEnum):
    """What the decision says of a document."""

    HUMAN = "human"
    AI = "ai"
    UNSCORED = "unscored"


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


class Compression(StrEnum):
    """How JSONL outputs are compressed; `keep` follows each input."""

    KEEP = "keep"
    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


class ScoreFormat(StrEnum):
    """How scores are written.

    JSONL and PARQUET: one row a document, `schema.SCORE_COLUMNS`. DOLMA: dolma's attributes side
    files, line by line beside the documents, below `attributes/lowbg/`.
    """

    JSONL = "jsonl"
    PARQUET = "parquet"
    DOLMA = "dolma"


class ExecutorName(StrEnum):
    """What maps shards over workers."""

    SERIAL = "serial"
    PROCESSES = "processes"


class LmDtype(StrEnum):
    """The number type that a causal LM is run in; `auto` goes by the device."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Existing(StrEnum):
    """What to do with the run that an output directory holds."""

    REFUSE = "refuse"
    RESUME = "resume"
    INCREMENTAL = "incremental"
    OVERWRITE = "overwrite"


class Changed(StrEnum):
    """What an incremental run does with an input that changed after it was processed."""

    REFUSE = "refuse"
    REDO = "redo"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Durability:
    """How often a shard's state is made safe: every so many seconds, or decompressed bytes.

    With `digests` the SHA-256 of each input is noted, and compared when a run goes on.
    """

    seconds: float = 30.0
    bytes: int = 256 << 20
    digests: bool = False


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Which fields of a record hold what; dotted paths reach into objects (`metadata.language`).

    `others` are read as well, for provenance and counting.
    """

    text: str = "text"
    id: str = "id"
    language: str = "language"
    date: str = "date"
    url: str = "url"
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of `rule = "thresholds"`: human only if all of them hold."""

    min_perplexity: float = 120.0
    min_burstiness: float = -0.2
    max_phrase_hits: int = 0


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

    max_ai_share: float | None = None
    statistic: GateStatistic = GateStatistic.UPPER
    max_ai_share_by: Mapping[GateGroup, float] = field(default_factory=dict)
    source_field: str | None = None
    min_group_documents: int = 100
    max_phrase_hits: Mapping[str, int] = field(default_factory=dict)
    max_quarantined_share: float | None = None
    min_human_token_share: float | None = None
    min_scored_documents: int = 1

    def __post_init__(self) -> None:
        if (GateGroup.SOURCE in self.max_ai_share_by) != (self.source_field is not None):
            raise ConfigError(
                "gate.max_ai_share_by.source and gate.source_field go together: the limit, and the "
                "field whose values are the sources"
            )
        raw_only = [group for group in self.max_ai_share_by if not group.estimated]
        if raw_only and self.statistic is GateStatistic.ESTIMATE:
            raise ConfigError(
                f"gate.statistic is 'estimate', and there are no estimates by {raw_only[0]}; "
                "take 'raw' or 'upper', or leave out gate.max_ai_share_by." + raw_only[0]
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

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow_sources: tuple[str, ...] = ()
    deny_sources: tuple[str, ...] = ()
    count_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LmSpread:
    """How an LM's evidence x spreads over human text of a language: mean, variance parts τ² and
    σ² of τ² + σ²/words, correlation of its z with the tables' z, and the fewest words it judges.
    """

    mean: float
    between: float
    within: float
    correlation: float
    min_words: int


@dataclass(frozen=True, slots=True)
class LmCalibration:
    """What lets a causal LM take part in the decision; `lowbg calibrate --lm` makes it.

    It holds for one model (`model`: SHA-256 of its files, and of the performer's if there is one)
    and one `band` (null: all documents). `feature` is the column that is evidence; `languages` and
    `min_ai_scores` are by language, the latter in place of the policy's where the LM has a say.
    """

    model: str
    feature: str
    band: tuple[float, float] | None
    languages: Mapping[str, LmSpread]
    min_ai_scores: Mapping[str, float]


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
    `lm`: what a causal LM needs to take part; null: it is only reported.
    `scorers`: the settings of scorers by name, as the file has them; the scorer itself checks them.
    """

    rule: Rule = Rule.CALIBRATED
    target_fpr: float = 0.01
    fpr_bound: FprBound = FprBound.MEAN
    unscored: Unscored = Unscored.HUMAN
    thresholds: Thresholds = field(default_factory=Thresholds)
    trust_before: dt.date | None = None
    date_field: str | None = None
    min_ai_scores: Mapping[str, float] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    provenance: Provenance = field(default_factory=Provenance)
    lm: LmCalibration | None = None
    scorers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.target_fpr <= 0.5:
            raise ConfigError(f"target_fpr is {self.target_fpr}; it must be above 0, at most 0.5")


@dataclass(frozen=True, slots=True)
class LmSettings:
    """Which causal LM reads which documents, and how.

    `model` and `performer` are folders or names on the Hugging Face Hub (`NAME@REVISION`). `band`:
    only documents whose `ai_score` lies in it, and those too short for the tables; null: all.
    `context` lowers the tokens read at once. `batch_tokens`, null for the device's default, never
    changes a figure beyond rounding.
    """

    model: str
    performer: str | None = None
    band: tuple[float, float] | None = None
    context: int | None = None
    dtype: LmDtype = LmDtype.AUTO
    device: str = "auto"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.band is not None and not 0.0 <= self.band[0] <= self.band[1] <= 1.0:
            low, high = self.band
            raise ConfigError(
                f"an LM band of {low:g}:{high:g}; it must lie in 0:1, the lower first"
            )
        if self.context is not None and self.context < 2:
            raise ConfigError(f"a context of {self.context} tokens; it must be 2 or more")


@dataclass(frozen=True, slots=True)
class KenlmSettings:
    """A KenLM model (`.bin` or `.arpa`), and how text is prepared for it.

    `sentencepiece`: the SentencePiece model that its training text was cut with; `normalise`: as
    CCNet did before that.
    """

    model: str
    sentencepiece: str | None = None
    normalise: bool = False


@dataclass(frozen=True, slots=True)
class WatermarkSettings:
    """Where the keys of the user's own watermark are: the path of a file."""

    keys: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What the optional scorers need; one that is null doesn't run.

    `watermark` is the path of a file with the user's keys.
    """

    lm: LmSettings | None = None
    kenlm: KenlmSettings | None = None
    watermark: str | None = None

    @property
    def by_scorer(self) -> Mapping[str, LmSettings | KenlmSettings | WatermarkSettings | None]:
        """The settings by scorer, null where it isn't asked for.

        With two LMs `binoculars` has both scorers' columns.
        """
        pair = self.lm is not None and self.lm.performer is not None
        return {
            "causal_lm": None if pair else self.lm,
            "binoculars": self.lm if pair else None,
            "kenlm": self.kenlm,
            "watermark": None if self.watermark is None else WatermarkSettings(self.watermark),
        }


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that a worker needs to know of a run, beside its shard.

    `batch_bytes` is how much is under way at a time, in bytes of decompressed input, in `threads`
    equal blocks; neither ever changes a result.
    `max_record_bytes` is the largest record that is read.
    """

    fields: FieldNames = field(default_factory=FieldNames)
    policy: Policy = field(default_factory=Policy)
    compression: Compression = Compression.KEEP
    annotate: bool = False
    batch_bytes: int = 6 << 20
    max_record_bytes: int = 64 << 20
    threads: int = 1
    extras: Extras = field(default_factory=Extras)

    @property
    def block_bytes(self) -> int:
        """The size of the blocks read: with more threads smaller ones, so that memory stays."""
        return max(1, self.batch_bytes // self.threads)

    @property
    def read_fields(self) -> FieldNames:
        """The fields to read: `fields`, and those that the policy's provenance looks at."""
        provenance = self.policy.provenance
        others = (*self.fields.others, *provenance.fields, *provenance.count_fields)
        return dataclasses.replace(self.fields, others=tuple(dict.fromkeys(others)))


class MixUnit(StrEnum):
    """What a mix's shares are shares of.

    A word is as the scorers count them (a character in Chinese and Japanese); a token is a word, a
    digit or another visible mark, or what a field of the records says.
    """

    TOKENS = "tokens"
    WORDS = "words"
    DOCUMENTS = "documents"


class MixSelect(StrEnum):
    """Which synthetic documents a mix takes first: any, or those that add what is thin."""

    RANDOM = "random"
    NOVEL = "novel"


@dataclass(frozen=True, slots=True)
class MixWeights:
    """Sampling weights instead of a selection, after Drayson et al. 2025.

    A document's weight is (1 − ai_score) ** `exponent`; `upsampling` times as many documents as
    there are would be drawn by it, none more than `max_repeats` times.
    """

    exponent: float = 10.0
    upsampling: float = 1.5
    max_repeats: int = 3

    def __post_init__(self) -> None:
        if not (self.exponent >= 0.0 and self.upsampling > 0.0 and self.max_repeats >= 1):
            raise ConfigError(
                "weights need an exponent of 0 or more, an upsampling above 0 and a repeat cap of "
                "1 or more"
            )


@dataclass(frozen=True, slots=True)
class Mix:
    """What a mix is: at least `min_human` of its units are human, from 0 to 1.

    `min_human` is exact, so that 0.1 means a tenth. No source has more than `max_per_source` units
    of synthetic text (null: no cap); a source is what `source_field` says, else the host of the
    URL, else the shard. `token_field` holds a record's tokens. With `weights` nothing is copied.
    """

    min_human: Fraction = Fraction(1, 2)
    unit: MixUnit = MixUnit.TOKENS
    seed: int = 0
    select: MixSelect = MixSelect.RANDOM
    max_per_source: int | None = None
    source_field: str | None = None
    token_field: str | None = None
    weights: MixWeights | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_human <= 1:
            raise ConfigError(f"min_human is {self.min_human}; it must be between 0 and 1")
        if self.token_field is not None and self.unit is not MixUnit.TOKENS:
            raise ConfigError(f"a token field has no effect on shares of {self.unit}")


LISTED = 100
"""Sources that a report lists; of a longer list it has number and digest."""


def _listed(sources: tuple[str, ...]) -> Any:
    if len(sources) <= LISTED:
        return list(sources)
    digest = hashlib.sha256("\n".join(sources).encode("utf-8", "surrogatepass")).hexdigest()
    return {"patterns": len(sources), "sha256": digest}


def as_dict(value: Any) -> Any:
    """A configuration as plain JSON values, for reports, manifests and `--dry-run`."""
    if isinstance(value, Provenance):
        return {
            "fields": as_dict(value.fields),
            "allow_sources": _listed(value.allow_sources),
            "deny_sources": _listed(value.deny_sources),
            "count_fields": list(value.count_fields),
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {f.name: as_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Policy) and not value.scorers:
            del values["scorers"]  # A policy without any keeps the digest that it always had.
        return values
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): as_dict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_dict(v) for v in value]
    return value
