from __future__ import annotations

import numpy as np
import pytest

from lowbg.config import Policy, SourceVerdict
from lowbg.decision.sources import (
    BINS,
    Counted,
    SourceFigures,
    SourceModel,
    bins_of,
    cut_of,
    needed_sources,
)
from lowbg.runs.engine import Engine
from lowbg.text import languages

EN = languages.CODES.index("en")


@pytest.fixture(scope="module")
def model() -> SourceModel:
    return Engine(Policy()).source_model()


def judged(
    model: SourceModel, *sources: list[float], before: list[float] | None = None
) -> SourceFigures:
    """English sources whose documents have these log-odds; `before`: older ones of the first."""
    past = before or []
    values = [*past, *(x for own in sources for x in own)]
    place = [0] * len(past) + [i for i, own in enumerate(sources) for _ in own]
    order = np.argsort(place, kind="stable")
    flags = np.array([True] * len(past) + [False] * (len(values) - len(past)))
    counted = Counted(
        np.array(place, np.int64)[order],
        np.full(len(values), EN),
        flags[order],
        bins_of(np.array(values, np.float64)[order]),
        np.ones(len(values), np.int64),
    )
    return model.judge(counted, len(sources))


def spread(level: float, n: int) -> list[float]:
    """Log-odds that scatter about a level as those of one source do."""
    rank = (np.arange(n) + 0.5) / n
    return [*(level + 1.2 * np.sqrt(2.0) * np.array([_erfinv(2 * p - 1) for p in rank]))]


def _erfinv(x: float) -> float:
    a = 0.147
    log = np.log(1 - x * x)
    part = 2 / (np.pi * a) + log / 2
    return float(np.sign(x) * np.sqrt(np.sqrt(part * part - log / a) - part))


def verdicts(found: SourceFigures) -> list[str]:
    return [[*SourceVerdict][code].value for code in found.verdicts.tolist()]


def test_bins_hold_half_a_unit_each() -> None:
    assert bins_of(np.array([-99.0, -6.5, -0.01, 0.0, 6.49, 6.5, 99.0])).tolist() == [
        0, 1, 13, 14, 26, BINS - 1, BINS - 1
    ]  # fmt: skip


def test_sources_are_human_ai_or_mixed(model: SourceModel) -> None:
    human, ai = spread(-3.0, 60), spread(5.0, 60)
    found = judged(model, human, ai, human + ai, human[:9])
    assert verdicts(found) == ["human", "ai", "mixed", "unknown"]
    assert found.share[0] < 0.05
    assert found.share[1] > 0.95
    assert found.low[2] < 0.5 < found.high[2]
    assert np.isnan(found.share[3])
    assert np.isnan(found.thresholds[3]).all()


def test_ai_sources_lower_the_bar_and_human_ones_raise_it(model: SourceModel) -> None:
    at = model.languages.index(EN)
    alone = model._alone[EN]
    found = judged(model, spread(-3.0, 40), spread(3.0, 40))
    assert found.thresholds[0, at] > alone
    assert found.thresholds[1, at] < alone


def test_an_odd_human_level_is_told_by_the_own_past(model: SourceModel) -> None:
    recent = spread(1.4, 40)
    without = judged(model, recent)
    known = judged(model, recent, before=spread(1.4, 40))
    assert verdicts(without) != ["human"]
    assert known.own_past.tolist() == [True]
    assert verdicts(known) == ["human"]
    few = judged(model, recent, before=spread(1.4, 9))
    assert few.own_past.tolist() == [False]
    assert few.share.tolist() == pytest.approx(without.share.tolist())


def test_many_sources_are_as_one_alone(model: SourceModel) -> None:
    one = judged(model, spread(1.0, 30))
    many = judged(model, *(spread(1.0, 30) for _ in range(3)), spread(4.0, 12))
    assert many.share[:3].tolist() == pytest.approx([one.share[0]] * 3, rel=1e-4)


def test_how_sure_an_ai_verdict_has_to_be() -> None:
    assert cut_of(0.02) == pytest.approx(0.71)
    assert cut_of(0.005) > cut_of(0.01) > cut_of(0.05)
    assert needed_sources(0.01) == 299
