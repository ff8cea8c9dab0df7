"""The library's messages in the words of a command line: settings by the options that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from lowbg.config import RunConfig
from lowbg.settings import Declared, declared, renamed

ACTIONS: Final[Mapping[str, str]] = {
    "existing=resume": "--resume",
    "existing=incremental": "--incremental",
    "existing=overwrite": "--overwrite",
    "documents": "--documents",
    "format": "--as",
    "keep_field": "--keep-field",
    "output": "-o",
    "scratch": "--scratch",
    "words": "--words",
}
"""What parameters of jobs are on the command lines that have them: they are no settings."""


class Wording(Struct, frozen=True):
    """Puts messages into the words of a command with these options.

    A setting that it has no option for is called by the option that other commands have.
    """

    options: Sequence[Declared] = ()

    def __call__(self, message: str) -> str:
        """The message, with options where it names settings in backticks."""
        return renamed(message, self.called)

    def called(self, name: str, value: str | None = None) -> str | None:
        """An option, with its value where one is named (…: any); null for no setting's name."""
        action = ACTIONS.get(f"{name}={value}")
        if action is not None:
            return action
        known = (
            *self.options,
            *(own for own in declared(RunConfig) if own.setting.flags is not None),
        )
        own = next((each for each in known if name in (each.key, ".".join(each.path))), None)
        flag = ACTIONS.get(name) if own is None else min(own.flags, key=len).partition("/")[0]
        if flag is None or value is None or (own is not None and own.kind is bool):
            return flag
        if value == "…":
            return flag if own is None else f"{flag} {own.setting.unit}".rstrip()
        return f"{flag} {value}"
