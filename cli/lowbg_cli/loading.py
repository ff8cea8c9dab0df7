"""How a command loads what it needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def report_file(path: Path) -> Path:
    """The report that a path stands for: that of the output of a run, or itself."""
    from lowbg.storage.objects import is_object_url

    is_output = path.suffix != ".json" if is_object_url(path) else path.is_dir()
    return path / "report.json" if is_output else path
