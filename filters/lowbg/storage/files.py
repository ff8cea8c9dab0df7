"""Files that appear under their name only when they are whole, and how far an unfinished one is."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType
from zlib_ng import zlib_ng

from lowbg.errors import ConfigError, OutputError
from lowbg.storage.typed import Closed, Count

if TYPE_CHECKING:
    from concurrent.futures import Executor

_READ_BYTES = 1 << 20


class WrittenFile(Closed, frozen=True):
    """A finished output file: its path relative to the output directory, and what it holds.

    `bytes` is the size on disk; `sha256` is the hex digest of the bytes on disk. Of a log, which
    nobody but its run reads, there is their Adler-32 (eight hex digits) instead, and `sha256` is
    empty.
    """

    path: str
    records: Count
    bytes: Count
    sha256: str
    adler32: str | UnsetType = UNSET


class PartState(Closed, frozen=True):
    """How far an unfinished output is, as a checkpoint notes it.

    `stored` bytes of its part file, with this `digest` (`AtomicFile.digest`), are safe; there are
    `records` records. For lines: `content` bytes were written, `frame_content` of them in
    `frame_stored` bytes of ended frames; the file `tail` holds the latest of them; `open_line`
    where the last line lacks its end. For rows: `rows` bytes of its log are safe. Of a quarantine:
    `kept` bytes of records are in it, and `digests` of others.
    """

    records: int
    stored: int = 0
    digest: str = ""
    content: int = 0
    frame_content: int = 0
    frame_stored: int = 0
    open_line: bool = False
    tail: str = ""
    rows: int = 0
    kept: int = 0
    digests: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Where an output is kept until it is whole: `folder`/`name`, and how far it was, if at all."""

    folder: Path
    name: str
    state: PartState | None = None

    @property
    def path(self) -> Path:
        """The part file."""
        return self.folder / self.name

    def beside(self, what: str) -> Path:
        """A file that belongs to the part file."""
        return self.folder / f"{self.name}.{what}"


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=.)")


def refuse_url(path: str | os.PathLike[str], *, read: bool = False) -> None:
    """Raises `ConfigError` where what is meant as a local path is a URL; `read`: to be read.

    `Path` makes s3:/bucket of s3://bucket, and a folder of that name would be made here.
    """
    if found := _URL.match(os.fspath(path)):
        given = os.fspath(path)
        url = given if "://" in given else f"{found[1]}://{given[found.end() :]}"
        if read:
            raise ConfigError(f"{url} is a URL. Copy it to a local path, and name that.")
        raise ConfigError(
            f"{url} is a URL, and this is written to local paths alone. Copy it from one."
        )


class Pending(Struct):
    """What is written, and durable only after `sync_together`: files, and then their names.

    `files` are open, each with what messages call it; `renames` wait until these are safe;
    `folders` are synced last.
    """

    files: list[tuple[IO[Any], Path]] = msgspec.field(default_factory=list)
    renames: list[tuple[Path, Path]] = msgspec.field(default_factory=list)
    folders: set[Path] = msgspec.field(default_factory=set)

    def abandon(self) -> None:
        """Closes the files, safe or not."""
        for file, _ in self.files:
            with suppress(OSError):
                file.close()


_PENDING: ContextVar[Pending | None] = ContextVar("pending", default=None)


@contextmanager
def deferring(pending: Pending | None) -> Iterator[None]:
    """Within, what is ended or named in this thread waits in `pending`; null: nothing does."""
    token = _PENDING.set(pending)
    try:
        yield
    finally:
        _PENDING.reset(token)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an `OSError` within into an `OutputError` that names `path`; a broken pipe passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{os.fspath(path)}: cannot be written ({why})") from error


@contextmanager
def unsynced() -> Iterator[None]:
    """Within, what is ended or named in this thread isn't waited for: it is safe from the end of
    this process, not from that of the machine."""
    pending = Pending()
    try:
        with deferring(pending):
            yield
    finally:
        pending.abandon()
    for temporary, path in pending.renames:
        with naming(path):
            temporary.replace(path)


def make_folder(path: Path) -> None:
    """Makes a directory, and those above it, where there is none.

    Most often there is: to look takes less than the error of making it again.
    """
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)


def end_file(file: IO[Any], path: Path) -> None:
    """Makes a file's bytes durable and closes it; messages call it `path`."""
    pending = _PENDING.get()
    if pending is not None:
        pending.files.append((file, path))
    else:
        _end_now(file, path)


def _end_now(file: IO[Any], path: Path) -> None:
    with naming(path), file:
        os.fsync(file.fileno())


