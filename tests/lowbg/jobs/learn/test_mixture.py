"""How much of the new text is AI's, from scores alone."""

from __future__ import annotations

import numpy as np
import pytest

from lowbg.jobs.learn.mixture import Scores, auroc, posterior, share_of_ai


def mixed(share: float, shift: float = 3.0, n: int = 4_000) -> tuple[Scores, Scores]:
    """Scores of human and of new text, a hundred sources each."""
    generator = np.random.default_rng(3)
    is_ai = np.arange(n) < share * n
    human = Scores(generator.normal(size=n), np.arange(n) % 100)
    return human, Scores(generator.normal(size=n) + shift * is_ai, 100 + np.arange(n) % 100)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.3, 0.8])
def test_the_share_is_near_the_truth_and_in_the_interval(share: float) -> None:
    found = share_of_ai(*mixed(share), seed=1)
    assert found.estimate == pytest.approx(share, abs=0.03)
    assert found.low <= share + 0.01
    assert found.high >= share - 0.01
    assert found.high - found.low < 0.1


def test_few_sources_make_a_wide_interval() -> None:
    human, new = mixed(0.3)
    few = [Scores(own.z, np.arange(4_000) // 1_000) for own in (human, new)]
    own = share_of_ai(few[0], few[1], seed=1)
    assert own.high - own.low > 0.5


def test_the_auroc_counts_pairs() -> None:
    generator = np.random.default_rng(4)
    low = Scores(generator.normal(size=300), np.arange(300) % 30)
    high = Scores(generator.normal(size=200) + 1.0, np.arange(200) % 20)
    found = auroc(low, high, seed=1)
    pairs = (high.z[:, None] > low.z[None, :]).mean()
    assert found.estimate == pytest.approx(pairs, abs=5e-3)
    assert found.low < found.estimate < found.high
    same = auroc(low, low, seed=1)
    assert same.estimate == pytest.approx(0.5, abs=1e-9)


def test_the_posterior_is_that_of_the_mixture() -> None:
    human, new = mixed(0.3)
    z = np.concatenate([human.z, new.z])
    of_human = np.arange(len(z)) < len(human.z)
    found = posterior(z, of_human, ~of_human, 0.3)
    density = np.exp(-(z**2) / 2), np.exp(-((z - 3.0) ** 2) / 2)
    true = 0.3 * density[1] / (0.7 * density[0] + 0.3 * density[1])
    assert np.abs(found - true)[~of_human].mean() < 0.04
    order = np.argsort(z)
    assert (np.diff(found[order]) >= -1e-12).all()
    assert posterior(z, of_human, ~of_human, 0.0).max() < 1.0
