"""What the limits of `rule = "thresholds"` call AI of the development data, where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.thresholds.run import HERE, Rates, Sample, conjunction, human_text, judge, toml

from lowbg.config import FprBound, Policy, Rule
from lowbg.decision import limits

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = "LOWBG_QUALITY_DATA"
DATA = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared" / "data")
POLICY = Policy(rule=Rule.THRESHOLDS)

MARGIN = 2.0
"""Standard errors of a share of as many documents by which a language may be above the target: 0.12
points in English, 0.4 points elsewhere."""


@pytest.fixture(scope="module")
def human() -> Sample:
    """Every human row of the development data."""
    if not (DATA / "labelled" / "dev").is_dir():
        pytest.skip(f"no labelled/dev below {DATA}; {VARIABLE} names a folder that has it")
    return judge((DATA / "labelled" / "dev",), lambda row: not row.is_ai, POLICY)


@pytest.mark.parametrize("code", limits.human_text())
def test_human_development_text_is_called_ai_at_the_target_rate(human: Sample, code: str) -> None:
    called = human.called_ai[human.language == code]
    target = POLICY.target_fpr
    assert len(called) > 300
    assert called.mean() <= target + MARGIN * np.sqrt(target * (1 - target) / len(called))
    # That it is told: the figures that are shown are those of these verdicts.
    shown = (HERE / "results" / "dev.md").read_text(encoding="utf-8")
    row = next(
        line for line in shown.splitlines() if line.startswith(f"| {code} |") and "| 1 % |" in line
    )
    assert f"| {100 * called.mean():.2f} % |" in row


def sample(seed: int = 0, n: int = 4_000) -> Sample:
    generator = np.random.default_rng(seed)
    return Sample(
        language=np.full(n, "xx"),
        collection=np.repeat(["a", "b", "c", "d"], n // 4),
        is_ai=np.zeros(n, np.bool_),
        called_ai=np.zeros(n, np.bool_),
        perplexity=generator.lognormal(6, 0.5, n),
        burstiness=generator.normal(-0.3, 0.15, n),
        hits=generator.poisson(0.05, n).astype(np.float64),
    )


@pytest.mark.parametrize("bound", FprBound)
@pytest.mark.parametrize("target", [0.01, 0.05])
def test_the_three_limits_keep_the_target_together(bound: FprBound, target: float) -> None:
    own = sample()
    found = conjunction(Rates(own, bound), target)
    assert found is not None
    limit = (found.min_perplexity, found.min_burstiness, found.max_phrase_hits)
    shares = [own.beyond(*limit)[own.collection == name].mean() for name in "abcd"]
    together = max(shares) if bound is FprBound.EVERY else np.mean(shares)
    assert found.together == pytest.approx(together, abs=1e-6)
    assert 0.6 * target <= together <= target
    assert all(0 < rate < target for rate in found.rates)


def test_collections_that_differ_leave_room() -> None:
    alike, own = sample(), sample()
    apart = Sample(**{**_columns(own), "perplexity": own.perplexity.copy()})
    apart.perplexity[own.collection == "a"] /= 3
    (one, other) = (conjunction(Rates(s, FprBound.MEAN), 0.05) for s in (alike, apart))
    assert one is not None
    assert other is not None
    assert other.together < one.together


def test_what_is_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = human_text(sample(), "a digest")
    path = tmp_path / "limits.toml"
    path.write_text(toml({"xx": made}), encoding="utf-8")
    monkeypatch.setattr(limits, "PATH", path)
    assert limits.human_text.__wrapped__() == {"xx": made}


def _columns(own: Sample) -> dict[str, Any]:
    return {name: getattr(own, name) for name in Sample.__slots__}
