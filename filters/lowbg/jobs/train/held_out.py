"""Scores of documents by fits that never saw their collection."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.train.log_odds import OddsConfig, Sample, fit, top_ngrams
from lowbg.jobs.train.regression import Floats, Sparse
from lowbg.jobs.train.windows import Vocabulary, Windows

AI_FOLDS = 3
"""Folds of the collections that hold AI text alone."""

MAX_COLLECTION = 200
"""Documents beyond which a collection is no more work to leave out."""


@dataclass(frozen=True, slots=True)
class Held:
    """Out-of-collection scores of documents: means of both log-odds, and of log-perplexity, and
    the log-odds of the style.
    """

    document: NDArray[np.int64]
    words: NDArray[np.int64]
    naive_bayes: Floats
    logistic: Floats
    log_perplexity: Floats
    style: Floats


def folds(collections: Sequence[str], is_ai: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """The fold in which each document is held out, with its whole collection.

    Collections with human text are spread over `count` folds, those of AI text alone over
    `AI_FOLDS` after them: human text is scored by fits that know all other AI text, as the final
    one does.
    """
    names = np.asarray(collections)
    human = set(names[~is_ai].tolist())
    result = np.zeros(len(names), np.int64)
    sizes = Counter(names.tolist())
    load = [0] * (count + AI_FOLDS)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        own = range(count) if name in human else range(count, count + AI_FOLDS)
        fold = min(own, key=load.__getitem__)
        load[fold] += min(sizes[name], MAX_COLLECTION)
        result[names == name] = fold
    return result


def scatter(
    fold: NDArray[np.int64],
    own: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    texts: Sequence[str],
    folds: range,
    least: int,
) -> bool:
    """Spreads a label's documents (`own`) over `folds` by text, where it must; whether so.

    It must where, with one of the folds left out, fewer than `least` documents of the label that
    are `usable` would be left to fit: all are of one collection, say. `fold` is changed in place.
    """
    sizes = np.bincount(fold[own & usable])
    if len(sizes) and sizes.sum() - sizes.max() >= least:
        return False
    for i in np.flatnonzero(own).tolist():
        crc = zlib.crc32(texts[i].encode("utf-8", "surrogatepass"))
        fold[i] = folds[crc % len(folds)]
    return True


def hold_out(
    matrix: Sparse,
    vocabulary: Vocabulary,
    windows: Windows,
    sample: Sample,
    fold: NDArray[np.int64],
    config: OddsConfig,
    capacity: int,
    log_perplexity: Floats,
    style: Floats,
) -> Held:
    """Scores of every document by the fit of the other folds, with `capacity` n-grams kept.

    `fold` has one entry a window, the same for all windows of a document; `log_perplexity` and
    `style` have one a document. Windows of no weight are scored, and never fitted.
    """
    nb = np.zeros(len(windows))
    lr = np.zeros(len(windows))
    for k in np.unique(fold):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        usable = outside[sample.base[outside] > 0]
        weights = fit(matrix.rows(usable), sample.rows(usable), config)
        dropped = top_ngrams(vocabulary, weights)[capacity:]
        weights.naive_bayes[dropped] = 0.0
        weights.logistic[dropped] = 0.0
        held = matrix.rows(inside)
        nb[inside] = held.times(weights.naive_bayes) / held.scale
        lr[inside] = held.times(weights.logistic) / held.scale
    document, at = np.unique(windows.document, return_inverse=True)
    words = np.bincount(at, windows.words)
    return Held(
        document,
        words.astype(np.int64),
        np.bincount(at, nb) / words,
        np.bincount(at, lr) / words,
        log_perplexity[document],
        style[document],
    )
