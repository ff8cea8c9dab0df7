"""Two toys in which collapse can be followed by hand: a Gaussian, and a list of events.

Each generation is fitted to a sample of the one before. Both need no text and no model, and have
curves of theory beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Generations of a Gaussian, by generation from 0 (the truth: mean 0, variance 1).

    `variance` is the median over runs, `low` and `high` its tenth and ninetieth percentile;
    `distance` the mean squared Wasserstein-2 distance from the truth. The `expected_` ones are what
    theory says of the geometric mean of the variance, and of the distance.
    """

    variance: Floats
    low: Floats
    high: Floats
    geometric_mean: Floats
    expected_geometric_mean: Floats
    distance: Floats
    expected_distance: Floats


def gaussian(samples: int, generations: int, runs: int, seed: int = 0) -> Gaussian:
    """Shumailov et al. 2024, theorem 3.1: the variance goes to 0, the distance to infinity.

    Each generation's mean and (unbiased) variance are those of `samples` draws from the one before.
    With M samples σ²ₙ is a product of n independent χ²(M − 1) / (M − 1), so that E ln σ²ₙ =
    n (ψ((M − 1) / 2) + ln(2 / (M − 1))), which is below 0; E μ²ₙ = n / M, E σₙ = c₄ⁿ, and
    E W₂² = n / M + 2 (1 − c₄ⁿ), with c₄ the mean of a sample's standard deviation.
    """
    rng = np.random.default_rng(seed)
    mean, variance = np.zeros(runs), np.ones(runs)
    means, variances = [mean], [variance]
    for _ in range(generations):
        mean = rng.normal(mean, np.sqrt(variance / samples))
        variance = variance * rng.chisquare(samples - 1, runs) / (samples - 1)
        means.append(mean)
        variances.append(variance)
    of_means, of_variances = np.array(means), np.array(variances)
    n = np.arange(generations + 1)
    free = samples - 1
    c4 = sqrt(2 / free) * exp(lgamma(samples / 2) - lgamma(free / 2))
    drift = digamma(free / 2) + np.log(2 / free)
    percentiles = np.percentile(of_variances, (10, 50, 90), axis=1)
    return Gaussian(
        variance=percentiles[1],
        low=percentiles[0],
        high=percentiles[2],
        geometric_mean=np.exp(np.log(of_variances).mean(axis=1)),
        expected_geometric_mean=np.exp(n * drift),
        distance=(of_means**2 + (np.sqrt(of_variances) - 1) ** 2).mean(axis=1),
        expected_distance=n / samples + 2 * (1 - c4**n),
    )


def digamma(x: float) -> float:
    """ψ(x) for x > 0: the recurrence up to 10, then the asymptotic series (DLMF 5.11.2)."""
    found = 0.0
    while x < 10:
        found -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252))
    return float(found + np.log(x) - 0.5 / x - series)


@dataclass(frozen=True, slots=True)
class Discrete:
    """Generations of a distribution over events, by generation from 0 (the truth).

    `coverage`: the share of the rare events that still have a probability, its mean over runs;
    `expected_coverage` what theory says. `mass`: the rare events' probability, its median over
    runs, with tenth and ninetieth percentile; `events_left` how many events there are.
    """

    coverage: Floats
    expected_coverage: Floats
    mass: Floats
    low: Floats
    high: Floats
    events_left: Floats
    rare: int


def discrete(events: int, samples: int, generations: int, runs: int, seed: int = 0) -> Discrete:
    """Zipf's law over `events`, re-estimated by counting `samples` draws of the one before.

    Rare are the least probable events that make up a tenth of the probability. What an event has
    stays the same on average, so that the mass of the rare ones falls in no mean, but event after
    event is lost, and none comes back. An event of probability p has Poisson(samples · p) offspring
    and each of these Poisson(1), so that it is alive after n generations with the probability
    1 − exp(−samples · p (1 − sₙ₋₁)), s₀ = 0, sₙ₊₁ = exp(sₙ − 1) (Athreya & Ney 1972, chapter I).
    """
    rng = np.random.default_rng(seed)
    truth = 1 / np.arange(1, events + 1)
    truth /= truth.sum()
    rare = truth[::-1].cumsum()[::-1] <= 0.1
    p = np.tile(truth, (runs, 1))
    coverage, masses, left = [1.0], [p[:, rare].sum(axis=1)], [float(events)]
    expected, dead = [1.0], 0.0
    for _ in range(generations):
        p = rng.multinomial(samples, p) / samples
        coverage.append(float((p[:, rare] > 0).mean()))
        masses.append(p[:, rare].sum(axis=1))
        left.append(float((p > 0).sum(axis=1).mean()))
        expected.append(float((1 - np.exp(-samples * truth[rare] * (1 - dead))).mean()))
        dead = exp(dead - 1)
    percentiles = np.percentile(np.array(masses), (10, 50, 90), axis=1)
    return Discrete(
        coverage=np.array(coverage),
        expected_coverage=np.array(expected),
        mass=percentiles[1],
        low=percentiles[0],
        high=percentiles[2],
        events_left=np.array(left),
        rare=int(rare.sum()),
    )
