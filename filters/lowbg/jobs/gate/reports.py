"""Finished reports → evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lowbg.config import Gate, GateGroup, Policy, as_dict
from lowbg.errors import ConfigError
from lowbg.jobs.gate.evidence import Evidence, Part
from lowbg.report import Report, merge_reports, read_json
from lowbg.report.repeats import without_repeats
from lowbg.report.results import ShardRow, left_out_of
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.report.statistics import Statistics
from lowbg.runs import manifest
from lowbg.runs.engine import language_tables
from lowbg.runs.publishing import RECORD
from lowbg.runs.shards import MAGIC
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address, is_there, read_bytes
from lowbg.text import languages

REPORT: Final = "report.json"
_SCHEMAS: Final = "lowbg."
_SNIFFED: Final = b"{\n"
"""How a stored report begins, and no line of JSONL does."""


def report_paths(inputs: Sequence[str]) -> tuple[Path, ...] | None:
    """The report files that the inputs stand for; null where they are data.

    A report is a directory that a run finished (it has a manifest), or a file that holds one.
    Raises `ConfigError` for a mixture of both, and for the directory of a run that didn't finish
    or whose report isn't the one that it wrote.
    """
    found = [
        _report_path(Path(given)) if "://" not in given or is_object_url(given) else None
        for given in inputs
    ]
    reports = tuple(path for path in found if path is not None)
    if not reports:
        return None
    if None in found:
        raise ConfigError(
            f"{reports[0]} is the report of a run and {inputs[found.index(None)]} is data; judge "
            "them one by one"
        )
    return reports


def _report_path(path: Path) -> Path | None:
    try:
        is_report = path.suffix.lower() == ".json"
        if is_object_url(path) and not is_report:
            return _checked(path) if not MAGIC & set(str(path)) and _is_output(path) else None
        if path.is_dir():
            return _checked(path) if _is_output(path) else None
        if not is_report or not is_there(path):
            return None
        if read_bytes(path)[:2] != _SNIFFED:
            return None
        # A copy may lie anywhere; where it was written, it must still be what was written.
        return _checked(path.parent) if path.name == REPORT and _is_output(path.parent) else path
    except OSError as error:
        raise ConfigError(f"{address(path)}: cannot be read ({error.strerror})") from error


def _is_output(directory: Path) -> bool:
    """Whether a run wrote there; other people's data sets have a manifest.json, too."""
    if (directory / ".lowbg").is_dir():
        return True
    try:
        content = json.loads(read_bytes(directory / manifest.NAME))
        return str(content["schema"]).startswith(_SCHEMAS)
    except (FileNotFoundError, KeyError, TypeError):
        # What a run in a store is beginning has a record before it has anything else.
        return is_object_url(directory) and is_there(directory / RECORD)
    except ValueError:
        return True  # It may be a damaged one of ours.


def _checked(directory: Path) -> Path:
    """The report of a finished run, if it is the one that the manifest lists."""
    content = manifest.read(directory)
    if content is None:
        raise ConfigError(
            f"{address(directory)}: the run there didn't finish (no {manifest.NAME}); "
            'finish it with `existing="resume"`, or judge the data itself'
        )
    written = {file.path: file.sha256 for file in content.files}.get(REPORT)
    if written is None:
        raise ConfigError(
            f"{address(directory)}: what made it writes no report; judge its data, such as "
            f"{address(directory / 'human')}"
        )
    path = directory / REPORT
    if not is_there(path) or hashlib.sha256(read_bytes(path)).hexdigest() != written:
        raise ConfigError(
            f"{address(path)}: not the report that the run wrote; `lowbg verify "
            f"{address(directory)}` says more"
        )
    return path


def report_evidence(paths: Sequence[Path], policy: Policy, subject: str) -> Evidence:
    """What finished runs counted of their inputs, together.

    Raises `ConfigError` where a rule needs what reports don't count, and where the runs judged
    under another decision than `policy`: it says what to run again.
    """
    reports = [read_json(path) for path in paths]
    for path, report in zip(paths, reports, strict=True):
        _check_decision(path, report, policy)
    # A run that is counted twice would make the interval too narrow.
    reports = without_repeats(zip(map(address, paths), reports, strict=True))
    report = reports[0] if len(reports) == 1 else merge_reports(reports)
    _check_counts(report, policy.gate)
    shards, runs = report[SHARDS], report[RUNS]
    return Evidence(
        subject=subject,
        statistics=Statistics.from_plain(report.counters),
        records=sum(shard.records for shard in shards),
        shards=tuple(_part(shard) for shard in shards),
        broken=tuple(_broken(shard) for shard in shards if not shard.complete),
        unreadable=tuple(
            _part(shard) for shard in shards if 0 < shard.records == shard.documents.quarantined
        ),
        left_out=left_out_of(runs),
        models={name: sha for run in runs for name, sha in run.models.items()},
    )


def _part(shard: ShardRow) -> Part:
    ai = shard.documents.ai
    human = shard.documents.human if shard.scored is None else shard.scored - ai
    return Part(shard.shard, human, ai, shard.source)


def _check_counts(report: Report, gate: Gate) -> None:
    if GateGroup.SOURCE not in gate.max_ai_share_by:
        return
    sources = [shard.source for shard in report[SHARDS]]
    named = " ".join(sources[:3]) + (" …" if len(sources) > 3 else "")
    raise ConfigError(
        f"gate.max_ai_share_by.source: a report doesn't count by {gate.source_field!r}; judge the "
        f"data itself: lowbg gate {named}"
    )


def _check_decision(path: Path, report: Report, policy: Policy) -> None:
    """The verdicts in the report must be those that the policy would give."""
    wanted = _decision(as_dict(replace(policy, gate=Gate())))
    tables = {code: model.sha256 for code, model in language_tables(policy).items()}
    for run in report[RUNS]:
        made = _decision(run.policy)
        changed = [
            f"{name} was {_spelled(made.get(name))}, is {_spelled(value)}"
            for name, value in wanted.items()
            if made.get(name) != value
        ]
        if policy.tables is not None or run.policy.get("tables"):
            used = {code: sha for code, sha in run.models.items() if code in languages.CODES}
            changed += [
                f"the tables of {code} were others"
                for code in sorted(tables.keys() | used)
                if tables.get(code) != used.get(code)
            ]
        if changed:
            raise ConfigError(
                f"{address(path)}: made under another decision than the policy's "
                f"({'; '.join(changed)}). Run it again with this policy, or judge the data itself"
            )


_NO_PART = ("gate", "unscored", "date_field", "tables")
"""What of a policy a report's verdicts don't depend on; of tables, where they lie."""


def _decision(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What verdicts depend on: neither the gate nor where unscored documents go."""
    decision = {k: v for k, v in policy.items() if k not in _NO_PART}
    if decision.get("rule") == "thresholds":
        if None not in decision["thresholds"].values():  # Else the rate sets the others.
            decision.pop("target_fpr", None)
            decision.pop("fpr_bound", None)
    else:
        decision.pop("thresholds", None)
    return decision


def _spelled(value: Any) -> str:
    return "not set" if value is None else str(value)


def _broken(shard: ShardRow) -> str:
    messages = [p.message for p in shard.problems if not p.count]
    return "; ".join(messages) or f"{shard.shard}: not read whole"
