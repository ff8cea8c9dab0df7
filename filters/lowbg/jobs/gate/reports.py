"""Finished reports → evidence."""

from __future__ import annotations

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
from lowbg.storage.files import file_digest
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
    found = [None if "://" in given else _report_path(Path(given)) for given in inputs]
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
        if path.is_dir():
            return _checked(path) if _is_output(path) else None
        if path.suffix.lower() != ".json" or not path.is_file():
            return None
        with path.open("rb") as file:
            if file.read(2) != _SNIFFED:
                return None
        # A copy may lie anywhere; where it was written, it must still be what was written.
        return _checked(path.parent) if path.name == REPORT and _is_output(path.parent) else path
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


def _is_output(directory: Path) -> bool:
    """Whether a run wrote there; other people's data sets have a manifest.json, too."""
    if (directory / ".lowbg").is_dir():
        return True
    path = directory / manifest.NAME
    if not path.is_file():
        return False
    try:
        content = json.loads(path.read_bytes())
        return str(content["schema"]).startswith(_SCHEMAS)
    except (KeyError, TypeError):
        return False
    except ValueError:
        return True  # It may be a damaged one of ours.


def _checked(directory: Path) -> Path:
    """The report of a finished run, if it is the one that the manifest lists."""
    content = manifest.read(directory)
    if content is None:
        raise ConfigError(
            f"{directory}: the run there didn't finish (no {manifest.NAME}); "
            'finish it with `existing="resume"`, or judge the data itself'
        )
    written = {file.path: file.sha256 for file in content.files}.get(REPORT)
    if written is None:
        raise ConfigError(
            f"{directory}: what made it writes no report; judge its data, such as "
            f"{directory / 'human'}"
        )
    path = directory / REPORT
    if not path.is_file() or file_digest(path) != written:
        raise ConfigError(
            f"{path}: not the report that the run wrote; `lowbg verify {directory}` says more"
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
    reports = without_repeats(zip(map(str, paths), reports, strict=True))
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
                f"{path}: made under another decision than the policy's ({'; '.join(changed)}). "
                "Run it again with this policy, or judge the data itself"
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
