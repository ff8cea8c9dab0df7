"""A trigram model of words: Kneser–Ney, learned and sampled in well under a second.

P(w | u v) = max(c(uvw) − D, 0) / c(uv) + λ(uv) P(w | v), the lower orders by in how many contexts a
word comes, and the lowest shared with a uniform distribution over the whole vocabulary, so that a
word that was never seen has a floor (Kneser & Ney 1995; Chen & Goodman 1999, section 4.1). It draws
from the same mixture without the floor: a word that it never saw it can't write, which is how words
are lost from one generation to the next. Top-p sampling (Holtzman et al. 2020) is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from benchmarks.collapse.human_text import prose, tokens_of
from numpy.typing import NDArray

from lowbg.kernels.arrays import Rows
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


class _Order(NamedTuple):
    """What follows each context, of one order of n-grams.

    Context i (of the sorted `contexts`) is followed by `words[starts[i]:starts[i + 1]]` (rising) so
    many times as `counts` says; `sums` are the counts added up, with a zero before the first.
    """

    contexts: Ints
    starts: Ints
    words: Ints
    counts: Ints
    sums: Ints


class _Lowest(NamedTuple):
    """The distribution of words in no context, also ranked, with its sums from a zero on."""

    drawn: Floats
    ranked: Ints
    falling: Floats
    sums: Floats


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
        ranked = ranked[self._drawn[ranked] > 0]
        falling = self._drawn[ranked]
        lowest = _Lowest(self._drawn, ranked, falling, np.append(0.0, np.cumsum(falling)))
        codes = np.empty((count, self._family.tokens), np.int64)
        _draw(codes, self._size, self._family.top_p, seed, self._threes, self._twos, lowest)
        return [self._family.written(own) for own in codes]


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
def _span(order: _Order, context: int) -> tuple[int, int, float, float]:
    """Where the words that follow a context begin and end, how often they do, and what is left."""
    at = _place(order.contexts, context)
    if at == len(order.contexts) or order.contexts[at] != context:
        return 0, 0, 0.0, 1.0
    begin, end = order.starts[at], order.starts[at + 1]
    total = float(order.sums[end] - order.sums[begin])
    return begin, end, total, DISCOUNT * (end - begin) / total


@part
def _drawn_of(order: _Order, begin: int, end: int) -> int:
    """A word of a context, in proportion to its count less the discount; −1: of a lower order."""
    if begin == end:
        return -1
    sums = order.sums
    target = sums[begin] + np.int64(np.random.random() * (sums[end] - sums[begin]))
    low, high = begin, end - 1
    while low < high:
        middle = (low + high) // 2
        if sums[middle + 1] > target:
            high = middle
        else:
            low = middle + 1
    count = order.counts[low]
    return order.words[low] if np.random.random() * count < count - DISCOUNT else -1


@part
def _drawn_lowest(lowest: _Lowest) -> int:
    """A word in no context."""
    target = np.random.random() * lowest.sums[len(lowest.falling)]
    low, high = 0, len(lowest.falling) - 1
    while low < high:
        middle = (low + high) // 2
        if lowest.sums[middle + 1] > target:
            high = middle
        else:
            low = middle + 1
    return int(lowest.ranked[low])


@part
def _above(word: int, threes: _Order, context: int, twos: _Order, lowest: _Lowest) -> float:
    """The probability of all words that are more probable than this one."""
    size = lowest.drawn.size + 1
    begin_3, end_3, total_3, rest_3 = _span(threes, context)
    begin_2, end_2, total_2, rest_2 = _span(twos, context % size)
    base = rest_3 * rest_2
    own = base * lowest.drawn[word]
    k = begin_3 + _place(threes.words[begin_3:end_3], word)
    if k < end_3 and threes.words[k] == word:
        own += (threes.counts[k] - DISCOUNT) / total_3
    k = begin_2 + _place(twos.words[begin_2:end_2], word)
    if k < end_2 and twos.words[k] == word:
        own += rest_3 * (twos.counts[k] - DISCOUNT) / total_2
    # A little above, or its own rounding would count it among them.
    own *= 1.0 + 1e-9
    low, high = 0, len(lowest.falling)
    while low < high:
        middle = (low + high) // 2
        if base * lowest.falling[middle] > own:
            low = middle + 1
        else:
            high = middle
    above = base * lowest.sums[low]
    k = begin_3
    for j in range(begin_2, end_2):
        other = twos.words[j]
        without = base * lowest.drawn[other]
        probability = without + rest_3 * (twos.counts[j] - DISCOUNT) / total_2
        while k < end_3 and threes.words[k] < other:
            k += 1
        if k < end_3 and threes.words[k] == other:
            probability += (threes.counts[k] - DISCOUNT) / total_3
        if probability > own:
            above += probability - (without if without > own else 0.0)
    return float(above)


@kernel
def _draw(
    codes: Rows[np.int64],
    size: int,
    top_p: float,
    seed: int,
    threes: _Order,
    twos: _Order,
    lowest: _Lowest,
) -> None:
    """Fills each row of `codes` with a text.

    A word is drawn from the mixture, and again until those that are more probable have less than
    `top_p` together: then it is one of the nucleus.
    """
    np.random.seed(seed)
    for text in codes:
        first = second = size - 1
        for i in range(len(text)):
            context = first * size + second
            begin_3, end_3, _, _ = _span(threes, context)
            begin_2, end_2, _, _ = _span(twos, second)
            word = -1
            while True:
                word = _drawn_of(threes, begin_3, end_3)
                if word < 0:
                    word = _drawn_of(twos, begin_2, end_2)
                if word < 0:
                    word = _drawn_lowest(lowest)
                if top_p >= 1.0 or _above(word, threes, context, twos, lowest) < top_p:
                    break
            text[i] = word
            first, second = second, word
