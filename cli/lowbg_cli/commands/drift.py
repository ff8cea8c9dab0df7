"""`lowbg drift`: has a corpus, or a model, changed since a baseline."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import counted
from lowbg.config import RunConfig
from lowbg.jobs.drift.settings import Limits, Size
from lowbg.settings import Heading, Setting, Written, setting
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.configure import (
    ConfigOptions,
    Inputs,
    Quiet,
    WorkerOptions,
    find_shards,
    standard_input,
)
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Group, Only, command
from lowbg_cli.outcome import tell_broken, tell_dates
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.drift.history import Check
    from lowbg.jobs.drift.sampling import Sample
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard

CONFIG = (
    *("file", "force", "fields.text", "fields.language", "fields.date", "fields.url"),
    "decision.tables",
)


SIZE = Size()


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How large the sample is, and the seed that draws it."""

    documents: int = setting("Documents in a sample.", SIZE.documents, unit="N", least=20)
    words: int = setting("Words of them that are counted.", SIZE.words, unit="N", least=100)
    seed: int = setting("Another seed, another sample.", SIZE.seed, unit="N", least=0)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a check goes beside stdout, and what it is called there."""

    label: str | None = setting(
        "What the trend calls this check.",
        None,
        unit="TEXT",
        heading=Heading.OUTPUT,
        shown="the time, UTC",
    )
    history: Path | None = setting(
        "Append the check to a JSONL file of checks.",
        None,
        unit="FILE",
        heading=Heading.OUTPUT,
        written=Written.KEPT,
    )
    json: Path | None = setting(
        "Write the check as JSON.", None, unit="FILE", heading=Heading.OUTPUT, written=Written.FILE
    )
    html: Path | None = setting(
        "Write a page: the trend over the history, the last check.",
        None,
        unit="FILE",
        written=Written.FILE,
        heading=Heading.OUTPUT,
    )

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
        from lowbg.storage.typed import indented, to_plain
        from lowbg.storage.whole_files import write_whole

        if self.json is not None:
            write_whole(self.json, indented(to_plain(check)))
        if self.history is not None:
            append(self.history, check)
        if self.html is not None:
            page = render_trend([*earlier, check], facts)
            write_whole(self.html, page.encode("utf-8"))


@command
def baseline_command(
    *,
    inputs: Inputs,
    output: Annotated[
        Path,
        Setting("The baseline (JSON).", flags="--output -o", unit="FILE", written=Written.FILE),
    ],
    sample: SampleOptions,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    workers: Annotated[WorkerOptions, Only(("workers",))],
    overwrite: Annotated[bool, Setting("Replace a file that is there.")] = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Record what a corpus is like, to compare later ones with.

    The metrics are of a random sample of fixed size: perplexity, distinct n-grams, unique tokens,
    entropy, Zipf slope, hapaxes, sentence lengths, languages, hosts, AI share, each with its
    interval. A fifth of the sample is put aside as hold-out. The file holds no text, but hashes of
    the hold-out's words in their order.

    \b
      lowbg drift baseline crawl/2026-01/ -o base.json
    """
    refuse_existing(output, overwrite=overwrite)
    size = Size(sample.documents, sample.words, sample.seed)
    drawn, engine = _draw(inputs, size, options.resolve(), workers, quiet=quiet)

    from lowbg.jobs.drift.baseline import conditions_of, write_baseline
    from lowbg.jobs.drift.measure import measure

    profile = measure(drawn, size, engine).profile
    if profile.holdout is None:
        terminal.warning("no document was fit for the hold-out: its perplexity can't be watched")
    write_baseline(output, profile, conditions_of(engine), inputs.given)
    if not quiet:
        terminal.say(
            f"{address(output)}: {size.documents:,} of {counted(profile.seen, 'document')}, "
            f"{size.words:,} words"
        )
    return ExitCode.FINISHED if drawn.complete else ExitCode.INCOMPLETE


@command
def check_command(
    *,
    inputs: Inputs,
    baseline: Annotated[
        Path, Setting("What drift baseline wrote.", flags="--baseline", unit="FILE")
    ],
    limits: Limits,
    places: Places,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    workers: Annotated[WorkerOptions, Only(("workers",))],
    quiet: Quiet = False,
) -> ExitCode:
    """Compare a corpus with a baseline; exit 1 beyond a limit.

    An alert fires only when the whole 95 % interval of the change is beyond the limit. The sample
    is as large as the baseline's; another version, model or policy than the baseline's is refused.

    \b
      lowbg drift check crawl/2026-02/ --baseline base.json --history drift.jsonl --html drift.html
    """
    from lowbg.jobs.drift.baseline import conditions_of, read_baseline
    from lowbg.jobs.drift.check import compare, require_alike
    from lowbg.jobs.drift.history import Check, label_of

    before = read_baseline(baseline)
    earlier = places.read(before.sha256)
    config = options.resolve()

    from lowbg.jobs.drift.measure import measure
    from lowbg.runs.engine import Engine

    # Before hours of reading, not after them.
    require_alike(before, conditions_of(Engine(config.policy)), address(baseline))
    size = before.profile.size
    drawn, engine = _draw(inputs, size, config, workers, quiet=quiet)
    measured = measure(drawn, size, engine, before.profile)
    changes = compare(before.profile, measured, limits)
    made = dt.datetime.now(dt.UTC)
    check = Check(
        label=places.label or label_of(made, earlier),
        made=made.isoformat(timespec="seconds"),
        baseline=before.sha256,
        inputs=inputs.given,
        documents=drawn.seen,
        incomplete=not drawn.complete,
        changes=tuple(changes),
    )
    facts = [
        ("baseline", f"{address(baseline)}, made {before.made} of {', '.join(before.inputs)}"),
        ("checked", f"{', '.join(inputs.given)}: {drawn.seen:,} documents"),
        ("sample", f"{size.documents:,} documents, {size.words:,} words, seed {size.seed}"),
        ("lowbg", before.conditions.version),
    ]
    return _end(check, places, earlier, facts, quiet=quiet)


