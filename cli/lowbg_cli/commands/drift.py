"""`lowbg drift`: has a corpus, or a model, changed since a baseline."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from lowbg.amounts import counted
from lowbg.config import RunConfig
from lowbg.jobs.drift.settings import Limits, Size
from lowbg_cli import options, terminal
from lowbg_cli.configure import (
    FieldOptions,
    PolicyOptions,
    WorkerOptions,
    find_shards,
    standard_input,
)
from lowbg_cli.exits import ExitCode, guarded
from lowbg_cli.helping import PlainCommand, PlainGroup
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.drift.history import Check
    from lowbg.jobs.drift.sampling import Sample
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard

FIELDS = RunConfig().fields
SIZE, LIMITS = Size(), Limits()

drift_app = typer.Typer(
    cls=PlainGroup,
    name="drift",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Compare a corpus, or a model, with a baseline.",
)

MaxPerplexityRise: TypeAlias = Annotated[
    float,
    typer.Option(
        "--max-perplexity-rise",
        metavar="SHARE",
        min=0.0,
        callback=options.finite,
        help="Of the human hold-out; 0.1 is 10 % more than at the baseline.",
        rich_help_panel=options.LIMITS,
    ),
]
Label: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="TEXT",
        help="What the trend calls this check. [default: the time, UTC]",
        rich_help_panel=options.OUTPUT,
    ),
]
History: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--history",
        metavar="FILE",
        help="Append the check to a JSONL file of checks.",
        rich_help_panel=options.OUTPUT,
    ),
]
JsonTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the check as JSON.", rich_help_panel=options.OUTPUT
    ),
]
HtmlTo: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page: the trend over the history, the last check.",
        rich_help_panel=options.OUTPUT,
    ),
]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a check goes beside stdout, and what it is called there."""

    label: str | None
    history: Path | None
    json: Path | None
    html: Path | None

    def read(self, baseline: str) -> list[Check]:
        """The earlier checks of the baseline; a history that can't be read ends it here."""
        if self.history is None:
            return []
        from lowbg.jobs.drift.history import of_baseline, read_history

        return of_baseline(read_history(self.history), baseline)

    def write(
        self, check: Check, earlier: Sequence[Check], facts: Sequence[tuple[str, str]]
    ) -> None:
        """Every file that was asked for."""
        from lowbg.jobs.drift.history import append
        from lowbg.jobs.drift.trend import render_trend
        from lowbg.storage.files import write_whole
        from lowbg.storage.typed import indented, to_plain

        if self.json is not None:
            write_whole(self.json, indented(to_plain(check)))
        if self.history is not None:
            append(self.history, check)
        if self.html is not None:
            page = render_trend([*earlier, check], facts)
            write_whole(self.html, page.encode("utf-8"))


