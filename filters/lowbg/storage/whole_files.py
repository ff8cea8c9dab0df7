"""Files that are read or written whole: at a local path, or at the URL of an object store.

A URL may come as a `Path` that was made of it, which has lost one of its slashes.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from lowbg.errors import ConfigError, OutputError, cause
from lowbg.storage.files import AtomicFile, own_folder, size_of_file
from lowbg.storage.objects import (
    ConflictError,
    ObjectStore,
    Stored,
    StoreError,
    is_object_url,
    object_url,
)

_ADDED_AGAIN = 50
"""Times that a line is added anew where somebody else was faster."""


def address(path: str | os.PathLike[str]) -> str:
    """The path, or the URL that it was made of: as people write it, and shards are named."""
    return object_url(path) if is_object_url(path) else os.fspath(path)


def store_of(path: str | os.PathLike[str]) -> tuple[ObjectStore, str]:
    """The store in which the object at a URL lies, and its name there."""
    root, _, name = object_url(path).rpartition("/")
    return ObjectStore(root), name


def stat_of(path: Path) -> Stored | None:
    """The object at a URL as it is now; null where there is none. Raises `OSError`."""
    store, name = store_of(path)
    return store.head(name)


def is_there(path: Path) -> bool:
    """Whether there is a file, or an object. Raises `OSError` where the store doesn't say."""
    return stat_of(path) is not None if is_object_url(path) else path.is_file()


def size_of(path: Path) -> int:
    """The stored size in bytes. Raises `OSError` where there is no such file."""
    if not is_object_url(path):
        return path.stat().st_size
    found = stat_of(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "no such object", address(path))
    return found.size


def sizes(root: Path, names: Iterable[str]) -> dict[str, int]:
    """The stored sizes of the files `names` below a folder, of those that are there.

    Of a folder in a store all is listed. Raises `OSError` where it can't be.
    """
    if is_object_url(root):
        listed = ObjectStore(object_url(root)).list()
        return {name: listed[name].size for name in names if name in listed}
    found = {name: size_of_file(root / name) for name in names if (root / name).is_file()}
    return {name: size for name, size in found.items() if size is not None}


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises `OSError` where it can't be read."""
    if not is_object_url(path):
        return path.read_bytes()
    store, name = store_of(path)
    data = store.read(name)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "no such object", address(path))
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that appears only when it is whole and safe. Raises `OutputError`."""
    if is_object_url(path):
        store, name = store_of(path)
        try:
            store.put(name, data)
        except OSError as error:
            raise OutputError(f"{address(path)}: cannot be written ({cause(error)})") from error
        return
    file = AtomicFile(path)
    try:
        file.write(data)
        file.commit()
    finally:
        file.abort()


def add_to_object(path: Path, data: bytes) -> None:
    """Puts bytes behind those of the object at a URL, which is made if there is none.

    Of two who do so at the same time neither undoes what the other did. Raises `OutputError`.
    """
    store, name = store_of(path)
    written: bytes | None = None
    try:
        for _ in range(_ADDED_AGAIN):
            found = store.read_version(name)
            before, version = found or (b"", None)
            if written is not None and before.startswith(written):
                return  # It got through, but its answer was lost.
            written = before + data
            try:
                if found is None:
                    store.create(name, written)
                else:
                    store.put(name, written, instead_of=version)
            except ConflictError:
                continue
            return
        raise StoreError("others keep writing to it")
    except OSError as error:
        raise OutputError(f"{address(path)}: cannot be written ({cause(error)})") from error


def top_names(root: Path) -> set[str]:
    """The names at the top of a directory, or of what is at a URL; none where it isn't there.

    Raises `ConfigError` where it can't be listed.
    """
    try:
        if is_object_url(root):
            return {name.partition("/")[0] for name in ObjectStore(address(root)).list()}
        return {path.name for path in root.iterdir()} if root.is_dir() else set()
    except OSError as error:
        raise ConfigError(f"{address(root)}: cannot be listed ({cause(error)})") from error


def check_folder(path: Path) -> None:
    """Raises `ConfigError` where the directory that is to hold a file isn't there."""
    if not is_object_url(path) and not path.parent.is_dir():
        raise ConfigError(f"{path}: its directory doesn't exist; name a file")


def local_copy(path: Path) -> Path:
    """A local file with the bytes of the object at a URL; of a local path, itself.

    It is fetched once a machine for each version of the object, and stays in the user's folder of
    temporary files. Raises `OSError` where it can't be had.
    """
    if not is_object_url(path):
        return path
    store, name = store_of(path)
    found = store.head(name)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "no such object", address(path))
    version = f"{address(path)}\0{found.version}\0{found.size}\0{found.modified}"
    folder = own_folder() / "copies"
    folder.mkdir(exist_ok=True)
    copy = folder / f"{hashlib.sha256(version.encode()).hexdigest()[:32]}{Path(name).suffix}"
    if not copy.is_file():
        # Workers may fetch it at the same time; each replaces it by the same.
        part = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
        store.download(name, part)
        part.replace(copy)
    return copy
