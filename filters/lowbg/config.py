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
from typing import Any, Final

from lowbg.errors import ConfigError
from lowbg.lm_budget import LmBudget, LmSelection
from lowbg.policy import (
    AUTO,
    Artifacts,
    FprBound,
    Gate,
    GateGroup,
    GateStatistic,
    LmCalibration,
    LmFeature,
    LmSpread,
    LmSurprise,
    Policy,
    Provenance,
    Rule,
    Sources,
    SourceVerdict,
    Thresholds,
    Unscored,
    WholeSource,
)
from lowbg.settings import (
    ABOVE_ZERO,
    SIZE,
    Heading,
    check_limits,
    setting,
)

# What a policy is made of is part of a run's configuration, and imported from here as well.
__all__ = [
    "AUTO",
    "Artifacts",
    "FprBound",
    "Gate",
    "GateGroup",
    "GateStatistic",
    "LmCalibration",
    "LmFeature",
    "LmSpread",
    "LmSurprise",
    "Policy",
    "Provenance",
    "Rule",
    "SourceVerdict",
    "Sources",
    "Thresholds",
    "Unscored",
    "WholeSource",
]


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


class Compression(StrEnum):
    """How JSONL outputs are compressed; `keep` follows each input."""

    KEEP = "keep"
    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


class ScoreFormat(StrEnum):
    """How scores are written.

    JSONL and PARQUET: one row a document, `schema.Columns.row`. DOLMA: dolma's attributes side
    files, line by line beside the documents, below `attributes/lowbg/`.
    """

    JSONL = "jsonl"
    PARQUET = "parquet"
    DOLMA = "dolma"


class SourceListForm(StrEnum):
    """How a list of sources is written.

    PLAIN: a source a line, its evidence behind a `#`; `--deny-source @FILE` and `--allow-source
    @FILE` read it. URLFILTER: the same sources and nothing else, as URL filters of crawl pipelines
    take them (datatrove's and others'). ADBLOCK: a rule of content blockers a line.
    """

    PLAIN = "plain"
    URLFILTER = "urlfilter"
    ADBLOCK = "adblock"


