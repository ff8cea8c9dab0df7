"""The profile of a corpus: figures of a sample of fixed size, with bootstrap intervals.

A sample of N documents (`sampling.py`) is split in its random order: the first fifth may be put
aside as hold-out, the others give exactly W words, as many from each document as long as it has
them. Figures of words are of those W words, figures of documents of all N. So two profiles of the
same size compare, whatever the sizes and the document lengths of their corpora.

Intervals: documents are drawn with replacement `REPLICATES` times (Efron & Tibshirani 1993,
chapter 6); a figure's interval is its estimate ± 1.96 standard deviations over the replicates. Not
their percentiles: a document drawn twice brings no new words, so that replicates of distinct words
lie below the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lowbg.jobs.drift.diversity import Floats
from lowbg.jobs.drift.holdout import HoldOut
from lowbg.jobs.drift.settings import Size
from lowbg.storage.typed import Closed

Z: Final = 1.959963984540054
"""Standard errors on either side of an estimate that make a 95 % interval."""

OTHER: Final = "(other)"
"""What a distribution calls whatever it doesn't name."""

Scale = Literal["ratio", "difference"]


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure of a profile: its unit, what it says, and how a change of it is stated."""

    name: str
    title: str
    unit: str
    scale: Scale


FIGURES: Final = (
    FigureKind("holdout_perplexity", "hold-out perplexity", "per word", "ratio"),
    FigureKind("unique_tokens", "unique tokens", "words", "ratio"),
    FigureKind("entropy_unigrams", "entropy of unigrams", "bits", "difference"),
    FigureKind("entropy_bigrams", "entropy of bigrams", "bits", "difference"),
    FigureKind("ai_share", "AI share", "of scored documents", "difference"),
    FigureKind("perplexity", "perplexity", "per word", "ratio"),
    FigureKind("tail_share", "perplexity tail", "of documents", "difference"),
    *(
        FigureKind(f"perplexity_decile_{k}", f"perplexity, decile {k}", "per word", "ratio")
        for k in range(1, 10)
    ),
    *(FigureKind(f"distinct_{n}", f"distinct-{n}", "0 … 1", "ratio") for n in (1, 2, 3)),
    FigureKind("zipf_slope", "Zipf slope", "", "difference"),
    FigureKind("hapax_share", "hapax share", "of distinct words", "difference"),
    FigureKind("sentence_words", "words a sentence", "words", "ratio"),
)
"""Every figure, in the order in which they are shown.

`perplexity` is exp of the mean over documents of ln perplexity under the embedded model;
`tail_share` the documents above the baseline's ninth decile of it; `holdout_perplexity` that of
the baseline's hold-out under a model fitted to the sample (`holdout.py`).
"""

DISTRIBUTIONS: Final = ("words", "sentence_lengths", "languages", "hosts")
"""What Jensen–Shannon distances are taken of: shares of words, sentences and documents."""


class Figure(Closed, frozen=True):
    """An estimate with its 95 % interval; `error` is the standard error, of ln value for a ratio.

    `value` is null where the sample has nothing to measure: no document of a language with tables.
    """

    value: float | None
    low: float | None
    high: float | None
    error: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts by name, the last for `OTHER`.

    `noise` is what the choice of documents adds to a Jensen–Shannon divergence (bits): the mean
    divergence of the bootstrap replicates from the counts.
    """

    names: tuple[str, ...]
    counts: Floats
    noise: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A corpus at a fixed sample size. `tail_from` is the perplexity from which its tail counts."""

    size: Size
    seen: int
    figures: Mapping[str, Figure]
    distributions: Mapping[str, Distribution]
    holdout: HoldOut | None
    tail_from: float | None
