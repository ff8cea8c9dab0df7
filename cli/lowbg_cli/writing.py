"""Two that write to one file overwrite each other: what a command writes, and what it reads."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from msgspec import Struct

from lowbg.errors import ConfigError, LowbgError, OutputError, cause
from lowbg.settings import Declared, Written
from lowbg.storage.files import identity, is_special
from lowbg.storage.objects import ObjectStore, is_object_url, object_url
from lowbg.storage.whole_files import address, is_there

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard


def refuse_shared(said: Iterable[tuple[Declared, Any]]) -> None:
    """Raises `ConfigError` where an option's file is another's, an input's, or what stdout is.

    Files are told apart by device and inode, whatever leads to them. A terminal, a device and a
    pipe may be written to by an option beside stdout and stderr; of two options only a device.
    Nor may an option be "-" whose result doesn't go to stdout.
    """
    said = [*said]
    reading = [own for own in said if own[0].setting.written is None]
    taken = {key: name for own, value in reading for key, name in _read(own, value)}
    folders = [folder for own, value in reading for folder in _folders(own, value)]
    written: dict[tuple[int, int] | str, str] = {}
    for own, value in said:
        how = own.setting.written
        if how is not None and str(value) == "-" and not own.setting.stdout:
            kind = "directory" if own.setting.unit == "DIR" else "file"
            raise ConfigError(f"{own.flag} -: this can't go to stdout; name a {kind}")
        if how in (None, Written.FOLDER, Written.STORE) or str(value) == "-":
            continue
        _refuse_standard(own, value)
        key = _identity(value)
        found = taken.get(key) or _within(value, folders)
        if found is not None and how is not Written.UPDATED:
            raise ConfigError(f"{own.flag} {address(value)}: {found} is read; name another file")
        if key in written and not _is_device(value):
            other = written[key]
            raise ConfigError(
                f"{own.flag} {address(value)}: {other} writes to it; name another file"
            )
        written[key] = own.flag
    for key, name in taken.items():
        if _of_file(sys.stdout) == key:
            raise ConfigError(f"{name} is both input and stdout; send stdout elsewhere")


def refuse_reading_stdout(shards: Sequence[Shard]) -> None:
    """`lowbg filter a.jsonl … >> a.jsonl` would read what it writes. Raises `ConfigError`."""
    out = _of_file(sys.stdout)
    for shard in shards:
        if out is not None and identity(shard.path) == out:
            raise ConfigError(f"{shard.path} is both input and stdout; send stdout elsewhere")


def refuse_existing(path: Path, *, overwrite: bool, choices: Sequence[str] = ()) -> None:
    """Raises `ConfigError` where -o names a file that is there, unless `overwrite` it was said.

    Of what other commands are given: a policy, tables, a baseline. Reports are replaced. `choices`
    are what else there is to say.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a directory; -o takes a file")
    try:
        there = is_there(path) if is_object_url(path) else path.exists() and not is_special(path)
    except OSError as error:
        raise ConfigError(f"{address(path)}: cannot be used as -o ({cause(error)})") from error
    if there and not overwrite:
        said = ", ".join([*choices, "--overwrite to replace it"])
        raise ConfigError(f"{address(path)} already exists. Use {said}, or choose another -o.")


class StoredAt(Struct, frozen=True):
    """Where a file comes to lie in an object store, once it is whole."""

    url: str

    def send(self, path: Path) -> None:
        """Makes an object of a local file. Raises `OutputError`."""
        root, _, name = self.url.rpartition("/")
        try:
            ObjectStore(root).upload(name, path)
        except OSError as error:
            raise OutputError(f"{self.url}: cannot be written ({cause(error)})") from error


def _read(own: Declared, value: Any) -> Iterator[tuple[tuple[int, int] | str, str]]:
    """The files that an option or argument names, to be read."""
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if is_object_url(str(each)):
            yield object_url(str(each)), object_url(str(each))
        if str(each) == "-" and (stdin := _of_file(sys.stdin)) is not None:
            yield stdin, "stdin"
        elif isinstance(each, Path) or not own.flag.startswith("-"):
            if Path(each).is_file():
                yield identity(each), str(each)


def _folders(own: Declared, value: Any) -> Iterator[str]:
    """What an option or argument names, to be read, that may stand for several files."""
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(each, Path) or not own.flag.startswith("-") or own.setting.unit == "INPUT":
            if isinstance(each, (str, Path)) and str(each) != "-" and not Path(each).is_file():
                yield address(each)


def _within(path: Path, folders: Sequence[str]) -> str | None:
    """The shard of some inputs that a file or object to be written to is, if there is one."""
    is_url = is_object_url(path)
    folders = [folder for folder in folders if is_object_url(folder) == is_url]
    if not folders or not (is_url or path.is_file()):
        return None
    from lowbg.runs.inputs import discover

    key = _identity(path)
    for folder in folders:
        if is_url and not object_url(path).startswith(f"{_base(folder)}/"):
            continue
        try:
            shards = discover([folder])
        except LowbgError:  # It is no input, or nothing is there: the command will say so.
            continue
        for shard in shards:
            if _identity(Path(shard.path)) == key:
                return shard.path
    return None


def _base(url: str) -> str:
    """What lies above all that a URL, which may be a glob, stands for."""
    plain, *glob = re.split(r"[*?[]", object_url(url), maxsplit=1)
    return plain.rpartition("/")[0] if glob else plain


def _refuse_standard(own: Declared, path: Path) -> None:
    """Raises `ConfigError` where stdout or stderr goes to the file, too."""
    shared = sys.stdout if own.setting.written is Written.BESIDE_STDOUT else None
    for stream, name, sign in ((sys.stdout, "stdout", ">"), (sys.stderr, "stderr", "2>")):
        if _of_file(stream) != identity(path) or stream is shared:
            continue
        if own.setting.written not in (Written.APPENDED, Written.KEPT):
            raise ConfigError(f"{own.flag} {path}: {name} goes there, too; name another file")
        if not _appends(stream):
            raise ConfigError(
                f"{own.flag} {path}: {name} goes there, too, and would overwrite it; "
                f"send it there with {sign}>"
            )


def _identity(path: Path) -> tuple[int, int] | str:
    """What tells a file or an object from any other."""
    return object_url(path) if is_object_url(path) else identity(path)


def _of_file(stream: TextIO | None) -> tuple[int, int] | str | None:
    """What a standard stream is open on, if that is a regular file."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
        return identity(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except (OSError, ValueError):
        return None


def _appends(stream: TextIO) -> bool:
    import fcntl

    return bool(fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_APPEND)


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
