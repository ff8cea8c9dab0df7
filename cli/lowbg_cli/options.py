"""The options that commands share: each is declared once, and used by its name.

Those without a heading come first in `--help`: what everyone needs.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from lowbg.config import Changed as IfChanged
from lowbg.config import Compression as Codec
from lowbg.config import ExecutorName, FprBound, Rule
from lowbg.config import Unscored as UnscoredTo

INPUT = "Input and fields"
PIPE = "As part of a pipeline, without -o"
OUTPUT = "Output"
DECISION = "Decision"
LIMITS = "Limits"
PROVENANCE = "Provenance"
RUNNING = "Running"
EXIT = "Exit code"

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
        help="A record's text; a dotted path (meta.lang) reaches into objects.",
    ),
]
IdField: TypeAlias = Annotated[
    str,
    typer.Option(
        "--id-field", metavar="FIELD", help="A record's identifier.", rich_help_panel=INPUT
    ),
]
LangField: TypeAlias = Annotated[
    str,
    typer.Option(
        "--lang-field",
        metavar="FIELD",
        help="A record's language; told from the text where absent.",
        rich_help_panel=INPUT,
    ),
]
DateField: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--date-field",
        metavar="FIELD",
        help="A record's date (ISO 8601). [default: date]",
        rich_help_panel=INPUT,
    ),
]
UrlField: TypeAlias = Annotated[
    str,
    typer.Option(
        "--url-field",
        metavar="FIELD",
        help="A record's URL, for the report.",
        rich_help_panel=INPUT,
    ),
]
PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="The decision (TOML); options given beside it go first."
    ),
]
RuleName: TypeAlias = Annotated[
    Rule | None,
    typer.Option(
        "--rule",
        help="How features become a verdict. [default: calibrated]",
        rich_help_panel=DECISION,
    ),
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
        help="--target-fpr holds on average over collections of human text, or on every one. "
        "[default: mean]",
        rich_help_panel=DECISION,
    ),
]
MinPerplexity: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-perplexity",
        metavar="X",
        callback=finite,
        help="With --rule thresholds: below this it is AI.",
        rich_help_panel=DECISION,
    ),
]
MinBurstiness: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-burstiness",
        metavar="X",
        callback=finite,
        help="With --rule thresholds: below this it is AI.",
        rich_help_panel=DECISION,
    ),
]
MaxPhraseHits: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-phrase-hits",
        metavar="N",
        min=0,
        help="With --rule thresholds: above this it is AI.",
        rich_help_panel=DECISION,
    ),
]
Unscored: TypeAlias = Annotated[
    UnscoredTo | None,
    typer.Option(
        "--unscored",
        help="Where documents go that cannot be judged. [default: human]",
        rich_help_panel=OUTPUT,
    ),
]
TrustBefore: TypeAlias = Annotated[
    dt.date | None,
    typer.Option(
        "--trust-before",
        metavar="DATE",
        parser=parse_date,
        help="Documents dated earlier are human by provenance.",
        rich_help_panel=PROVENANCE,
    ),
]
Trust: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="FIELD=VALUE",
        help="Documents whose field has this value (a glob) are human by provenance; repeatable.",
        rich_help_panel=PROVENANCE,
    ),
]
AllowSource: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-source",
        metavar="SOURCE",
        help="Host (and those below), glob, host/path, or @FILE of them: human by provenance.",
        rich_help_panel=PROVENANCE,
    ),
]
DenySource: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--deny-source",
        metavar="SOURCE",
        help="Likewise: AI, whatever else is known of them.",
        rich_help_panel=PROVENANCE,
    ),
]
CountField: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--count-field",
        metavar="FIELD",
        help="Count the documents by this field's values (C2PA, sidecars); repeatable.",
        rich_help_panel=PROVENANCE,
    ),
]
AiTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ai-to",
        metavar="FILE",
        help="AI lines go here, compressed as the name says (.zst, .gz).",
        rich_help_panel=PIPE,
    ),
]
DiscardAi: TypeAlias = Annotated[
    bool,
    typer.Option("--discard-ai", help="AI lines are dropped.", rich_help_panel=PIPE),
]
QuarantineTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--quarantine-to",
        metavar="FILE",
        help="Records that cannot be read go here. [default: <AI file>.quarantine.jsonl]",
        rich_help_panel=PIPE,
    ),
]
ReportTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="The report goes here (.json or .html).",
        rich_help_panel=PIPE,
    ),
]
Annotate: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--annotate",
        help="Add score, verdict and reasons to each record, as `lowbg`.",
        rich_help_panel=OUTPUT,
    ),
]
Compression: TypeAlias = Annotated[
    Codec | None,
    typer.Option(
        "--compression",
        help="How JSONL outputs are stored. [default: keep]",
        rich_help_panel=OUTPUT,
    ),
]
FailAbove: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--fail-above",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Exit 1 when the AI share of the scored documents is higher (0 to 1).",
        rich_help_panel=EXIT,
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
        help="Of a worker, for one shard: one writes, the others score. "
        "[default: free cores, up to 4]",
        rich_help_panel=RUNNING,
    ),
]
Executor: TypeAlias = Annotated[
    ExecutorName | None,
    typer.Option(
        "--executor",
        help="What maps shards over workers. [default: processes]",
        rich_help_panel=RUNNING,
    ),
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
        rich_help_panel=RUNNING,
    ),
]
Retries: TypeAlias = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        help="Try a shard that failed N times more.",
        rich_help_panel=RUNNING,
    ),
]
CheckpointSeconds: TypeAlias = Annotated[
    float,
    typer.Option(
        "--checkpoint-seconds",
        metavar="S",
        min=0.0,
        help="How often a shard's state is saved.",
        rich_help_panel=RUNNING,
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
        rich_help_panel=RUNNING,
    ),
]
CheckDigests: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--check-digests",
        help="Note each input's SHA-256; --resume compares it, not the time.",
        rich_help_panel=RUNNING,
    ),
]
SkipIfRunning: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-if-running",
        help="Exit 0 when another run writes to the output: for cron.",
        rich_help_panel=RUNNING,
    ),
]
LogFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append a JSON line a shard, and a summary.",
        rich_help_panel=RUNNING,
    ),
]
Reserve: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--reserve",
        metavar="DIR",
        help="Keep documents that are human by provenance there too, each text once.",
        rich_help_panel=OUTPUT,
    ),
]
Strict: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit 3 also when any record was quarantined.", rich_help_panel=EXIT
    ),
]
MaxRecordBytes: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-record-bytes",
        metavar="SIZE",
        parser=parse_size,
        help="Larger records are quarantined unread. [default: 64M]",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
BatchBytes: TypeAlias = Annotated[
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
