"""A report as a short summary for a terminal: what became of the records, and what to look at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import IO

from msgspec import UNSET
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lowbg.amounts import bytes_text, count_text, counted, duration_text, share_text
from lowbg.report.collect import Report
from lowbg.report.console import open_console, packed, print_beside, safe_text
from lowbg.report.results import RunInfo
from lowbg.report.sections import sections
from lowbg.report.sections.base import BarLine, Line, visible
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.report.sections.throughput import SECTION as THROUGHPUT
from lowbg.report.sections.totals import SECTION as TOTALS

_STYLES = {
    "human": "blue",
    "ai": "yellow",
    "unscored": "bright_black",
    "quarantined": "magenta",
    "warning": "yellow",
    "strong": "bold",
}
_BAR_COLUMNS = 24


def render_terminal(
    report: Report,
    stream: IO[str],
    *,
    width: int | None = None,
    color: bool | None = None,
    leave_out: Collection[str] = (),
    own: RunInfo | None = None,
) -> None:
    """Prints the summary to `stream`, without the sections whose keys are in `leave_out`.

    Time and size are those of the run `own`; by default those of all the report's runs.

    `width` is in columns, the terminal's own by default. Colour is used on a terminal unless
    NO_COLOR is set; `color` forces or forbids it. Control characters from the data are written
    out, never sent.
    """
    console = open_console(stream, width, color)
    plain = console.options.ascii_only
    for row in packed(_headline(report, own), console.width):
        console.print(safe_text(row, plain, "bold"))
    lines = [
        line
        for section in sections()
        if section.key not in leave_out
        for line in section.lines(report[section])
    ]
    for kind, group in groupby(lines, type):
        if kind is BarLine:
            bars = [line for line in group if isinstance(line, BarLine)]
            console.print(_bars(bars, plain, console.width))
        else:
            _print_lines(console, [line for line in group if isinstance(line, Line)], plain)


def _headline(report: Report, own: RunInfo | None) -> list[str]:
    speed = report[THROUGHPUT]
    parts = [
        "lowbg " + ", ".join(sorted({run.version for run in report[RUNS]})),
        counted(len(report[SHARDS]), "shard"),
        counted(report[TOTALS].records, "record"),
    ]
    done, seconds = speed.done, speed.seconds
    if own is not None and own.text_bytes is not UNSET:
        done, seconds = own.text_bytes, own.seconds
    size = bytes_text(speed.text_bytes)
    if speed.text_bytes and not done:
        return [*parts, f"{size}, done before"]
    if done < speed.text_bytes:
        size = f"{bytes_text(done)} of {size}"
    elif done > speed.text_bytes:  # Some was done again, or is no longer there.
        size = f"{size}, {bytes_text(done)} read"
    parts.append(f"{size} in {duration_text(seconds, tenths=True)}")
    if seconds:
        parts.append(f"{done / 1e6 / seconds:,.1f} MB/s")
    return parts


def _bars(lines: Sequence[BarLine], plain: bool, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    columns = max(0, min(_BAR_COLUMNS, width - 40))
    if columns:
        grid.add_column(no_wrap=True)
    for line in lines:
        style = _STYLES.get(line.style, "")
        halves = round(2 * columns * (line.share or 0.0))
        cells = [
            safe_text(f"  {line.label}", plain, style),
            safe_text(count_text(line.count), plain),
            safe_text(share_text(line.share), plain),
        ]
        if columns:
            cells.append(safe_text("█" * (halves // 2) + "▌" * (halves % 2), plain, style))
        grid.add_row(*cells)
    return grid


def _print_lines(console: Console, lines: Sequence[Line], plain: bool) -> None:
    column = max(len(line.label) for line in lines)
    for line in lines:
        warning = line.style == "warning"
        style = _STYLES["warning" if warning else "unscored"]
        label = safe_text(f"  {line.label:<{column}}  ", plain, style)
        for row in packed([visible(item) for item in line.items], console.width - label.cell_len):
            text = safe_text(row, plain, "bold" if line.style == "strong" else "")
            print_beside(console, label, text, whole_words=warning)
            label = Text(" " * label.cell_len)
