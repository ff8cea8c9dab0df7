"""What a mix is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from lowbg.errors import ConfigError
from lowbg.settings import ABOVE_ZERO, SHARE, Heading, check_limits, setting


class MixUnit(StrEnum):
    """What a mix's shares are shares of.

    A word is as the scorers count them (a character in Chinese and Japanese); a token is a word, a
    digit or another visible mark, or what a field of the records says.
    """

    TOKENS = "tokens"
    WORDS = "words"
    DOCUMENTS = "documents"


class MixSelect(StrEnum):
    """Which synthetic documents a mix takes first: any, or those that add what is thin."""

    RANDOM = "random"
    NOVEL = "novel"


@dataclass(frozen=True, slots=True)
class MixWeights:
    """Sampling weights instead of a selection, after Drayson et al. 2025.

    A document's weight is (1 − ai_score) ** `exponent`; `upsampling` times as many documents as
    there are would be drawn by it, none more than `max_repeats` times.
    """

    exponent: float = setting(
        "A document weighs (1 − ai_score)^K.", 10.0, unit="K", heading=Heading.SAMPLING, least=0.0
    )
    upsampling: float = setting(
        "Draws, as a multiple of the documents.",
        1.5,
        unit="X",
        heading=Heading.SAMPLING,
        least=ABOVE_ZERO,
    )
    max_repeats: int = setting(
        "Most draws of a document.", 3, unit="N", heading=Heading.SAMPLING, least=1, most=255
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a mix is: at least `min_human` of its units are human, from 0 to 1.

    `min_human` is exact, so that 0.1 means a tenth. No source has more than `max_per_source` units
    of synthetic text (null: no cap); a source is what `source_field` says, else the host of the
    URL, else the shard. `token_field` holds a record's tokens. With `weights` nothing is copied.
    """

    min_human: Fraction = setting(
        "Least human share of the mix: 0.5, 1/3.",
        Fraction(1, 2),
        unit=SHARE,
        least=0.0,
        most=1.0,
        shown="0.5",
    )
    unit: MixUnit = setting(
        "What shares and caps are counted in.", MixUnit.TOKENS, flags="--by", heading=Heading.DRAW
    )
    seed: int = setting("Of the draw.", 0, unit="N", heading=Heading.DRAW)
    select: MixSelect = setting(
        "Synthetic documents: any, or those that add rare n-grams.",
        MixSelect.RANDOM,
        heading=Heading.DRAW,
    )
    max_per_source: int | None = setting(
        "Most synthetic tokens (words, documents) of one source.",
        None,
        unit="N",
        heading=Heading.DRAW,
        least=0,
    )
    source_field: str | None = setting(
        "What a source is.",
        None,
        unit="FIELD",
        heading=Heading.DRAW,
        shown="the URL's host, else the shard",
    )
    token_field: str | None = setting(
        "A record's number of tokens.",
        None,
        unit="FIELD",
        heading=Heading.DRAW,
        shown="words, digits and marks are counted",
    )
    weights: MixWeights | None = None

    def __post_init__(self) -> None:
        check_limits(self)
        if self.token_field is not None and self.unit is not MixUnit.TOKENS:
            raise ConfigError(f"a token field has no effect on shares of {self.unit}")
