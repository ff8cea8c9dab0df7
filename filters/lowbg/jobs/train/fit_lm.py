"""The language model of the human text of a training run."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train import kneser_ney
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.gather import Material
from lowbg.text.tokens import Tokens


def fit_lm(
    material: Material, config: TrainConfig, among: NDArray[np.bool_] | None = None
) -> kneser_ney.LmTable:
    """The language model of the human rows that may be fitted, each dataset up to its bound.

    `among` says which rows to choose from; all by default.
    """
    generator = np.random.default_rng(config.seed)
    rows = material.rows
    chosen: list[int] = []
    spent: Counter[str] = Counter()
    for i in generator.permutation(len(rows)):
        row = rows[int(i)]
        if row.is_ai or not material.fitted[i] or (among is not None and not among[i]):
            continue
        bound = config.prose_bytes.get(row.dataset, config.prose_bytes.get("*", 4_000_000))
        if spent[row.dataset] < bound:
            spent[row.dataset] += len(row.text.encode("utf-8", "replace"))
            chosen.append(int(i))
    words, sentences = _gather_tokens(material.tokens, np.array(sorted(chosen)))
    levels = kneser_ney.count_levels(words, sentences, config.lm)
    table = kneser_ney.make_table(kneser_ney.estimate(levels), config.lm)
    table.metadata["trained_words"] = len(words)
    return table


def _gather_tokens(
    tokens: Tokens, documents: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    def pick(starts: NDArray[np.int64]) -> NDArray[np.int64]:
        lengths = starts[documents + 1] - starts[documents]
        ends = np.cumsum(lengths)
        return np.asarray(
            np.arange(ends[-1]) + np.repeat(starts[documents] - ends + lengths, lengths)
        )

    return tokens.words[pick(tokens.word_starts)], tokens.sentences[pick(tokens.sentence_starts)]
