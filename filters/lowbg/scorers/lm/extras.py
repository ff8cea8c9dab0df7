"""Modules of optional extras: loaded when asked for, or a message that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from lowbg.errors import ConfigError


def load(module: str, *, extra: str, wanted_by: str) -> Any:
    """The module `module`; raises `ConfigError` where its extra isn't installed.

    `wanted_by` is the setting that needs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{wanted_by} needs the extra '{extra}', which isn't installed ({error}). "
            f"Run: pip install 'lowbg[{extra}]'"
        ) from error
