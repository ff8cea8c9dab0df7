"""Fits the n-gram weights and the style of a language: on everything, and without each fold."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train import held_out, log_odds, style
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.fit_lm import fit_lm
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.log_odds import Sample
from lowbg.jobs.train.regression import Floats, Sparse
from lowbg.jobs.train.windows import Vocabulary, Windows, count_ngrams, cut
from lowbg.scorers.perplexity import log_likelihoods
from lowbg.text.style import standardise

log = logging.getLogger(__name__)


def sample_of(material: Material, windows: Windows, config: TrainConfig) -> Sample:
    """What the fit knows of each window; a document's windows share the root of their number.

    Those that are not to be fitted weigh nothing.
    """
    rows = material.rows
    pieces = np.bincount(windows.document, minlength=len(rows))
    base = np.sqrt(np.minimum(1.0, windows.words / 100) / pieces[windows.document])
    rewritten = np.array([bool(row.attack) and row.is_ai for row in rows])
    own = np.where(rewritten, config.odds.attack_weight, 1.0)
    own *= material.fitted & among_the_first(rows, config.max_documents)
    return Sample(
        is_ai=np.array([row.is_ai for row in rows])[windows.document],
        collection=np.array([row.dataset for row in rows])[windows.document],
        document=windows.document,
        base=base * own[windows.document],
        genre=np.array([genre_of(row.domain, config.genres) for row in rows])[windows.document],
    )


def genre_of(domain: str, genres: Mapping[str, Sequence[str]]) -> str:
    """The first genre that has a word which stands in `domain`; empty where none has."""
    found = (name for name, words in genres.items() if any(word in domain for word in words))
    return next(found, "")


def among_the_first(rows: Sequence[Row], most: int) -> NDArray[np.bool_]:
    """Whether each row is one of the first `most` of its kind, in the order of their hashes."""
    order = sorted(range(len(rows)), key=lambda i: (zlib.crc32(_key(rows[i])), i))
    taken: Counter[tuple[str, bool]] = Counter()
    chosen = np.zeros(len(rows), np.bool_)
    for i in order:
        kind = rows[i].dataset, rows[i].is_ai
        chosen[i] = taken[kind] < most
        taken[kind] += 1
    return chosen


def _key(row: Row) -> bytes:
    return (row.id or row.text).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class FittedOdds:
    """The log-odds table with its metadata, and the documents' out-of-collection scores."""

    table: NDArray[np.uint32]
    metadata: dict[str, Any]
    held: Held


def fit_odds(material: Material, config: TrainConfig, style: Floats) -> FittedOdds:
    """Fits the n-gram weights on everything, and again without each fold for honest scores.

    `style` holds the log-odds of each document's style.
    """
    odds = config.odds
    windows = cut(material.tokens.word_starts, odds.min_words, odds.max_windows)
    vocabulary, matrix = count_ngrams(material.tokens.words, windows, odds.order, odds.min_windows)
    sample = sample_of(material, windows, config)
    usable = np.flatnonzero(sample.base > 0)
    log.info("%s: %d windows, %d n-grams", config.language, len(windows), matrix.width)
    weights = log_odds.fit(matrix.rows(usable), sample.rows(usable), odds)
    table, scales, lost = log_odds.make_table(vocabulary, weights, odds.slots)
    stored = int((table != 0).sum())
    held = _hold_out(material, matrix, vocabulary, windows, sample, stored, style, config)
    metadata = {
        "order": odds.order,
        "scales": list(scales),
        "stored": stored,
        "offered": matrix.width,
        "lost": lost,
        "config": asdict(odds),
    }
    return FittedOdds(table, metadata, held)


def _hold_out(
    material: Material,
    matrix: Sparse,
    vocabulary: Vocabulary,
    windows: Windows,
    sample: Sample,
    capacity: int,
    style: Floats,
    config: TrainConfig,
) -> Held:
    rows = material.rows
    is_ai = np.array([row.is_ai for row in rows])
    fold = held_out.folds([row.dataset for row in rows], is_ai, config.folds)
    of_label = (range(config.folds), range(config.folds, config.folds + held_out.AI_FOLDS))
    usable = material.fitted & (material.tokens.words_per_document >= config.odds.min_words)
    texts = [row.text for row in rows]
    for label, its_folds in zip((False, True), of_label, strict=True):
        scattered = held_out.scatter(
            fold,
            is_ai == label,
            usable=usable,
            texts=texts,
            folds=its_folds,
            least=config.min_documents // 2,
        )
        if scattered and not label:
            log.warning(
                "%s: too little human text is left without one of its collections: thresholds are "
                "set on documents that were left out one by one, not with their whole collection. "
                "On text of another kind more may be called AI: calibrate on your own",
                config.language,
            )
    # What serves thresholds only is never fitted: a fold of its own after all others.
    fold = np.where(material.fitted, fold, -1)
    return held_out.hold_out(
        matrix,
        vocabulary,
        windows,
        sample,
        fold[windows.document],
        config.odds,
        capacity,
        held_perplexity(material, fold, config),
        style,
    )


def held_perplexity(
    material: Material, fold: NDArray[np.int64], config: TrainConfig
) -> NDArray[np.float64]:
    """Log-perplexity of every document under a model without the human text of its fold."""
    result = np.zeros(len(material.rows))
    # The language model reads human text alone: that of AI folds is of all of it.
    fold = np.minimum(fold, config.folds)
    for k in np.unique(fold):
        table = fit_lm(material, config, fold != k)
        inside = np.flatnonzero(fold == k)
        total = log_likelihoods(table.slots, table.metadata, material.tokens, inside)
        lengths = material.tokens.words_per_document[inside]
        result[inside] = -total / np.maximum(lengths, 1)
    return result


def fit_style(material: Material, config: TrainConfig) -> tuple[Floats, dict[str, list[float]]]:
    """The log-odds of each document's style by weights that never saw its dataset, and what a model
    file holds: the features of human text, kinds counting alike, and the weights of everything.
    """
    rows, fits = material.rows, style.shipped_fits()
    features = style.measure_rows(rows, config.language)
    human = np.array([not row.is_ai for row in rows])
    human &= material.tokens.words_per_document >= config.min_words
    names = np.array([row.dataset for row in rows])
    mean, spread = style.human_style(features[human], style.alike(names[human]))
    deviations = standardise(features, mean, spread)
    known = {"mean": mean, "spread": spread, "weights": fits.weights[0]}
    return style.log_odds(deviations, fits.of(names.tolist())), {
        name: [round(float(v), 6) for v in values] for name, values in known.items()
    }
