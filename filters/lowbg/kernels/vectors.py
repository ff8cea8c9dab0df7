"""What compiled loops need and numba lacks, in LLVM's own terms: plain memory, vectors, bits.

LLVM finds the instructions of whatever processor there is. Nothing here asks whether the memory is
there: the caller has seen to it. First come the parts of which intrinsics are made, for LLVM's
`builder`; then intrinsics that any kernel may call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lowbg.kernels.compiler import Late, intrinsic

ir, types = Late("llvmlite.ir"), Late("numba.types")


def word() -> Any:
    """LLVM's type of what is counted here."""
    return ir.IntType(64)


def address(context: Any, builder: Any, signature: Any, arguments: Any, first: int = 0) -> Any:
    """Where `memory[index]` is: two arguments from `first` on, an array or pointer and a place."""
    memory, index = signature.args[first : first + 2]
    data, place = arguments[first : first + 2]
    if isinstance(memory, types.Array):
        assert memory.layout == "C"
        data = context.make_array(memory)(context, builder, data).data
    # Widened as numba does it: LLVM takes every index for a signed one.
    return builder.gep(data, [context.cast(builder, place, index, types.intp)])


def at_address(returns: str | None, build: Callable[[Any, Any], Any]) -> Any:
    """An intrinsic (memory, index) that gives what `build` makes of builder and address.

    `returns` names numba's type of that, or is null for the type of an item.
    """

    def typed(typing_context: Any, memory: Any, index: Any) -> Any:
        def generate(*lowering: Any) -> Any:
            return build(lowering[1], address(*lowering))

        kind = getattr(types, returns) if returns else memory.dtype
        return kind(memory, index), generate

    return intrinsic(typed)


def vector_at(builder: Any, place: Any, vector: Any) -> Any:
    """What lies at an address as a `vector`; aligned as one item, and no more."""
    place = builder.bitcast(place, vector.as_pointer())
    return builder.load(place, align=vector.element.width // 8)


def every(vector: Any, value: int) -> Any:
    """A `vector` that holds the constant `value` throughout."""
    return ir.Constant(vector, [value] * vector.count)


def bits_of(builder: Any, truths: Any, width: int = 64) -> Any:
    """The results of comparing vectors as bits, the first lowest, in an integer so wide."""
    return builder.zext(builder.bitcast(truths, ir.IntType(truths.type.count)), ir.IntType(width))


def trailing_zeros(builder: Any, bits: Any) -> Any:
    """How many bits are 0 below the lowest 1 of `bits`, which aren't 0; a word."""
    return builder.zext(builder.cttz(bits, ir.IntType(1)(1)), word())


def _set_bits(builder: Any, bits: Any) -> Any:
    return builder.zext(builder.ctpop(bits), word())


def _of_bits(build: Callable[[Any, Any], Any]) -> Any:
    def typed(typing_context: Any, bits: Any) -> Any:
        return types.int64(bits), lambda _, builder, __, arguments: build(builder, *arguments)

    return intrinsic(typed)


def _store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item = context.cast(builder, arguments[2], signature.args[2], array.dtype)
        builder.store(item, address(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


def _fetch(builder: Any, place: Any) -> Any:
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    wanted = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    function = builder.module.declare_intrinsic("llvm.prefetch", [byte], wanted)
    # To be read (0), soon and often (3), as data (1).
    builder.call(function, [builder.bitcast(place, byte), flag(0), flag(3), flag(1)])
    return byte(None)  # numba's nothing.


def _pointer(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


load: Any = at_address(None, lambda builder, place: builder.load(place))
"""`array[index]` without the question whether the index counts from the end."""

store: Any = intrinsic(_store)
"""`array[index] = value`, likewise."""

prefetch: Any = at_address("void", _fetch)
"""Asks for the cache line of `array[index]`; changes nothing."""

pointer: Any = intrinsic(_pointer)
"""The address of `array[0]`, indexed like an array, without any look at bounds.

An array is counted wherever it is handed on, and an index of it may count from its end."""

lowest: Any = _of_bits(trailing_zeros)
"""The place of the lowest bit that is set in an integer, which isn't 0 (int64)."""

ones: Any = _of_bits(_set_bits)
"""How many bits are set in an integer (int64)."""