@drift_app.command("baseline", cls=PlainCommand)
@guarded
def baseline_command(
    inputs: options.Inputs,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The baseline (JSON).")
    ],
    documents: Annotated[
        int,
        typer.Option("--documents", metavar="N", min=20, help="Documents in a sample."),
    ] = SIZE.documents,
    words: Annotated[
        int,
        typer.Option("--words", metavar="N", min=100, help="Words of them that are counted."),
    ] = SIZE.words,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Another seed, another sample.")
    ] = SIZE.seed,
    text_field: options.TextField = FIELDS.text,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    url_field: options.UrlField = FIELDS.url,
    policy: options.PolicyFile = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Record what a corpus is like, to compare later ones with.

    The metrics are of a random sample of fixed size: perplexity, distinct n-grams, unique tokens,
    entropy, Zipf slope, hapaxes, sentence lengths, languages, hosts, AI share, each with its
    interval. A fifth of the sample is put aside as hold-out. The file holds no text, but hashes of
    the hold-out's words in their order.

    \b
      lowbg drift baseline crawl/2026-01/ -o base.json
    """
    size = Size(documents, words, seed)
    policy_options = PolicyOptions(file=policy)
    fields = FieldOptions(text_field, FIELDS.id, lang_field, date_field, url_field)
    drawn, engine = _draw(inputs, size, policy_options, fields, workers, quiet=quiet)

    from lowbg.jobs.drift.baseline import conditions_of, write_baseline
    from lowbg.jobs.drift.measure import measure

    profile = measure(drawn, size, engine).profile
    if profile.holdout is None:
        terminal.warning("no document was fit for the hold-out: its perplexity can't be watched")
    write_baseline(output, profile, conditions_of(engine), tuple(inputs))
    if not quiet:
        terminal.say(
            f"{output}: {documents:,} of {counted(profile.seen, 'document')}, {words:,} words"
        )
    return ExitCode.FINISHED if drawn.complete else ExitCode.INCOMPLETE


@drift_app.command("check", cls=PlainCommand)
@guarded
def check_command(
    inputs: options.Inputs,
    baseline: Annotated[
        Path, typer.Option("--baseline", metavar="FILE", help="What drift baseline wrote.")
    ],
    max_perplexity_rise: MaxPerplexityRise = LIMITS.max_perplexity_rise,
    min_unique_tokens: Annotated[
        float,
        typer.Option(
            "--min-unique-tokens",
            metavar="SHARE",
            min=0.0,
            callback=options.finite,
            help="Least share of the baseline's unique tokens.",
            rich_help_panel=options.LIMITS,
        ),
    ] = LIMITS.min_unique_tokens,
    max_entropy_fall: Annotated[
        float,
        typer.Option(
            "--max-entropy-fall",
            metavar="BITS",
            min=0.0,
            callback=options.finite,
            help="Of unigrams and of bigrams.",
            rich_help_panel=options.LIMITS,
        ),
    ] = LIMITS.max_entropy_fall,
    max_js_distance: Annotated[
        float,
        typer.Option(
            "--max-js-distance",
            metavar="X",
            min=0.0,
            max=1.0,
            help="Jensen-Shannon distance of words, of sentence lengths, of languages.",
            rich_help_panel=options.LIMITS,
        ),
    ] = LIMITS.max_js_distance,
    max_ai_share_rise: Annotated[
        float,
        typer.Option(
            "--max-ai-share-rise",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="0.05: five points.",
            rich_help_panel=options.LIMITS,
        ),
    ] = LIMITS.max_ai_share_rise,
    max_tail_fall: Annotated[
        float,
        typer.Option(
            "--max-tail-fall",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Of documents above the baseline's ninth decile of perplexity, a tenth of it.",
            rich_help_panel=options.LIMITS,
        ),
    ] = LIMITS.max_tail_fall,
    label: Label = None,
    history: History = None,
    json_to: JsonTo = None,
    html_to: HtmlTo = None,
    text_field: options.TextField = FIELDS.text,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    url_field: options.UrlField = FIELDS.url,
    policy: options.PolicyFile = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Compare a corpus with a baseline; exit 1 beyond a limit.

    An alert fires only when the whole 95 % interval of the change is beyond the limit. The sample
    is as large as the baseline's; another version, model or policy than the baseline's is refused.

    \b
      lowbg drift check crawl/2026-02/ --baseline base.json --history drift.jsonl --html drift.html
    """
    from lowbg.jobs.drift.baseline import conditions_of, read_baseline
    from lowbg.jobs.drift.check import compare, require_alike
    from lowbg.jobs.drift.history import Check

    limits = Limits(
        max_perplexity_rise=max_perplexity_rise,
        min_unique_tokens=min_unique_tokens,
        max_entropy_fall=max_entropy_fall,
        max_js_distance=max_js_distance,
        max_ai_share_rise=max_ai_share_rise,
        max_tail_fall=max_tail_fall,
    )
    before = read_baseline(baseline)
    places = _Places(label, history, json_to, html_to)
    earlier = places.read(before.sha256)
    policy_options = PolicyOptions(file=policy)
    fields = FieldOptions(text_field, FIELDS.id, lang_field, date_field, url_field)

    from lowbg.jobs.drift.measure import measure
    from lowbg.runs.engine import Engine

    # Before hours of reading, not after them.
    require_alike(before, conditions_of(Engine(policy_options.resolve())), str(baseline))
    size = before.profile.size
    drawn, engine = _draw(inputs, size, policy_options, fields, workers, quiet=quiet)
    measured = measure(drawn, size, engine, before.profile)
    changes = compare(before.profile, measured, limits)
    made = dt.datetime.now(dt.UTC)
    check = Check(
        label=label or f"{made:%Y-%m-%d %H:%M}",
        made=made.isoformat(timespec="seconds"),
        baseline=before.sha256,
        inputs=tuple(inputs),
        documents=drawn.seen,
        incomplete=not drawn.complete,
        changes=tuple(changes),
    )
    facts = [
        ("baseline", f"{baseline}, made {before.made} of {', '.join(before.inputs)}"),
        ("checked", f"{', '.join(inputs)}: {drawn.seen:,} documents"),
        ("sample", f"{size.documents:,} documents, {size.words:,} words, seed {size.seed}"),
        ("lowbg", before.conditions.version),
    ]
    return _end(check, places, earlier, facts, quiet=quiet)


