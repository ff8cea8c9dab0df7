"""A `Policy` as the text of a policy file; `policy.parse_policy` reads it back as it was."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from lowbg.config import LmCalibration, Policy
from lowbg.decision.policy import KEYS


def policy_text(policy: Policy, comments: tuple[str, ...] = ()) -> str:
    """The TOML of `policy`, every value written out, below `comments`, one line each."""
    gate, provenance = policy.gate, policy.provenance
    tables: dict[str, Mapping[str, Any]] = {
        "decision": {
            "rule": policy.rule,
            "target_fpr": policy.target_fpr,
            "fpr_bound": policy.fpr_bound,
            "unscored": policy.unscored,
        },
        "calibration.min_ai_scores": dict(sorted(policy.min_ai_scores.items())),
        **_lm_tables(policy.lm),
        "thresholds": {
            "min_perplexity": policy.thresholds.min_perplexity,
            "min_burstiness": policy.thresholds.min_burstiness,
            "max_phrase_hits": policy.thresholds.max_phrase_hits,
        },
        "trust": {
            "before": policy.trust_before,
            "date_field": policy.date_field,
            "allow_sources": provenance.allow_sources or None,
            "deny_sources": provenance.deny_sources or None,
            "count_fields": provenance.count_fields or None,
        },
        "trust.fields": provenance.fields,
        "gate": {
            name: getattr(gate, name)
            for name in KEYS["gate"]
            if name not in ("max_ai_share_by", "max_phrase_hits")
        },
        "gate.max_ai_share_by": dict(sorted(gate.max_ai_share_by.items())),
        "gate.max_phrase_hits": dict(sorted(gate.max_phrase_hits.items())),
        **{f"scorers.{_key(name)}": table for name, table in sorted(policy.scorers.items())},
    }
    lines = [f"# {line}".rstrip() for comment in comments for line in comment.split("\n")]
    for name, values in tables.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given or name.startswith("scorers."):  # An empty one says that the scorer is to run.
            lines.append(f"[{name}]")
            lines += [f"{_key(key)} = {_value(value)}" for key, value in given.items()]
    return "\n".join(lines) + "\n"


def _lm_tables(lm: LmCalibration | None) -> dict[str, Mapping[str, Any]]:
    if lm is None:
        return {}
    return {
        "calibration.lm": {"model": lm.model, "feature": lm.feature, "band": lm.band},
        "calibration.lm.min_ai_scores": dict(sorted(lm.min_ai_scores.items())),
        **{
            f"calibration.lm.languages.{_key(code)}": asdict(spread)
            for code, spread in sorted(lm.languages.items())
        },
    }


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, (str, StrEnum)):
        # A JSON string is a TOML basic string, but for DEL.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else repr(value)
