"""Where what was compiled is kept: beside its sources, else with the user's files, else nowhere.

In a read-only image whose user has no home it goes to a private folder for temporary files. The
first place that has something is taken, and written to is the first that can be.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def private_folder(temporary: Path) -> Path | None:
    """A folder below that of temporary files which is this user's alone: code is loaded from it."""
    folder = temporary / f"lowbg-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    alone = found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if stat.S_ISDIR(found.st_mode) and alone else None


def _folders(sources: Path) -> Iterator[Path]:
    """Where kernels of modules in `sources` may lie, the first place first."""
    own = f"{sources.name}_{hashlib.sha256(str(sources).encode()).hexdigest()[:16]}"
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if asked:
        yield Path(asked) / own
        return
    yield sources / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if os.path.isabs(home):  # noqa: PTH117
        yield Path(home) / "lowbg" / own
    try:
        private = private_folder(Path(tempfile.gettempdir()))
    except OSError:
        private = None
    if private is not None:
        yield private / own


def read(sources: Path, name: str) -> Iterator[bytes]:
    """What is kept under a name of something compiled from `sources`, the first place first."""
    for folder in _folders(sources):
        try:
            yield (folder / name).read_bytes()
        except OSError:
            continue


def write(sources: Path, name: str, data: bytes) -> None:
    """Keeps something at the first place that takes it; nowhere where none does."""
    for folder in _folders(sources):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Not by tempfile, whose files nobody else reads: who installs lowbg, as in an image,
            # compiles for whoever runs it.
            file = folder / f"{os.urandom(8).hex()}.tmp"
            with file.open("xb") as opened:
                opened.write(data)
            file.replace(folder / name)
        except OSError:
            continue
        return


def place(sources: Path, name: str) -> Path | None:
    """The folder that it is kept in, or would be; null where there is none."""
    folders = [*_folders(sources)]
    for folder in folders:
        if os.access(folder / name, os.R_OK):
            return folder
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def arrays(
    sources: Path, name: str, key: str, make: Callable[[], Sequence[NDArray[Any]]]
) -> list[NDArray[Any]]:
    """Arrays that `make` computes, once: they are kept, and hold as long as `key` is the same."""
    for data in read(sources, name):
        head, _, rest = data.partition(b"\n")
        try:
            known, digest, shapes = json.loads(head)
        except (ValueError, TypeError):
            continue
        if known == key and digest == hashlib.sha256(rest).hexdigest():
            return [*_split(bytearray(rest), shapes)]
    made = [np.ascontiguousarray(array) for array in make()]
    content = b"".join(array.tobytes() for array in made)
    shapes = [(array.dtype.str, array.shape) for array in made]
    head = json.dumps([key, hashlib.sha256(content).hexdigest(), shapes]).encode()
    write(sources, name, head + b"\n" + content)
    return made


def _split(data: bytearray, shapes: Sequence[tuple[str, Sequence[int]]]) -> Iterator[NDArray[Any]]:
    at = 0
    for kind, shape in shapes:
        array = np.frombuffer(data, kind, int(np.prod(shape, dtype=np.int64)), at)
        at += array.nbytes
        # Each for itself, so that it begins where its type may.
        yield array.reshape(shape).copy()
