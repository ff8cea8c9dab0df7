"""The sections of a report: one file each, found by their `SECTION`, shown by its `order`."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

from lowbg.report.sections.base import Section


@functools.cache
def sections() -> tuple[Section[Any], ...]:
    """Every section, in the order in which a report shows them."""
    found: list[Section[Any]] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            found.append(importlib.import_module(f"{__name__}.{module.name}").SECTION)
    return tuple(sorted(found, key=lambda section: (section.order, section.key)))