@drift_app.command("canary", cls=PlainCommand)
@guarded
def canary_command(
    inputs: options.Inputs,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", metavar="SCORES", help="The scores of the checkpoint to compare with."
        ),
    ],
    max_perplexity_rise: MaxPerplexityRise = LIMITS.max_perplexity_rise,
    label: Label = None,
    history: History = None,
    json_to: JsonTo = None,
    html_to: HtmlTo = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Compare a checkpoint's perplexity with an earlier one's.

    Held-out human text tells whether a model forgets it.

    INPUT and --baseline are rows of lowbg score with lm_perplexity, over the same documents. Exit 1
    where the perplexity rose more than the limit, its whole 95 % interval.

    \b
      lowbg drift canary scores/step-2000/ --baseline scores/step-0/ --label 2000
    """
    from lowbg.jobs.drift.canary import compare_scores, read_scores
    from lowbg.jobs.drift.history import Check

    before = read_scores(_score_files([baseline]))
    places = _Places(label, history, json_to, html_to)
    earlier = places.read(before.digest)
    now = read_scores(_score_files(inputs))
    change = compare_scores(before, now, Limits(max_perplexity_rise=max_perplexity_rise))
    made = dt.datetime.now(dt.UTC)
    check = Check(
        label=label or f"{made:%Y-%m-%d %H:%M}",
        made=made.isoformat(timespec="seconds"),
        baseline=before.digest,
        inputs=tuple(inputs),
        documents=len(now),
        incomplete=False,
        changes=(change,),
    )
    facts = [
        ("baseline", baseline),
        ("checked", ", ".join(inputs)),
        ("held-out documents", f"{len(now):,}"),
    ]
    return _end(check, places, earlier, facts, quiet=quiet)


def _draw(
    inputs: Sequence[str],
    size: Size,
    policy_options: PolicyOptions,
    field_options: FieldOptions,
    workers: int | None,
    *,
    quiet: bool,
) -> tuple[Sample, Engine]:
    """The sample, and what will judge it; says what could not be read."""
    policy = policy_options.resolve()
    config = RunConfig(fields=field_options.resolve(policy), policy=policy)
    shards = find_shards(inputs, None, quiet=quiet).shards
    stdin = standard_input(shards)

    from lowbg.errors import InputError
    from lowbg.jobs.drift.sampling import DrawTask, draw
    from lowbg.runs.engine import Engine
    from lowbg.runs.mapping import Workers

    used, executor = WorkerOptions(workers).resolve(shards)
    task = DrawTask(config, size.documents, size.seed, stdin)
    with progress_line(shards, quiet=quiet) as observer:
        drawn = draw(shards, task, Workers(used, executor), observer)
    tell_broken(drawn.shards)
    if not drawn.complete and len(drawn) < size.documents:
        raise InputError(
            f"{counted(drawn.seen, 'document')} could be read, too few for a sample of "
            f"{size.documents:,}"
        )
    if drawn.unread and not drawn.seen:
        seen = sorted({field for shard in drawn.shards for field in shard.seen_fields})
        fields = ", ".join(seen[:12])
        hint = (
            f"the fields there are: {fields}. Name the one that holds the text with --text-field."
            if fields
            else "is the input JSONL, an object a line, or Parquet?"
        )
        raise InputError(f"none of {counted(drawn.unread, 'record')} could be read as text; {hint}")
    if drawn.unread and not quiet:
        terminal.warning(f"{counted(drawn.unread, 'record')} left out: can't be read")
    return drawn, Engine(policy).setup()


def _score_files(inputs: Sequence[str]) -> list[Shard]:
    """The files of scores that the inputs stand for; a run's report and manifest are none."""
    from lowbg.runs.inputs import survey

    other = {"report.json", "manifest.json"}
    return [shard for shard in survey(inputs).shards if Path(shard.path).name not in other]


def _end(
    check: Check,
    places: _Places,
    earlier: Sequence[Check],
    facts: Sequence[tuple[str, str]],
    *,
    quiet: bool,
) -> ExitCode:
    """The files, the table on stdout, a line on stderr, and the exit code."""
    from lowbg_cli.changes import print_changes

    places.write(check, earlier, facts)
    print_changes(check.changes, sys.stdout)
    blind = [c.title for c in check.changes if c.limit is not None and c.change is None]
    if blind:
        terminal.warning(f"nothing to compare, so not judged: {', '.join(blind)}")
    if check.alerts:
        terminal.error(f"drift: {', '.join(change.title for change in check.alerts)}")
    elif not quiet:
        terminal.say("no drift beyond the limits")
    if check.incomplete:
        # A part of the input is no judgement of the whole: 3 goes first.
        return ExitCode.INCOMPLETE
    return ExitCode.JUDGED_BAD if check.alerts else ExitCode.FINISHED
