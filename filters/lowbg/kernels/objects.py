"""Kernels as machine code: where they are kept, and how they are loaded without numba.

A kept kernel is a file: a line of JSON (`Header`), then the code. It holds for what it was compiled
from (`source_stamp`), for numba's and LLVM's version and settings, and for one kind of processor.
It is called as numba calls it from compiled code: the place of the result, that of an error, then
the arguments one by one, an array as seven values and more.

An `image` is an object file that was linked when it was compiled: loading it is copying it to
memory and adding its place to some numbers in it. Where that isn't known for a kind of object file,
the file itself is kept, and LLVM loads it.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import mmap
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels import places

_SUFFIX = ".kernel"
_FORMAT = 1
_Argument = Any
"""How an argument is handed over: `["array", dtype, dimensions, writable]`, a list of the arguments
in a tuple, or `"i"`, `"u"`, `"f"` for an integer, one without a sign, and a float."""


class Header(NamedTuple):
    """What stands before a kernel's code: see `building`, which writes it.

    `returns` is `"i"`, `"f"`, … or empty for nothing, and `entry` where the function begins. An
    image has `inner`, pairs of a place in it and the place whose address belongs there, and
    `outer`, the same of symbols by name. An object file has none of these, and `symbol` is the
    function's name. One that is `plain` has no code: numba keeps and loads it.
    """

    key: str
    digest: str
    arguments: Sequence[_Argument] = ()
    returns: str = ""
    entry: int = 0
    inner: Sequence[tuple[int, int]] = ()
    outer: Sequence[tuple[int, str]] = ()
    symbol: str = ""
    plain: bool = False


class Found(NamedTuple):
    """A kernel's code."""

    header: Header
    code: bytes


@cache
def source_stamp(folder: Path) -> str:
    """The SHA-256 of all Python files of a folder: what its kernels are compiled from."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _processor() -> str:
    """The kind of processor: LLVM compiles for the very one it runs on."""
    told = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU ", "Features")
    try:
        with open("/proc/cpuinfo", "rb") as file:  # noqa: PTH123 - one of the first, once
            first = file.read(1 << 14).split(b"\n\n")[0].decode("utf-8", "replace")
        lines = [line for line in first.splitlines() if line.startswith(told)]
    except OSError:
        lines = []
    if not lines:
        import llvmlite.binding as llvm

        lines = [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    return "\n".join([platform.machine(), *lines])


@cache
def _compiler() -> str:
    """The versions of what compiles, and how it is told to, without importing it."""
    told = [f"{name}={value}" for name, value in sorted(os.environ.items())
            if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"]  # fmt: skip
    for name in ("numba", "llvmlite"):
        module = importlib.util.find_spec(name)
        assert module is not None
        assert module.origin is not None
        version = Path(module.origin).with_name("_version.py")
        told.append(version.read_text("utf-8") if version.exists() else module.origin)
    return "\n".join([str(_FORMAT), sys.platform, *told])


@cache
def key(folder: Path) -> str:
    """What a kept kernel of a folder's modules has to be compiled from, by, and for."""
    text = "\n".join([source_stamp(folder), _compiler(), _processor()])
    return hashlib.sha256(text.encode()).hexdigest()


def _folder_of(function: Callable[..., Any]) -> Path:
    return Path(function.__code__.co_filename).parent


def _file_name(function: Callable[..., Any]) -> str:
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return f"{function.__module__}.{function.__name__}-{kind}{_SUFFIX}"


def find(function: Callable[..., Any]) -> Found | None:
    """The kernel that is kept of a function; null where none is, or one of something else."""
    sources = _folder_of(function)
    for data in places.read(sources, _file_name(function)):
        try:
            head, _, code = data.partition(b"\n")
            header = Header(*json.loads(head))
        except (ValueError, TypeError):
            continue
        if header.key == key(sources) and header.digest == hashlib.sha256(code).hexdigest():
            return Found(header, code)
    return None


def keep(function: Callable[..., Any], found: Found) -> None:
    """Keeps a kernel at the first place that takes it."""
    data = json.dumps(found.header).encode() + b"\n" + found.code
    places.write(_folder_of(function), _file_name(function), data)


