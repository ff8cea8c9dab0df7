"""Stored texts → the column that is scored."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.records import RejectReason

Refusals = dict[int, tuple[RejectReason, str]]
"""Why rows of a batch have no text that can be read, by their place in it."""


def decoded(column: pa.Array) -> pa.Array:
    """A dictionary's values in their places; any other column as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    values = column.dictionary
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
        # Arrow can't take from these; Polars has its categories in them.
        values = values.cast(pa.large_binary())
    return values.take(column.indices)


def text_of(column: pa.Array | None) -> tuple[pa.LargeStringArray, Refusals]:
    """A text column as large strings, empty where refused, and why each of those rows was."""
    assert column is not None
    column = decoded(column)
    # Arrow does not check that a Parquet string is UTF-8; the cast from binary does.
    binary = column.cast(pa.large_binary())
    refused: Refusals = {}
    if binary.null_count:
        for i in np.flatnonzero(np.asarray(binary.is_null())).tolist():
            refused[i] = (RejectReason.NULL_TEXT, "the text is null")
        binary = binary.fill_null(b"")
    try:
        text = binary.cast(pa.large_string())
    except pa.ArrowInvalid:
        values = binary.to_pylist()
        for i, value in enumerate(values):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"byte 0x{value[error.start]:02x} at {error.start}"
                refused[i] = (RejectReason.INVALID_UTF8, f"invalid UTF-8 ({where})")
                values[i] = b""
        text = pa.array(values, pa.large_binary()).cast(pa.large_string())
    return text, refused


def utf8_lengths(text: pa.LargeStringArray) -> NDArray[np.int64]:
    """The length of each text in bytes of UTF-8."""
    import pyarrow.compute as pc

    return np.asarray(pc.binary_length(text), dtype=np.int64)
