"""Designs and labels for tests of the review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.review.drawing import NAMES, allocated
from lowbg.jobs.review.labels import Design, Drawn, LabelLine, Stratum

Floats = NDArray[np.float64]


def simulated(
    seed: int,
    *,
    wrong: float,
    size: int = 400,
    documents: int = 20_000,
    score_of: Callable[[Floats], Floats] = lambda margin: 1.0 / (1.0 + np.exp(-margin)),
) -> tuple[Design, list[LabelLine], dict[str, Any]]:
    """A population of known truth, a sample of it, and a reviewer who errs at the rate `wrong`.

    Every fourth document is labelled twice. The truth is `precision`, `recall` and `share`;
    `scores` are those of all human documents.
    """
    random = np.random.default_rng(seed)
    is_ai = random.random(documents) < 0.15
    margin = np.where(
        is_ai, random.normal(1.5, 1.5, documents), random.normal(-3.0, 1.2, documents)
    )
    strata = np.searchsorted([-2.0, -0.5, 0.0, 0.5, 2.0], margin, side="right")
    scores = score_of(margin)
    totals = np.bincount(strata, minlength=len(NAMES))
    drawn: list[tuple[int, int]] = []
    for stratum, wanted in enumerate(allocated(totals, size)):
        members = np.flatnonzero(strata == stratum)
        drawn += [(int(i), stratum) for i in random.choice(members, wanted, replace=False)]
    used = [i for i in range(len(NAMES)) if totals[i]]
    design = Design(
        content="c", policy="p",
        strata=[Stratum(NAMES[i], "ai" if i > 2 else "human", int(totals[i])) for i in used],
        documents=[
            Drawn(file="human/a.jsonl", record=i, stratum=used.index(s), language="en",
                  score=float(scores[i]))
            for i, s in drawn
        ],
    )  # fmt: skip
    labels = []
    for place, (i, _) in enumerate(drawn):
        for again in (False, True) if place % 4 == 0 else (False,):
            said = bool(is_ai[i]) != bool(random.random() < wrong)
            labels.append(
                LabelLine(
                    document=place, label="ai" if said else "human", reviewer="ann", again=again
                )
            )
    called = margin >= 0.0
    truth = {
        "precision": float(is_ai[called].mean()),
        "recall": float(called[is_ai].mean()),
        "share": float(is_ai.mean()),
        "scores": np.sort(scores[~is_ai]),
    }
    return design, labels, truth
