"""Tests of 32 bytes at a time for compiled loops, in LLVM's own terms.

LLVM finds the instructions of whatever processor there is. Each test is a function (data, at) of
bytes: it gives the bits, lowest first, of those of `data[at:at + WIDTH]` that it finds. Nothing
checks that there are so many: see `PADDING`. numba knows a kernel that it keeps by the kernel's own
file: after a change here, remove what it keeps (`__pycache__/*.nb?`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 32
"""Bytes that are looked at together."""

PADDING = b"\n" * WIDTH
"""What has to stand behind the lines of a block, so that no look ahead leaves it.

A line end is valid nowhere in a JSON value, so that nothing that is valid reaches into it."""

QUOTE, BACKSLASH, LINE_END = b'"\\\n'

_VECTOR = ir.VectorType(ir.IntType(8), WIDTH)


def _vector(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * WIDTH)


def _address(builder: Any, pointer: Any, index: Any) -> Any:
    """The address of the vector at `pointer[index]`."""
    return builder.bitcast(builder.gep(pointer, [index]), _VECTOR.as_pointer())


def _mask_of(test: Callable[[Any, Callable[[int], Any]], Any]) -> Any:
    """A function (data, at) that gives the bits, lowest first, of the bytes that `test` finds.

    `test` gets LLVM's builder and a function that loads the `WIDTH` bytes so many before `at`.
    """

    def typed(typing_context: Any, data: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def load(before: int) -> Any:
                index = builder.sub(arguments[1], ir.Constant(arguments[1].type, before))
                return builder.load(_address(builder, arguments[0], index), align=1)

            return builder.bitcast(test(builder, load), ir.IntType(WIDTH))

        return types.uint32(data, at), generate

    return intrinsic(typed)


def _test_special(builder: Any, load: Any) -> Any:
    """What ends a run of characters of a JSON string: a quote, an escape, a control character."""
    data = load(0)
    found = builder.icmp_unsigned("<", data, _vector(0x20))
    for byte in (QUOTE, BACKSLASH):
        found = builder.or_(found, builder.icmp_unsigned("==", data, _vector(byte)))
    return found


def _test_not_ascii(builder: Any, load: Any) -> Any:
    """Bytes beyond ASCII here or up to three before: what a UTF-8 sequence may reach into."""
    return builder.icmp_signed("<", builder.or_(load(0), load(3)), _vector(0))


def _test_wrong_utf8(builder: Any, load: Any) -> Any:
    """Bytes that can't stand behind the three before them (The Unicode Standard, table 3-7)."""
    here, before, second, third = (load(back) for back in range(4))

    def at_least(data: Any, byte: int) -> Any:
        return builder.icmp_unsigned(">=", data, _vector(byte))

    def is_(data: Any, byte: int) -> Any:
        return builder.icmp_unsigned("==", data, _vector(byte))

    continues = builder.icmp_unsigned("==", builder.and_(here, _vector(0xC0)), _vector(0x80))
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
    return lambda builder, load: builder.icmp_unsigned("==", load(0), _vector(byte))


special: Any = _mask_of(_test_special)
not_ascii: Any = _mask_of(_test_not_ascii)
wrong_utf8: Any = _mask_of(_test_wrong_utf8)
line_ends: Any = _mask_of(_test_equal(LINE_END))
backslashes: Any = _mask_of(_test_equal(BACKSLASH))


def _copy_vector(typing_context: Any, out: Any, to: Any, data: Any, at: Any) -> Any:
    """Copies `data[at:at + WIDTH]` to `out[to:]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = _address(builder, *arguments[:2]), _address(builder, *arguments[2:])
        builder.store(builder.load(source, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(out, to, data, at), generate


def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """The place of the lowest bit that is set in `mask`, which isn't 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(place, ir.IntType(64))

    return types.int64(types.uint32), generate


def _ones(typing_context: Any, mask: Any) -> Any:
    """How many bits are set in `mask`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.ctpop(arguments[0]), ir.IntType(64))

    return types.int64(types.uint32), generate


def _pointer_to(typing_context: Any, array: Any) -> Any:
    """The address of `array[0]`, which is read and written without any look at bounds.

    An array is counted wherever it is handed on, and an index of it may count from its end.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate  # type: ignore[no-untyped-call]


pointer: Any = intrinsic(_pointer_to)
copy: Any = intrinsic(_copy_vector)
ones: Any = intrinsic(_ones)
lowest: Any = intrinsic(_lowest_bit)
