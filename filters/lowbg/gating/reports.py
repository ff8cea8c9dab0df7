"""Finished reports → evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lowbg import manifest
from lowbg.config import Gate, GateGroup, Policy, as_dict
from lowbg.errors import ConfigError
from lowbg.gating.evidence import Evidence, Part
from lowbg.report import merge_reports, read_json
from lowbg.statistics import Statistics

REPORT: Final = "report.json"
_SNIFFED: Final = b"{\n"
"""How a stored report begins, and no line of JSONL does."""


def report_paths(inputs: Sequence[str]) -> tuple[Path, ...] | None:
    """The report files that the inputs stand for; null where they are data.

    A report is a directory that a run finished (it has a manifest), or a file that holds one.
    Raises `ConfigError` for a mixture of both, and for the directory of a run that didn't finish
    or whose report isn't the one that it wrote.
    """
    found = {given: _report_path(Path(given)) for given in inputs if "://" not in given}
    reports = [path for path in found.values() if path is not None]
    if not reports:
        return None
    if len(reports) < len(inputs):
        data = next(given for given in inputs if found.get(given) is None)
        raise ConfigError(
            f"{reports[0]} is the report of a run and {data} is data; judge them one by one"
        )
    return tuple(reports)


def _report_path(path: Path) -> Path | None:
    try:
        if path.is_dir():
            return _checked(path) if _is_output(path) else None
        if path.suffix.lower() != ".json" or not path.is_file():
            return None
        with path.open("rb") as file:
            return path if file.read(2) == _SNIFFED else None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


def _is_output(directory: Path) -> bool:
    return (directory / manifest.NAME).is_file() or (directory / ".lowbg").is_dir()


def _checked(directory: Path) -> Path:
    """The report of a finished run, if it is the one that the manifest lists."""
    try:
        content = json.loads((directory / manifest.NAME).read_bytes())
        listed = {file["path"]: file["sha256"] for file in content["files"]}
        written = listed[REPORT]
    except FileNotFoundError as error:
        raise ConfigError(
            f"{directory}: the run there didn't finish (no {manifest.NAME}); "
            "finish it with --resume, or judge the data itself"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{directory / manifest.NAME}: damaged ({error!r})") from error
    path = directory / REPORT
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != written:
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
    report = reports[0] if len(reports) == 1 else merge_reports(reports)
    _check_counts(report, policy.gate)
    shards = report["shards"]
    return Evidence(
        subject=subject,
        statistics=Statistics.from_dict(report["counters"]),
        records=sum(shard["records"] for shard in shards),
        shards=tuple(_part(shard) for shard in shards),
        broken=tuple(_broken(shard) for shard in shards if not shard["complete"]),
        unreadable=tuple(
            _part(shard)
            for shard in shards
            if 0 < shard["records"] == shard["documents"]["quarantined"]
        ),
    )


def _part(shard: Mapping[str, Any]) -> Part:
    documents = shard["documents"]
    return Part(shard["shard"], documents["human"], documents["ai"], shard["source"])


def _check_counts(report: Mapping[str, Any], gate: Gate) -> None:
    if GateGroup.SOURCE not in gate.max_ai_share_by:
        return
    sources = [shard["source"] for shard in report["shards"]]
    named = " ".join(sources[:3]) + (" …" if len(sources) > 3 else "")
    raise ConfigError(
        f"gate.max_ai_share_by.source: a report doesn't count by {gate.source_field!r}; judge the "
        f"data itself: lowbg gate {named}"
    )


def _check_decision(path: Path, report: Mapping[str, Any], policy: Policy) -> None:
    """The verdicts in the report must be those that the policy would give."""
    wanted = _decision(as_dict(replace(policy, gate=Gate())))
    for run in report["runs"]:
        made = _decision(run["policy"])
        changed = [
            f"{name} was {_spelled(made.get(name))}, is {_spelled(value)}"
            for name, value in wanted.items()
            if made.get(name) != value
        ]
        if changed:
            raise ConfigError(
                f"{path}: made under another decision than the policy's ({'; '.join(changed)}). "
                "Run it again with this policy, or judge the data itself"
            )


def _decision(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What verdicts depend on: neither the gate nor where unscored documents go."""
    decision = {k: v for k, v in policy.items() if k not in ("gate", "unscored", "date_field")}
    if decision.get("rule") == "thresholds":
        decision.pop("target_fpr", None)
        decision.pop("fpr_bound", None)
    else:
        decision.pop("thresholds", None)
    return decision


def _spelled(value: Any) -> str:
    return "not set" if value is None else str(value)


def _broken(shard: Mapping[str, Any]) -> str:
    messages = [p["message"] for p in shard["problems"] if not p["count"]]
    return "; ".join(messages) or f"{shard['shard']}: not read whole"
