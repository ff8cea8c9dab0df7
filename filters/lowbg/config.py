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
from typing import Annotated, Any, Final

from lowbg.errors import ConfigError
from lowbg.settings import (
    ABOVE_ZERO,
    SIZE,
    Heading,
    JudgedLanguage,
    Language,
    Vocabulary,
    check_limits,
    setting,
)


class Verdict(StrEnum):
    """What the decision says of a document."""

    HUMAN = "human"
    AI = "ai"
    UNSCORED = "unscored"

    @property
    def code(self) -> int:
        """How arrays of verdicts spell it: its place in `VERDICTS`."""
        return VERDICTS.index(self.value)


VERDICTS: Final = tuple(verdict.value for verdict in Verdict)
"""The verdicts' names, by their code."""

OUTCOMES: Final = (*VERDICTS, "quarantined")
"""What becomes of a record: a verdict, or it could not be read."""


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

    seconds: float = setting(
        "How often a shard's state is saved.",
        30.0,
        flags="--checkpoint-seconds",
        unit="S",
        heading=Heading.RUNNING,
        least=0.0,
    )
    bytes: int = setting(
        "… and after how much decompressed input at the latest.",
        256 << 20,
        flags="--checkpoint-bytes",
        unit=SIZE,
        heading=Heading.RUNNING,
    )
    digests: bool = setting(
        "Note each input's SHA-256; a resumed run compares it, not the time.",
        False,
        flags="--check-digests",
        heading=Heading.RUNNING,
    )


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Which fields of a record hold what; dotted paths reach into objects (`metadata.language`).

    `others` are read as well, for provenance and counting.
    """

    text: str = setting(
        "A record's text; a dotted path (meta.lang) reaches into objects.",
        "text",
        flags="--text-field",
        unit="FIELD",
    )
    id: str = setting(
        "A record's identifier.", "id", flags="--id-field", unit="FIELD", heading=Heading.INPUT
    )
    language: str = setting(
        "A record's language; told from the text where absent.",
        "language",
        flags="--lang-field",
        unit="FIELD",
        heading=Heading.INPUT,
    )
    date: str = setting(
        "A record's date (ISO 8601).",
        "date",
        flags="--date-field",
        unit="FIELD",
        heading=Heading.INPUT,
    )
    url: str = setting(
        "A record's URL, for the report.",
        "url",
        flags="--url-field",
        unit="FIELD",
        heading=Heading.INPUT,
    )
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of `rule = "thresholds"`: human only if all of them hold."""

    min_perplexity: float = setting(
        "With rule thresholds: below this it is AI.",
        120.0,
        key="thresholds.min_perplexity",
        unit="X",
        heading=Heading.DECISION,
    )
    min_burstiness: float = setting(
        "With rule thresholds: below this it is AI.",
        -0.2,
        key="thresholds.min_burstiness",
        unit="X",
        heading=Heading.DECISION,
    )
    max_phrase_hits: int = setting(
        "With rule thresholds: above this it is AI.",
        0,
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
        unit="SHARE",
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
        unit="SHARE",
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )
    min_human_token_share: float | None = setting(
        "Fail below this share of words that are in human documents.",
        None,
        key="gate.min_human_token_share",
        unit="SHARE",
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
class LmCalibration:
    """What lets a causal LM take part in the decision; `lowbg calibrate --lm` makes it.

    It holds for one model (`model`: SHA-256 of its files, and of the performer's if there is one)
    and one `band` (null: all documents). `feature` is the column that is evidence; `languages` and
    `min_ai_scores` are by language, the latter in place of the policy's where the LM has a say.
    """

    model: str = setting("SHA-256 of the model's files.")
    feature: LmFeature = setting("The column that is evidence.")
    band: tuple[float, float] | None = setting("The ai_scores that are read.", least=0.0, most=1.0)
    languages: Mapping[Language, LmSpread] = setting("How the evidence spreads.")
    min_ai_scores: Mapping[Language, float] = setting("The joint thresholds.", least=0.0, most=1.0)

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
        unit="SHARE",
        least=ABOVE_ZERO,
        most=0.5,
    )
    fpr_bound: FprBound = setting(
        "The target rate holds on average over collections of human text, or on every one.",
        FprBound.MEAN,
        key="decision.fpr_bound",
        heading=Heading.DECISION,
    )
    unscored: Unscored = setting(
        "Where documents go that cannot be judged.",
        Unscored.HUMAN,
        key="decision.unscored",
        heading=Heading.OUTPUT,
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
    min_ai_scores: Mapping[JudgedLanguage, float] = setting(
        "The ai_score from which a document is called AI, by language.",
        factory=dict,
        key="calibration.min_ai_scores",
        flags=None,
        least=0.0,
        most=1.0,
    )
    gate: Gate = field(default_factory=Gate)
    provenance: Provenance = field(default_factory=Provenance)
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


@dataclass(frozen=True, slots=True)
class LmSettings:
    """Which causal LM reads which documents, and how.

    `model` and `performer` are folders or names on the Hugging Face Hub (`NAME@REVISION`). `band`:
    only documents whose `ai_score` lies in it, and those too short for the tables; null: all.
    `context` lowers the tokens read at once. `batch_tokens`, null for the device's default, never
    changes a figure beyond rounding.
    """

    model: str = setting(
        "A causal LM reads documents too: a folder or a Hugging Face name (NAME@REVISION).",
        flags="--lm",
        unit="MODEL",
        heading=Heading.SECOND_LOOK,
    )
    performer: str | None = setting(
        "A second one for Binoculars.",
        None,
        flags="--lm-performer",
        unit="MODEL",
        heading=Heading.SECOND_LOOK,
    )
    band: tuple[float, float] | None = setting(
        "It reads only documents whose ai_score lies here, and too short ones.",
        None,
        flags="--lm-band",
        unit="LOW:HIGH",
        heading=Heading.SECOND_LOOK,
        shown="all",
    )
    context: int | None = setting(
        "Tokens it reads at once.",
        None,
        flags="--lm-context",
        unit="N",
        heading=Heading.SECOND_LOOK,
        least=2,
        shown="the model's",
    )
    dtype: LmDtype = setting(
        "Its numbers; auto: float32, on a GPU bfloat16.",
        LmDtype.AUTO,
        flags="--lm-dtype",
        heading=Heading.SECOND_LOOK,
    )
    device: str = setting(
        "auto, cpu, cuda, or cuda:N.",
        "auto",
        flags="--lm-device",
        unit="DEVICE",
        heading=Heading.SECOND_LOOK,
    )
    batch_tokens: int | None = setting(
        "Tokens in a batch; halved when memory runs out.",
        None,
        flags="--lm-batch-tokens",
        unit="N",
        heading=Heading.SECOND_LOOK,
        least=1,
        shown="2048, on a GPU 65536",
    )

    def __post_init__(self) -> None:
        if self.band is not None and not 0.0 <= self.band[0] <= self.band[1] <= 1.0:
            low, high = self.band
            raise ConfigError(
                f"an LM band of {low:g}:{high:g}; it must lie in 0:1, the lower first",
                key="extras.lm.band",
            )
        check_limits(self)


@dataclass(frozen=True, slots=True)
class KenlmSettings:
    """A KenLM model (`.bin` or `.arpa`), and how text is prepared for it.

    `sentencepiece`: the SentencePiece model that its training text was cut with; `normalise`: as
    CCNet did before that.
    """

    model: str = setting(
        "A KenLM model (.bin, .arpa): kenlm_perplexity.",
        flags="--kenlm",
        unit="FILE",
        heading=Heading.OTHER_SCORERS,
    )
    sentencepiece: str | None = setting(
        "The SentencePiece model of its words.",
        None,
        flags="--kenlm-sentencepiece",
        unit="FILE",
        heading=Heading.OTHER_SCORERS,
    )
    normalise: bool = setting(
        "Prepare text for it as CCNet does.",
        False,
        flags="--kenlm-normalise",
        heading=Heading.OTHER_SCORERS,
    )


@dataclass(frozen=True, slots=True)
class Extras:
    """What the optional scorers need; one that is null doesn't run.

    `watermark` is the path of a file with the user's keys.
    """

    lm: LmSettings | None = None
    kenlm: KenlmSettings | None = None
    watermark: str | None = setting(
        "Look for a watermark, with these keys.", None, unit="FILE", heading=Heading.OTHER_SCORERS
    )

    @property
    def any(self) -> bool:
        """Whether an optional scorer runs."""
        return self != Extras()


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that a worker needs to know of a run, beside its shard.

    `batch_bytes` is how much is under way at a time, in bytes of decompressed input, in `threads`
    equal blocks; neither ever changes a result.
    `max_record_bytes` is the largest record that is read.
    """

    fields: FieldNames = field(default_factory=FieldNames)
    policy: Policy = field(default_factory=Policy)
    compression: Compression = setting(
        "How JSONL outputs are stored.", Compression.KEEP, heading=Heading.OUTPUT
    )
    annotate: bool = setting(
        "Add score, verdict and reasons to each record, as `lowbg`.", False, heading=Heading.OUTPUT
    )
    batch_bytes: int = setting(
        "How much is read at a time; changes memory and speed, never a result.",
        6 << 20,
        unit=SIZE,
        hidden=True,
    )
    max_record_bytes: int = setting(
        "Larger records are quarantined unread.", 64 << 20, unit=SIZE, heading=Heading.INPUT
    )
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

    exponent: float = setting(
        "A document weighs (1 − ai_score)^K.", 10.0, unit="K", heading=Heading.SAMPLING, least=0.0
    )
    upsampling: float = setting(
        "Draws, as a multiple of the documents.",
        1.5,
        unit="X",
        heading=Heading.SAMPLING,
        least=ABOVE_ZERO,
    )
    max_repeats: int = setting(
        "Most draws of a document.", 3, unit="N", heading=Heading.SAMPLING, least=1, most=255
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a mix is: at least `min_human` of its units are human, from 0 to 1.

    `min_human` is exact, so that 0.1 means a tenth. No source has more than `max_per_source` units
    of synthetic text (null: no cap); a source is what `source_field` says, else the host of the
    URL, else the shard. `token_field` holds a record's tokens. With `weights` nothing is copied.
    """

    min_human: Fraction = setting(
        "Least human share of the mix: 0.5, 1/3.",
        Fraction(1, 2),
        unit="SHARE",
        least=0.0,
        most=1.0,
        shown="0.5",
    )
    unit: MixUnit = setting(
        "What shares and caps are counted in.", MixUnit.TOKENS, flags="--by", heading=Heading.DRAW
    )
    seed: int = setting("Of the draw.", 0, unit="N", heading=Heading.DRAW)
    select: MixSelect = setting(
        "Synthetic documents: any, or those that add rare n-grams.",
        MixSelect.RANDOM,
        heading=Heading.DRAW,
    )
    max_per_source: int | None = setting(
        "Most synthetic tokens (words, documents) of one source.",
        None,
        unit="N",
        heading=Heading.DRAW,
        least=0,
    )
    source_field: str | None = setting(
        "What a source is.",
        None,
        unit="FIELD",
        heading=Heading.DRAW,
        shown="the URL's host, else the shard",
    )
    token_field: str | None = setting(
        "A record's number of tokens.",
        None,
        unit="FIELD",
        heading=Heading.DRAW,
        shown="words, digits and marks are counted",
    )
    weights: MixWeights | None = None

    def __post_init__(self) -> None:
        check_limits(self)
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
