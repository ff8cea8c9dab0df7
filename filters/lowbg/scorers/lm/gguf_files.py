"""What a GGUF file says of itself: its metadata, and its one-dimensional weights.

The header alone is read, by its specification (ggml/docs/gguf.md); what the file's weights are is
left to transformers. Its own reader takes seconds for a vocabulary, and this one is needed before a
model is loaded, and without the extra.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

MAGIC = b"GGUF"

_SCALARS = "BbHhIif?"
"""struct's letters of the value types 0 to 7."""
_STRING, _ARRAY = 8, 9
_WIDE = {10: "Q", 11: "q", 12: "d"}
_FLOATS = {0: "<f4", 1: "<f2", 30: "<u2"}
"""Tensor types by number: float32, float16, and bfloat16 as its bits."""

_NO_WEIGHTS = frozenset({"rope_freqs.weight"})
"""Vectors that llama.cpp adds, computed from the configuration."""

_MOST = 1 << 24
"""More entries or bytes than any header has: the file is damaged."""


class Header(Struct, frozen=True):
    """A GGUF file's metadata, without arrays, and (name, shape, type, offset) of its tensors.

    Offsets are bytes from the start of the file.
    """

    metadata: dict[str, Any]
    tensors: tuple[tuple[str, tuple[int, ...], int, int], ...]


def read_header(path: Path) -> Header:
    """The header of the file. Raises `ValueError` for one that is no GGUF file of version 2 or 3,
    or is cut.
    """
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ValueError("no GGUF file")
        try:
            (version,) = _read(file, "I")
            if version not in (2, 3):
                raise ValueError(f"GGUF of version {version}")
            tensors, pairs = _read(file, "QQ")
            if max(tensors, pairs) > _MOST:
                raise ValueError("its header can't be")
            metadata = {}
            for _ in range(pairs):
                key = _text(file)
                (kind,) = _read(file, "I")
                value = _value(file, kind)
                if value is not None:
                    metadata[key] = value
            found = [_tensor(file) for _ in range(tensors)]
        except struct.error as error:
            raise ValueError("it ends within its header") from error
        alignment = int(metadata.get("general.alignment", 32))
        start = -(-file.tell() // alignment) * alignment
    return Header(
        metadata, tuple((name, shape, kind, start + at) for name, shape, kind, at in found)
    )


def vectors(path: Path) -> list[NDArray[Any]]:
    """The one-dimensional weights: float32, float16, or bfloat16 as its bits (uint16).

    Raises `ValueError` as `read_header`.
    """
    own = []
    header = read_header(path)
    with path.open("rb") as file:
        for name, shape, kind, offset in header.tensors:
            if len(shape) == 1 and kind in _FLOATS and name not in _NO_WEIGHTS:
                file.seek(offset)
                dtype = np.dtype(_FLOATS[kind])
                data = file.read(shape[0] * dtype.itemsize)
                own.append(np.frombuffer(data, dtype, shape[0]))
    return own


def _read(file: BinaryIO, form: str) -> Sequence[Any]:
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{form}", file.read(size))


def _text(file: BinaryIO) -> str:
    (size,) = _read(file, "Q")
    if size > _MOST:
        raise ValueError("its header can't be")
    return file.read(size).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Any:
    """A value; an array is passed over, and null."""
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _read(file, _letter(kind))[0]
    (inner,) = _read(file, "I")
    (count,) = _read(file, "Q")
    if count > _MOST:
        raise ValueError("its header can't be")
    if inner in (_STRING, _ARRAY):
        for _ in range(count):
            _value(file, inner)
    else:
        file.seek(count * struct.calcsize(f"<{_letter(inner)}"), 1)
    return None


def _letter(kind: int) -> str:
    letter = _SCALARS[kind : kind + 1] or _WIDE.get(kind)
    if not letter:
        raise ValueError(f"a value of the unknown type {kind}")
    return letter


def _tensor(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = _text(file)
    (dimensions,) = _read(file, "I")
    if dimensions > 8:
        raise ValueError("its header can't be")
    shape = tuple(_read(file, f"{dimensions}Q"))
    kind, offset = _read(file, "IQ")
    return name, shape, kind, offset
