"""The options that commands share: each is declared once, and used by its name."""

from __future__ import annotations

import datetime as dt
import math
import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from lowbg.config import Changed as IfChanged
from lowbg.config import Compression as Codec
from lowbg.config import ExecutorName, FprBound, LmDtype, Rule
from lowbg.config import Unscored as UnscoredTo

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)(b?))", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes: `65536`, `64M` and `64MiB` (× 1,048,576), `64MB` (× 1,000,000)."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; write it like 65536, 64M or 64MB")
    number, prefix, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    size = int(float(number) * base ** " kmgt".index(prefix.lower() or " "))
    if size < 1:
        raise typer.BadParameter("it must be at least one byte")
    return size


def parse_date(text: str | dt.date) -> dt.date:
    """A day: `2022-11-30`."""
    if isinstance(text, dt.date):
        return text
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write it like 2022-11-30") from None


def finite(value: float | None) -> float | None:
    """`value`, unless it is infinite or not a number: it would compare with nothing."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number")
    return value


Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Files, directories, globs, URLs (s3://, https://), or - for stdin.",
        show_default=False,
    ),
]
TextField: TypeAlias = Annotated[
    str,
    typer.Option(
        "--text-field",
        metavar="FIELD",
        help="The records' text; a dotted path (meta.lang) reaches into objects.",
    ),
]
IdField: TypeAlias = Annotated[
    str, typer.Option("--id-field", metavar="FIELD", help="Their identifier.")
]
LangField: TypeAlias = Annotated[
    str,
    typer.Option(
        "--lang-field", metavar="FIELD", help="Their language; told from the text where absent."
    ),
]
DateField: TypeAlias = Annotated[
    str | None,
    typer.Option("--date-field", metavar="FIELD", help="Their date (ISO 8601). [default: date]"),
]
UrlField: TypeAlias = Annotated[
    str, typer.Option("--url-field", metavar="FIELD", help="Their URL, for the report.")
]
PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="The decision (TOML); options given beside it go first."
    ),
]
RuleName: TypeAlias = Annotated[
    Rule | None,
    typer.Option("--rule", help="How features become a verdict. [default: calibrated]"),
]
TargetFpr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--target-fpr",
        metavar="SHARE",
        callback=finite,
        help="Share of human documents that may be called AI. [default: 0.01]",
    ),
]
FprBoundName: TypeAlias = Annotated[
    FprBound | None,
    typer.Option(
        "--fpr-bound",
        help="Does that hold on average over collections of human text, or on every one? "
        "[default: mean]",
    ),
]
MinPerplexity: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-perplexity",
        metavar="X",
        callback=finite,
        help="With --rule thresholds: below this it is AI.",
    ),
]
MinBurstiness: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-burstiness",
        metavar="X",
        callback=finite,
        help="With --rule thresholds: below this it is AI.",
    ),
]
MaxPhraseHits: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-phrase-hits",
        metavar="N",
        min=0,
        help="With --rule thresholds: above this it is AI.",
    ),
]
Unscored: TypeAlias = Annotated[
    UnscoredTo | None,
    typer.Option("--unscored", help="Where documents go that cannot be judged. [default: human]"),
]
TrustBefore: TypeAlias = Annotated[
    dt.date | None,
    typer.Option(
        "--trust-before",
        metavar="DATE",
        parser=parse_date,
        help="Documents dated earlier are human by provenance.",
    ),
]
Trust: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="FIELD=VALUE",
        help="Documents whose field has this value (a glob) are human by provenance; repeatable.",
    ),
]
AllowSource: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-source",
        metavar="SOURCE",
        help="Host (and those below), glob, host/path, or @FILE of them: human by provenance.",
    ),
]
DenySource: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--deny-source", metavar="SOURCE", help="Likewise: AI, whatever else is known of them."
    ),
]
CountField: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--count-field",
        metavar="FIELD",
        help="Count the documents by this field's values (C2PA, sidecars); repeatable.",
    ),
]
Lm: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--lm",
        metavar="MODEL",
        help="A causal LM reads documents too: a folder or a Hugging Face name (NAME@REVISION).",
    ),
]
LmPerformer: TypeAlias = Annotated[
    str | None,
    typer.Option("--lm-performer", metavar="MODEL", help="A second one for Binoculars."),
]
LmBand: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--lm-band",
        metavar="LOW:HIGH",
        help="It reads only documents whose ai_score lies here, and too short ones. [default: all]",
    ),
]
LmContext: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--lm-context", metavar="N", min=2, help="Tokens it reads at once. [default: the model's]"
    ),
]
LmType: TypeAlias = Annotated[
    LmDtype, typer.Option("--lm-dtype", help="Its numbers; auto: float32, on a GPU bfloat16.")
]
LmDevice: TypeAlias = Annotated[
    str, typer.Option("--lm-device", metavar="DEVICE", help="auto, cpu, cuda, or cuda:N.")
]
LmBatchTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--lm-batch-tokens",
        metavar="N",
        min=1,
        help="Tokens in a batch; halved when memory runs out. [default: 2048, on a GPU 65536]",
    ),
]
Kenlm: TypeAlias = Annotated[
    str | None,
    typer.Option("--kenlm", metavar="FILE", help="A KenLM model (.bin, .arpa): kenlm_perplexity."),
]
KenlmSentencepiece: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--kenlm-sentencepiece", metavar="FILE", help="The SentencePiece model of its words."
    ),
]
KenlmNormalise: TypeAlias = Annotated[
    bool, typer.Option("--kenlm-normalise", help="Prepare text for it as CCNet does.")
]
Watermark: TypeAlias = Annotated[
    str | None,
    typer.Option("--watermark", metavar="FILE", help="Look for a watermark, with these keys."),
]
AiTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ai-to",
        metavar="FILE",
        help="Without -o: AI lines go here, compressed as the name says (.zst, .gz).",
    ),
]
DiscardAi: TypeAlias = Annotated[
    bool, typer.Option("--discard-ai", help="Without -o: AI lines are dropped.")
]
QuarantineTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--quarantine-to",
        metavar="FILE",
        help="Without -o: records that cannot be read. [default: <AI file>.quarantine.jsonl]",
    ),
]
ReportTo: TypeAlias = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Without -o: the report (.json or .html)."),
]
Annotate: TypeAlias = Annotated[
    bool,
    typer.Option("--annotate", help="Add score, verdict and reasons to each record, as `lowbg`."),
]
Compression: TypeAlias = Annotated[
    Codec | None,
    typer.Option("--compression", help="How JSONL outputs are stored. [default: keep]"),
]
FailAbove: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fail-above",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Exit 1 when the AI share of the scored documents is higher (0 to 1).",
    ),
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Print the configuration and the shards; make nothing.")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes, each with a shard at a time. [default: one a core]",
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Batches of a shard that a worker scores at once. [default: free cores, up to 4]",
    ),
]
Executor: TypeAlias = Annotated[
    ExecutorName | None,
    typer.Option("--executor", help="What maps shards over workers. [default: processes]"),
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run left in the output.")
]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on with the run that the output holds, if any.")
]
Incremental: TypeAlias = Annotated[
    bool,
    typer.Option("--incremental", help="Add what is new since the last run to the output, if any."),
]
Changed: TypeAlias = Annotated[
    IfChanged | None,
    typer.Option(
        "--changed",
        help="With --incremental: what becomes of inputs that changed. [default: refuse]",
    ),
]
Retries: TypeAlias = Annotated[
    int,
    typer.Option("--retries", metavar="N", min=0, help="Try a shard that failed N times more."),
]
CheckpointSeconds: TypeAlias = Annotated[
    float,
    typer.Option(
        "--checkpoint-seconds", metavar="S", min=0.0, help="How often a shard's state is saved."
    ),
]
CheckpointBytes: TypeAlias = Annotated[
    int,
    typer.Option(
        "--checkpoint-bytes",
        metavar="SIZE",
        parser=parse_size,
        help="… and after how much decompressed input at the latest. [default: 256M]",
        show_default=False,
    ),
]
CheckDigests: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--check-digests", help="Note each input's SHA-256; --resume compares it, not the time."
    ),
]
SkipIfRunning: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-if-running", help="Exit 0 when another run writes to the output: for cron."
    ),
]
LogFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Append a JSON line a shard, and a summary."),
]
Reserve: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--reserve",
        metavar="DIR",
        help="Keep documents that are human by provenance there too, each text once.",
    ),
]
Strict: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Exit 3 also when any record was quarantined.")
]
MaxRecordBytes: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-record-bytes",
        metavar="SIZE",
        parser=parse_size,
        help="Larger records are quarantined unread. [default: 64M]",
        show_default=False,
    ),
]
BatchBytes: TypeAlias = Annotated[
    int,
    typer.Option(
        "--batch-bytes",
        metavar="SIZE",
        parser=parse_size,
        help="How much is read at a time; changes memory and speed, never a result.",
        hidden=True,
    ),
]
BatchBytesByLm: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--batch-bytes",
        metavar="SIZE",
        parser=parse_size,
        help="How much is read at a time; changes memory and speed, never a result.",
        hidden=True,
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
