"""What left-out human text gets by the tables and a probe together, so that a run without a
calibration of its own knows a threshold for both.

Both scores have to be of fits that never saw a document's dataset. The probe's are
(`probe.left_out`). Tables know the datasets that they were fitted on, and score those too low;
their file holds what each human dataset got while it was left out, at the rates of `FPR_GRID`: a
document takes the place that it has among its own in that. Forty documents are forty places of a
dataset's, and which ones within a fortieth each differs by dataset: so the datasets together hold
what lies beyond a fortieth, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.decision.calibration import FPR_GRID
from lowbg.decision.lm import heed, join
from lowbg.jobs.train import calibration
from lowbg.jobs.train.corpus import Row, as_text
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

_GOLDEN = 0.6180339887498949
"""Multiples of it lie evenly between whole numbers, however many there are."""

MIN_DOCUMENTS = 100
"""Fewer human documents that both can judge say nothing of a rate."""


def joined_text(
    rows: Sequence[Row], by_probe: Floats, language: str, by_surprise: Floats | None = None
) -> dict[str, Any] | None:
    """How human text of `rows` spreads under tables and probe together; null without tables of the
    language, or with too few documents that they judge.

    `by_probe` is the z of each row by a probe that never saw its dataset, `by_surprise` that of its
    evenness, which is heard too, where it is given; NaN are left out then. Of the result,
    `thresholds` are the joint z that each rate of `FPR_GRID` exceeds, `correlation` that of both
    parts, and `tables` the SHA-256 of the language's.
    """
    engine = Engine(Policy(), third_parties=False)
    if engine.threshold(language) is None:
        return None
    model = engine.models[language]
    names = np.array([row.dataset for row in rows])
    by_tables = as_left_out(
        _tables_z(engine.setup(), rows, language),
        names,
        model.metadata.get("human_collections", {}),
    )
    judged = ~np.isnan(by_tables) & ~np.isnan(by_probe)
    if judged.sum() < MIN_DOCUMENTS:
        return None
    a, b, names = by_tables[judged], by_probe[judged], names[judged]
    correlation = _correlation(a, b, alike(names))
    joint = join(a, b, correlation)
    if by_surprise is not None:
        own = by_surprise[judged]
        read = ~np.isnan(own)
        joint, names = heed(joint[read], own[read]), names[read]
    return {
        "tables": model.sha256,
        "documents": len(joint),
        "correlation": round(correlation, 4),
        "thresholds": calibration.document_thresholds(joint, names),
    }


def _tables_z(engine: Engine, rows: Sequence[Row], language: str) -> Floats:
    """z by the tables alone, NaN where they judge nothing."""
    parts = []
    for at in range(0, len(rows), 500):
        text = as_text(rows[at : at + 500])
        nothing = pa.nulls(len(text), pa.string())
        own = pa.array([language] * len(text), pa.string())
        metadata = Metadata(id=nothing, language=own, date=nothing, url=nothing)
        parts.append(engine.judge(text, metadata).decisions.z)
    return np.concatenate(parts) if parts else np.zeros(0)


def as_left_out(
    z: Floats, names: NDArray[np.str_], collections: Mapping[str, Mapping[str, Any]]
) -> Floats:
    """z as fits without their dataset would give it: of a dataset in `collections` each document
    gets what its place among the dataset's own stands for there; others keep theirs.
    """
    result = z.copy()
    for k, name in enumerate(np.unique(names)):
        own = np.flatnonzero((names == name) & ~np.isnan(z))
        entry = collections.get(str(name))
        if entry is None or not len(own):
            continue
        place = np.empty(len(own))
        within = (k + 1) * _GOLDEN % 1.0
        place[np.argsort(-z[own], kind="stable")] = (np.arange(len(own)) + within) / len(own)
        stored = np.asarray(entry["z"], np.float64)
        high = np.interp(np.log(place), np.log(FPR_GRID), stored)
        # Below the median nothing is stored: as far below it as among the dataset's own.
        low = stored[-1] + np.minimum(z[own] - np.median(z[own]), 0.0)
        result[own] = np.where(place <= FPR_GRID[-1], high, low)
    return result


def _correlation(a: Floats, b: Floats, weights: Floats) -> float:
    share = weights / weights.sum()
    x, y = a - share @ a, b - share @ b
    spread = np.sqrt((share @ x**2) * (share @ y**2))
    return float(share @ (x * y) / spread) if spread > 0 else 0.0
