"""What every table for a terminal is printed with: a plain console, and text that is safe on it."""

from __future__ import annotations

from typing import IO

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


def safe_text(text: str, plain: bool, style: str = "", keep: str = "") -> Text:
    """Text whose control characters but `keep` are written out; `plain` for a stream of ASCII."""
    text = visible(text, keep)
    if plain:
        text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return Text(text, style)
