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

from lowbg.amounts import bytes_text, counted
from lowbg.config import Extras, RunConfig, SourceListForm, Sources, SourceVerdict
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
from lowbg_cli.outcome import none_readable, tell_dates, tell_problems
from lowbg_cli.progress import progress_line
from lowbg_cli.splitting import SplitOptions
from lowbg_cli.writing import StoredAt, refuse_existing

if TYPE_CHECKING:
    from lowbg.decision.source_evidence import Header
    from lowbg.jobs.sources.pages import PagesToRead, Reading
    from lowbg.jobs.sources.rows import RowFolder
    from lowbg.jobs.sources.sources import SourcesOutcome
    from lowbg.runs.inputs import Shard

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
        Setting("The table (Parquet).", flags="--output -o", unit="FILE", written=Written.STORE),
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
    """
    if source_field is not None:
        refuse(given.among("--source-by"), "--source-field says it already")
        changes = {**options.changes.values, "sources.by": f"field:{source_field}"}
        flags = {**options.changes.flags, "sources.by": "--source-field"}
        options = replace(options, changes=Changes(changes, flags))
    tables, others = _tables(inputs.given)
    from lowbg.runs.splitting import refuse_missing

    refuse_missing(tables)
    rows, others = _row_folders(others)
    config = _as_in(tables, options, options.resolve())
    part = split.resolve()
    if part is not None:
        if tables or rows:
            raise ConfigError(
                "--shard-index: of data alone; tables and scores are added up by one run"
            )
        refuse(given.among("--list", "--list-as", "--list-verdict"), "not with --shard-index")
        output = part.file(output)
    _check_output(output, tables)
    _check_list(listed, config, given)
    refuse_existing(output, overwrite=overwrite)
    place = StoredAt(address(output)) if is_object_url(output) else None
    found = find_shards(replace(inputs, given=others), None, quiet=quiet) if others else None
    shards = found.shards if found is not None else ()
    if part is not None:
        shards = tuple(shards[i] for i in part.note(shards).places)
    stdin = standard_input(shards)
    count, executor = workers.resolve(shards)
    ready_workers(count, executor, shards, "lowbg.jobs.sources.sources")
    with loading.for_good():
        from lowbg.jobs.sources.sources import SourcesJob, find_sources

    wanted = _pages(config, pages, shards, given)
    if wanted is not None and not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    job = SourcesJob(
        shards=shards,
        output=output,
        config=replace(config, extras=Extras()),
        pages=wanted,
        tables=tables,
        rows=rows,
        workers=count,
        executor=executor,
        stdin=stdin,
        left_out=found.left_out if found is not None else (),
    )
    with _local(output, place) as local:
        with progress_line(shards, quiet=quiet) as observer:
            outcome = find_sources(replace(job, output=local), observer)
        if place is not None:
            place.send(local)
        if listed.path is not None:
            _list(listed, local, quiet=quiet)
        for again, first in outcome.repeated:
            terminal.warning(
                f"{address(again)}: the same table as {address(first)}; it counts once"
            )
        tell_problems(outcome.shards, None, quiet=quiet, strict=False)
        if not quiet:
            _tell(outcome, local, config, output if place is None else place.url)
    whole = (found is None or found.whole) and all(each.complete for each in outcome.shards)
    if not whole or none_readable(outcome.shards):
        return ExitCode.INCOMPLETE
    return ExitCode.FINISHED


def _check_output(output: Path, tables: Sequence[Path]) -> None:
    """Raises `ConfigError` where the table can't be written under this name."""
    if output.suffix != ".parquet":
        raise ConfigError(f"{output}: a table of sources is a Parquet file; name it x.parquet")
    check_folder(output)
    if any(table.resolve() == output.resolve() for table in tables):
        raise ConfigError(f"{address(output)} is both input and -o; name another file")


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


