"""What a user sets: the size of the sample, and how far a figure may move. Loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lowbg.settings import SHARE, Heading, setting
from lowbg.storage.typed import Closed

JUDGED_DISTANCES: Final = ("words", "sentence_lengths", "languages")
"""Distributions whose distance may alert; hosts change from crawl to crawl, and are reported."""


class Size(Closed, frozen=True):
    """How large a sample is, and the seed that draws it."""

    documents: int = 2_000
    words: int = 100_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a figure may move. The defaults are beyond what random halves of a corpus differ by.

    `max_perplexity_rise`: of the hold-out, relative. `min_unique_tokens`: of the baseline's.
    `max_entropy_fall`: of unigrams and of bigrams, bits. `max_js_distance`: of the words, sentence
    lengths and languages. `max_ai_share_rise`, `max_tail_fall`: as shares, 0 … 1.
    """

    max_perplexity_rise: float = setting(
        "Of the human hold-out; 0.1 is 10 % more than at the baseline.",
        0.10,
        unit=SHARE,
        heading=Heading.LIMITS,
        least=0.0,
    )
    min_unique_tokens: float = setting(
        "Least share of the baseline's unique tokens.",
        0.85,
        unit=SHARE,
        heading=Heading.LIMITS,
        least=0.0,
    )
    max_entropy_fall: float = setting(
        "Of unigrams and of bigrams.", 0.05, unit="BITS", heading=Heading.LIMITS, least=0.0
    )
    max_js_distance: float = setting(
        "Jensen-Shannon distance of words, of sentence lengths, of languages.",
        0.05,
        unit="X",
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )
    max_ai_share_rise: float = setting(
        "0.05: five points.", 0.05, unit=SHARE, heading=Heading.LIMITS, least=0.0, most=1.0
    )
    max_tail_fall: float = setting(
        "Of documents above the baseline's ninth decile of perplexity, a tenth of it.",
        0.05,
        unit=SHARE,
        heading=Heading.LIMITS,
        least=0.0,
        most=1.0,
    )

    def of(self, name: str) -> float | None:
        """The limit on the change that is called `name`, as `Change` states it; null: none."""
        if name.startswith("entropy_"):
            return -self.max_entropy_fall
        if name.removeprefix("js_") in JUDGED_DISTANCES:
            return self.max_js_distance
        return {
            "holdout_perplexity": self.max_perplexity_rise,
            "unique_tokens": self.min_unique_tokens - 1.0,
            "ai_share": self.max_ai_share_rise,
            "tail_share": -self.max_tail_fall,
        }.get(name)


FALLING: Final = frozenset({"unique_tokens", "entropy_unigrams", "entropy_bigrams", "tail_share"})
"""Figures whose fall is the bad news; with the others it is the rise."""
