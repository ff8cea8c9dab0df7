"""What `lowbg drift` found, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowbg.jobs.drift.check import amount, bare_amount, level_text
from lowbg.report.console import packed

if TYPE_CHECKING:
    from lowbg.jobs.drift.check import Change

NARROW_COLUMNS = 100
"""Below this the table has the change, its interval, its limit and the alert, without the values.

80 columns, which a pipe counts as, hold it with every figure's name in one line.
"""

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
        stream.writelines(f"{line}\n" for change in shown for line in _lines(change, console.width))
        return
    narrow = console.width < NARROW_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("", overflow="fold")
    values = [] if narrow else ["baseline", "now"]
    for name in (*values, "change", "95 % interval", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in shown:
        cells = _values(change)[: len(values)]
        cells += [
            amount(change.form, change.change),
            _interval(change, bare=narrow),
            _limit(change),
        ]
        table.add_row(Text(change.title), *map(Text, cells), Text("ALERT" if change.alert else ""))
    with console.capture() as capture:
        console.print(table)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _lines(change: Change, columns: int) -> list[str]:
    """The figure's name, and below it the change with its interval, its limit and the alert."""
    found, limit = amount(change.form, change.change), _limit(change)
    interval = _interval(change, bare=True)
    parts = [
        f"{found} ({interval})" if interval else found,
        f"limit {limit}" if limit else "",
        "ALERT" if change.alert else "",
    ]
    rows = packed([part for part in parts if part], columns - 2, ", ")
    return [change.title, *(f"  {row}" for row in rows)]


def _values(change: Change) -> list[str]:
    """The figure in the baseline, and now; a distance has none."""
    if change.form == "distance":
        return ["", ""]
    return [level_text(change.form, value) for value in (change.baseline, change.value)]


def _interval(change: Change, *, bare: bool) -> str:
    """Both ends of the change's interval; `bare`: without their unit, which is the change's."""
    if change.low is None or change.high is None:
        return ""
    spelled = bare_amount if bare else amount
    return f"{spelled(change.form, change.low)} … {spelled(change.form, change.high)}"


def _limit(change: Change) -> str:
    return amount(change.form, change.limit) if change.limit is not None else ""
