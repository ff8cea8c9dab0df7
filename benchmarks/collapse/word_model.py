"""A trigram model of words: Kneser–Ney, learned and sampled in well under a second.

P(w | u v) = max(c(uvw) − D, 0) / c(uv) + λ(uv) P(w | v), the lower orders by in how many contexts a
word comes, and the lowest shared with a uniform distribution over the whole vocabulary, so that a
word that was never seen has a floor (Kneser & Ney 1995; Chen & Goodman 1999, section 4.1). It draws
from the same mixture without the floor: a word that it never saw it can't write, which is how words
are lost from one generation to the next. Top-p sampling (Holtzman et al. 2020) is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from benchmarks.collapse.human_text import prose, tokens_of
from numpy.typing import NDArray

from lowbg.kernels.compiler import kernel, part

DISCOUNT: Final = 0.75

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class WordFamily:
    """Trigram models over one vocabulary; the tokens of the texts they write are `tokens` each."""

    name = "ngram"

    def __init__(self, vocabulary: Sequence[str], tokens: int, top_p: float) -> None:
        self._words = [*vocabulary]
        self._codes = {word: code for code, word in enumerate(vocabulary)}
        self._tokens = tokens
        self._top_p = top_p

    def fit(self, texts: Sequence[str], seed: int) -> WordModel:
        """A model of the texts; `seed` has no effect, since nothing is drawn."""
        return WordModel(self, [self.encoded(text) for text in texts], len(self._words))

    def encoded(self, text: str) -> Ints:
        """The codes of a text's tokens; a word outside of the vocabulary is an error."""
        return np.array([self._codes[token] for token in tokens_of(text)], np.int64)

    def written(self, codes: Ints) -> str:
        """The text of the codes."""
        return prose(self._words[code] for code in codes.tolist())

    @property
    def tokens(self) -> int:
        """Tokens of a text that is written."""
        return self._tokens

    @property
    def top_p(self) -> float:
        """The share of the probability that words are drawn from."""
        return self._top_p


@dataclass(frozen=True, slots=True)
class _Order:
    """What follows each context, of one order of n-grams.

    Context i (of the sorted `contexts`) is followed by `words[starts[i]:starts[i + 1]]` (rising) so
    many times as `counts` says; `sums` are the counts added up, with a zero before the first.
    """

    contexts: Ints
    starts: Ints
    words: Ints
    counts: Ints
    sums: Ints


