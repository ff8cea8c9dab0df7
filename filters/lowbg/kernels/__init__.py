"""Everything that is compiled, and the one door to numba and LLVM (`compiler`, `vectors`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Together(NamedTuple):
    """How kernels that aren't kept are compiled: see `compile_together`."""

    processes: int
    announce: Callable[[], None]


_together: Together | None = None


def compile_together(processes: int, announce: Callable[[], None]) -> None:
    """From now on kernels that aren't kept are compiled by this process and some beside it.

    They are as many as `processes` in all, and are started once something has to be compiled. Then
    `announce` is called, too. A program asks for this; a library's caller compiles alone.
    """
    global _together
    _together = Together(processes, announce)


def compile_alone() -> None:
    """From now on they are compiled by this process, as at first."""
    global _together
    _together = None


def together() -> Together | None:
    """What was asked for; null where nothing was."""
    return _together
