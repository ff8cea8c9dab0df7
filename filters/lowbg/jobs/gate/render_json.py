"""A gate's result as JSON, `lowbg.gate/1`: for scripts. Within version 1, keys are only added."""

from __future__ import annotations

from typing import Any, Final

import lowbg
from lowbg.config import Policy, as_dict
from lowbg.jobs.gate.findings import GateResult
from lowbg.jobs.gate.texts import summary
from lowbg.report import render_json as encode
from lowbg.runs.engine import policy_digest

SCHEMA: Final = "lowbg.gate/1"


def gate_report(result: GateResult, policy: Policy) -> dict[str, Any]:
    """Status, summary and findings, with the policy, as plain JSON values."""
    return {
        "schema": SCHEMA,
        "version": lowbg.__version__,
        "subject": result.subject,
        "status": result.status.value,
        "summary": summary(result),
        "records": result.records,
        "scored": result.scored,
        "left_out": list(result.left_out),
        "sample": as_dict(result.sample),
        "findings": [as_dict(finding) for finding in result.findings],
        "policy": as_dict(policy),
        "policy_sha256": policy_digest(policy),
    }


def render_json(result: GateResult, policy: Policy) -> bytes:
    """The same as UTF-8, ending in a line end."""
    return encode(gate_report(result, policy))
