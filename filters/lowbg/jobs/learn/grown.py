"""Tables that grow on embedded ones: these keep their weights, and what is learned is added.

Embedded tables know many kinds of text, and learned ones the user's own. Both get an equal share:
each spreads as widely in human text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.learn.gather import Dumps
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.corpus import as_text
from lowbg.jobs.train.log_odds import Weights, quantise, top_ngrams
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.windows import Vocabulary
from lowbg.kernels.tables import grow
from lowbg.models import open_embedded
from lowbg.scorers.base import Documents
from lowbg.scorers.phrases.odds import create_odds
from lowbg.text.languages import CODES

_WORDS = 250
"""The length of document at which both spread alike."""


@dataclass(frozen=True, slots=True)
class Base:
    """The embedded tables of a language: their slots with both weights of each (nats), and what
    they make of every document (nats a word)."""

    sha256: str
    slots: NDArray[np.uint32]
    weights: Weights
    documents: Weights

    def scaled(self, learned: Weights, dumps: Dumps) -> Base:
        """With weights so scaled that both log-odds spread as `learned` ones in human text do."""
        words, known = dumps.tokens.words_per_document[dumps.known], dumps.known
        equal = np.ones(len(words))

        def factor(ours: Floats, theirs: Floats) -> float:
            one, other = (
                fit_spread(x[known], words, equal).deviation(_WORDS) for x in (ours, theirs)
            )
            return one / other

        by = (
            factor(learned.naive_bayes, self.documents.naive_bayes),
            factor(learned.logistic, self.documents.logistic),
        )
        weights, documents = (
            Weights(each.naive_bayes * by[0], each.logistic * by[1])
            for each in (self.weights, self.documents)
        )
        return replace(self, weights=weights, documents=documents)


def base_of(dumps: Dumps, language: str) -> Base:
    """The embedded tables of a language that has some."""
    model = open_embedded(language)
    slots = model.arrays["odds_slots"]
    payload = (slots & np.uint32(0xFFFF)).astype(np.int64)
    scales = [float(scale) for scale in model.metadata["odds"]["scales"]]
    there = slots != 0
    linear = np.where(there, (payload >> 8) - 128, 0)
    root = np.where(there, (payload & 0xFF) - 128, 0)
    weights = Weights(linear * scales[0], root * np.abs(root) * scales[1])
    spoken = np.full(len(dumps.rows), CODES.index(language), np.int8)
    own = Documents(as_text(dumps.rows), dumps.tokens, spoken, CODES)
    found = create_odds({language: model}).score(own)
    documents = Weights(*(np.nan_to_num(found[name].astype(np.float64)) for name in ("nb", "lr")))
    return Base(model.sha256, slots, weights, documents)


def grown_table(
    base: Base, vocabulary: Vocabulary, weights: Weights
) -> tuple[NDArray[np.uint32], tuple[float, float], int]:
    """As `train.log_odds.make_table`, with the n-grams of `base` in it.

    An n-gram of both has the sum of its weights. One that finds no free place takes that of the
    lightest in its bucket, if it is heavier.
    """
    order = top_ngrams(vocabulary, weights)
    slots = base.slots.copy()
    one, two = base.weights.naive_bayes.copy(), base.weights.logistic.copy()
    lost = grow(
        slots,
        one,
        two,
        vocabulary.hashes[order],
        weights.naive_bayes[order],
        weights.logistic[order],
        _spread(one, slots, weights.naive_bayes),
        _spread(two, slots, weights.logistic),
    )
    payload, scales = quantise(Weights(one, two))
    fingerprints = slots & np.uint32(0xFFFF0000)
    return np.where(slots != 0, fingerprints | payload, 0).astype(np.uint32), scales, lost


def _spread(stored: Floats, slots: NDArray[np.uint32], added: Floats) -> float:
    """What a weight is measured by: how those that are there spread, else those that are added."""
    there = stored[slots != 0]
    return max(float((there if len(there) else added).std()), 1e-12)
