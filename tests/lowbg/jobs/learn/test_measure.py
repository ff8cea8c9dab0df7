"""What learned tables are measured by, and what speaks against them."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from lowbg.jobs.learn.measure import Figures, vouched
from lowbg.jobs.learn.mixture import Interval

SOUND = Figures(
    share=Interval(0.2, 0.15, 0.25),
    drift=Interval(0.52, 0.47, 0.56),
    told_apart=Interval(0.6, 0.55, 0.65),
    old_called=Interval(0.008, 0.005, 0.012),
    held_called=Interval(0.012, 0.007, 0.02),
    new_called=Interval(0.12, 0.1, 0.14),
)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"drift": Interval(0.65, 0.6, 0.7)}, "drift alone separates: .* AUROC of 0.65"),
        ({"drift": Interval(0.65, 0.45, 0.8)}, None),  # may be chance
        ({"drift": Interval(0.55, 0.52, 0.58)}, None),  # too little to matter
        ({"held_called": Interval(0.03, 0.015, 0.05)}, r"the rate doesn't hold: 3.0 %"),
        ({"new_called": Interval(0.015, 0.009, 0.02)}, "no AI text shows: 1.5 %"),
        (
            {
                "held_called": Interval(0.006, 0.002, 0.02),
                "new_called": Interval(0.03, 0.015, 0.05),
            },
            "no AI text shows",
        ),
    ],
)
def test_refusals(changes: dict[str, Interval], reason: str | None) -> None:
    found = dataclasses.replace(SOUND, **changes).refusals(0.01)
    assert len(found) == (reason is not None)
    if reason is not None:
        assert re.match(reason, found[0])


def test_without_sources_what_tells_human_text_apart_is_a_refusal() -> None:
    (reason,) = SOUND.refusals(0.01, by_source=False)
    assert re.match("drift alone separates: no sources are known .* AUROC of 0.60", reason)
    alike = dataclasses.replace(SOUND, told_apart=Interval(0.52, 0.48, 0.56))
    assert alike.refusals(0.01, by_source=False) == []


def test_a_rate_is_vouched_for_by_299_documents() -> None:
    z = np.arange(400, dtype=np.float64)
    assert vouched(z[:298], 0.01) == pytest.approx(297.001)  # too few: beyond all of them
    assert vouched(z[:299], 0.01) == pytest.approx(298.001)
    assert vouched(z, 0.05) == pytest.approx(387.001)  # 12 of 400 exceed it
