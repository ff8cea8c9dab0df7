"""Checks over time: one JSON line each, appended to a file that a nightly job keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import orjson

from lowbg.errors import ConfigError, OutputError
from lowbg.jobs.drift.check import Change

SCHEMA: Final = "lowbg-drift-check/1"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with a baseline.

    `label` names it on an axis: when it was made, or a training iteration. `made` is UTC in
    ISO 8601; `baseline` is the SHA-256 of what it was compared with, `inputs` what was given.
    `documents` were there to draw from. `incomplete` says that some input broke off.
    """

    label: str
    made: str
    baseline: str
    inputs: tuple[str, ...]
    documents: int
    incomplete: bool
    changes: tuple[Change, ...]

    @property
    def alerts(self) -> tuple[Change, ...]:
        """The changes beyond their limits."""
        return tuple(change for change in self.changes if change.alert)

    def as_dict(self) -> dict[str, Any]:
        """The check as plain JSON values."""
        return {
            "schema": SCHEMA,
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name != "changes"},
            "alerts": [change.name for change in self.alerts],
            "changes": [asdict(change) for change in self.changes],
        }


def append(path: Path, check: Check) -> None:
    """Adds a check to the history, which is made if there is none; in one write.

    Raises `OutputError` where the system refuses.
    """
    line = orjson.dumps(check.as_dict(), option=orjson.OPT_APPEND_NEWLINE)
    try:
        with path.open("ab") as file:
            file.write(line)
    except OSError as error:
        raise OutputError(f"{path}: cannot be appended to ({error.strerror})") from error


def read_history(path: Path) -> list[Check]:
    """The checks of a history, oldest first; none where there is no file.

    Raises `ConfigError` for a line that is none, with its number.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    checks = []
    for number, line in enumerate(lines, 1):
        try:
            checks.append(_check_of(orjson.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path}:{number}: not a line of a drift history ({error!r}). Take it out, or give "
                "--history another file."
            ) from error
    return checks


def _check_of(value: Mapping[str, Any]) -> Check:
    if value["schema"] != SCHEMA:
        raise ValueError(f"schema {value['schema']!r}")
    known = {f.name: value[f.name] for f in fields(Check)}
    known["inputs"] = tuple(known["inputs"])
    known["changes"] = tuple(Change(**change) for change in known["changes"])
    return Check(**known)


def of_baseline(history: Sequence[Check], baseline: str) -> list[Check]:
    """The checks against one baseline: others don't belong on the same axis."""
    return [check for check in history if check.baseline == baseline]
