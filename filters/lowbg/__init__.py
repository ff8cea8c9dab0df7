"""lowbg keeps training data low-background.

Importing this package loads nothing heavy; the public names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowbg.config import Policy, RunConfig, Verdict
    from lowbg.jobs.explain import Explanation, explain
    from lowbg.jobs.filter import FilterJob, FilterStreamJob, filter_shards, filter_stream
    from lowbg.jobs.score import ScoreJob, score_shards
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard, discover
    from lowbg.runs.job import Outcome

__version__ = "0.1.0"

_HOMES = {
    "Engine": "runs.engine",
    "Explanation": "jobs.explain",
    "FilterJob": "jobs.filter",
    "FilterStreamJob": "jobs.filter",
    "Outcome": "runs.job",
    "Policy": "config",
    "RunConfig": "config",
    "ScoreJob": "jobs.score",
    "Shard": "runs.inputs",
    "Verdict": "config",
    "discover": "runs.inputs",
    "explain": "jobs.explain",
    "filter_shards": "jobs.filter",
    "filter_stream": "jobs.filter",
    "score_shards": "jobs.score",
}

__all__ = [
    "Engine",
    "Explanation",
    "FilterJob",
    "FilterStreamJob",
    "Outcome",
    "Policy",
    "RunConfig",
    "ScoreJob",
    "Shard",
    "Verdict",
    "__version__",
    "discover",
    "explain",
    "filter_shards",
    "filter_stream",
    "score_shards",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"lowbg.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
