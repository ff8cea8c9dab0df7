"""Tests of 16 bytes of text at a time for compiled loops.

Nothing here asks whether the bytes are there: the caller has seen to it.
"""

from __future__ import annotations

from typing import Any

from lowbg.kernels.compiler import intrinsic
from lowbg.kernels.vectors import (
    address,
    at_address,
    bits_of,
    every,
    ir,
    trailing_zeros,
    types,
    vector_at,
    word,
)

WIDTH = 16
"""Bytes that are looked at together: a vector register of any 64-bit processor."""

MARK_LEADS = (0xE2, 0xE3, 0xEF)
"""The first bytes in UTF-8 of U+2000 …, U+3000 … and U+F000 …, where most punctuation stands."""


MARKS_WIDTH = 64
"""Bytes in which `mark_bytes` looks for marks: as many as a word has bits."""


def _bytes(count: int = WIDTH) -> Any:
    return ir.VectorType(ir.IntType(8), count)


def _letters(builder: Any, place: Any) -> Any:
    vector = _bytes()
    small = builder.or_(vector_at(builder, place, vector), every(vector, 0x20))
    distance = builder.sub(small, every(vector, ord("a")))
    others = bits_of(builder, builder.icmp_unsigned(">=", distance, every(vector, 26)))
    # A bit behind them, so that there is a first one.
    return trailing_zeros(builder, builder.or_(others, word()(1 << WIDTH)))


def _equal_bytes(typing_context: Any, array: Any, index: Any, spare: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _bytes()
        found = vector_at(builder, address(context, builder, signature, arguments), vector)
        known = builder.or_(found, every(vector, spare.literal_value))
        wanted = every(vector, value.literal_value)
        return bits_of(builder, builder.icmp_unsigned("==", known, wanted))

    return types.uint64(array, index, spare, value), generate


def _marks(builder: Any, place: Any) -> Any:
    vector = _bytes(MARKS_WIDTH)
    found = vector_at(builder, place, vector)
    bits = builder.icmp_unsigned(
        "<", builder.sub(found, every(vector, ord("!"))), every(vector, ord("/") - ord("!"))
    )
    other = builder.icmp_unsigned(
        "<", builder.sub(found, every(vector, ord(":"))), every(vector, ord("@") - ord(":"))
    )
    bits = builder.or_(bits, other)
    for byte in MARK_LEADS:
        bits = builder.or_(bits, builder.icmp_unsigned("==", found, every(vector, byte)))
    return bits_of(builder, bits)


ascii_letters: Any = at_address("int64", _letters)
"""How many letters A–Z and a–z follow each other from `array[index]` on, up to `WIDTH`."""

mark_bytes: Any = at_address("uint64", _marks)
"""Which of the `MARKS_WIDTH` bytes from `array[index]` on may begin a mark: `!` to `.`, `:` to `?`,
and `MARK_LEADS`. One bit a byte, the first lowest."""

equal_bytes: Any = intrinsic(_equal_bytes, prefer_literal=True)
"""Which of the `WIDTH` bytes from `array[index]` on equal `value` once the bits `spare` are set.

One bit a byte, the first lowest (uint64). `spare` and `value` are constants."""
