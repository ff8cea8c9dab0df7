"""What every table for a terminal is printed with: a plain console, and text that is safe on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lowbg.report.sections.base import visible

_ASCII = str.maketrans({"·": "|", "–": "-", "…": "...", "█": "#", "▌": "#", "≥": ">="})


def open_console(stream: IO[str], width: int | None, color: bool | None) -> Console:
    """A console on `stream`.

    `width` is in columns, the terminal's own for None. Colour is used on a terminal unless NO_COLOR
    is set; `color` forces or forbids it.
    """
    return Console(
        file=stream,
        width=width,
        force_terminal=True if color else None,
        no_color=None if color is None else not color,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_beside(console: Console, label: Text, text: Text, *, whole_words: bool) -> None:
    """Prints `text` beside `label`, in as many lines as it takes.

    Of `whole_words` none is broken, though one may go over the end of a line: a path in a message
    is there to be copied.
    """
    room = max(1, console.width - label.cell_len)
    words = text.plain.split(" ") if whole_words else []
    rows = packed(words, room, " ") or text.wrap(console, room, overflow="fold")
    for row in rows:
        line = Text(row, text.style) if isinstance(row, str) else row
        console.print(label + line, soft_wrap=True)
        label = Text(" " * label.cell_len)


def packed(items: Sequence[str], room: int, between: str = " · ") -> list[str]:
    """Items in lines of at most `room` columns, broken between items where that is possible."""
    rows: list[str] = []
    for item in items:
        if rows and cell_len(rows[-1]) + cell_len(item) + cell_len(between) <= room:
            rows[-1] += f"{between}{item}"
        else:
            rows.append(item)
    return rows


def safe_text(text: str, plain: bool, style: str = "", keep: str = "") -> Text:
    """Text whose control characters but `keep` are written out; `plain` for a stream of ASCII."""
    text = visible(text, keep)
    if plain:
        text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return Text(text, style)
