"""From figures a token to figures a document, in float64.

A document of tokens x₁ … xₙ has figures of x₂ … xₙ, each given the tokens before it. With the
model's distribution p at a token: its surprisal is −ln p(x), its rank is 1 + the number of tokens
that are likelier, and E and V are mean and variance of ln p under p.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIGURES = ("surprisal", "log_rank", "entropy", "variance", "cross_entropy")
"""What is read of a token, in nats (variance: nats²): surprisal −ln p(x), ln rank, entropy −E,
variance V, and −Σ p ln q against a second model's q, NaN without one."""
SURPRISAL, LOG_RANK, ENTROPY, VARIANCE, CROSS_ENTROPY = range(len(FIGURES))

MAX_LOG_PERPLEXITY = 80.0
"""ln of the largest perplexity that is told: beyond, float32 has no number."""


class Read(Struct, frozen=True):
    """The judged tokens of documents.

    `figures` (float32) has a row a judged token and a column a figure of `FIGURES`; document i
    owns rows `starts[i]` to `starts[i + 1]`. `ends` is the character of its text after each token.
    """

    figures: NDArray[np.float32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class DocumentFigures(Struct, frozen=True):
    """One entry a document, NaN where there is none (`tokens` is 0 below two tokens).

    All are NaN where a token's surprisal is no number: the model's own numbers ran over.
    `perplexity` is exp of the mean surprisal; `log_rank` and `entropy` are means; `lrr` is mean
    surprisal over mean log-rank (Su et al. 2023, DetectLLM), NaN where every token is the
    likeliest; `curvature` is Σ(ln p(x) − E) / √ΣV, the analytic form of Fast-DetectGPT with the
    model as its own reference (Bao et al. 2024); `surprisal_spread` is the standard deviation
    across sentences of their mean surprisal; `binoculars` is the mean surprisal under the observer
    over its mean cross-entropy with the performer, ln PPL₁ / ln X-PPL₁₂ (Hans et al. 2024). The
    code that its authors released has the performer's surprisal in the numerator instead.
    """

    tokens: NDArray[np.int64]
    perplexity: Floats
    log_rank: Floats
    entropy: Floats
    lrr: Floats
    curvature: Floats
    surprisal_spread: Floats
    binoculars: Floats


def sum_up(
    tokens: NDArray[np.floating], starts: NDArray[np.int64], sentences: NDArray[np.int64]
) -> DocumentFigures:
    """The figures of documents from those of their judged tokens.

    `tokens` has a row a judged token and a column a figure of `FIGURES`; document i owns rows
    `starts[i]` to `starts[i + 1]`. `sentences` says which sentence of its document each is in.
    """
    count = np.diff(starts)
    # Sums of each document alone: differences of a running sum would depend on its neighbours.
    sums = np.zeros((len(count), len(FIGURES)))
    full = np.flatnonzero(count)
    if len(full):
        sums[full] = np.add.reduceat(tokens.astype(np.float64), starts[full], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Numbers that ran over (float16) leave nothing that can be trusted of their document.
        sums[~np.isfinite(sums[:, SURPRISAL])] = np.nan
        mean = sums / count[:, None]
        surprisal, log_rank = mean[:, SURPRISAL], mean[:, LOG_RANK]
        gap = sums[:, ENTROPY] - sums[:, SURPRISAL]
        spread = _spread(tokens[:, SURPRISAL].astype(np.float64), starts, sentences)
        return DocumentFigures(
            tokens=count,
            perplexity=np.exp(np.minimum(surprisal, MAX_LOG_PERPLEXITY)),
            log_rank=log_rank,
            entropy=mean[:, ENTROPY],
            lrr=_finite(surprisal / log_rank),
            curvature=_finite(gap / np.sqrt(sums[:, VARIANCE])),
            surprisal_spread=spread,
            binoculars=_finite(surprisal / mean[:, CROSS_ENTROPY]),
        )


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _spread(surprisal: Floats, starts: NDArray[np.int64], sentences: NDArray[np.int64]) -> Floats:
    """Standard deviation across a document's sentences of their means; NaN below two."""
    spread = np.full(len(starts) - 1, np.nan)
    for i in range(len(spread)):
        own = sentences[starts[i] : starts[i + 1]]
        if not len(own):
            continue
        count = np.bincount(own)
        total = np.bincount(own, surprisal[starts[i] : starts[i + 1]])
        means = total[count > 0] / count[count > 0]
        if len(means) > 1:
            spread[i] = means.std()
    return spread
