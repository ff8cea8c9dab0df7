"""What a run is: frozen, validated, and the same for every worker.

The command line turns raw options into one `RunConfig`; below it there are no option dicts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
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
    OVERWRITE = "overwrite"


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
    """Which fields of a record hold what; dotted paths reach into objects (`metadata.language`)."""

    text: str = "text"
    id: str = "id"
    language: str = "language"
    date: str = "date"
    url: str = "url"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of `rule = "thresholds"`: human only if all of them hold."""

    min_perplexity: float = 120.0
    min_burstiness: float = -0.2
    max_phrase_hits: int = 0


class GateStatistic(StrEnum):
    """Which figure of a data set's AI share a gate judges."""

    RAW = "raw"
    ESTIMATE = "estimate"
    UPPER = "upper"


@dataclass(frozen=True, slots=True)
class Gate:
    """When `lowbg gate` fails a data set: above these shares (0 … 1) and hits by category.

    None: not judged.
    """

    max_ai_share: float | None = None
    statistic: GateStatistic = GateStatistic.UPPER
    max_phrase_hits: Mapping[str, int] = field(default_factory=dict)


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
    that holds the date. `min_ai_scores`: by language, the `ai_score` from which a document is
    called AI, in place of the shipped threshold (what `lowbg calibrate` writes). `lm`: what a
    causal LM needs to take part; null: it is only reported.
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
    lm: LmCalibration | None = None

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
class Extras:
    """What the optional scorers need; one that is null doesn't run.

    `watermark` is the path of a file with the user's keys.
    """

    lm: LmSettings | None = None
    kenlm: KenlmSettings | None = None
    watermark: str | None = None

    @property
    def any(self) -> bool:
        """Whether an optional scorer runs."""
        return self != Extras()


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that a worker needs to know of a run, beside its shard.

    `batch_bytes` is the size of the blocks read, in bytes of decompressed input, and `threads` how
    many of them are judged at once in one worker; neither ever changes a result.
    `max_record_bytes` is the largest record that is read.
    """

    fields: FieldNames = field(default_factory=FieldNames)
    policy: Policy = field(default_factory=Policy)
    compression: Compression = Compression.KEEP
    annotate: bool = False
    batch_bytes: int = 4 << 20
    max_record_bytes: int = 64 << 20
    threads: int = 1
    extras: Extras = field(default_factory=Extras)


def as_dict(value: Any) -> Any:
    """A configuration as plain JSON values, for reports, manifests and `--dry-run`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): as_dict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_dict(v) for v in value]
    return value