class Adler32:
    """The checksum of a file that is written and read within a run, in a thirtieth of the time that
    SHA-256 takes."""

    def __init__(self) -> None:
        self._value = 1

    @classmethod
    def of(cls, path: Path) -> Adler32:
        """That of a file."""
        found = cls()
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                found.update(data)
        return found

    def update(self, data: bytes | memoryview | mmap.mmap) -> None:
        """Adds the next bytes."""
        self._value = zlib_ng.adler32(data, self._value)

    def hexdigest(self) -> str:
        """Eight digits."""
        return f"{self._value:08x}"


class AtomicFile:
    """A file that appears under its name only when it is whole, and knows its digest.

    Bytes go to `.NAME.PID.tmp` beside it; `commit` syncs and renames. Its directory is made if it
    is missing. With `part` they go there instead, and `abort` leaves them, for a later run to
    append to the first `kept` of them. A link is followed; a pipe or device is written to as it is;
    a file that is replaced leaves its permissions to this one. `is_log`: its digest is an Adler-32.
    Every method raises `OutputError` where the system refuses; a URL is a `ConfigError`.
    """

    def __init__(
        self, path: Path, part: Path | None = None, kept: int = 0, *, is_log: bool = False
    ) -> None:
        refuse_url(path)
        self.path = path
        self.bytes = 0
        self._digest = Adler32() if is_log else hashlib.sha256()
        self._stays = part is not None
        self._special = part is None and is_special(path)
        self._target = Path(os.path.realpath(path)) if path.is_symlink() else path
        self._temporary = part or self._target.with_name(_temporary_name(self._target.name))
        if self._special:
            self._temporary = path
        self._committed = self._special
        self._sealed = False
        with naming(path):
            make_folder(path.parent)
            make_folder(self._temporary.parent)
            self._file = self._temporary.open("r+b" if kept else "wb", buffering=0)
        if part is None and not self._special:
            _take_permissions(self._target, self._file)
        if kept:
            self._keep(kept)

    def _keep(self, size: int) -> None:
        with naming(self._temporary):
            self._file.truncate(size)
            while data := self._file.read(_READ_BYTES):
                self._digest.update(data)
                self.bytes += len(data)

    @property
    def digest(self) -> str:
        """The hex digest of the bytes written so far: SHA-256, of a log its Adler-32."""
        return self._digest.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Appends `data`; returns its size in bytes."""
        view = memoryview(data).cast("B")
        self._digest.update(view)
        with naming(self.path):
            rest = view
            while rest:  # A raw file may take less than it is given.
                rest = rest[self._file.write(rest) :]
        self.bytes += len(view)
        return len(view)

    def append_file(self, path: Path) -> int:
        """Appends all of another file, copied by the system; returns its size in bytes."""
        with naming(path), path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                self._digest.update(whole)
            with naming(self.path):
                done = 0
                while done < size and (n := _copied(file, self._file, size - done)):
                    done += n
        self.bytes += done
        return done

    def sync(self) -> None:
        """Makes what was written durable, where it lies in a file."""
        if self._special:
            return
        with naming(self.path):
            os.fsync(self._file.fileno())

    def seal(self) -> None:
        """Syncs and closes the file, which still lacks its name; safe to call twice."""
        if self._sealed or self._file.closed:
            return
        self._sealed = True
        if self._special:
            with naming(self.path):
                self._file.close()
        else:
            end_file(self._file, self.path)

    def publish(self) -> None:
        """Renames the sealed file to its name and syncs the directory."""
        if self._special:
            return
        with naming(self.path):
            self._temporary.replace(self._target)
            self._committed = True
            sync_directory(self._target.parent)

    def commit(self) -> None:
        """Syncs the file, renames it to its name and syncs the directory."""
        self.seal()
        self.publish()

    def abort(self) -> None:
        """Removes the temporary file; safe after `commit`, safe to call twice."""
        with suppress(OSError):
            self._file.close()
        if not self._committed and not self._stays:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def written(self, root: Path, records: int) -> WrittenFile:
        """What was written, with its path relative to `root`."""
        relative = self.path.relative_to(root).as_posix()
        if isinstance(self._digest, Adler32):
            return WrittenFile(relative, records, self.bytes, "", self.digest)
        return WrittenFile(relative, records, self.bytes, self.digest)


def _copied(source: IO[Any], target: IO[Any], size: int) -> int:
    """Copies at most `size` of the next bytes; returns how many."""
    try:
        return os.copy_file_range(source.fileno(), target.fileno(), size)
    except OSError as error:  # Not between these file systems.
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    except AttributeError:  # Not on this system.
        pass
    data = source.read(min(size, _READ_BYTES))
    rest = memoryview(data)
    while rest:
        rest = rest[target.write(rest) :]
    return len(data)


def identity(file: str | os.PathLike[str] | int) -> tuple[int, int] | str:
    """What tells a file, or an open descriptor, from any other: its device and inode.

    Links, hard links and `/dev/fd/N` lead to the same one. A file that is not there yet has its
    real path.
    """
    try:
        info = os.fstat(file) if isinstance(file, int) else Path(file).stat()
    except OSError:
        return os.path.realpath(file) if not isinstance(file, int) else ""
    return info.st_dev, info.st_ino


def is_special(path: Path) -> bool:
    """Whether there is something at `path` that is neither a regular file nor a directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/\d+")