@command
def canary_command(
    *,
    inputs: Annotated[Inputs, Only(("given",))],
    baseline: Annotated[
        str,
        Setting("The scores of the checkpoint to compare with.", flags="--baseline", unit="SCORES"),
    ],
    limits: Annotated[Limits, Only(("max_perplexity_rise",))],
    places: Places,
    quiet: Quiet = False,
) -> ExitCode:
    """Compare a checkpoint's perplexity with an earlier one's.

    Held-out human text tells whether a model forgets it.

    INPUT and --baseline are rows of lowbg score with lm_perplexity, over the same documents. Exit 1
    where the perplexity rose more than the limit, its whole 95 % interval.

    \b
      lowbg drift canary scores/step-2000/ --baseline scores/step-0/ --label 2000
    """
    from lowbg.jobs.drift.canary import compare_scores, read_scores
    from lowbg.jobs.drift.history import Check, label_of

    before = read_scores(_score_files([baseline]))
    earlier = places.read(before.digest)
    now = read_scores(_score_files(inputs.given))
    change = compare_scores(before, now, limits)
    made = dt.datetime.now(dt.UTC)
    check = Check(
        label=places.label or label_of(made, earlier),
        made=made.isoformat(timespec="seconds"),
        baseline=before.digest,
        inputs=inputs.given,
        documents=len(now),
        incomplete=False,
        changes=(change,),
    )
    facts = [
        ("baseline", baseline),
        ("checked", ", ".join(inputs.given)),
        ("held-out documents", f"{len(now):,}"),
    ]
    return _end(check, places, earlier, facts, quiet=quiet)


def _draw(
    inputs: Inputs, size: Size, config: RunConfig, workers: WorkerOptions, *, quiet: bool
) -> tuple[Sample, Engine]:
    """The sample, and what will judge it; says what could not be read."""
    found = find_shards(inputs, None, quiet=quiet)
    shards = found.shards
    stdin = standard_input(shards)

    from lowbg.errors import InputError
    from lowbg.jobs.drift.sampling import DrawTask, draw
    from lowbg.runs.engine import Engine
    from lowbg.runs.mapping import Workers

    used, executor = workers.resolve(shards)
    task = DrawTask(config, size.documents, size.seed, stdin)
    with progress_line(shards, quiet=quiet) as observer:
        drawn = draw(shards, task, Workers(used, executor), observer)
    drawn = replace(drawn, all_there=found.whole)
    tell_broken(drawn.shards)
    if not drawn.complete and len(drawn) < size.documents:
        raise InputError(
            f"{counted(drawn.seen, 'document')} could be read, too few for a sample of "
            f"{size.documents:,}"
        )
    if drawn.unread and not drawn.seen:
        from lowbg.formats import titles
        from lowbg.report.results import fields_of

        fields = ", ".join(fields_of(drawn.shards)[:12])
        hint = (
            f"text is in: {fields}. Name the one that holds the text with --text-field."
            if fields
            else f"is the input {titles()}?"
        )
        raise InputError(f"none of {counted(drawn.unread, 'record')} could be read as text; {hint}")
    if drawn.unread and not quiet:
        terminal.warning(f"{counted(drawn.unread, 'record')} left out: can't be read")
    if not quiet:
        tell_dates(shard.statistics for shard in drawn.shards)
    return drawn, Engine(config.policy).setup()


def _score_files(inputs: Sequence[str]) -> list[Shard]:
    """The files of scores that the inputs stand for; a run's report and manifest are none."""
    from lowbg.runs.inputs import survey

    other = {"report.json", "manifest.json"}
    return [shard for shard in survey(inputs).shards if Path(shard.path).name not in other]


def _end(
    check: Check,
    places: Places,
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
        # A part of the input is no verdict on the whole: 3 goes first.
        return ExitCode.INCOMPLETE
    return ExitCode.JUDGED_BAD if check.alerts else ExitCode.FINISHED


DRIFT = Group(
    "Compare a corpus, or a model, with a baseline.",
    {"baseline": baseline_command, "check": check_command, "canary": canary_command},
)
