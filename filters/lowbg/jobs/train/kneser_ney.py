"""An n-gram language model: interpolated modified Kneser–Ney, pruned, in back-off form, as a table.

Chen & Goodman 1999, section 3.4, with the unknown word as in KenLM (Heafield et al. 2013): the
unigram discount mass goes evenly to all words of the training text and one unknown. Words that the
table has no room for, and words never seen, have that share of what the stored unigrams leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.regression import Floats
from lowbg.kernels.ngram_lists import list_levels
from lowbg.kernels.tables import build, holds
from lowbg.text.ngrams import BEGIN

LEVELS = 255
"""Steps of a stored log-probability or back-off."""


@dataclass(frozen=True, slots=True)
class LmConfig:
    """Longest n-gram, and size of the table (a power of two)."""

    order: int = 2
    slots: int = 1 << 18


@dataclass(frozen=True, slots=True)
class Level:
    """All n-grams of one length, by rising hash.

    `context` and `suffix` are places in the level below (−1: none, at length 1) of the n-gram
    without its last and without its first word; a context that begins with the sentence start is
    a place too. `count` is the adjusted count: occurrences at the top level and for n-grams that
    begin a sentence, distinct words to the left below.
    """

    hashes: NDArray[np.uint64]
    context: NDArray[np.int64]
    suffix: NDArray[np.int64]
    count: NDArray[np.int64]


def count_levels(
    words: NDArray[np.uint64], sentences: NDArray[np.int32], config: LmConfig
) -> list[Level]:
    """The n-grams of 1 … `order` words with adjusted counts."""
    levels: list[Level] = []
    below: NDArray[np.uint64] = np.empty(0, np.uint64)
    for order in range(1, config.order + 1):
        out = np.empty((4, len(words)), np.uint64)
        n = list_levels(words, sentences, order, BEGIN, out)
        unique, at, inverse, count = np.unique(
            out[0, :n], return_index=True, return_inverse=True, return_counts=True
        )
        if order < config.order:
            extended, where = np.unique(out[3, :n], return_index=True)
            distinct = np.bincount(inverse[where][extended != 0], minlength=len(unique))
            count = np.where(distinct > 0, distinct, count)
        context, suffix = (
            _find(below, out[row, :n][at]) if order > 1 else np.full(len(unique), -1)
            for row in (1, 2)
        )
        levels.append(Level(unique, context, suffix, count.astype(np.int64)))
        below = unique
    return levels


def _find(sorted_hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where `wanted` stand in `sorted_hashes`; −1 where they don't (the sentence start)."""
    if not len(sorted_hashes):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(sorted_hashes, wanted), len(sorted_hashes) - 1)
    return np.where(sorted_hashes[at] == wanted, at, -1).astype(np.int64)


def discounts(counts: NDArray[np.int64]) -> Floats:
    """What counts of 0, 1, 2 and ≥ 3 lose (Chen & Goodman 1999, eq. 26); 0.5, 1, 1.5 if too few."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    fallback = np.array([0.0, 0.5, 1.0, 1.5])
    if (n[1:5] == 0).any():
        return fallback
    y = n[1] / (n[1] + 2 * n[2])
    result = np.array([0.0, *(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))])
    return result if (result >= 0).all() else fallback


@dataclass(frozen=True, slots=True)
class Model:
    """Levels with probabilities: log P of each n-gram, and the unknown word's log P."""

    levels: list[Level]
    log_probability: list[Floats]
    log_unknown: float


def estimate(levels: list[Level]) -> Model:
    """Interpolated modified Kneser–Ney probabilities of every n-gram, in nats.

    P(w|h) = (c(hw) − D) / c(h·) + γ(h) · P(w|h′), γ(h) the discounts of h's continuations over
    c(h·); the unigram's lower order is uniform over all words and the unknown one.
    """
    probabilities: list[Floats] = []
    uniform = 1.0 / (len(levels[0].hashes) + 1)
    unknown = uniform
    for order, level in enumerate(levels, 1):
        lost = discounts(level.count)[np.minimum(level.count, 3)]
        size = 1 if order == 1 else len(levels[order - 2].hashes) + 1
        group = np.zeros(len(level.count), np.int64) if order == 1 else level.context
        total = np.bincount(group % size, level.count.astype(float), size)
        mass = np.bincount(group % size, lost, size) / np.maximum(total, 1e-300)
        lower = (
            np.full(len(level.count), uniform) if order == 1 else probabilities[-1][level.suffix]
        )
        probabilities.append(
            (level.count - lost) / total[group % size] + mass[group % size] * lower
        )
        if order == 1:
            unknown = mass[0] * uniform
    return Model(levels, [np.log(p) for p in probabilities], float(np.log(unknown)))


