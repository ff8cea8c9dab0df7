"""Everything that is compiled, compiled ahead: for images, and for machines that share a home."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lowbg.kernels import compiler, crew


@dataclass(frozen=True, slots=True)
class Kept:
    """The compiled kernels: how many there are, which are missing, and the folder they are in.

    `folder` is null where there is no place for them: then every process compiles what it needs.
    """

    kernels: int
    missing: tuple[str, ...]
    folder: Path | None


def look() -> Kept:
    """What is kept now."""
    names = crew.every_kernel()
    return Kept(len(names), tuple(crew.missing(names)), compiler.place(names[0]))


def warm_up(processes: int) -> float:
    """Compiles what is missing, in so many processes; the seconds that it took."""
    began = time.perf_counter()
    crew.compile_ahead(crew.every_kernel(), processes)
    return time.perf_counter() - began
