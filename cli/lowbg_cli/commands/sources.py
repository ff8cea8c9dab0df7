"""`lowbg sources`: how much of each site is AI."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import counted
from lowbg.config import Extras, RunConfig, SourceListForm, SourceVerdict
from lowbg.errors import ConfigError
from lowbg.settings import Heading, Setting, Written, setting
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address, check_folder
from lowbg_cli import loading, terminal
from lowbg_cli.configure import (
    ConfigOptions,
    Inputs,
    WorkerOptions,
    find_shards,
    ready_workers,
    standard_input,
)
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Changes, Given, Only, command, refuse
from lowbg_cli.outcome import none_readable, tell_problems
from lowbg_cli.progress import progress_line
from lowbg_cli.source_inputs import ToCount, as_in, to_count
from lowbg_cli.source_telling import tell_repeated, tell_table
from lowbg_cli.splitting import SplitOptions
from lowbg_cli.writing import StoredAt, refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.sources.pages import PagesToRead
    from lowbg.jobs.sources.sources import SourcesJob, SourcesOutcome
    from lowbg.runs.inputs import Discovery, Shard
    from lowbg.runs.splitting import Split

CONFIG = (
    *(
        "file",
        "fields",
        "sources.by",
        "sources.min_documents",
        "sources.bound",
        "trust.before",
        "decision.tables",
        "decision.target_fpr",
    ),
    *("decision.fpr_bound", "max_record_bytes", "batch_bytes", "force"),
    *("extras.lm.model", "extras.lm.probe", "extras.lm.dtype", "extras.lm.device"),
    "extras.lm.batch_tokens",
)


class ListedVerdict(StrEnum):
    """Which sources a list has."""

    AI = "ai"
    HUMAN = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesInputs(Inputs):
    """What is read."""

    given: tuple[str, ...] = setting(
        "Data as for filter; tables of this command, and finished outputs of score.", flags="INPUT"
    )


class PagesOf(StrEnum):
    """Of which sources the causal LM reads pages."""

    UNSURE = "unsure"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What the causal LM reads."""

    number: int = setting(
        "With --lm: it reads so many pages of a source.",
        3,
        flags="--pages",
        unit="N",
        least=1,
        most=8,
        heading=Heading.SECOND_LOOK,
    )
    of: PagesOf = setting(
        "Of sources that the tables are unsure of, or of all that have an estimate.",
        PagesOf.UNSURE,
        flags="--pages-of",
        heading=Heading.SECOND_LOOK,
    )


@dataclass(frozen=True, slots=True)
class ListOptions:
    """A list of the sources with one verdict, beside the table."""

    path: Path | None = setting(
        "Also write a list of the sources that are AI, or human.",
        None,
        flags="--list",
        unit="FILE",
        heading=Heading.LISTS,
        written=Written.FILE,
    )
    form: SourceListForm = setting(
        "plain: with evidence, for --deny-source @FILE; urlfilter: bare; adblock: rules.",
        SourceListForm.PLAIN,
        flags="--list-as",
        heading=Heading.LISTS,
    )
    verdict: ListedVerdict = setting(
        "Which sources.", ListedVerdict.AI, flags="--list-verdict", heading=Heading.LISTS
    )


@command
def sources_command(
    *,
    inputs: SourcesInputs,
    output: Annotated[
        Path,
        Setting("The table (Parquet).", flags="--output -o", unit="FILE", written=Written.FILE),
    ],
    source_field: Annotated[
        str | None,
        Setting(
            "Sources are the values of this field: --source-by field:FIELD.",
            flags="--source-field",
            unit="FIELD",
            heading=Heading.SOURCES,
        ),
    ] = None,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    workers: Annotated[WorkerOptions, Only(("workers", "executor", "ray_address"))],
    listed: ListOptions,
    split: SplitOptions,
    pages: PageOptions,
    overwrite: Annotated[bool, Setting("Replace a file that is there.", flags="--overwrite")] = (
        False
    ),
    quiet: Annotated[bool, Setting("Nothing on stderr but errors.", flags="--quiet -q")] = False,
    given: Given,
) -> ExitCode:
    """Say of each site how much of it is AI.

    Writes a table with a row a source: counts, a histogram of scores, the estimated AI share with
    its interval, and a verdict: human, ai, mixed or unknown. Tables add up to what one pass over
    everything would say. With --lm a causal LM reads a few pages of each site that the tables are
    unsure of.

    \b
      lowbg sources crawl/ -o sources.parquet
      lowbg sources crawl/ -o sources.parquet --lm MODEL --pages 3
      lowbg sources monday.parquet tuesday.parquet -o week.parquet
      lowbg sources crawl/ -o part.parquet --shard-index 0 --shard-count 8
      lowbg sources part-*.parquet -o ranges/all.parquet --shard-index 0 --shard-count 8
    """
    options = _by_field(options, source_field, given)
    found = to_count(inputs.given)
    config = as_in(found.tables, options, options.resolve())
    part = split.resolve()
    if part is not None:
        _check_part(found, given)
        output = part.file(output)
    _check_output(output)
    _check_list(listed, config, given)
    refuse_existing(output, overwrite=overwrite)
    data = _data(replace(inputs, given=found.data), part, quiet=quiet)
    stdin = standard_input(data.shards)
    count, executor = workers.resolve(
        data.shards, beside=found.table_bytes() if part is None else 0
    )
    ready_workers(count, executor, data.shards, "lowbg.jobs.sources.sources")
    with loading.for_good():
        from lowbg.jobs.sources.sources import SourcesJob

    wanted = _pages(config, pages, data.shards, given)
    if wanted is not None and not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    job = SourcesJob(
        shards=data.shards,
        output=output,
        config=replace(config, extras=Extras()),
        pages=wanted,
        tables=found.tables,
        rows=found.rows,
        workers=count,
        executor=executor,
        stdin=stdin,
        left_out=data.left_out,
        split=part if found.tables else None,
    )
    outcome = _made(job, listed, quiet=quiet)
    if not data.whole or not all(each.complete for each in outcome.shards):
        return ExitCode.INCOMPLETE
    if none_readable(outcome.shards):
        return ExitCode.INCOMPLETE
    return ExitCode.FINISHED


