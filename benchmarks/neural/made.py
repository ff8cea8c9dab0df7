"""When, how and of what a result was made: the line that it begins with."""

from __future__ import annotations

import datetime as dt

from lowbg.scorers.lm.shipped import shipped_probes


def today() -> str:
    """The date (UTC), as ISO 8601 says it."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def probe_digest() -> str:
    """The beginning of the SHA-256 of the English probe that comes with lowbg."""
    return shipped_probes()[0].sha256[:12]


def made_by(command: str, of: str) -> str:
    """The line; `command` is what stands after `python -m`."""
    return f"Made on {today()} by `python -m {command}`, of {of}; shipped probe `{probe_digest()}`."
