"""The one door to numba: from functions to machine code (`objects`), and to numba's own where
that can't be had.

numba makes a library of a kernel, and LLVM an object file of that. Both reach into numba's insides.
Where these have moved, and where a kernel can't be loaded as `objects` does it (it allocates, or
raises what numba has to explain), numba calls and keeps it in its own way, and loading takes
longer: `plain`.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numba
import numpy as np
from llvmlite import ir

from lowbg.kernels import objects
from lowbg.kernels.arrays import Layout
from lowbg.kernels.objects import Found, Header, knows

_MOVED = (ImportError, AttributeError, TypeError)
"""What comes of reaching into insides that have moved."""


class UnlinkableError(Exception):
    """An object file, or a function, that `objects` can't load."""


def dispatcher(function: Callable[..., Any], **options: Any) -> Any:
    """What numba makes of a function: it is compiled once it is called, for what it is given."""
    return numba.njit(nogil=True, **options)(function)


def intrinsic_type(typed: Callable[..., Any], **options: Any) -> Any:
    """numba's type of an intrinsic (see `compiler.intrinsic`)."""
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic

    made = intrinsic(**options)(typed) if options else intrinsic(typed)
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    return cpu_target.typing_context.resolve_value_type(made)


def types_of(function: Callable[..., Any]) -> tuple[Any, ...]:
    """numba's types of the arguments that a function's annotations name (see `arrays`)."""
    return tuple(numba.typeof(_sample(hint)) for hint in _hints(function))  # type: ignore[no-untyped-call]


def _hints(function: Callable[..., Any]) -> list[Any]:
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    return [*hints.values()]


def _sample(hint: Any) -> Any:
    """A value such as an annotation names."""
    hint, layout = _unwrapped(hint)
    if get_origin(hint) is np.ndarray:
        array = np.empty((0,) * layout.dimensions, get_args(get_args(hint)[1])[0])
        array.flags.writeable = layout.writable
        return array
    if hasattr(hint, "_fields"):
        return hint(*(_sample(inner) for inner in _inner(hint)))
    return hint(0)


def _unwrapped(hint: Any) -> tuple[Any, Layout]:
    if get_origin(hint) is Annotated:
        bare, layout = get_args(hint)
        return bare, layout
    return hint, Layout()


def _inner(hint: Any) -> list[Any]:
    hints = get_type_hints(hint, include_extras=True)
    return [hints[name] for name in hint._fields]


def _argument(hint: Any) -> Any:
    """How an argument is handed over: see `objects.Header`."""
    hint, layout = _unwrapped(hint)
    if get_origin(hint) is np.ndarray:
        dtype = np.dtype(get_args(get_args(hint)[1])[0])
        return ["array", dtype.str, layout.dimensions, layout.writable]
    if hasattr(hint, "_fields"):
        return [_argument(inner) for inner in _inner(hint)]
    return "f" if hint is float else "u" if hint is np.uint64 else "i"


