"""What kernels need to read text fast and numba lacks: plain loads, and 16 bytes looked at at once.

Nothing here asks whether the bytes are there: the caller has seen to it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 16
"""Bytes that `ascii_letters` and `equal_bytes` read: a vector register of any 64-bit processor."""

_VECTOR = ir.VectorType(ir.IntType(8), WIDTH)
_WORD = ir.IntType(64)


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Where `array[index]` is, the first two arguments."""
    assert signature.args[0].layout == "C"
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    # Widened as numba does it: LLVM takes every index for a signed one.
    index = context.cast(builder, arguments[1], signature.args[1], types.intp)
    return builder.gep(data, [index])


def _vector(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The bytes from `array[index]` on."""
    address = _address(context, builder, signature, arguments)
    return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=1)


def _all(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * WIDTH)


def _bits(builder: Any, truths: Any) -> Any:
    """One bit a byte, the first lowest."""
    return builder.zext(builder.bitcast(truths, ir.IntType(WIDTH)), _WORD)


def _load(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature, arguments))

    return array.dtype(array, index), generate


def _store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item = context.cast(builder, arguments[2], signature.args[2], array.dtype)
        builder.store(item, _address(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


def _ascii_letters(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        small = builder.or_(_vector(context, builder, signature, arguments), _all(0x20))
        others = builder.icmp_unsigned(">=", builder.sub(small, _all(ord("a"))), _all(26))
        # A bit behind them, so that there is a first one.
        first = builder.or_(_bits(builder, others), ir.Constant(_WORD, 1 << WIDTH))
        return builder.cttz(first, ir.Constant(ir.IntType(1), 1))

    return types.int64(array, index), generate


def _equal_bytes(typing_context: Any, array: Any, index: Any, spare: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _vector(context, builder, signature, arguments)
        known = builder.or_(found, _all(spare.literal_value))
        return _bits(builder, builder.icmp_unsigned("==", known, _all(value.literal_value)))

    return types.uint64(array, index, spare, value), generate


load: Any = intrinsic(_load)
"""`array[index]` without the question whether the index counts from the end."""

store: Any = intrinsic(_store)
"""`array[index] = value`, likewise."""

ascii_letters: Any = intrinsic(_ascii_letters)
"""How many letters A–Z and a–z follow each other from `array[index]` on, up to `WIDTH`."""

equal_bytes: Any = intrinsic(prefer_literal=True)(_equal_bytes)
"""Which of the `WIDTH` bytes from `array[index]` on equal `value` once the bits `spare` are set.

One bit a byte, the first lowest (uint64). `spare` and `value` are constants."""
