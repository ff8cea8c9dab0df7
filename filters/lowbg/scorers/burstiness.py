"""How uneven the writing is: the Goh–Barabási burstiness of sentence lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import column_of
from lowbg.kernels import sentences
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer, linear_bins

BURSTINESS = Column(
    "burstiness",
    pa.float32(),
    unit="−1 … 1",
    meaning="Goh–Barabási B = (σ − μ) / (σ + μ) of sentence lengths in words",
    null="fewer than two sentences",
    bins=linear_bins("Burstiness", -1.0, 1.0, 40),
    order=20,
)


def goh_barabasi(lengths: NDArray[np.int32], starts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Burstiness B = (σ − μ) / (σ + μ) of each document's sentence lengths, in −1 … 1.

    `lengths` holds the words of every sentence in the batch, each above 0; document i owns
    `lengths[starts[i]:starts[i + 1]]`. σ is that of the whole population, so equal lengths give
    −1. NaN-free: a document with fewer than two sentences has 0 here and a null downstream.
    Goh & Barabási 2008, eq. 1.
    """
    out = np.empty(len(starts) - 1, np.float32)
    sentences.goh_barabasi(lengths, starts, out)
    return out


class Burstiness(Scorer):
    """`burstiness` in every language; it needs no model."""

    name = "burstiness"
    version = 1
    columns = (BURSTINESS,)
    min_words = 2
    concurrent = True

    def setup(self) -> None:
        """Compiles, or loads the compiled kernel."""
        goh_barabasi(np.ones(2, np.int32), np.array([0, 2], np.int64))

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """`burstiness`; null below two sentences."""
        tokens = documents.tokens
        values = goh_barabasi(tokens.sentences, tokens.sentence_starts)
        return {BURSTINESS.name: column_of(values, null=np.diff(tokens.sentence_starts) < 2)}


def create(models: Mapping[str, ModelFile]) -> Scorer:
    """The scorer; it uses none of the models."""
    return Burstiness()