def _tables(given: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The inputs that are tables of sources, and the others."""
    from lowbg.decision.source_evidence import read_header

    named = [name for each in given for name in _matches(each)]
    tables = [
        name
        for name in named
        if name.endswith(".parquet")
        and (is_object_url(name) or Path(name).is_file())
        and read_header(Path(name))
    ]
    return tuple(map(Path, tables)), tuple(name for name in named if name not in tables)


def _matches(given: str) -> list[str]:
    """The input; of a glob in a store, which no shell expands, the tables that it matches."""
    if not is_object_url(given) or not given.endswith(".parquet") or "*" not in given:
        return [given]
    from lowbg.runs.inputs import discover

    return [shard.path for shard in discover([given])]


def _row_folders(given: Sequence[str]) -> tuple[tuple[RowFolder, ...], tuple[str, ...]]:
    """The inputs that are finished outputs of `score`, and the others."""
    from lowbg.jobs.sources.rows import row_folder

    found = {
        name: folder
        for name in given
        if ("://" not in name or is_object_url(name))
        and (folder := row_folder(Path(name))) is not None
    }
    return tuple(found.values()), tuple(name for name in given if name not in found)


def _as_in(tables: Sequence[Path], options: ConfigOptions, config: RunConfig) -> RunConfig:
    """What a source is, and the cut-off, as the tables have it where nothing else is said."""
    from lowbg.decision.source_evidence import read_header

    header = read_header(tables[0]) if tables else None
    if header is None:
        return config
    policy = config.policy
    if not options.changes.within("sources.by") and policy.sources == Sources():
        policy = replace(policy, sources=replace(policy.sources, by=header.by))
    if policy.trust_before is None and header.before is not None:
        policy = replace(policy, trust_before=dt.date.fromisoformat(header.before))
    return replace(config, policy=policy)


def _tell(outcome: SourcesOutcome, output: Path, config: RunConfig, shown: Path | str) -> None:
    """What the table holds, on stderr; `shown` is what people call it."""
    header = outcome.header
    size = bytes_text(output.stat().st_size, three_digits=True)
    terminal.say(
        f"{shown}: {counted(header.sources, 'source')}, {counted(header.documents, 'document')}, "
        f"{size}: {', '.join(f'{n:,} {name}' for name, n in header.verdicts.items())}"
    )
    if header.without_source:
        field = config.fields.url if not header.by.startswith("field:") else header.by[6:]
        terminal.warning(
            f"{counted(header.without_source, 'document')} without a source: nothing in the field "
            f"{field!r}"
        )
    if outcome.read is not None:
        _tell_read(outcome.read)
    if header.before is not None:
        _tell_past(header)
        tell_dates(shard.statistics for shard in outcome.shards)


def _tell_read(read: Reading) -> None:
    """What the causal LM read, and what that changed."""
    changed = {pair: n for pair, n in read.changed.items() if pair[0] != pair[1]}
    terminal.say(
        f"the LM read {counted(read.pages, 'page')} of {counted(read.sources, 'source')}: "
        f"{read.tokens:,} tokens in {read.seconds:.0f} s; "
        f"{counted(sum(changed.values()), 'verdict')} changed"
    )
    for (before, after), n in sorted(changed.items()):
        terminal.say(f"  {before} → {after}: {n:,}")


def _tell_past(header: Header) -> None:
    """How often sources that are known to be human would be called AI."""
    from lowbg.decision.sources import needed_sources
    from lowbg.report.estimate import wilson

    n, called = header.known_human, header.known_human_called
    if not n:
        terminal.say(f"no source has {header.min_documents} scored documents from before its date")
        return
    low_high = wilson(called, n)
    high = low_high[1] if low_high is not None else 1.0
    enough = needed_sources(header.bound)
    more = "" if n >= enough else f"; to show {100 * header.bound:g} % it takes {enough:,}"
    terminal.say(
        f"by their documents from before {header.before} alone {called:,} of {n:,} sources are "
        f"called AI (95 %: at most {100 * high:.1f} %{more})"
    )
