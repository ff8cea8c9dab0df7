"""How a report names settings: its readers may have come from Python or from a command line."""

from __future__ import annotations

from lowbg.config import RunConfig
from lowbg.settings import declared, renamed


def for_pages(text: str) -> str:
    """`text` with the option beside each setting that it names in backticks.

    As it is declared, so that this is the one place of the library that speaks of options.
    """
    return renamed(text, _called)


def _called(name: str, value: str | None) -> str | None:
    for own in declared(RunConfig):
        if name == own.key and own.setting.flags is not None:
            return f"{name} ({' '.join((own.flag, value or own.setting.unit)).rstrip()})"
    return None
