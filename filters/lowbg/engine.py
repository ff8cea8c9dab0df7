"""From a batch's text to features and decisions: what every command shares.

An `Engine` is made once a worker. It holds the models, the scorers and the decision, and judges
batches; it neither reads nor writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa

from lowbg import languages
from lowbg.characters import folding_of
from lowbg.config import Policy, Rule, as_dict
from lowbg.decision.decide import Decider, Decisions, Features
from lowbg.models import ModelFile, embedded_names, open_embedded
from lowbg.provenance import KnownOrigin, ProvenanceJudge, counted_values
from lowbg.records import Metadata
from lowbg.scorers import default_scorers
from lowbg.scorers.base import Documents, Scorer
from lowbg.scorers.phrases import Phrases
from lowbg.tokens import tokenize


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch of documents with everything that is known of them, in their order.

    `columns` holds every scorer's features; `known` what provenance says of them; `decisions` the
    verdicts and scores; `counted` the values of the policy's `count_fields`, by field.
    """

    documents: Documents
    columns: Mapping[str, pa.Array]
    known: KnownOrigin
    decisions: Decisions
    counted: Mapping[str, list[str]] = field(default_factory=dict)


class Judge(Protocol):
    """What says of documents what they are; an `Engine` is the usual one."""

    def judge(self, text: pa.LargeStringArray, metadata: Metadata | None = None) -> Judged:
        """Everything that is known of a batch of documents, in their order; from any thread."""
        ...


class Engine:
    """Judges batches of text under one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.models: Mapping[str, ModelFile] = {
            code: open_embedded(code) for code in embedded_names() if code in languages.CODES
        }
        self.scorers: tuple[Scorer, ...] = default_scorers(self.models)
        self.phrases = next(scorer for scorer in self.scorers if isinstance(scorer, Phrases))
        self._decider = Decider(policy, self.models)
        self._provenance = ProvenanceJudge(policy)
        self._foldings = np.array(
            [folding_of(code) for code in languages.CODES] + [folding_of(None)], np.uint8
        )

    def setup(self) -> Engine:
        """Loads what the scorers need in this process; returns itself."""
        for scorer in self.scorers:
            scorer.setup()
        return self

    def prepare(self) -> None:
        """Fetches what the scorers need on this machine."""
        for scorer in self.scorers:
            scorer.prepare()

    def warm_up(self) -> None:
        """Compiles every kernel into the cache on disk, so that workers don't each do it."""
        nothing = pa.array([None], pa.string())
        metadata = Metadata(id=nothing, language=nothing, date=nothing, url=nothing)
        self.setup().judge(pa.array(["Some text, to be read once."], pa.large_string()), metadata)

    def judge(self, text: pa.LargeStringArray, metadata: Metadata | None = None) -> Judged:
        """Scores and decides every document; pure, and independent of how text is batched.

        `metadata` (one entry a document) gives the documents' own language and origin; without it
        the language is identified and nothing is known of their provenance.
        """
        own = metadata.language if metadata is not None else None
        language = languages.detect(text, own)
        tokens = tokenize(text, self._foldings[language])
        documents = Documents(text, tokens, language, languages.CODES)
        columns: dict[str, pa.Array] = {}
        for scorer in self.scorers:
            columns.update(scorer.score(documents))
        known = self._provenance.know(metadata, len(text))
        decisions = self._decider.decide(
            Features(
                languages=language,
                codes=languages.CODES,
                words=tokens.words_per_document,
                counts=tokens.counts,
                columns=columns,
                known=known,
                ngrams=partial(self.phrases.ngrams, documents),
            )
        )
        counted = counted_values(metadata, self.policy.provenance.count_fields)
        return Judged(documents, columns, known, decisions, counted)

    def threshold(self, language: str | None) -> float | None:
        """The `ai_score` from which a document of `language` is called AI.

        Null without tables of the language, and where the rule is not one of scores.
        """
        calibration = self._decider.calibrations.get(language or "")
        if calibration is None or self.policy.rule is not Rule.CALIBRATED:
            return None
        z = np.array([self._decider.thresholds[language or ""]])
        return float(calibration.score(z)[0])

    def model_digests(self) -> dict[str, str]:
        """Everything that influences a score, name → SHA-256 (hex)."""
        digests = {
            "characters": open_embedded("characters").sha256,
            **{code: model.sha256 for code, model in self.models.items()},
        }
        for scorer in self.scorers:
            digests.update(scorer.models)
        return dict(sorted(digests.items()))

    def scorer_versions(self) -> dict[str, int]:
        """The scorers that ran and their versions."""
        return {scorer.name: scorer.version for scorer in self.scorers}


def policy_digest(policy: Policy) -> str:
    """SHA-256 (hex) of a policy's values, whatever the layout of its file.

    The gate's limits aren't in it: they change no verdict.
    """
    values = as_dict(policy)
    del values["gate"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
