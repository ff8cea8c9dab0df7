"""What `lowbg sources` says of a table that it made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.amounts import bytes_text, counted
from lowbg.config import RunConfig
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.outcome import tell_dates

if TYPE_CHECKING:
    from lowbg.decision.source_evidence import Header
    from lowbg.jobs.sources.pages import Reading
    from lowbg.jobs.sources.sources import SourcesOutcome


def tell_table(outcome: SourcesOutcome, output: Path, config: RunConfig, shown: Path | str) -> None:
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


def tell_repeated(outcome: SourcesOutcome) -> None:
    """Which tables were named more than once."""
    for again, first in outcome.repeated:
        terminal.warning(f"{address(again)}: the same table as {address(first)}; it counts once")
