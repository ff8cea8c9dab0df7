"""Checks over time: one JSON line each, appended to a file that a nightly job keeps."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from lowbg.errors import ConfigError, OutputError
from lowbg.jobs.drift.check import Change
from lowbg.storage.objects import is_object_url
from lowbg.storage.typed import SCHEMA_KEY, Closed, FileType, line
from lowbg.storage.whole_files import add_to_object, address, read_bytes


class Check(Closed, frozen=True, kw_only=True, tag="lowbg-drift-check/1", tag_field=SCHEMA_KEY):
    """One comparison with a baseline.

    `label` names it on an axis: when it was made, or a training iteration. `made` is UTC in
    ISO 8601; `baseline` is the SHA-256 of what it was compared with, `inputs` what was given.
    `documents` were there to draw from. `incomplete` says that some input broke off. The file
    names the `alerts` as well.
    """

    label: str
    made: str
    baseline: str
    inputs: tuple[str, ...]
    documents: int
    incomplete: bool
    alert_names: tuple[str, ...] = msgspec.field(default=(), name="alerts")
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        names = tuple(change.name for change in self.alerts)
        msgspec.structs.force_setattr(self, "alert_names", names)

    @property
    def alerts(self) -> tuple[Change, ...]:
        """The changes beyond their limits."""
        return tuple(change for change in self.changes if change.alert)


CHECK: Final[FileType[Check]] = FileType(
    Check,
    "a line of a drift history",
    ConfigError,
    "Take it out, or give `history` another file",
    line,
)


def append(path: Path, check: Check) -> None:
    """Adds a check to the history, which is made if there is none; in one write.

    Raises `OutputError` where the system refuses.
    """
    if is_object_url(path):
        add_to_object(path, CHECK.encode(check))
        return
    try:
        with path.open("ab") as file:
            file.write(CHECK.encode(check))
    except OSError as error:
        raise OutputError(f"{path}: cannot be appended to ({error.strerror})") from error


def read_history(path: Path) -> list[Check]:
    """The checks of a history, oldest first; none where there is no file.

    Raises `ConfigError` for a line that is none, with its number.
    """
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{address(path)}: cannot be read ({error.strerror})") from error
    return [CHECK.decode(data, f"{address(path)}:{number}") for number, data in enumerate(lines, 1)]


def label_of(made: dt.datetime, earlier: Sequence[Check]) -> str:
    """What a check without a label of its own is called: its time, as exact as it takes.

    No other of the `earlier` ones is called so.
    """
    taken = {check.label for check in earlier}
    minute, second = f"{made:%Y-%m-%d %H:%M}", f"{made:%Y-%m-%d %H:%M:%S}"
    numbered = (f"{second} ({number})" for number in itertools.count(2))
    names = itertools.chain((minute, second), numbered)
    return next(name for name in names if name not in taken)


def of_baseline(history: Sequence[Check], baseline: str) -> list[Check]:
    """The checks against one baseline: others don't belong on the same axis."""
    return [check for check in history if check.baseline == baseline]
