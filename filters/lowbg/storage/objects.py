"""Object stores: `s3://`, `gs://`, `az://` (and `abfs://`), through obstore.

An object appears whole, when its upload is complete, or not at all. Reading asks for ranges, a few
ahead of the reader. What a store or the way there spoils (500, 503, slow answers, connections that
are cut) is tried again, later and later, with jitter: by obstore for the answer's head, here for
what fails in its body. `benchmarks/stores/` has the measurement by which obstore was chosen over
pyarrow's file systems and fsspec.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast

from msgspec import Struct

from lowbg.errors import ConfigError

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logging.getLogger(__name__)

T = TypeVar("T")

SCHEMES: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
"""What URLs of object stores begin with."""

RANGE_BYTES: Final = 8 << 20
"""What one request asks for: 128 requests a GB read, and as many a GB written."""

AHEAD: Final = 2
"""Ranges that are asked for before the reader wants them."""

_NO_BUCKET: Final = "NoSuchBucket"
_KEPT: Final = 1 + AHEAD
"""Ranges of an object in memory at most, beside the one that is being read."""

ATTEMPTS: Final = 5
"""Times that a request is made, beside the retries of obstore within each."""

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 20.0

PATIENCE_S: Final = 3.0
"""How long a request may go wrong before that is said."""

SILENCE_S: Final = 60.0
"""How long nothing more is said of a store then."""

_URL = re.compile(rf"({'|'.join(SCHEMES)}):/+(?=.)", re.IGNORECASE)


class StoreError(OSError):
    """What a store refused, or what didn't get through after all attempts; `strerror` says it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.strerror = why


class ConflictError(StoreError):
    """An object isn't in the state that a conditional put asks for."""


def is_object_url(text: str | os.PathLike[str]) -> bool:
    """Whether it is a URL of an object store, also where `Path` took one of its slashes."""
    return _URL.match(os.fspath(text)) is not None


def object_url(text: str | os.PathLike[str]) -> str:
    """The URL that a text or a `Path` made of it stands for, without slashes at its end."""
    given = os.fspath(text)
    found = _URL.match(given)
    assert found is not None
    return f"{found[1].lower()}://{given[found.end() :]}".rstrip("/")


class Stored(Struct, frozen=True):
    """An object as a listing has it: its size in bytes, its version, and when it was written."""

    size: int
    version: str | None
    modified: dt.datetime


