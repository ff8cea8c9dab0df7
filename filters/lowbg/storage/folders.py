"""A folder of whole files that grows: on a local disk, or in an object store."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from lowbg.errors import ConfigError, OutputError, cause
from lowbg.storage.files import naming, sync_directory
from lowbg.storage.locks import run_lock
from lowbg.storage.objects import ObjectStore, StoreError, is_object_url
from lowbg.storage.store_locks import store_lock
from lowbg.storage.whole_files import address, local_copy, write_whole

UNFINISHED: Final = "unfinished"
"""What the names of files begin with that are in the making."""


class Folder(ABC):
    """Files by their names relative to `path`, while nobody else writes there.

    What is in the making lies in `work`, a local directory. Every method raises `OutputError` where
    the system, or the store, refuses.
    """

    def __init__(self, path: Path, work: Path) -> None:
        self.path = path
        self.work = work

    @abstractmethod
    def names(self) -> list[str]:
        """Every file, but for lowbg's own in `.lowbg/`."""

    @abstractmethod
    def local(self, name: str) -> Path:
        """A local file with a file's bytes. Raises `OSError` where it can't be had."""

    @abstractmethod
    def adopt(self, file: Path, name: str) -> None:
        """Gives a whole file in `work` this name; it is safe then."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Writes a small file, whole and safe."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Removes files; those that aren't there are no error."""


@contextmanager
def held_folder(path: Path) -> Iterator[Folder]:
    """The folder at a path or URL, made where there is none, for this process alone.

    Raises `LockedError` where another holds it, and `ConfigError` where it can't be used.
    """
    if not is_object_url(path):
        with run_lock(path):
            yield _OnDisk(path, path / ".lowbg")
        return
    store = ObjectStore(address(path))
    with tempfile.TemporaryDirectory(prefix="lowbg-") as work, ExitStack() as locked:
        try:
            still_held = locked.enter_context(store_lock(store))
        except StoreError as error:
            raise ConfigError(f"{store.url}: cannot be used ({error.strerror})") from error
        yield _InStore(path, Path(work), store, still_held)


class _OnDisk(Folder):
    def names(self) -> list[str]:
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return [name.as_posix() for name in found if name.parts[0] != ".lowbg"]

    def local(self, name: str) -> Path:
        return self.path / name

    def adopt(self, file: Path, name: str) -> None:
        path = self.path / name
        with naming(path):
            path.parent.mkdir(exist_ok=True)
            file.replace(path)
            sync_directory(path.parent)

    def put(self, name: str, data: bytes) -> None:
        write_whole(self.path / name, data)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            with naming(self.path / name):
                (self.path / name).unlink(missing_ok=True)


class _InStore(Folder):
    def __init__(
        self, path: Path, work: Path, store: ObjectStore, still_held: Callable[[], bool]
    ) -> None:
        super().__init__(path, work)
        self._store = store
        self._still_held = still_held

    def names(self) -> list[str]:
        with self._telling(""):
            return [name for name in self._store.list() if not name.startswith(".lowbg/")]

    def local(self, name: str) -> Path:
        return local_copy(self.path / name)

    def adopt(self, file: Path, name: str) -> None:
        self._check()
        with self._telling(name):
            self._store.upload(name, file)
        file.unlink()

    def put(self, name: str, data: bytes) -> None:
        self._check()
        write_whole(self.path / name, data)

    def remove(self, names: Iterable[str]) -> None:
        self._check()
        with self._telling(""):
            self._store.delete(names)

    def _check(self) -> None:
        if not self._still_held():
            raise OutputError(
                f"{self._store.url}: another run took the lock, since this one couldn't renew it; "
                "nothing more was written"
            )

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            where = f"{self._store.url}/{name}".rstrip("/")
            raise OutputError(f"{where}: cannot be written ({cause(error)})") from error
