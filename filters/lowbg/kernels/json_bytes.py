"""Tests of 32 bytes at a time for compiled loops that read JSON.

Each test is a function (data, at) of bytes: it gives the bits, lowest first, of those of
`data[at:at + WIDTH]` that it finds. Nothing checks that there are so many: see `PADDING`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lowbg.kernels.compiler import intrinsic
from lowbg.kernels.vectors import address, at_address, bits_of, every, ir, types, vector_at, word

WIDTH = 32
"""Bytes that are looked at together."""

PADDING = b"\n" * WIDTH
"""What has to stand behind the lines of a block, so that no look ahead leaves it.

A line end is valid nowhere in a JSON value, so that nothing that is valid reaches into it."""

QUOTE, BACKSLASH, LINE_END = b'"\\\n'


def _bytes() -> Any:
    return ir.VectorType(ir.IntType(8), WIDTH)


def _mask_of(test: Callable[[Any, Callable[[int], Any]], Any]) -> Any:
    """A function (data, at) that gives the bits, lowest first, of the bytes that `test` finds.

    `test` gets LLVM's builder and a function that loads the `WIDTH` bytes so many before `at`.
    """

    def build(builder: Any, place: Any) -> Any:
        def load(before: int) -> Any:
            return vector_at(builder, builder.gep(place, [word()(-before)]), _bytes())

        return bits_of(builder, test(builder, load), WIDTH)

    return at_address("uint32", build)


def _test_special(builder: Any, load: Any) -> Any:
    """What ends a run of characters of a JSON string: a quote, an escape, a control character."""
    data = load(0)
    found = builder.icmp_unsigned("<", data, every(_bytes(), 0x20))
    for byte in (QUOTE, BACKSLASH):
        found = builder.or_(found, builder.icmp_unsigned("==", data, every(_bytes(), byte)))
    return found


def _test_not_ascii(builder: Any, load: Any) -> Any:
    """Bytes beyond ASCII here or up to three before: what a UTF-8 sequence may reach into."""
    return builder.icmp_signed("<", builder.or_(load(0), load(3)), every(_bytes(), 0))


def _test_wrong_utf8(builder: Any, load: Any) -> Any:
    """Bytes that can't stand behind the three before them (The Unicode Standard, table 3-7)."""
    here, before, second, third = (load(back) for back in range(4))

    def at_least(data: Any, byte: int) -> Any:
        return builder.icmp_unsigned(">=", data, every(_bytes(), byte))

    def is_(data: Any, byte: int) -> Any:
        return builder.icmp_unsigned("==", data, every(_bytes(), byte))

    continues = is_(builder.and_(here, every(_bytes(), 0xC0)), 0x80)
    expected = builder.or_(
        at_least(before, 0xC0), builder.or_(at_least(second, 0xE0), at_least(third, 0xF0))
    )
    wrong = builder.xor(continues, expected)
    # A second byte that would make the sequence too long, a surrogate, or beyond U+10FFFF.
    for lead, bound, high in ((0xE0, 0xA0, 0), (0xED, 0xA0, 1), (0xF0, 0x90, 0), (0xF4, 0x90, 1)):
        beyond = at_least(here, bound) if high else builder.not_(at_least(here, bound))
        wrong = builder.or_(wrong, builder.and_(is_(before, lead), beyond))
    for never in (is_(here, 0xC0), is_(here, 0xC1), at_least(here, 0xF5)):
        wrong = builder.or_(wrong, never)
    return wrong


def _test_equal(byte: int) -> Callable[[Any, Callable[[int], Any]], Any]:
    return lambda builder, load: builder.icmp_unsigned("==", load(0), every(_bytes(), byte))


special: Any = _mask_of(_test_special)
not_ascii: Any = _mask_of(_test_not_ascii)
wrong_utf8: Any = _mask_of(_test_wrong_utf8)
line_ends: Any = _mask_of(_test_equal(LINE_END))
backslashes: Any = _mask_of(_test_equal(BACKSLASH))


def _copy(typing_context: Any, out: Any, to: Any, data: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = address(context, builder, signature, arguments)
        found = vector_at(builder, address(context, builder, signature, arguments, 2), _bytes())
        builder.store(found, builder.bitcast(target, _bytes().as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(out, to, data, at), generate


copy: Any = intrinsic(_copy)
"""Copies `data[at:at + WIDTH]` to `out[to:]`."""
