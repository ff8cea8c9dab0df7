"""What a budget says."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lowbg.errors import ConfigError
from lowbg.lm_budget import LmBudget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5%", LmBudget(share=Fraction(1, 20))),
        ("0.05", LmBudget(share=Fraction(1, 20))),
        (".5", LmBudget(share=Fraction(1, 2))),
        ("1", LmBudget(share=Fraction(1))),
        ("100 %", LmBudget(share=Fraction(1))),
        ("4000000", LmBudget(tokens=4_000_000)),
        ("4,000,000", LmBudget(tokens=4_000_000)),
        ("1500x8h", LmBudget(tokens=43_200_000)),
        ("1500 x 0.5 h", LmBudget(tokens=2_700_000)),
    ],
)
def test_each_form(text: str, budget: LmBudget) -> None:
    assert LmBudget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "0%", "101%", "1500x", "0x8h", "5%x8h"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ConfigError, match="an LM budget of"):
        LmBudget.parse(text)
