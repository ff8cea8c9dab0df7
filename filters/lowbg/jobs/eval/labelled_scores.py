"""Labelled documents → labelled_scores: what `lowbg eval` and `benchmarks/quality/` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import floats
from lowbg.jobs.eval.evaluate import LabelledScores
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.records import Metadata
from lowbg.runs.engine import Engine, Judged

_BATCH = 1_000


@dataclass(slots=True)
class LabelledScoresBuilder:
    """Gathers what was decided of labelled documents, batch by batch, in their order."""

    documents: int = 0
    called: int = 0
    _columns: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)
    _groups: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, judged: Judged, is_ai: Sequence[bool | None], groups: Mapping[str, Sequence[str]]
    ) -> None:
        """Adds a judged batch; documents whose label is None are left out.

        `groups` holds each document's group by the name of a grouping, the same names in every
        call; the language is added to them as the scorers took it.
        """
        kept = np.array([label is not None for label in is_ai], np.bool_)
        codes = np.array([*judged.documents.language_codes, ""])
        columns = {
            "is_ai": np.array([bool(label) for label in is_ai], np.bool_),
            "score": floats(judged.decisions.score),
            "called_ai": judged.decisions.called_ai,
            "words": judged.documents.tokens.words_per_document.astype(np.int64),
            "perplexity": floats(judged.columns["perplexity"]),
        }
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values[kept])
        named = {"language": codes[judged.documents.languages].tolist(), **groups}
        for name, own in named.items():
            chosen = (group for group, keep in zip(own, kept.tolist(), strict=True) if keep)
            self._groups.setdefault(name, []).extend(chosen)
        self.documents += int(kept.sum())
        self.called += int(columns["called_ai"][kept].sum())

    def build(self) -> LabelledScores:
        """Everything as arrays; a grouping that no document has is left out.

        Raises `ValueError` where nothing was added.
        """
        joined = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        return LabelledScores(
            is_ai=joined["is_ai"].astype(np.bool_),
            score=joined["score"].astype(np.float64),
            called_ai=joined["called_ai"].astype(np.bool_),
            words=joined["words"].astype(np.int64),
            groups={name: np.array(own) for name, own in self._groups.items() if any(own)},
            perplexity=joined["perplexity"].astype(np.float64),
        )


def judge_rows(engine: Engine, rows: Iterable[Row], builder: LabelledScoresBuilder) -> None:
    """Adds the rows of a file, grouped by dataset, domain, generator and attack.

    The language is the rows' own. Generator and attack are of AI rows alone.
    """
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == _BATCH:
            _judge_part(engine, part, builder)
            part = []
    if part:
        _judge_part(engine, part, builder)


def _judge_part(engine: Engine, rows: Sequence[Row], builder: LabelledScoresBuilder) -> None:
    nulls = pa.nulls(len(rows), pa.string())
    own = pa.array([row.language or None for row in rows], pa.string())
    judged = engine.judge(as_text(rows), Metadata(nulls, own, nulls, nulls))
    groups = {
        "dataset": [row.dataset for row in rows],
        "domain": [row.domain for row in rows],
        "generator": [row.generator if row.is_ai else "" for row in rows],
        "attack": [row.attack if row.is_ai else "" for row in rows],
    }
    builder.add(judged, [row.is_ai for row in rows], groups)
