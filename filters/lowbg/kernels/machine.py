"""What this machine offers a run."""

from __future__ import annotations

import os
import sys

SWITCH_S = 1e-4
"""How long a thread may keep the interpreter while others wait for it. Python's 5 ms are as much as
a kernel takes for its part of a batch: it would wait as long again to say that it is done."""


def available_cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def switch_often() -> None:
    """For a process that is lowbg's own: its threads overlap (`overlap`) without long waits."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
