"""lowbg keeps training data low-background.

    import lowbg

    lowbg.score(["Some text.", "Another one."])       # a pyarrow.Table, a row a text
    detector = lowbg.Detector("policy.toml")          # keeps what it loaded
    detector.score_table(table)                       # pyarrow, Polars, pandas, DuckDB, datasets
    detector.explain("Some text.")

Importing this package loads nothing heavy and changes nothing in the program that does; the public
names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowbg.config import Extras, FieldNames, Policy, RunConfig, Verdict
    from lowbg.decision.policy import load_policy
    from lowbg.detector import Detector, columns, score
    from lowbg.jobs.explain import Explanation
    from lowbg.jobs.filter import FilterJob, filter_shards
    from lowbg.jobs.score import ScoreJob, score_shards
    from lowbg.runs.inputs import Shard, discover
    from lowbg.runs.job import Outcome
    from lowbg.schema import Column

__version__ = "0.1.0"

_HOMES = {
    "Column": "schema",
    "Detector": "detector",
    "Explanation": "jobs.explain",
    "Extras": "config",
    "FieldNames": "config",
    "FilterJob": "jobs.filter",
    "Outcome": "runs.job",
    "Policy": "config",
    "RunConfig": "config",
    "ScoreJob": "jobs.score",
    "Shard": "runs.inputs",
    "Verdict": "config",
    "columns": "detector",
    "discover": "runs.inputs",
    "filter_shards": "jobs.filter",
    "load_policy": "decision.policy",
    "score": "detector",
    "score_shards": "jobs.score",
}

__all__ = [
    "Column",
    "Detector",
    "Explanation",
    "Extras",
    "FieldNames",
    "FilterJob",
    "Outcome",
    "Policy",
    "RunConfig",
    "ScoreJob",
    "Shard",
    "Verdict",
    "__version__",
    "columns",
    "discover",
    "filter_shards",
    "load_policy",
    "score",
    "score_shards",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"lowbg.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