class ObjectStore:
    """The objects below a URL, by their names relative to it.

    Every method raises `StoreError` where the store refuses, or can't be reached after all
    attempts; the first raises `ConfigError` where it can't be set up. It pickles.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._connected: Any = None
        self._said = -SILENCE_S

    def __getstate__(self) -> str:
        return self.url

    def __setstate__(self, url: str) -> None:
        self.__init__(url)  # type: ignore[misc]

    @property
    def _store(self) -> Any:
        if self._connected is None:
            self._connected = _connect(self.url)
        return self._connected

    def list(self, folder: str = "") -> dict[str, Stored]:
        """Every object below `folder`, by name."""
        import obstore

        def listed() -> dict[str, Stored]:
            pages = obstore.list(self._store, folder or None)
            return {
                each["path"]: Stored(each["size"], each["e_tag"], each["last_modified"])
                for page in pages
                for each in page
            }

        return self._retried(folder, listed)

    def head(self, name: str) -> Stored | None:
        """An object as it is now; None where there is none."""
        import obstore

        try:
            found = self._retried(name, lambda: obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        return Stored(found["size"], found["e_tag"], found["last_modified"])

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        import obstore

        try:
            return self._retried(name, lambda: bytes(obstore.get(self._store, name).bytes()))
        except FileNotFoundError:
            return None

    def read_version(self, name: str) -> tuple[bytes, str | None] | None:
        """An object's bytes and which version of it they are; None where there is none."""
        import obstore

        def fetched() -> tuple[bytes, str | None]:
            found = obstore.get(self._store, name)
            return bytes(found.bytes()), found.meta["e_tag"]

        try:
            return self._retried(name, fetched)
        except FileNotFoundError:
            return None

    def read_range(self, name: str, start: int, stop: int, version: str | None) -> bytes:
        """The bytes from `start` to before `stop` of an object, if it still is this version."""
        import obstore

        options: dict[str, Any] = {"range": (start, stop)}
        if version is not None:
            options["if_match"] = version

        def fetched() -> bytes:
            data = bytes(obstore.get(self._store, name, options=cast(Any, options)).bytes())
            if len(data) != stop - start:
                raise StoreError(f"{len(data):,} bytes came of {stop - start:,}")
            return data

        try:
            return self._retried(name, fetched)
        except ConflictError:
            raise StoreError("it was changed while it was read") from None

    def put(self, name: str, data: bytes, *, instead_of: str | None = None) -> str:
        """Puts an object in the place of any other; its version."""
        return self._put(name, data, "overwrite" if instead_of is None else {"e_tag": instead_of})

    def create(self, name: str, data: bytes) -> str:
        """Puts an object where there is none; its version. Raises `ConflictError` elsewhere."""
        return self._put(name, data, "create")

    def _put(self, name: str, data: bytes, mode: Any) -> str:
        import obstore

        put = self._retried(
            name, lambda: obstore.put(self._store, name, data, mode=mode, use_multipart=False)
        )
        return str(put["e_tag"])

    def upload(self, name: str, path: Path) -> None:
        """Makes an object of a local file; in parts where it is large, which show when complete."""
        import obstore

        def sent() -> None:
            try:
                obstore.put(
                    self._store, name, path, chunk_size=RANGE_BYTES, max_concurrency=1 + AHEAD
                )
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise
                # That it is whole was answered to nobody; asked again there is no such upload.
                raise StoreError("an upload in parts got lost") from error

        self._retried(name, sent)

    def copy(self, url: str, name: str) -> bool:
        """Makes an object of another one in the same bucket, within the store; false where the
        other is elsewhere, or the store doesn't: it may be too large for that."""
        import obstore

        bucket = _bucket(self.url)
        if _bucket(url) != bucket:
            return False
        whole = ObjectStore(bucket)
        source, target = (each.removeprefix(f"{bucket}/") for each in (url, f"{self.url}/{name}"))
        try:
            self._retried(name, lambda: obstore.copy(whole._store, source, target))
        except StoreError:
            return False
        return True

    def download(self, name: str, path: Path) -> None:
        """Makes a local file of an object. Raises `FileNotFoundError` where there is none."""
        with self.open(name) as source, path.open("wb") as file:
            while data := source.read(RANGE_BYTES):
                file.write(data)

    def open(self, name: str) -> BinaryIO:
        """An object for reading, at any place. Raises `FileNotFoundError` where there is none."""
        found = self.head(name)
        if found is None:
            raise FileNotFoundError(f"{self.url}/{name}")
        return cast(BinaryIO, RangedFile(self, name, found))

    def delete(self, names: Iterable[str]) -> None:
        """Removes objects; those that aren't there are no error."""
        import obstore

        listed = list(names)
        if not listed:
            return
        try:
            self._retried(listed[0], lambda: obstore.delete(self._store, listed))
        except FileNotFoundError:  # Azure's, of one of them: others may be left.
            for name in listed:
                with suppress(FileNotFoundError):
                    self._retried(name, lambda name=name: obstore.delete(self._store, name))  # type: ignore[misc]

    def _retried(self, name: str, call: Callable[[], T]) -> T:
        """What `call` returns; what may pass is tried again."""
        from obstore import exceptions

        lasting = (
            exceptions.PermissionDeniedError,
            exceptions.UnauthenticatedError,
            exceptions.InvalidPathError,
            exceptions.NotSupportedError,
        )
        wait, began = FIRST_WAIT_S, time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise StoreError(in_words(error)) from error
                raise
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
                raise ConflictError(in_words(error)) from error
            except lasting as error:
                raise StoreError(in_words(error)) from error
            except Exception as error:
                # Of what is cut in the middle of a body, the kind differs from store to store.
                if attempt == ATTEMPTS or _is_refusal(error):
                    raise StoreError(in_words(error)) from error
                self._say(error, began)
                time.sleep(random.uniform(wait / 2, wait))
                wait = min(2 * wait, LONGEST_WAIT_S)
        raise AssertionError

    def _say(self, error: Exception, began: float) -> None:
        """Where what was asked for keeps somebody waiting."""
        now = time.monotonic()
        if now - began >= PATIENCE_S and now - self._said >= SILENCE_S:
            self._said = now
            _log.warning("%s: %s; trying again", self.url, in_words(error))