class ExecutorName(StrEnum):
    """What maps shards over workers."""

    SERIAL = "serial"
    PROCESSES = "processes"
    RAY = "ray"


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

    Of `text` one may lead through lists (`messages[].content`, `messages[*].content`,
    `paragraphs[]`): then the strings are one text, with blank lines between them. `others` are read
    as well, for provenance and counting.
    """

    text: str = setting(
        "A record's text; doc.body reaches into objects, turns[].text into lists.",
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
        "A record's date, in one of the usual forms.",
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


NO_PROBE: Final = "none"
"""What stands for no probe, where one comes with lowbg for the model."""


def is_served(model: str) -> bool:
    """Whether a causal LM's name is the address of a server that has it."""
    return model.lower().startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class LmSettings:
    """Which causal LM reads which documents, and how.

    `model` and `performer` are folders, GGUF files or names on the Hugging Face Hub
    (`NAME@REVISION`); `model` may be the address of a server, too, of whose models `name` says one,
    with `requests` at a time, each of at most `timeout` seconds. `probe` is a file that `lowbg
    train --probe` made for the model, or a directory of them, one a language: then the model is run
    up to the probe's layer, on a document's beginning alone. Null: the one that comes with lowbg
    for the model, if there is one; `none`: none. With `surprise` the whole model is run on that
    beginning, and the probe weighs how it is surprised, too. `context` lowers the tokens read at
    once. `batch_tokens`, null for the device's default, never changes a figure beyond rounding.
    """

    model: str = setting(
        "A causal LM reads documents too: a folder, GGUF file, Hugging Face name, or server.",
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
    probe: str | None = setting(
        "Judge by what the LM represents: a probe that lowbg train made, or a directory of them.",
        None,
        flags="--lm-probe",
        unit="FILE|DIR|none",
        shown="the one shipped for the model",
        heading=Heading.SECOND_LOOK,
    )
    surprise: bool = setting(
        "With a probe: read the LM's surprise, too; finds base models, takes thrice the time.",
        False,
        flags="--lm-surprise",
        heading=Heading.SECOND_LOOK,
    )
    budget: str | None = setting(
        "It reads so much: the uncertain, the short, pages of unsure sources, some low scores.",
        None,
        flags="--lm-budget",
        unit="SHARE|TOKENS|TOKENS/SxHOURSh",
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
    name: str | None = setting(
        "Of a server's models, this one.",
        None,
        flags="--lm-name",
        unit="NAME",
        heading=Heading.SECOND_LOOK,
        shown="its only one",
    )
    requests: int = setting(
        "Requests that a server gets at a time.",
        16,
        flags="--lm-requests",
        unit="N",
        heading=Heading.SECOND_LOOK,
        least=1,
    )
    timeout: float = setting(
        "How long a server may take for a request.",
        120.0,
        flags="--lm-timeout",
        unit="S",
        heading=Heading.SECOND_LOOK,
        least=ABOVE_ZERO,
    )
    selection: LmSelection | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            LmBudget.parse(self.budget)
        if self.probe not in (None, NO_PROBE) and self.performer is not None:
            raise ConfigError(
                "a probe has no use for a second model: leave out either `extras.lm.probe` or "
                "`extras.lm.performer`",
                key="extras.lm.probe",
            )
        self._check_served()
        check_limits(self)

    def _check_served(self) -> None:
        """Raises `ConfigError` for what a server doesn't take, and for what only one does."""
        served = is_served(self.model)
        what = "a model that a server has" if served else "one that runs here"
        for own in dataclasses.fields(self):
            value = getattr(self, own.name)
            if own.name not in (_NOT_FOR_SERVERS if served else _FOR_SERVERS):
                continue
            if value != own.default and value != NO_PROBE:
                why = _NO_MORE if own.name in ("performer", "probe", "surprise") else ""
                raise ConfigError(
                    f"no effect on {what}; leave out `extras.lm.{own.name}`{why}",
                    key=f"extras.lm.{own.name}",
                )


_FOR_SERVERS = frozenset({"name", "requests", "timeout"})
_NOT_FOR_SERVERS = frozenset({"dtype", "device", "batch_tokens", "performer", "probe", "surprise"})
_NO_MORE = " (a server gives log-probabilities, and neither states nor predictions)"


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
    watermark: str | None = setting(
        "Look for a watermark, with these keys.", None, unit="FILE", heading=Heading.OTHER_SCORERS
    )

    @property
    def by_scorer(self) -> Mapping[str, LmSettings | KenlmSettings | WatermarkSettings | None]:
        """The settings by scorer, null where it isn't asked for.

        With two LMs `binoculars` has both scorers' columns; with a probe the LM is read for that
        alone.
        """
        pair = self.lm is not None and self.lm.performer is not None
        probe = self.lm is not None and self.lm.probe not in (None, NO_PROBE)
        return {
            "causal_lm": None if pair or probe else self.lm,
            "binoculars": self.lm if pair else None,
            "lm_probe": self.lm if probe else None,
            "kenlm": self.kenlm,
            "watermark": None if self.watermark is None else WatermarkSettings(self.watermark),
        }


QUARANTINE_BYTES: Final = 256 << 20
"""Bytes of unreadable records that are kept of a shard."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that a worker needs to know of a run, beside its shard.

    `batch_bytes` is how much is under way at a time, in bytes of decompressed input, and twice that
    where `threads` share it in equal blocks; neither ever changes a result.
    `max_record_bytes` is the largest record that is read, `max_quarantine_bytes` what is kept in
    quarantine of a shard's records that can't be. Of an input in several zstd frames or gzip
    members outputs are so, too: one ends where one of the input begins that lies `frame_bytes`
    stored bytes behind another such. Without `force` a shard is given up of whose
    first records none has a text. With `examples` the report holds how a few documents begin.
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
    max_quarantine_bytes: int | None = setting(
        "Bytes of unreadable records kept per shard; of what is beyond, place and SHA-256.",
        None,
        unit=SIZE,
        heading=Heading.OUTPUT,
        shown="256M; of stdin all",
    )
    force: bool = setting(
        "Go on where none of a shard's first 10,000 records has a text.",
        False,
        heading=Heading.INPUT,
    )
    examples: bool = setting(
        "Show a few documents in the report: their beginnings, and why they were judged so.",
        True,
        flags="--examples/--no-examples",
        heading=Heading.OUTPUT,
    )
    threads: int = 1
    frame_bytes: int = 8 << 20
    extras: Extras = field(default_factory=Extras)

    def __post_init__(self) -> None:
        check_limits(self)

    def quarantine_bytes(self, *, again: bool) -> int | None:
        """How many bytes of unreadable records are kept of a shard; null: all.

        Unless said otherwise, all of what can't be read `again`: else they would be nowhere.
        """
        if self.max_quarantine_bytes is None and again:
            return QUARANTINE_BYTES
        return self.max_quarantine_bytes

    @property
    def block_bytes(self) -> int:
        """The size of the blocks read: of more than two threads smaller, so that memory stays.

        Not with two: each block costs something by itself, and halves take 12 % more CPU.
        """
        return max(1, self.batch_bytes * min(self.threads, 2) // self.threads)

    @property
    def read_fields(self) -> FieldNames:
        """The fields to read: `fields`, and those that the policy's provenance looks at."""
        provenance = self.policy.provenance
        others = (*self.fields.others, *provenance.fields, *provenance.count_fields)
        sources = self.policy.sources
        if sources.table is not None and sources.by.startswith("field:"):
            others = (*others, sources.by.removeprefix("field:"))
        return dataclasses.replace(self.fields, others=tuple(dict.fromkeys(others)))


NOT_OF_RESULTS: Final = ("batch_bytes", "threads", "force", "max_quarantine_bytes", "examples")
"""What of a `RunConfig` doesn't decide what becomes of documents."""

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
        if isinstance(value, Policy):
            # A policy without these keeps the digest that it always had.
            for name in ("scorers", "tables"):
                if not values[name]:
                    del values[name]
            if value.sources == Sources():
                del values["sources"]
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