def is_descriptor(path: str | os.PathLike[str]) -> bool:
    """Whether a path stands for an open descriptor, as a shell's <(…) and >(…) do."""
    return _DESCRIPTOR.fullmatch(os.fspath(path)) is not None


def _take_permissions(path: Path, file: IO[Any]) -> None:
    """Gives an open file the owner and permissions of the one at `path`, if any, where it may.

    A group that it may not have gets none: what it was allowed, another group isn't.
    """
    new = file.fileno()
    try:
        old = path.stat()
    except OSError:
        return
    for user, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with suppress(OSError):
            os.fchown(new, user, group)
    kept = 0o777 if os.fstat(new).st_gid == old.st_gid else 0o707
    with suppress(OSError):
        os.fchmod(new, old.st_mode & kept)


def _temporary_name(name: str) -> str:
    suffix = f".{os.getpid()}.tmp"
    # A file name has at most 255 bytes; the temporary one is longer than the final one.
    room = 255 - 1 - len(suffix)
    short = os.fsdecode(os.fsencode(name)[:room]) if len(os.fsencode(name)) > room else name
    return f".{short}{suffix}"


def own_folder() -> Path:
    """A folder below the system's one of temporary files that is made for this user alone.

    Raises `ConfigError` where it is another's.
    """
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lowbg-{user}"
    with naming(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != user:
            raise ConfigError(
                f"{folder}: belongs to somebody else; name a folder of your own with `scratch`"
            )
    return folder


def size_of_file(path: Path) -> int | None:
    """The size of a file in bytes; null where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def is_as_noted(path: Path, written: WrittenFile) -> bool:
    """Whether a file, or log, is what was written, byte for byte."""
    if size_of_file(path) != written.bytes:
        return False
    if written.adler32 is UNSET:
        return file_digest(path) == written.sha256
    return Adler32.of(path).hexdigest() == written.adler32


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Puts `data` durably in the place of the file `path`, at once or not at all."""
    temporary = path.with_name(f"{path.name}.new")
    with naming(path):
        file = temporary.open("wb")
        try:
            file.write(data)
            file.flush()
        except BaseException:
            file.close()
            raise
        end_file(file, path)
        pending = _PENDING.get()
        if pending is not None:
            pending.renames.append((temporary, path))
        else:
            temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes a rename in `path` durable; a file system that cannot (FUSE, SMB) is let off."""
    pending = _PENDING.get()
    if pending is not None:
        pending.folders.add(path)
    else:
        _sync_folder(path)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


SYNCS_AT_ONCE: Final = 4
"""A file system answers those that come at the same time with one write of its journal; more
threads take longer to pass the interpreter on than they save."""


def sync_together(parts: Sequence[Pending], pool: Executor) -> list[OutputError | None]:
    """Makes all of it durable, and empties it; by part, what the system refused."""
    faults: list[OutputError | None] = [None] * len(parts)
    shares = [parts[k::SYNCS_AT_ONCE] for k in range(SYNCS_AT_ONCE)]
    for k, found in enumerate(pool.map(_synced, shares)):
        faults[k::SYNCS_AT_ONCE] = found
    for i, part in enumerate(parts):
        for temporary, path in part.renames if faults[i] is None else ():
            try:
                with naming(path):
                    temporary.replace(path)
            except OutputError as fault:
                faults[i] = faults[i] or fault
    list(pool.map(_sync_folder, {folder for part in parts for folder in part.folders}))
    for part in parts:
        part.files, part.renames, part.folders = [], [], set()
    return faults


def _synced(parts: Sequence[Pending]) -> list[OutputError | None]:
    """Syncs and closes the files of each; what the system refused."""
    faults: list[OutputError | None] = [None] * len(parts)
    for i, part in enumerate(parts):
        for file, path in part.files:
            try:
                _end_now(file, path)
            except OutputError as fault:
                faults[i] = faults[i] or fault
    return faults