class RangedFile(io.RawIOBase):
    """An object as a file for reading: ranges of `RANGE_BYTES`, read ahead when read in order.

    `read` returns as many bytes as are asked for, fewer only at the end.
    """

    def __init__(self, store: ObjectStore, name: str, stored: Stored) -> None:
        from concurrent.futures import ThreadPoolExecutor

        super().__init__()
        self._store, self._name, self._stored = store, name, stored
        self._at = 0
        self._last = -1
        self._ranges: dict[int, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(1 + AHEAD, "lowbg-ranges")

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes there, which costs nothing; the place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._stored.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, but at the end of the object; how many bytes that were."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._stored.size - self._at))
        done = 0
        while done < wanted:
            number, start = divmod(self._at, RANGE_BYTES)
            data = self._range(number)
            part = data[start : start + wanted - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._at += len(part)
        return done

    def close(self) -> None:
        """Lets go of what is under way; safe to call twice."""
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._ranges.clear()
        super().close()

    def _range(self, number: int) -> bytes:
        first = number not in self._ranges
        in_order = number in (self._last, self._last + 1)
        if first:
            self._ask(number)
        if in_order:
            for ahead in range(number + 1, number + 1 + AHEAD):
                if ahead not in self._ranges and ahead * RANGE_BYTES < self._stored.size:
                    self._ask(ahead)
        self._last = number
        for old in [n for n in self._ranges if not number <= n <= number + AHEAD]:
            if len(self._ranges) > _KEPT:
                self._ranges.pop(old).cancel()
        return self._ranges[number].result()

    def _ask(self, number: int) -> None:
        start = number * RANGE_BYTES
        stop = min(start + RANGE_BYTES, self._stored.size)
        self._ranges[number] = self._pool.submit(
            self._store.read_range, self._name, start, stop, self._stored.version
        )


def open_object(url: str) -> BinaryIO:
    """The object at a URL, for reading. Raises `OSError` where it can't be had."""
    root, _, name = url.rpartition("/")
    return ObjectStore(root).open(name)


def file_system(url: str) -> tuple[Any, str]:
    """What lists a URL's store in fsspec's way, and the URL's path there."""
    fsspec = _import("obstore.fsspec")
    scheme, _, path = url.partition("://")
    settings = _settings(scheme)
    return fsspec.FsspecStore(_spoken(scheme), skip_instance_cache=True, **settings), path


def _bucket(url: str) -> str:
    """The URL of the bucket, or container, that holds what is at a URL."""
    scheme, _, path = url.partition("://")
    return f"{scheme}://{path.partition('/')[0]}"


def _spoken(scheme: str) -> str:
    return {"s3a": "s3", "az": "abfs", "abfss": "abfs"}.get(scheme.lower(), scheme.lower())


def _connect(url: str) -> Any:
    stores = _import("obstore.store")
    scheme = url.partition("://")[0].lower()
    if scheme == "s3a":
        url = f"s3{url[3:]}"
    settings = _settings(scheme)
    try:
        return stores.from_url(url, **settings)
    except Exception as error:  # Every store has errors of its own for what it lacks.
        raise ConfigError(f"{url}: {in_words(error)}") from error


def _settings(scheme: str) -> dict[str, Any]:
    from lowbg.storage.store_settings import settings

    return settings(scheme)


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"object stores need obstore ({error}): pip install obstore") from error


_STATUS = re.compile(r"status code: (\d{3})")


def _is_refusal(error: BaseException) -> bool:
    """Whether the server understood, and said no."""
    status = _STATUS.search(str(error))
    return status is not None and status[1] in ("400", "401", "403", "404", "405", "411", "501")


_UNREACHED = re.compile(r"(?P<server>https?://[^/\s]+)\S* in .* - HTTP error: (?P<why>[^:]+)")

_ROLES = re.compile(r"//169\.254\.169\.254/|//metadata(\.google\.internal)?/|/latest/api/token")
"""Where a machine's role is asked for, which is done when no other credentials were found."""


def in_words(error: BaseException) -> str:
    """The first line of what obstore says, in plain words where it is a frequent case."""
    said = str(error)
    if _NO_BUCKET in said:
        return "there is no such bucket"
    lines = said.splitlines() or [type(error).__name__]
    first = lines[0].partition(": <")[0][:300]
    if _ROLES.search(first):
        return f"no credentials were found, and no role of this machine gives any: {first}"
    if unreached := _UNREACHED.search(first):
        return f"{unreached['server']} can't be reached ({unreached['why']})"
    return first
