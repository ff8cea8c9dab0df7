"""What a model file must be for the compiled loops, which check nothing themselves, to read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ModelError

MAX_ORDER = 4
"""The longest n-grams that the loops have room for."""

LM_PARAMETERS = ("log_p_step", "backoff_step", "backoff_low", "log_unknown", "begin_backoff")
"""What scales the bytes of `lm_slots`; in this order in the loops."""

STYLE_SIZES = {"mean": 15, "spread": 15, "weights": 31}
"""The numbers of a style: one a feature of `text/style.py`, and its weights."""

_FOLDINGS = 65_536


def check_tables(
    path: Path, metadata: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Raises `ModelError` where an array or its metadata isn't what its reader takes.

    `lm_slots` and `odds_slots`: a power of two of uint32 slots, at least 4, with the metadata
    `lm` and `odds`; `foldings`: uint32, one row of 65,536 a folding. Others are not looked at. The
    metadata `style`: finite numbers, as many as there are features and weights.
    """
    for name in ("lm_slots", "odds_slots"):
        if name in arrays:
            _check(path, name, arrays[name], _is_table(arrays[name]), "a power of two of uint32")
    if "lm_slots" in arrays:
        lm = _section(path, metadata, "lm")
        _check_order(path, "lm", lm)
        for key in LM_PARAMETERS:
            _check_number(path, f"lm.{key}", lm.get(key))
    if "odds_slots" in arrays:
        odds = _section(path, metadata, "odds")
        _check_order(path, "odds", odds)
        scales = odds.get("scales")
        if not isinstance(scales, list) or len(scales) != 2:
            raise ModelError(f"{path}: odds.scales is {scales!r}; it must be two numbers")
        for scale in scales:
            _check_number(path, "odds.scales", scale)
    if "style" in metadata:
        _check_style(path, _section(path, metadata, "style"))
    if "foldings" in arrays:
        shape = arrays["foldings"].shape
        sound = len(shape) == 2 and shape[0] > 0 and shape[1] == _FOLDINGS
        sound = sound and arrays["foldings"].dtype == np.uint32
        _check(path, "foldings", arrays["foldings"], sound, f"n × {_FOLDINGS:,} uint32")


def _is_table(array: NDArray[Any]) -> bool:
    size = array.size
    return array.dtype == np.uint32 and array.ndim == 1 and size >= 4 and not size & (size - 1)


def _check(path: Path, name: str, array: NDArray[Any], sound: bool, wanted: str) -> None:
    if not sound:
        shape = " × ".join(f"{n:,}" for n in array.shape) or "one"
        raise ModelError(f"{path}: {name} is {shape} {array.dtype}; it must be {wanted}")


def _section(path: Path, metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = metadata.get(name)
    if not isinstance(section, Mapping):
        raise ModelError(f"{path}: its metadata says nothing of {name}")
    return section


def _check_order(path: Path, name: str, section: Mapping[str, Any]) -> None:
    order = section.get("order")
    if type(order) is not int or not 1 <= order <= MAX_ORDER:
        raise ModelError(f"{path}: {name}.order is {order!r}; it must be 1 … {MAX_ORDER}")


def _check_style(path: Path, style: Mapping[str, Any]) -> None:
    for name, size in STYLE_SIZES.items():
        values = style.get(name)
        if not isinstance(values, list) or len(values) != size:
            raise ModelError(f"{path}: style.{name} must be {size} numbers")
        for value in values:
            _check_number(path, f"style.{name}", value)
    if min(style["spread"]) <= 0.0:
        raise ModelError(f"{path}: style.spread must be above 0")


def _check_number(path: Path, name: str, value: object) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ModelError(f"{path}: {name} is {value!r}; it must be a finite number")
