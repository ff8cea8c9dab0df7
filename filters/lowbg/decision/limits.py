"""The limits of `rule = "thresholds"`: by language, from human text, each with its own rate.

`limits.toml` is written by `benchmarks/thresholds/run.py`. It holds, a language and target rate,
the three limits that together call at most that share of the human collections AI.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import FprBound, Policy
from lowbg.errors import ConfigError
from lowbg.models import ModelFile

PATH: Final = Path(__file__).with_name("limits.toml")

PERPLEXITY: Final = "perplexity"
BURSTINESS: Final = "burstiness"
PHRASE_HITS: Final = "phrase_hits"
"""The features that have a limit: a document is AI below the first two, above the third."""


class Conjunction(msgspec.Struct, frozen=True):
    """Three limits for one target rate; the share of human text beyond each, and beyond any.

    Shares are means over collections; of `FprBound.EVERY` the highest of any collection.
    """

    target_fpr: float
    min_perplexity: float
    min_burstiness: float
    max_phrase_hits: int
    rates: tuple[float, float, float]
    together: float


class HumanText(msgspec.Struct, frozen=True):
    """What is known of one language's human collections.

    `tables` is the SHA-256 of the model file that gave the perplexity. A share of `shares` of the
    text is below the `perplexity` and `burstiness` of the same place; `phrase_hits` are the shares
    with more than 0, 1, 2 … hits: means over collections. `mean` and `every` are by rising target.
    """

    tables: str
    documents: int
    collections: int
    shares: tuple[float, ...]
    perplexity: tuple[float, ...]
    burstiness: tuple[float, ...]
    phrase_hits: tuple[float, ...]
    mean: tuple[Conjunction, ...]
    every: tuple[Conjunction, ...]

    def rate(self, feature: str, value: float) -> float | None:
        """The share of human text beyond a limit of `feature`, told from what is stored.

        Null above the highest value that is: below it lies more than the highest of `shares`.
        """
        if feature == PHRASE_HITS:
            return self.phrase_hits[min(int(value), len(self.phrase_hits) - 1)]
        known: tuple[float, ...] = getattr(self, feature)
        if value > known[-1]:
            return None
        return float(np.interp(value, known, self.shares, left=0.0))

    def at(self, target_fpr: float, bound: FprBound) -> Conjunction | None:
        """The limits of the highest stored rate up to `target_fpr`; null where none is so low."""
        rows = self.mean if bound is FprBound.MEAN else self.every
        return next((row for row in reversed(rows) if row.target_fpr <= target_fpr), None)


def rate_text(rate: float) -> str:
    """A share of human text in percent, two digits."""
    return f"{100 * rate:.2g} %"


class Limit(Struct, frozen=True):
    """A feature's limit; `rate` is the share of human text beyond it alone, null if unknown."""

    feature: str
    value: float
    rate: float | None

    def crossed(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values lie beyond it; NaN never does."""
        beyond = values > self.value if self.feature == PHRASE_HITS else values < self.value
        return np.asarray(beyond, np.bool_)

    def told(self, value: float) -> str:
        """Of a value that lies beyond it."""
        number = {PERPLEXITY: f"{value:.1f}", BURSTINESS: f"{value:.2f}"}.get(self.feature, value)
        side = "above" if self.feature == PHRASE_HITS else "below"
        rate = "" if self.rate is None else f" ({rate_text(self.rate)} of human text is)"
        return f"{self.feature} {number}, {side} {self.value:g}{rate}"

    def __str__(self) -> str:
        side, beyond = ("up to", "above") if self.feature == PHRASE_HITS else ("from", "below")
        rate = "" if self.rate is None else f" ({rate_text(self.rate)} of human text {beyond})"
        return f"{self.feature} {side} {self.value:g}{rate}"


class Limits(Struct, frozen=True):
    """What a document of one language has to keep to be human.

    `together` is the share of human text that doesn't, null where the policy states a limit.
    """

    perplexity: Limit
    burstiness: Limit
    phrase_hits: Limit
    together: float | None

    @property
    def each(self) -> tuple[Limit, Limit, Limit]:
        """The limits in the order of the rule."""
        return self.perplexity, self.burstiness, self.phrase_hits

    def __str__(self) -> str:
        text = ", ".join(map(str, self.each))
        if self.together is None:
            return text
        return f"{text}; together {rate_text(self.together)}"


@cache
def human_text() -> Mapping[str, HumanText]:
    """What `limits.toml` holds, by language."""
    content = tomllib.loads(PATH.read_text(encoding="utf-8"))
    return msgspec.convert(content, dict[str, HumanText])


def stated(policy: Policy) -> tuple[float | None, float | None, int | None]:
    """The limits that the policy states itself, for all languages; null: by language."""
    own = policy.thresholds
    return own.min_perplexity, own.min_burstiness, own.max_phrase_hits


def limits_of(code: str, policy: Policy, model: ModelFile) -> Limits:
    """The limits of the language `code`, whose tables are `model`, under `policy`.

    Raises `ConfigError` where the policy leaves one open that isn't known: for other tables than
    those that limits were set on, and for a target rate below the lowest that they were set for.
    """
    human = human_text().get(code)
    if human is not None and human.tables != model.sha256:
        human = None
    given = stated(policy)
    found = None
    if None in given:
        found = _found(code, policy, human)
    names = (PERPLEXITY, BURSTINESS, PHRASE_HITS)
    limits = []
    for k, (feature, value) in enumerate(zip(names, given, strict=True)):
        if value is not None:
            rate = None if human is None else human.rate(feature, value)
            limits.append(Limit(feature, value, rate))
        else:
            assert found is not None
            shipped = (found.min_perplexity, found.min_burstiness, found.max_phrase_hits)
            limits.append(Limit(feature, shipped[k], found.rates[k]))
    untouched = found is not None and given == (None, None, None)
    perplexity, burstiness, hits = limits
    return Limits(
        perplexity, burstiness, hits, found.together if found is not None and untouched else None
    )


def _found(code: str, policy: Policy, human: HumanText | None) -> Conjunction:
    if human is None:
        raise ConfigError(
            f"rule 'thresholds' has no limits for the tables of {code!r}: state all of "
            "`thresholds.min_perplexity`, `thresholds.min_burstiness` and "
            "`thresholds.max_phrase_hits`",
            key="thresholds",
        )
    found = human.at(policy.target_fpr, policy.fpr_bound)
    if found is None:
        rows = human.mean if policy.fpr_bound is FprBound.MEAN else human.every
        lowest = f"from {rows[0].target_fpr:g} on" if rows else "of this bound for no rate"
        raise ConfigError(
            f"rule 'thresholds' has limits {lowest}, not for `target_fpr={policy.target_fpr:g}`",
            key="decision.target_fpr",
        )
    return found


def all_limits(policy: Policy, models: Mapping[str, ModelFile]) -> dict[str, Limits]:
    """The limits of every language that has tables that judge."""
    return {
        code: limits_of(code, policy, model)
        for code, model in sorted(models.items())
        if "calibration" in model.metadata
    }
