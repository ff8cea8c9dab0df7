"""What `lowbg drift` found, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowbg.jobs.drift.check import amount, level_text

if TYPE_CHECKING:
    from lowbg.jobs.drift.check import Change

NARROW_COLUMNS = 90
"""Below this the change, its limit and the alert are left, without the values and the interval."""

TABLE_COLUMNS = 66
"""Below this they stand below the figure's name."""


def print_changes(changes: Sequence[Change], stream: TextIO | None) -> None:
    """Prints a row a figure, those with a limit first; deciles are left to JSON.

    To nowhere where `stream` is null: the caller closed it.
    """
    if stream is None:
        return
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    shown = [change for change in changes if "_decile_" not in change.name]
    shown.sort(key=lambda change: change.limit is None)
    if console.width < TABLE_COLUMNS:
        stream.writelines(f"{line}\n" for change in shown for line in _lines(change))
        return
    narrow = console.width < NARROW_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("", overflow="fold")
    names = ["baseline", "now", "change", "95 % interval", "limit"]
    for name in (names[2], names[4]) if narrow else names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in shown:
        cells = _cells(change)
        if narrow:
            cells = [cells[2], cells[4]]
        table.add_row(Text(change.title), *map(Text, cells), Text("ALERT" if change.alert else ""))
    with console.capture() as capture:
        console.print(table)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _lines(change: Change) -> list[str]:
    """The figure's name, and below it the change, its limit and the alert."""
    _, _, value, _, limit = _cells(change)
    parts = [value, f"limit {limit}" if limit else "", "ALERT" if change.alert else ""]
    return [change.title, f"  {', '.join(part for part in parts if part)}"]


def _cells(change: Change) -> list[str]:
    interval = ""
    if change.low is not None:
        interval = f"{amount(change.form, change.low)} … {amount(change.form, change.high)}"
    return [
        level_text(change.form, change.baseline) if change.form != "distance" else "",
        level_text(change.form, change.value) if change.form != "distance" else "",
        amount(change.form, change.change),
        interval,
        amount(change.form, change.limit) if change.limit is not None else "",
    ]
