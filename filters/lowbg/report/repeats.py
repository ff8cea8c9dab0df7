"""Reports that are to be counted together hold each run once."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from lowbg.errors import ConfigError
from lowbg.report.collect import Report
from lowbg.report.sections.runs import SECTION as RUNS

_log = logging.getLogger(__name__)


def without_repeats(named: Iterable[tuple[str, Report]]) -> list[Report]:
    """The reports without those of the same runs as one before them, which are logged.

    Raises `ConfigError` where two have only some runs in common, as an incremental output has with
    an earlier copy of its report: neither of the two counts can be told from the other's.
    """
    kept: list[tuple[str, Report, frozenset[bytes]]] = []
    for name, report in named:
        runs = frozenset(msgspec.json.encode(run, order="sorted") for run in report[RUNS])
        earlier = next((each for each in kept if each[2] & runs), None)
        if earlier is None:
            kept.append((name, report, runs))
        elif earlier[2] == runs:
            _log.warning("%s, %s: the same report; it counts once", earlier[0], name)
        else:
            raise ConfigError(
                f"{name} and {earlier[0]} share some of their runs, which would count twice; give "
                "one of the two"
            )
    return [report for _, report, _ in kept]
