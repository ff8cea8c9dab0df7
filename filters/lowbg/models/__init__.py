"""The embedded tables: one safetensors file a language, and the character tables.

A file is opened only if its SHA-256 is the one pinned in `digests.json`; user-made tables are
opened by path and carry their digest into the report instead.
"""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.errors import ModelError, cause
from lowbg.storage.objects import ObjectStore, is_object_url, object_url
from lowbg.storage.whole_files import address, local_copy, write_whole

MAX_BYTES = 64 << 20
"""A model file above this size is refused: the embedded ones are under 5 MiB."""

_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""How pickles start, and the zip archives of them that torch writes."""

_MAX_HEADER = 1 << 18
"""Bytes that the header of an embedded file has at most."""

_DTYPES = {"U32": np.uint32, "F32": np.float32, "F64": np.float64, "U8": np.uint8, "I64": np.int64}
"""What safetensors calls the types of the embedded files' arrays."""

FORMAT = 1
"""Bumped when the arrays or metadata of a model file change meaning."""

METADATA_KEY = "lowbg"
"""The one metadata entry of a model file, a JSON object: several would be written in any order."""


class ModelFile(Struct, frozen=True, eq=False):
    """The arrays of a model file, what it says of itself, and its SHA-256 (hex).

    Equal only to itself, so that what is made of it can be kept by it.
    """

    path: Path
    sha256: str
    metadata: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def embedded_path(name: str) -> Path:
    """Where the embedded file `name` lies (installed as a plain file, never zipped)."""
    return Path(str(resources.files(__name__))) / f"{name}.safetensors"


@functools.cache
def _digests() -> dict[str, str]:
    text = (Path(str(resources.files(__name__))) / "digests.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def embedded_names() -> tuple[str, ...]:
    """The embedded files that are pinned, sorted."""
    return tuple(sorted(_digests()))


class _Mapped(Mapping[str, NDArray[Any]]):
    """The arrays of a pinned file, which is mapped to memory and checked when one is asked for.

    So of a language that no document is in nothing is read, and processes share what is.
    """

    def __init__(
        self, path: Path, sha256: str, metadata: Mapping[str, Any], names: tuple[str, ...]
    ):
        self._told = path, sha256, metadata, names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._told[3]:
            raise KeyError(name)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        # That of `Mapping` asks for the array itself.
        return name in self._told[3]

    def __iter__(self) -> Iterator[str]:
        return iter(self._told[3])

    def __len__(self) -> int:
        return len(self._told[3])

    def __reduce__(self) -> tuple[Any, ...]:
        return _Mapped, self._told

    @functools.cached_property
    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        from lowbg.models.checks import check_tables

        path, sha256, metadata, _ = self._told
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read ({error})") from error
        _check_digest(path, hashlib.sha256(data).hexdigest(), sha256)
        header, begin = _header(path, data[: _MAX_HEADER + 8])
        arrays = {
            name: np.frombuffer(
                data, _DTYPES[told["dtype"]], int(np.prod(told["shape"])),
                begin + told["data_offsets"][0],
            ).reshape(told["shape"])
            for name, told in header.items()
        }  # fmt: skip
        check_tables(path, metadata, arrays)
        return arrays


def _check_digest(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ModelError(
            f"{path}: SHA-256 is {found}, expected {expected}: the file is damaged or was "
            "replaced. Reinstall lowbg."
        )


def _header(path: Path, start: bytes) -> tuple[dict[str, Any], int]:
    """What a pinned file's header says of its arrays, and where they begin."""
    size = int.from_bytes(start[:8], "little")
    try:
        header = dict(json.loads(start[8 : 8 + size]))
    except ValueError as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error})") from error
    del header["__metadata__"]
    return header, 8 + size


