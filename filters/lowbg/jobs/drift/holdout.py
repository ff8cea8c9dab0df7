"""How well a sample of a corpus predicts human text that was put aside: hold-out perplexity.

A small bigram model is fitted to the sample and asked for the words of the hold-out. Text that has
lost words and turns of phrase predicts human text worse, so the perplexity rises, as a model's
does that is trained on such text (Shumailov et al. 2024, "AI models collapse when trained on
recursively generated data"). Bigrams with absolute discounting, interpolated with unigrams, and
those with a uniform distribution: Ney, Essen & Kneser 1994, eq. 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.drift.diversity import Floats
from lowbg.kernels.hashes import GOLDEN

DISCOUNT: Final = 0.75
VOCABULARY: Final = 2**20
"""Words that the uniform distribution is over: those of the sample and any others."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Human documents that a baseline put aside, as the hashes of their words.

    Document i owns `words[starts[i]:starts[i + 1]]`; `log_likelihoods` (nats, one a document) are
    those under the model of the baseline's own sample. `openings` (one a document, of the function
    of that name) tell them again: a sample that holds one of them would know it by heart.
    `training_error` is the standard error of ln perplexity that comes from the choice of the
    baseline's sample.
    """

    words: NDArray[np.uint64]
    starts: NDArray[np.int64]
    openings: NDArray[np.uint64]
    log_likelihoods: Floats
    training_error: float

    @property
    def documents(self) -> NDArray[np.int64]:
        """Whose each word is."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


OPENING_WORDS: Final = 16
"""Words by which a document is known again."""


def openings(words: NDArray[np.uint64], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of the first `OPENING_WORDS` words of each document (of all, if it has fewer)."""
    lengths = np.diff(starts)
    found = lengths.astype(np.uint64)
    for k in range(OPENING_WORDS):
        there = lengths > k
        extended = (found[there] ^ words[starts[:-1][there] + k]) * GOLDEN
        found[there] = extended ^ (extended >> np.uint64(32))
    return found


class BigramModel:
    """The counts of a sample, laid out for the words of one hold-out.

    `words` and `documents` are the sample's (`documents` rising); `held` and `held_documents` the
    hold-out's.
    """

    def __init__(
        self,
        words: NDArray[np.uint64],
        documents: NDArray[np.int64],
        held: NDArray[np.uint64],
        held_documents: NDArray[np.int64],
    ) -> None:
        types, codes = np.unique(words, return_inverse=True)
        self._codes = codes.astype(np.int64)
        self._documents = documents
        self._types = len(types)
        inside = documents[:-1] == documents[1:]
        pairs = (self._codes[:-1] * self._types + self._codes[1:])[inside]
        distinct, pair_codes = np.unique(pairs, return_inverse=True)
        self._pair_codes = pair_codes.astype(np.int64)
        self._pair_documents = documents[:-1][inside]
        self._contexts = distinct // self._types
        self._pairs = len(distinct)
        # −1, the last of each array of counts, is what the sample doesn't have: zero.
        self._held_word = _places(types, held)
        previous = np.full(len(held), -1, np.int64)
        follows = held_documents[:-1] == held_documents[1:]
        previous[1:] = np.where(follows, self._held_word[:-1], -1)
        self._held_context = previous
        known = (previous >= 0) & (self._held_word >= 0)
        wanted = np.where(known, previous * self._types + self._held_word, -1)
        self._held_pair = _places(distinct, wanted)
        self._held_documents = held_documents
        self._n_held = int(held_documents[-1]) + 1 if len(held_documents) else 0

    def log_likelihoods(self, weights: Floats) -> Floats:
        """ln P (nats) of each document of the hold-out, sample document d counted `weights[d]`."""
        ones = np.bincount(self._codes, weights[self._documents], self._types + 1)
        total = ones.sum()
        spare = DISCOUNT * (ones > 0).sum() / total
        unigram = np.maximum(ones - DISCOUNT, 0.0) / total + spare / VOCABULARY
        own = weights[self._pair_documents]
        twos = np.bincount(self._pair_codes, own, self._pairs + 1)
        context = np.bincount(self._contexts, twos[:-1], self._types + 1)
        followers = np.bincount(self._contexts, twos[:-1] > 0, self._types + 1)
        below = np.maximum(context, 1.0)
        seen = np.maximum(twos - DISCOUNT, 0.0)[self._held_pair] / below[self._held_context]
        rest = np.where(context > 0, DISCOUNT * followers / below, 1.0)[self._held_context]
        log_p = np.log(seen + rest * unigram[self._held_word])
        return np.asarray(np.bincount(self._held_documents, log_p, self._n_held), np.float64)


def _places(keys: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where each wanted value is among the sorted keys; −1 where it isn't."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1).astype(np.int64)