@dataclass(frozen=True, slots=True)
class LmTable:
    """A model as slots, with what is needed to read it (`ngrams/`)."""

    slots: NDArray[np.uint32]
    metadata: dict[str, float | int]


def importance(model: Model) -> list[Floats]:
    """What the training text's log-likelihood loses when an n-gram is dropped, about.

    Adjusted count × |log P(w|h) − log P(w|h′)| (Seymore & Rosenfeld 1996, without the change of
    the back-off weight). Unigrams weigh their count against the unknown word.
    """
    result = []
    for order, (level, log_p) in enumerate(
        zip(model.levels, model.log_probability, strict=True), 1
    ):
        lower = model.log_unknown if order == 1 else model.log_probability[order - 2][level.suffix]
        result.append(np.asarray(level.count * np.abs(log_p - lower), np.float64))
    return result


def make_table(model: Model, config: LmConfig) -> LmTable:
    """The model pruned to `config.slots` slots and renormalised.

    The n-grams that found a place are known only after a first filling; the back-off weights that
    make their probabilities add up to one are then computed from those.
    """
    hashes = np.concatenate([level.hashes for level in model.levels])
    sizes = [len(level.hashes) for level in model.levels]
    ends = np.cumsum([0, *sizes])
    weight = np.concatenate(importance(model))
    weight[: sizes[0]] *= 2.0  # a lost unigram loses its back-off weight too
    order = np.argsort(-weight, kind="stable")[: int(config.slots * 1.5)]
    ranks = (np.arange(len(order)) & 0xFFFF).astype(np.uint16)
    table, _ = build(hashes[order], ranks, config.slots)
    placed = np.zeros(len(hashes), bool)
    placed[order] = holds(table, hashes[order], ranks)
    stored = [placed[a:b] for a, b in pairwise(ends)]
    begin_backoff, backoffs, log_unknown = _renormalise(model, stored)
    log_p = np.concatenate(model.log_probability)
    backoff = np.concatenate(backoffs)
    floor = float(log_p[placed].min(initial=-1.0))
    lowest = float(min(backoff[placed].min(initial=0.0), begin_backoff, -1e-3))
    highest = float(max(backoff[placed].max(initial=0.0), begin_backoff, 1e-3))
    steps_p = np.rint((log_p / floor) * LEVELS).clip(0, LEVELS).astype(np.int64)
    scale = (highest - lowest) / LEVELS
    steps_b = np.rint((backoff - lowest) / scale).clip(0, LEVELS).astype(np.int64)
    payload = ((steps_p << 8) | steps_b).astype(np.uint16)
    chosen = order[placed[order]]
    slots, _ = build(hashes[chosen], payload[chosen], config.slots)
    return LmTable(
        slots,
        {
            "order": config.order,
            "log_p_step": floor / LEVELS,
            "backoff_step": scale,
            "backoff_low": lowest,
            "log_unknown": log_unknown,
            "begin_backoff": begin_backoff,
            "stored": int(placed.sum()),
            "words": len(model.levels[0].hashes),
        },
    )


def _renormalise(
    model: Model, stored: list[NDArray[np.bool_]]
) -> tuple[float, list[Floats], float]:
    """Back-off weights (log) of the sentence start and of every n-gram, and of the unknown word.

    b(h) = (1 − Σ P(w|h)) / (1 − Σ P(w|h′)) over the stored w after h; the words without a stored
    unigram, and the unknown one, share what the stored unigrams leave.
    """
    p_unigram = np.exp(model.log_probability[0])
    left = max(1.0 - float(p_unigram[stored[0]].sum()), 1e-9)
    log_unknown = float(np.log(left / (1 + int((~stored[0]).sum()))))
    # What a lower order gives a word depends on what is stored there.
    effective = np.where(stored[0], model.log_probability[0], log_unknown)
    backoffs: list[Floats] = []
    begin = 0.0
    for order in range(2, len(model.levels) + 1):
        level, size = model.levels[order - 1], len(model.levels[order - 2].hashes)
        log_p, kept = model.log_probability[order - 1], stored[order - 1]
        group = level.context % (size + 1)
        upper = np.bincount(group[kept], np.exp(log_p[kept]), size + 1)
        lower = np.bincount(group[kept], np.exp(effective[level.suffix[kept]]), size + 1)
        weight = np.log(np.maximum(1.0 - upper, 1e-6) / np.maximum(1.0 - lower, 1e-6))
        if order == 2:
            begin = float(weight[size])
        backoffs.append(np.clip(weight[:size], -8.0, 2.0))
        through = np.where(group == size, begin, weight[np.minimum(group, size)])
        context_stored = np.append(stored[order - 2], True)[group]
        effective = np.where(
            kept, log_p, np.where(context_stored, through, 0.0) + effective[level.suffix]
        )
    backoffs.append(np.zeros(len(model.levels[-1].hashes)))
    return begin, backoffs, log_unknown