def _by_field(options: ConfigOptions, field: str | None, given: Given) -> ConfigOptions:
    """The options where sources are the values of a field."""
    if field is None:
        return options
    refuse(given.among("--source-by"), "--source-field says it already")
    changes = {**options.changes.values, "sources.by": f"field:{field}"}
    flags = {**options.changes.flags, "sources.by": "--source-field"}
    return replace(options, changes=Changes(changes, flags))


def _check_part(found: ToCount, given: Given) -> None:
    """Raises `ConfigError` for what runs can't share out."""
    if found.rows:
        raise ConfigError("--shard-index: not of scores; one run adds them up")
    if found.tables and found.data:
        raise ConfigError(
            "--shard-index: of data, or of tables, but not of both; count the data first, and then "
            "add its tables to these"
        )
    refuse(given.among("--list", "--list-as", "--list-verdict"), "not with --shard-index")


def _data(inputs: SourcesInputs, part: Split | None, *, quiet: bool) -> Discovery:
    """The shards that are counted, and what lies among them and isn't."""
    from lowbg.runs.inputs import Discovery

    if not inputs.given:
        return Discovery((), ())
    found = find_shards(inputs, None, quiet=quiet)
    if part is None:
        return found
    own = part.note(found.shards).places
    return Discovery(tuple(found.shards[i] for i in own), found.left_out)


def _made(job: SourcesJob, listed: ListOptions, *, quiet: bool) -> SourcesOutcome:
    """Makes the table and the list, and says what they hold."""
    from lowbg.jobs.sources.sources import find_sources

    place = StoredAt(address(job.output)) if is_object_url(job.output) else None
    with _local(job.output, place) as local:
        with progress_line(job.shards, quiet=quiet) as observer:
            outcome = find_sources(replace(job, output=local), observer)
        if place is not None:
            place.send(local)
        if listed.path is not None:
            _list(listed, local, quiet=quiet)
        tell_repeated(outcome)
        tell_problems(outcome.shards, None, quiet=quiet, strict=False)
        if not quiet:
            tell_table(outcome, local, job.config, job.output if place is None else place.url)
    return outcome


def _check_output(output: Path) -> None:
    """Raises `ConfigError` where the table can't be written under this name."""
    if output.suffix != ".parquet":
        raise ConfigError(f"{output}: a table of sources is a Parquet file; name it x.parquet")
    check_folder(output)


def _check_list(listed: ListOptions, config: RunConfig, given: Given) -> None:
    """Raises `ConfigError` where no list can be made so."""
    if listed.path is None:
        refuse(given.among("--list-as", "--list-verdict"), "only with --list")
        return
    check_folder(listed.path)
    if config.policy.sources.by.startswith("field:"):
        raise ConfigError("--list: lists are of hosts and domains, not of a field's values")


@contextmanager
def _local(output: Path, place: StoredAt | None) -> Iterator[Path]:
    """Where the table is written: as it is named, or, for a store, in a folder that goes again."""
    if place is None:
        yield output
        return
    with TemporaryDirectory(prefix="lowbg-") as folder:
        yield Path(folder) / output.name


def _pages(
    config: RunConfig, pages: PageOptions, shards: Sequence[Shard], given: Given
) -> PagesToRead | None:
    """What the causal LM is to read, if one is named."""
    from lowbg.jobs.sources.pages import PagesToRead
    from lowbg.runs.inputs import STDIN

    lm = config.extras.lm
    if lm is None:
        refuse(given.among("--pages", "--pages-of"), "only with --lm")
        return None
    if not shards:
        raise ConfigError("--lm: there are no documents to read pages of: tables hold no text")
    if any(shard.path == STDIN for shard in shards):
        raise ConfigError("--lm: pages are picked in a second pass, and - can be read once only")
    return PagesToRead(lm, pages.number, pages.of is PagesOf.ALL)


def _list(listed: ListOptions, table: Path, *, quiet: bool) -> None:
    """Writes the list, and says what it has."""
    from lowbg.jobs.sources.lists import write_list

    assert listed.path is not None
    verdict = SourceVerdict(listed.verdict.value)
    found = write_list(table, listed.path, listed.form, verdict, dt.date.today())
    if not quiet:
        terminal.say(f"{address(listed.path)}: {counted(found.sources, 'source')} of {found.of:,}")
