"""A stand-in for a causal LM: what sends documents to one, and what comes of it, needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from lowbg.config import Extras, LmCalibration, LmSettings, LmSpread, Policy
from lowbg.runs import engine
from lowbg.runs.engine import Engine
from lowbg.scorers import running_scorers
from lowbg.scorers.base import Documents, Scorer
from lowbg.scorers.causal_lm import LM_CURVATURE, LM_TOKENS, CausalLm

Seen = list[list[str]]
"""The texts of each call."""


class StandIn(CausalLm):
    """Says of a text that its curvature is 100 where it speaks of bees, else 0."""

    columns = (LM_CURVATURE, LM_TOKENS)

    def __init__(self, seen: Seen, settings: LmSettings | None) -> None:
        super().__init__(settings)
        self.seen = seen

    @property
    def models(self) -> Mapping[str, str]:
        return {"lm stand-in": "00" * 32}

    def prepare(self) -> None: ...

    def setup(self) -> None: ...

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        texts = documents.text.to_pylist()
        self.seen.append(texts)
        assert len(documents.tokens) == len(texts)
        assert not documents.tokens.only_counts
        return {
            "lm_curvature": pa.array([100.0 if "bees" in t else 0.0 for t in texts], pa.float32()),
            "lm_tokens": pa.array([len(t) for t in texts], pa.int64()),
        }


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Puts it in the place of every LM; the texts of each of its calls."""
    seen: Seen = []

    def running(*args: Any, **named: Any) -> tuple[Scorer, ...]:
        return tuple(
            StandIn(seen, scorer._settings) if isinstance(scorer, CausalLm) else scorer
            for scorer in running_scorers(*args, **named)
        )

    monkeypatch.setattr(engine, "running_scorers", running)
    return seen


def policy_for(extras: Extras) -> Policy:
    """One under which a curvature of 100 is far above, and one of 0 at the mean of human text."""
    assert extras.lm is not None
    witness = Engine(Policy(), extras).cascade.witness
    assert witness is not None
    identity = witness.identity()
    spread = LmSpread(0.0, 1.0, 0.0, 0.0, 25)
    return Policy(
        lm=LmCalibration(identity, "lm_curvature", {"en": spread}, {"en": 0.9}, {"en": 0.95})
    )
