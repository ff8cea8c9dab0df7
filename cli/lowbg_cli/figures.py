"""The figures of `lowbg eval` as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.jobs.eval.evaluate import GroupResult, Interval

NARROW_COLUMNS = 76
"""Below this only what decides is shown."""


def print_figures(results: Sequence[GroupResult], stream: TextIO | None) -> None:
    """Prints a row a group: documents, share scored, AUROC, rates in per cent; "-" for too few.

    To nowhere where `stream` is null: the caller closed it.
    """
    if stream is None:
        return
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    narrow = console.width < NARROW_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("", overflow="fold")
    names = ["human", "AI", "scored", "AUROC", "TPR@1%", "TPR@5%", "FPR", "recall"]
    for name in names[3:4] + names[6:] if narrow else names:
        table.add_column(name, justify="right", no_wrap=True)
    grouping = "all"
    for result in results:
        if result.grouping != grouping:
            grouping = result.grouping
            table.add_row(Text(f"by {grouping}", "bold"))
        cells = [
            f"{result.human:,}",
            f"{result.ai:,}",
            f"{100 * result.coverage:.0f}",
            _cell(result.auroc, 1, 3),
            *(_cell(rate, 100, 1) for rate in (result.tpr_at_1, result.tpr_at_5)),
            *(_cell(rate, 100, 1) for rate in (result.fpr, result.recall)),
        ]
        label = result.group if grouping == "all" else f"  {result.group}"
        table.add_row(
            Text(terminal.printable(label)),
            *(Text(cell) for cell in (cells[3:4] + cells[6:] if narrow else cells)),
        )
    with console.capture() as capture:
        console.print(table)
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _cell(interval: Interval | None, scale: float, digits: int) -> str:
    return "-" if interval is None else f"{scale * interval.value:.{digits}f}"