def _flat(argument: Any) -> Iterator[str]:
    """LLVM's types of an argument that is handed over so."""
    if isinstance(argument, str):
        yield "double" if argument == "f" else "i64"
    elif argument and argument[0] == "array":
        yield from ("ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * argument[2]))
    else:
        for each in argument:
            yield from _flat(each)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, compiled, and kept where there is a place for it."""
    try:
        found = _native(function)
        made = objects.loaded(found)
    except (*_MOVED, UnlinkableError, OSError):
        found = Found(_header(function, b"", plain=True), b"")
        made = plain(function, again=True)
    objects.keep(function, found)
    return made


def _native(function: Callable[..., Any]) -> Found:
    """A kernel's code. Raises `UnlinkableError` where `objects` couldn't load it."""
    made: Any = numba.njit(nogil=True, **_options())(function)
    result: Any = made._compiler.compile(types_of(function), None)
    library, described = result.library, result.fndesc
    arguments = [_argument(hint) for hint in _hints(function)]
    convention = result.target_context.call_conv
    wanted = convention.get_function_type(described.restype, described.argtypes)
    told = ["ptr" if isinstance(kind, ir.PointerType) else str(kind) for kind in wanted.args]
    if told != ["ptr", "ptr", *(kind for each in arguments for kind in _flat(each))]:
        raise UnlinkableError(f"it takes {told}")
    for each in library._final_module.functions:
        if each.is_declaration and not each.name.startswith("llvm.") and not knows(each.name):
            raise UnlinkableError(f"it calls {each.name}")
    return _found(
        function,
        library._codegen._tm.emit_object(library._final_module),
        name=described.llvm_func_name,
        arguments=arguments,
        returns=_returned(result.signature.return_type),
    )


def _found(
    function: Callable[..., Any], code: bytes, *, name: str, arguments: list[Any], returns: str
) -> Found:
    try:
        image = _Linked(code, name)
    except UnlinkableError:
        rest: dict[str, Any] = {"symbol": name}
    else:
        code = image.code
        rest = {"entry": image.entry, "inner": image.inner, "outer": image.outer}
    return Found(_header(function, code, arguments=arguments, returns=returns, **rest), code)


def _header(function: Callable[..., Any], code: bytes, **values: Any) -> Header:
    key = objects.key(Path(function.__code__.co_filename).parent)
    return Header(key, hashlib.sha256(code).hexdigest(), **values)


def _returned(kind: Any) -> str:
    if kind == numba.types.none:
        return ""
    letters = {numba.types.int64: "i", numba.types.uint64: "u", numba.types.float64: "f"}
    if kind not in letters:
        raise UnlinkableError(f"it returns {kind}")
    return letters[kind]


@cache
def _options() -> dict[str, Any]:
    """What else numba is told, where it knows of it: nobody calls these from Python or C.

    Without the code for that they compile faster.
    """
    found = {}
    with contextlib.suppress(*_MOVED):
        from numba.core.cpu import CPUTargetOptions

        for name in ("no_cfunc_wrapper", "no_cpython_wrapper"):
            if hasattr(CPUTargetOptions, name):
                found[name] = True
    return found


_X86_64, _LINKED, _UNWIND, _NO_BITS, _RELOCATIONS = 62, 2, 0x70000001, 8, 4
_ABSOLUTE, _COMMON = 1, 0xFFF2
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")


class _Linked:
    """An object file's parts that are needed at run time, end to end.

    Knows those of ELF for x86-64 whose code takes all addresses as 64 bits, as numba asks of LLVM.
    Raises `UnlinkableError` for anything else.
    """

    def __init__(self, data: bytes, name: str) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] != _X86_64:
            raise UnlinkableError("another kind of object file")
        (table,) = struct.unpack_from("<Q", data, 40)
        (count,) = struct.unpack_from("<H", data, 60)
        self._data = data
        self._sections = [_SECTION.unpack_from(data, table + 64 * i) for i in range(count)]
        self._image = bytearray()
        self._begins: dict[int, int] = {}
        for i, section in enumerate(self._sections):
            _, kind, flags, _, at, size, _, _, align, _ = section
            if flags & _LINKED and kind != _UNWIND:
                self._begins[i] = self._room(size, align)
                if kind != _NO_BITS:
                    begin = self._begins[i]
                    self._image[begin : begin + size] = data[at : at + size]
        self._symbols = [*self._read_symbols()]
        entries = [place for own, place in self._symbols if own == name and place is not None]
        if len(entries) != 1:
            raise UnlinkableError(f"{len(entries)} functions {name}")
        self.entry = entries[0]
        self.inner: list[tuple[int, int]] = []
        self.outer: list[tuple[int, str]] = []
        for section in self._sections:
            if section[1] == _RELOCATIONS and section[7] in self._begins:
                self._relocate(section)
        self.code = bytes(self._image)

    def _room(self, size: int, align: int) -> int:
        begin = -(-len(self._image) // max(align, 1)) * max(align, 1)
        self._image.extend(bytes(begin + size - len(self._image)))
        return begin

    def _read_symbols(self) -> Iterator[tuple[str, int | None]]:
        """Every symbol's name and place in the image, null where it is defined elsewhere."""
        table = next(section for section in self._sections if section[1] == 2)
        names = self._sections[table[6]][4]
        for at in range(table[4], table[4] + table[5], 24):
            name, _, _, section, value, size = _SYMBOL.unpack_from(self._data, at)
            end = self._data.index(b"\0", names + name)
            own = self._data[names + name : end].decode()
            if section == _COMMON:
                yield own, self._room(size, value)
            else:
                yield own, self._begins[section] + value if section in self._begins else None

    def _relocate(self, section: Sequence[int]) -> None:
        begin = self._begins[section[7]]
        for at in range(section[4], section[4] + section[5], 24):
            place, info, added = _RELOCATION.unpack_from(self._data, at)
            name, target = self._symbols[info >> 32]
            if info & 0xFFFFFFFF != _ABSOLUTE or (target is None and added):
                raise UnlinkableError(f"a relocation of kind {info & 0xFFFFFFFF}")
            if target is not None:
                self.inner.append((begin + place, target + added))
            elif knows(name):
                self.outer.append((begin + place, name))
            else:
                raise UnlinkableError(f"no {name}")


def plain(function: Callable[..., Any], *, again: bool = False) -> Any:
    """The kernel by what numba makes public; compiled `again` though it may be kept.

    numba knows a kept one by its own file alone, not by what else it was compiled from.
    """
    try:
        made: Any = numba.njit(nogil=True, cache=True)(function)
        if again:
            made.recompile()  # Of what is loaded there is nothing yet: it forgets what is kept.
    except (RuntimeError, OSError):  # There is no place.
        made = numba.njit(nogil=True)(function)
    made.compile(types_of(function))
    return made