def _order(keys: Ints, counts: Ints, size: int) -> _Order:
    """From n-grams (context times `size` plus word; sorted, distinct) with their counts."""
    contexts, starts = np.unique(keys // size, return_index=True)
    ends = np.append(starts, len(keys)).astype(np.int64)
    return _Order(contexts, ends, keys % size, counts, np.append(0, np.cumsum(counts)))


class WordModel:
    """Counts of one corpus, and what follows from them."""

    def __init__(self, family: WordFamily, documents: Sequence[Ints], vocabulary: int) -> None:
        self._family = family
        self._start = vocabulary  # What stands before a document, twice.
        self._size = size = vocabulary + 1
        grams = np.concatenate([self._trigrams(own) for own in documents])
        threes, counts = np.unique(grams, return_counts=True)
        twos, continuations = np.unique(threes % size**2, return_counts=True)
        self._threes = _order(threes, counts.astype(np.int64), size)
        self._twos = _order(twos, continuations.astype(np.int64), size)
        ones = np.bincount(twos % size, minlength=vocabulary).astype(np.float64)
        self._drawn = np.maximum(ones - DISCOUNT, 0.0)
        spare = ones.sum() - self._drawn.sum()
        self._unigram = (self._drawn + spare / vocabulary) / ones.sum()
        self._drawn /= self._drawn.sum()

    def _trigrams(self, codes: Ints) -> Ints:
        padded = np.concatenate([[self._start, self._start], codes])
        return np.asarray((padded[:-2] * self._size + padded[1:-1]) * self._size + padded[2:])

    def log_probabilities(self, texts: Sequence[str]) -> list[Floats]:
        """ln P of each token of each text, in nats."""
        grams = [self._trigrams(self._family.encoded(text)) for text in texts]
        keys = np.concatenate(grams)
        lower = _mixed(
            self._twos, keys % self._size**2, self._size, self._unigram[keys % self._size]
        )
        found = np.log(_mixed(self._threes, keys, self._size, lower))
        return np.split(found, np.cumsum([len(own) for own in grams])[:-1])

    def generate(self, count: int, seed: int) -> list[str]:
        """So many texts, each drawn token by token."""
        ranked = np.argsort(-self._drawn, kind="stable")
        seen = self._drawn[ranked] > 0
        falling = self._drawn[ranked][seen]
        codes = np.empty(count * self._family.tokens, np.int64)
        _draw(
            codes, self._family.tokens, self._start, self._size, self._family.top_p, seed,
            self._threes.contexts, self._threes.starts, self._threes.words, self._threes.counts,
            self._threes.sums, self._twos.contexts, self._twos.starts, self._twos.words,
            self._twos.counts, self._twos.sums, self._drawn, ranked[seen], falling,
            np.append(0.0, np.cumsum(falling)),
        )  # fmt: skip
        return [self._family.written(own) for own in np.split(codes, count)]


def _mixed(order: _Order, keys: Ints, size: int, lower: Floats) -> Floats:
    """P of each n-gram: the discounted share of its own order, and the rest of `lower`."""
    contexts = keys // size
    at = np.minimum(np.searchsorted(order.contexts, contexts), len(order.contexts) - 1)
    known = order.contexts[at] == contexts
    begin, end = order.starts[at], order.starts[at + 1]
    total = (order.sums[end] - order.sums[begin]).astype(np.float64)
    own = np.repeat(order.contexts, np.diff(order.starts)) * size + order.words
    place = np.minimum(np.searchsorted(own, keys), len(own) - 1)
    count = np.where(own[place] == keys, order.counts[place], 0)
    seen = np.maximum(count - DISCOUNT, 0.0) / total
    rest = DISCOUNT * (end - begin) / total
    return np.asarray(np.where(known, seen + rest * lower, lower), np.float64)


@part
def _place(sorted_values: Ints, value: int) -> int:
    """How many of the sorted values are below `value`."""
    low, high = 0, len(sorted_values)
    while low < high:
        middle = (low + high) // 2
        if sorted_values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@part
def _drawn_of(begin: int, end: int, counts: Ints, sums: Ints) -> int:
    """A place from `begin` to `end`, in proportion to its count less the discount; −1: lower."""
    target = sums[begin] + np.int64(np.random.random() * (sums[end] - sums[begin]))
    low, high = begin, end - 1
    while low < high:
        middle = (low + high) // 2
        if sums[middle + 1] > target:
            high = middle
        else:
            low = middle + 1
    return low if np.random.random() * counts[low] < counts[low] - DISCOUNT else -1


@kernel
def _draw(
    codes: Ints,
    tokens: int,
    start: int,
    size: int,
    top_p: float,
    seed: int,
    contexts_3: Ints,
    starts_3: Ints,
    words_3: Ints,
    counts_3: Ints,
    sums_3: Ints,
    contexts_2: Ints,
    starts_2: Ints,
    words_2: Ints,
    counts_2: Ints,
    sums_2: Ints,
    unigram: Floats,
    ranked: Ints,
    falling: Floats,
    falling_sums: Floats,
) -> None:
    """Fills `codes` with documents of `tokens` tokens.

    `unigram` is the distribution of the lowest order, which `falling` has ranked (with its sums).
    A word is drawn from the mixture, and again until those that are more probable have less than
    `top_p` together: then it is one of the nucleus.
    """
    np.random.seed(seed)
    first, second = start, start
    for i in range(len(codes)):
        if i % tokens == 0:
            first, second = start, start
        context = first * size + second
        three = _place(contexts_3, context)
        begin_3 = end_3 = 0
        if three < len(contexts_3) and contexts_3[three] == context:
            begin_3, end_3 = starts_3[three], starts_3[three + 1]
        two = _place(contexts_2, second)
        begin_2 = end_2 = 0
        if two < len(contexts_2) and contexts_2[two] == second:
            begin_2, end_2 = starts_2[two], starts_2[two + 1]
        total_3 = sums_3[end_3] - sums_3[begin_3]
        total_2 = sums_2[end_2] - sums_2[begin_2]
        rest_3 = DISCOUNT * (end_3 - begin_3) / total_3 if total_3 else 1.0
        rest_2 = DISCOUNT * (end_2 - begin_2) / total_2 if total_2 else 1.0
        word = 0
        while True:
            at = _drawn_of(begin_3, end_3, counts_3, sums_3) if total_3 else -1
            if at >= 0:
                word = words_3[at]
            else:
                at = _drawn_of(begin_2, end_2, counts_2, sums_2) if total_2 else -1
                if at >= 0:
                    word = words_2[at]
                else:
                    target = np.random.random() * falling_sums[len(falling)]
                    low, high = 0, len(falling) - 1
                    while low < high:
                        middle = (low + high) // 2
                        if falling_sums[middle + 1] > target:
                            high = middle
                        else:
                            low = middle + 1
                    word = ranked[low]
            if top_p >= 1.0:
                break
            # First P of the word, then of all that are more probable.
            base = rest_3 * rest_2
            own = base * unigram[word]
            k = begin_3 + _place(words_3[begin_3:end_3], word)
            if k < end_3 and words_3[k] == word:
                own += (counts_3[k] - DISCOUNT) / total_3
            k = begin_2 + _place(words_2[begin_2:end_2], word)
            if k < end_2 and words_2[k] == word:
                own += rest_3 * (counts_2[k] - DISCOUNT) / total_2
            # A little above, or its own rounding would count it among them.
            own *= 1.0 + 1e-9
            low, high = 0, len(falling)
            while low < high:
                middle = (low + high) // 2
                if base * falling[middle] > own:
                    low = middle + 1
                else:
                    high = middle
            above = base * falling_sums[low]
            k = begin_3
            for j in range(begin_2, end_2):
                other = words_2[j]
                lowest = base * unigram[other]
                probability = lowest + rest_3 * (counts_2[j] - DISCOUNT) / total_2
                while k < end_3 and words_3[k] < other:
                    k += 1
                if k < end_3 and words_3[k] == other:
                    probability += (counts_3[k] - DISCOUNT) / total_3
                if probability > own:
                    above += probability - (lowest if lowest > own else 0.0)
            if above < top_p:
                break
        codes[i] = word
        first, second = second, word
