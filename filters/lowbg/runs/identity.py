"""What decides scores and verdicts, as digests: two that are equal stand for equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from lowbg.config import AUTO, Policy, as_dict
from lowbg.models import ModelFile, open_embedded
from lowbg.scorers.base import Scorer


def comes_with_lowbg(scorer: Scorer) -> bool:
    """Whether a scorer comes with lowbg."""
    return type(scorer).__module__.startswith("lowbg.")


def scored_by(scorers: Sequence[Scorer], tables: Mapping[str, ModelFile]) -> dict[str | None, str]:
    """By language what the scores that tables give depend on; of null, those without tables.

    The first half is a digest of lowbg's own scorers that always run, and of what they read in any
    language; the second one of the language's tables.
    """
    own = [scorer for scorer in scorers if scorer.settings is None and comes_with_lowbg(scorer)]
    digests = {code: model.sha256 for code, model in tables.items()}
    read = {digest for scorer in own for digest in scorer.models.values()}
    parts = [
        *(f"{scorer.name} {scorer.version}" for scorer in own),
        open_embedded("characters").sha256,
        *sorted(read - {*digests.values()}),
    ]
    shared = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]
    return {
        None: f"{shared}-none",
        **{code: f"{shared}-{digest[:8]}" for code, digest in digests.items()},
    }


def policy_digest(policy: Policy) -> str:
    """SHA-256 (hex) of a policy's values, whatever the layout of its file.

    The gate's limits aren't in it: they change no verdict. Nor is where tables of the user's own
    lie: the digests of the tables say what they are (`Engine.model_digests`).
    """
    values = as_dict(policy)
    del values["gate"]
    values.pop("tables", None)
    if "sources" in values and values["sources"]["table"] is not None:
        values["sources"]["table"] = AUTO if values["sources"]["table"] == AUTO else "a table"
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