def open_model(path: Path, sha256: str | None = None) -> ModelFile:
    """Reads a safetensors file whole.

    Raises `ModelError` when it is missing, too large, not safetensors, cut, when its digest is
    not `sha256`, and when its arrays or metadata are not what the scorers' compiled loops take.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from lowbg.models.checks import check_tables

    try:
        with path.open("rb") as file:
            # Not by the size that the system tells: a device has none.
            blob = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if len(blob) > MAX_BYTES:
        raise ModelError(f"{path}: too large; a model file has at most {MAX_BYTES:,} bytes")
    digest = hashlib.sha256(blob).hexdigest()
    if sha256 is not None:
        _check_digest(path, digest, sha256)
    if blob.startswith(_PICKLES):
        raise ModelError(f"{path}: a pickle, which could run code; lowbg loads safetensors only")
    try:
        arrays = load(blob)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error})") from error
    metadata = _metadata(path, blob)
    check_tables(path, metadata, arrays)
    return ModelFile(path, digest, metadata, arrays)


def _metadata(path: Path, blob: bytes) -> dict[str, Any]:
    """The JSON object that lowbg keeps in the header of a sound safetensors file."""
    size = int.from_bytes(blob[:8], "little")
    try:
        value = json.loads(json.loads(blob[8 : 8 + size])["__metadata__"][METADATA_KEY])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: no metadata of lowbg in it ({error!r})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: its metadata is no JSON object")
    return value


@functools.cache
def open_embedded(name: str) -> ModelFile:
    """The embedded file `name`; its arrays are read, and checked against the pinned digest, late.

    Raises `ModelError` where the file is missing or cut, and later where it isn't what was pinned.
    """
    pinned = _digests().get(name)
    if pinned is None:
        raise ModelError(f"no embedded model {name!r}; there are {', '.join(embedded_names())}")
    path = embedded_path(name)
    try:
        with path.open("rb") as file:
            start = file.read(8)
            start += file.read(min(int.from_bytes(start, "little"), _MAX_HEADER))
            size = file.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    metadata = _metadata(path, start)
    header, begin = _header(path, start)
    if size != begin + max(told["data_offsets"][1] for told in header.values()):
        raise ModelError(f"{path}: not a whole safetensors file. Reinstall lowbg.")
    arrays = _Mapped(path, pinned, metadata, tuple(header))
    return ModelFile(path, pinned, metadata, arrays)


def open_folder(folder: Path) -> dict[str, ModelFile]:
    """The model files of the user's own in a directory, or at a URL, by the language each is of.

    Raises `ModelError` where there are none, for a file that can't judge documents (without word
    model, weights or thresholds; of another format), and for two of one language.
    """
    found: dict[str, ModelFile] = {}
    for path in _own_files(folder):
        model = open_model(path)
        code = model.metadata.get("language")
        made = model.metadata.get("format")
        if not isinstance(code, str) or made != FORMAT:
            raise ModelError(
                f"{path}: tables of format {made!r} and language {code!r}; this version reads "
                f"format {FORMAT}. Make them again with lowbg train"
            )
        lacking = [name for name in ("lm_slots", "odds_slots") if name not in model.arrays]
        if lacking or "calibration" not in model.metadata:
            raise ModelError(
                f"{path}: no whole tables ({', '.join(lacking) or 'calibration'} missing). Make "
                "them again with lowbg train, from human and AI text"
            )
        if code in found:
            raise ModelError(
                f"{found[code].path} and {path} are both tables of {code!r}; keep one of them there"
            )
        found[code] = model
    if not found:
        raise ModelError(
            f"{address(folder)}: no tables in it; lowbg train writes .safetensors files"
        )
    return found


def _own_files(folder: Path) -> list[Path]:
    """The model files in a directory; of one in an object store, copies."""
    if is_object_url(folder):
        try:
            listed = ObjectStore(object_url(folder)).list()
            names = sorted(n for n in listed if n.endswith(".safetensors") and "/" not in n)
            return [local_copy(folder / name) for name in names]
        except OSError as error:
            raise ModelError(f"{address(folder)}: cannot be read ({cause(error)})") from error
    if not folder.is_dir():
        what = "a file; name its directory" if folder.exists() else "no such directory"
        raise ModelError(f"{folder}: {what}. Tables lie in a directory, a file a language")
    return sorted(folder.glob("*.safetensors"))


def load_arrays(name: str) -> Mapping[str, NDArray[Any]]:
    """The arrays of the embedded file `name`."""
    return open_embedded(name).arrays


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> str:
    """Writes a safetensors file and returns its SHA-256 (hex); equal input gives equal bytes."""
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    blob = save(ordered, {METADATA_KEY: text})
    write_whole(path, blob)
    return hashlib.sha256(blob).hexdigest()
