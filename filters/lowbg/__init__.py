"""lowbg keeps training data low-background.

Importing this package loads nothing heavy; the public names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowbg.config import Policy, RunConfig, Verdict
    from lowbg.engine import Engine
    from lowbg.explaining import Explanation, explain
    from lowbg.filtering import FilterJob, filter_shards, filter_stream
    from lowbg.running import Outcome
    from lowbg.scoring import ScoreJob, score_shards
    from lowbg.shards import Shard, discover

__version__ = "0.1.0"

_HOMES = {
    "Engine": "engine",
    "Explanation": "explaining",
    "FilterJob": "filtering",
    "Outcome": "running",
    "Policy": "config",
    "RunConfig": "config",
    "ScoreJob": "scoring",
    "Shard": "shards",
    "Verdict": "config",
    "discover": "shards",
    "explain": "explaining",
    "filter_shards": "filtering",
    "filter_stream": "filtering",
    "score_shards": "scoring",
}

__all__ = [
    "Engine",
    "Explanation",
    "FilterJob",
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
