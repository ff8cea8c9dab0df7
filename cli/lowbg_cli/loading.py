"""How a command loads what it needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """Within, modules are imported that stay: Python's collector of cycles doesn't look at them.

    It would walk over hundreds of thousands of objects several times, for a tenth of a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
