"""How varied text is, from the counts of its words or n-grams: the usual figures, as formulas.

Every function takes the counts of the distinct n-grams of one sample (float64, zeros allowed: what
a bootstrap replicate did not draw). Figures of this kind grow or fall with the number of words, so
they compare only samples of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.hashes import GOLDEN, MIX_1

Floats: TypeAlias = NDArray[np.float64]

ZIPF_RANKS: Final = 1_000
"""Ranks that the Zipf slope is fitted to: below, most words have the same few counts."""


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of a sample: `keys[codes[i]]` is the i-th one, of the document `documents[i]`.

    `keys` (uint64) are distinct and sorted, each the hash of an n-gram.
    """

    keys: NDArray[np.uint64]
    codes: NDArray[np.int64]
    documents: NDArray[np.int64]

    def counts(self, weights: Floats) -> Floats:
        """How often each distinct n-gram comes, document d counted `weights[d]` times."""
        own = weights[self.documents]
        return np.asarray(np.bincount(self.codes, own, len(self.keys)), np.float64)


def grams(words: NDArray[np.uint64], documents: NDArray[np.int64], n: int) -> Grams:
    """The n-grams of consecutive words that lie in one document each.

    `words` are hashes, `documents` (rising) says whose each one is.
    """
    size = max(0, len(words) - n + 1)
    keys = words[:size]
    for k in range(1, n):
        # Not `hashes.extend`: stored baselines have sums in the order of these.
        keys = ((keys * GOLDEN) ^ words[k : k + size]) * MIX_1
        keys ^= keys >> np.uint64(29)
    inside = documents[:size] == documents[len(words) - size :]
    distinct, codes = np.unique(keys[inside], return_inverse=True)
    return Grams(distinct, codes.astype(np.int64), documents[:size][inside])


def distinct_share(counts: Floats) -> float:
    """Distinct-n: distinct n-grams over all n-grams, 0 … 1. Li et al. 2016, section 4.3."""
    return float((counts > 0).sum() / counts.sum())


def entropy_bits(counts: Floats) -> float:
    """Shannon entropy −Σ p log₂ p of the relative frequencies, in bits. Shannon 1948, section 6.

    The plug-in estimate: too low by about (types − 1) / (2 · tokens · ln 2) (Miller 1955), the same
    for samples of the same size.
    """
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def zipf_slope(counts: Floats) -> float:
    """Slope of ln frequency over ln rank, by least squares, at the `ZIPF_RANKS` commonest words.

    About −1 in ordinary text; steeper where common words crowd out the others. Zipf 1949; on the
    fit, Piantadosi 2014, "Zipf's word frequency law in natural language".
    """
    falling = np.sort(counts)[::-1][:ZIPF_RANKS]
    y = np.log(falling[falling > 0])
    x = np.log(np.arange(1, len(y) + 1))
    x -= x.mean()
    spread = float((x * x).sum())
    return float((x * y).sum() / spread) if spread else 0.0


def hapax_share(counts: Floats) -> float:
    """Words that come once over distinct words, 0 … 1. Baayen 2001, chapter 1."""
    return float((counts == 1).sum() / (counts > 0).sum())


def js_divergence(p: Floats, q: Floats) -> Floats:
    """Jensen–Shannon divergence in bits, 0 … 1, of counts along the last axis.

    Σ over both of ½ Σ p log₂ (p / m) with m the mean. Lin 1991, eq. 4.1. Its square root is a
    metric, the Jensen–Shannon distance (Endres & Schindelin 2003).
    """
    p = p / p.sum(axis=-1, keepdims=True)
    q = q / q.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    total = np.zeros(middle.shape[:-1])
    for own in (p, q):
        ratio = np.divide(own, middle, out=np.ones_like(middle), where=own > 0)
        total = total + (own * np.log2(ratio)).sum(axis=-1) / 2
    return np.asarray(np.clip(total, 0.0, 1.0), np.float64)