def place(function: Callable[..., Any]) -> Path | None:
    """The folder that the kernel is kept in, or would be; null where there is none."""
    return places.place(_folder_of(function), _file_name(function))


def loaded(found: Found) -> Callable[..., Any]:
    """The kernel as a function of Python. Raises `OSError` where memory can't hold code."""
    header = found.header
    address = _image(found) if not header.symbol else _by_llvm(found)
    return _Native(address, header)


def _symbol(name: str) -> int:
    """The address of a function of the C library."""
    # What gives arrays back is never called: here all of them are Python's.
    wanted = "abort" if name == "NRT_MemInfo_call_dtor" else name
    function = getattr(ctypes.CDLL(None), wanted)
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def knows(name: str) -> bool:
    """Whether an image may ask for this symbol."""
    try:
        return bool(_symbol(name))
    except AttributeError:
        return False


_IMAGES: list[Any] = []
"""Memory that holds code; it stays."""


def _image(found: Found) -> int:
    """Loads an image; the address of its function."""
    header, code = found
    size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: len(code)] = code
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for at, target in header.inner:
        struct.pack_into("<Q", memory, at, begin + target)
    for at, name in header.outer:
        struct.pack_into("<Q", memory, at, _symbol(name))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(begin, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "no memory for compiled code")
    _IMAGES.append(memory)
    return begin + header.entry


def _by_llvm(found: Found) -> int:
    """Loads an object file of whatever kind; the address of its function."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.add_symbol("NRT_MemInfo_call_dtor", _symbol("NRT_MemInfo_call_dtor"))
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(found.code))
    engine.finalize_object()
    _IMAGES.append(engine)
    return int(engine.get_function_address(found.header.symbol))


class _Native:
    """A function at an address, called with Python's values: see `Header`."""

    def __init__(self, address: int, header: Header) -> None:
        self._arguments = [_taker(argument) for argument in header.arguments]
        self._returns: Any = {"i": ctypes.c_int64, "u": ctypes.c_uint64, "f": ctypes.c_double}.get(
            header.returns, ctypes.c_void_p
        )
        self._gives = bool(header.returns)
        kinds: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for argument in header.arguments:
            kinds += _kinds(argument)
        self._function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address)

    def __call__(self, *args: Any) -> Any:
        result, error = self._returns(), ctypes.c_void_p()
        flat: list[Any] = [ctypes.addressof(result), ctypes.addressof(error)]
        for take, argument in zip(self._arguments, args, strict=True):
            take(argument, flat)
        if self._function(*flat):
            raise RuntimeError("a kernel failed")
        return result.value if self._gives else None


def _kinds(argument: _Argument) -> Iterator[Any]:
    """The C types of an argument."""
    if isinstance(argument, str):
        yield {"i": ctypes.c_int64, "u": ctypes.c_uint64, "f": ctypes.c_double}[argument]
    elif argument and argument[0] == "array":
        yield from (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        yield from (ctypes.c_void_p, *[ctypes.c_int64] * (2 * argument[2]))
    else:
        for each in argument:
            yield from _kinds(each)


def _taker(argument: _Argument) -> Callable[[Any, list[Any]], None]:
    """What appends an argument's values; it raises `TypeError` for one of another type."""
    if isinstance(argument, str):
        made = float if argument == "f" else int
        return lambda value, flat: flat.append(made(value))
    if not argument or argument[0] != "array":
        takers = [_taker(each) for each in argument]

        def take_tuple(values: Any, flat: list[Any]) -> None:
            for take, value in zip(takers, values, strict=True):
                take(value, flat)

        return take_tuple
    dtype, dimensions, writable = np.dtype(argument[1]), argument[2], argument[3]

    def take_array(array: NDArray[Any], flat: list[Any]) -> None:
        flags = array.flags
        if array.dtype != dtype or array.ndim != dimensions or not flags.c_contiguous:
            raise TypeError(
                f"{array.ndim} dimensions of {array.dtype}, in one piece: {flags.c_contiguous}; "
                f"a kernel takes {dimensions} of {dtype} in one piece"
            )
        if writable and not flags.writeable:
            raise TypeError("an array that can't be written to, and a kernel writes to it")
        data = array.__array_interface__["data"][0]
        flat += (None, None, array.size, dtype.itemsize, data, *array.shape, *array.strides)

    return take_array
