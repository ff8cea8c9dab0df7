"""A gate's result as JSON, `lowbg.gate/1`: for scripts. Within version 1, keys are only added."""

from __future__ import annotations

from typing import Any, Final

import lowbg
from lowbg.config import Policy, as_dict
from lowbg.errors import FormatError
from lowbg.jobs.gate.evidence import Sample
from lowbg.jobs.gate.findings import Finding, GateResult, Status
from lowbg.jobs.gate.texts import summary
from lowbg.runs.identity import policy_digest
from lowbg.storage.left_out import LeftOut
from lowbg.storage.typed import SCHEMA_KEY, Count, FileType, Open, indented


class GateReport(Open, frozen=True, kw_only=True, tag="lowbg.gate/1", tag_field=SCHEMA_KEY):
    """Status, summary and findings of a gate, with the policy and models that it judged by."""

    version: str
    subject: str
    status: Status
    summary: str
    records: Count
    scored: Count
    left_out: tuple[LeftOut, ...]
    untabled: dict[str, Count]
    sample: Sample | None
    findings: tuple[Finding, ...]
    policy: dict[str, Any]
    policy_sha256: str
    models: dict[str, str]


GATE_REPORT: Final[FileType[GateReport]] = FileType(
    GateReport, "the result of a gate", FormatError, "Run the gate again", indented
)


def render_json(result: GateResult, policy: Policy) -> bytes:
    """A gate's result as UTF-8, ending in a line end."""
    return GATE_REPORT.encode(
        GateReport(
            version=lowbg.__version__,
            subject=result.subject,
            status=result.status,
            summary=summary(result),
            records=result.records,
            scored=result.scored,
            left_out=result.left_out,
            untabled=dict(result.untabled),
            sample=result.sample,
            findings=result.findings,
            policy=as_dict(policy),
            policy_sha256=policy_digest(policy),
            models=dict(result.models),
        )
    )
