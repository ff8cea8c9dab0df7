"""How much of a run's documents a causal LM reads, and which: values, for every worker alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from lowbg.errors import ConfigError

_FORM = re.compile(
    r"(?P<number>\d{1,15}(?:\.\d{1,9})?|\.\d{1,9})\s*"
    r"(?:(?P<percent>%)|x\s*(?P<hours>\d{1,9}(?:\.\d{1,9})?)\s*h)?"
)


@dataclass(frozen=True, slots=True)
class LmBudget:
    """How much a causal LM may read: a `share` of all documents, or `tokens`. One is null."""

    share: Fraction | None = None
    tokens: int | None = None

    @classmethod
    def parse(cls, text: str) -> LmBudget:
        """`5%` or `0.05`: of all documents; `4000000`: tokens; `1500x8h`: tokens a second × hours.

        A number up to 1 is a share. Raises `ConfigError` for another form, and for nothing.
        """
        match = _FORM.fullmatch(text.strip().replace(",", ""))
        if match is None:
            raise ConfigError(
                f"an LM budget of {text!r}; write a share of the documents (5%), a number of "
                "tokens (4000000), or tokens a second times hours (1500x8h)",
                key="extras.lm.budget",
            )
        number = Fraction(match["number"])
        found = cls(share=number)
        if match["percent"]:
            found = cls(share=number / 100)
        elif match["hours"]:
            found = cls(tokens=int(number * Fraction(match["hours"]) * 3600))
        elif number > 1:
            found = cls(tokens=int(number))
        if not (found.share or found.tokens) or (found.share or 0) > 1:
            raise ConfigError(
                f"an LM budget of {text!r}; it must be above 0, a share at most 100 %",
                key="extras.lm.budget",
            )
        return found


@dataclass(frozen=True, slots=True)
class LmSelection:
    """Which documents a causal LM reads under a budget: a rule that holds for each by itself.

    `margin`: those whose z lies less than this from its threshold; null: all that have a score.
    `low`: the share of the others below it, `short`: of those too short for the tables, that is
    drawn, by a hash of the text alone. `pages`: of each source at the border (known, and surely
    neither human nor AI) about so many documents that have a score, drawn likewise. So the same
    text is read in any batch, order or worker, and a document of a share that was drawn stands for
    1 / share of its kind.
    """

    margin: float | None
    low: float
    short: float
    pages: float = 0.0


EVERYTHING = LmSelection(None, 1.0, 1.0)
"""Whatever it could have a say on."""
