"""The style of labelled text: what human text of a language is like, and what sets AI text apart.

Words are learned in each language. The weights of a style are learned once, over the labelled text
of many languages (`models/style.json`, made by `benchmarks/tables/style_weights.py`): each document
is measured against the human text of its own, and what is learned carries over to languages where
there is little AI text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from lowbg import models
from lowbg.jobs.train.corpus import Row, token_batches
from lowbg.jobs.train.log_odds import MIN_COLLECTION
from lowbg.jobs.train.regression import Dense, Floats, fit_logistic
from lowbg.text.style import FEATURES, expand, measure


@dataclass(frozen=True, slots=True)
class StyleFits:
    """Weights of a style, of several fits.

    The first is of everything; each other one left out some datasets, so that their rows can be
    scored by weights that never saw them.
    """

    weights: tuple[Floats, ...]
    left_out: tuple[frozenset[str], ...]

    def of(self, datasets: Sequence[str]) -> Floats:
        """For each dataset the weights of a fit without it (datasets × `WEIGHTS`).

        Those of everything for a dataset that no fit left out, since none had it.
        """
        place = {name: k for k, names in enumerate(self.left_out) for name in names}
        return np.array([self.weights[place.get(name, 0)] for name in datasets])


def shipped_fits() -> StyleFits:
    """The fits in `models/style.json`."""
    text = (resources.files(models) / "style.json").read_text(encoding="utf-8")
    fits = json.loads(text)["fits"]
    return StyleFits(
        tuple(np.array(fit["weights"]) for fit in fits),
        tuple(frozenset(fit["left_out"]) for fit in fits),
    )


def alike(names: NDArray[np.str_]) -> Floats:
    """A weight for each document by which all collections count alike; small ones count less."""
    _, of, sizes = np.unique(names, return_inverse=True, return_counts=True)
    return np.asarray((np.minimum(1.0, sizes / MIN_COLLECTION) / sizes)[of])


def measure_rows(rows: Sequence[Row], language: str) -> Floats:
    """rows × `FEATURES`."""
    parts = [measure(tokens) for tokens in token_batches(rows, language)]
    return np.concatenate(parts or [np.zeros((0, len(FEATURES)))])


def human_style(features: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each feature in human text; documents count by `weights`."""
    share = weights / weights.sum()
    mean = share @ features
    return mean, np.sqrt(share @ (features - mean) ** 2) + 1e-3


def log_odds(deviations: Floats, weights: Floats) -> Floats:
    """Log-odds (nats) of documents, each under its own row of `weights`."""
    return np.asarray((expand(deviations) * weights).sum(axis=1))


def fit_style(
    deviations: Floats, is_ai: NDArray[np.bool_], weights: Floats, l2: float = 1e-3
) -> Floats:
    """The weights (`WEIGHTS`) of a logistic regression with ridge `l2` on all but the intercept."""
    matrix = Dense(expand(deviations)[:, :-1])
    found = fit_logistic(matrix, is_ai, weights, l2, iterations=300, tolerance=1e-6)
    return np.append(*found)
