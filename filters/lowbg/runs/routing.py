"""Verdict → which output."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lowbg.config import Unscored, Verdict


class Route(StrEnum):
    """An output folder."""

    HUMAN = "human"
    AI = "ai"
    UNSCORED = "unscored"


def routes(unscored: Unscored) -> tuple[Route, ...]:
    """The outputs that a run has."""
    if unscored is Unscored.SEPARATE:
        return (Route.HUMAN, Route.AI, Route.UNSCORED)
    return (Route.HUMAN, Route.AI)


def masks(verdicts: NDArray[np.int8], unscored: Unscored) -> dict[Route, NDArray[np.bool_]]:
    """Which documents go to which output; every document goes to exactly one."""
    human = verdicts == Verdict.HUMAN.code
    ai = verdicts == Verdict.AI.code
    rest = ~(human | ai)
    if unscored is Unscored.HUMAN:
        return {Route.HUMAN: human | rest, Route.AI: ai}
    if unscored is Unscored.AI:
        return {Route.HUMAN: human, Route.AI: ai | rest}
    return {Route.HUMAN: human, Route.AI: ai, Route.UNSCORED: rest}
