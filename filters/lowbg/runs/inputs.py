"""Inputs as the user names them → the shards to read: files, directories, globs, URLs, stdin."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import Struct

from lowbg.amounts import counted
from lowbg.errors import ConfigError
from lowbg.formats import described_endings, has_known_ending
from lowbg.runs import left_out
from lowbg.runs.shards import (
    MAGIC,
    NO_DATA,
    RUN_FOLDER,
    STDIN,
    STDIN_NAME,
    Found,
    InputState,
    Shard,
    in_order,
    safe_name,
)
from lowbg.runs.urls import expand_url
from lowbg.storage.files import is_descriptor
from lowbg.storage.left_out import LeftOut, all_there, broken_link

# What inputs are expanded to is imported from here as well.
__all__ = [
    "RUN_FOLDER",
    "STDIN",
    "STDIN_NAME",
    "Discovery",
    "InputState",
    "Listed",
    "Shard",
    "discover",
    "safe_name",
    "survey",
]


class Discovery(Struct, frozen=True):
    """The shards to read, in order, and what lay among them and is not read."""

    shards: tuple[Shard, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def whole(self) -> bool:
        """Whether everything that was found is there."""
        return all_there(self.left_out)


class Listed(Struct, frozen=True):
    """An input that is known file by file: addresses, the names they go by among shards, sizes.

    `label` is put in front of the names where they collide with another input's.
    """

    label: str
    files: tuple[tuple[str, str, int], ...]


def discover(inputs: Sequence[str], *, output: Path | None = None) -> list[Shard]:
    """The shards that `inputs` stand for, as `survey` finds them."""
    return list(survey(inputs, output=output).shards)


def survey(
    inputs: Sequence[str | Listed],
    *,
    output: Path | None = None,
    may_be_empty: bool = False,
    exclude: Sequence[str] = (),
) -> Discovery:
    """The shards that `inputs` stand for, in the order of the inputs and sorted within each.

    An input is a file, a directory (walked, hidden files left out, files with a format's ending
    taken), a glob (`**` too), "-" or an fsspec URL; a path that exists is never a glob. Of an
    output directory of lowbg, reports and quarantine are left out; so is what describes a data set,
    and what a job left of its own (see `left_out.is_metadata`). What `exclude` names is left out: a
    glob without a slash stands for any part of a shard's name, one with a slash for its beginning.
    A file that is named twice is one shard, and so is one with a second link to it. Where names of
    different inputs collide, those inputs'
    names get the input directory's name in front. What a shell's <(…) stands for is named by its
    place among such inputs: pipe-1, pipe-2.

    Raises `ConfigError` when an input is missing, has no name or cannot be listed, without shards,
    when names still collide, and when an input is the output directory or lies inside it. An
    output directory inside an input is left out, and said to be. With `may_be_empty`
    a directory without shards, and a glob in a directory that there is, stand for nothing.
    """
    if "" in inputs:
        raise ConfigError("an input without a name; . is the current directory")
    root = None if output is None else _real(output)
    found = [_expand(given, root, may_be_empty=may_be_empty) for given in inputs]
    for each in found:
        _exclude(each, exclude)
    for shard in (shard for each in found for shard in each.shards):
        _check_shard_outside(shard, root)
    _drop_repeated(found)
    _name_descriptors(found)
    _disambiguate(found)
    shards = tuple(shard for each in found for shard in each.shards)
    others = tuple({each.path: each for one in found for each in one.left_out}.values())
    if not shards and not may_be_empty:
        told = (
            f" ({counted(len(others), 'other file')}, such as {others[0].text})" if others else ""
        )
        named = ", ".join(i if isinstance(i, str) else i.label for i in inputs) or "no inputs"
        raise ConfigError(
            f"no shards in {named}{told}; a directory is searched for {described_endings()}"
        )
    return Discovery(shards, others)


def _exclude(found: Found, patterns: Sequence[str]) -> None:
    """Takes out what the patterns name."""
    if not patterns:
        return
    out = [shard for shard in found.shards if left_out.fits(shard.name, patterns)]
    found.shards = [shard for shard in found.shards if shard not in out]
    found.left_out = [
        left_out.excluded(each.path)
        if left_out.fits(each.path.removeprefix(found.root).strip("/"), patterns)
        else each
        for each in found.left_out
    ]
    found.left_out += [left_out.excluded(shard.path) for shard in out]


def _expand(given: str | Listed, output: Path | None, *, may_be_empty: bool) -> Found:
    if isinstance(given, Listed):
        return Found(
            given.label, [Shard(a, safe_name(name), size) for a, name, size in given.files]
        )
    if given == STDIN:
        return Found(STDIN_NAME, [Shard(STDIN, STDIN_NAME, 0)])
    if "://" in given:
        return expand_url(given)
    path = Path(given)
    try:
        exists = path.exists() or path.is_symlink()
    except (OSError, ValueError) as error:  # Too long a name, a NUL in it, a loop of links.
        raise ConfigError(f"{given!r}: not a usable path ({error})") from error
    if exists:
        return _expand_path(path, output)
    if MAGIC & set(given):
        return _expand_glob(given, output, may_be_empty=may_be_empty)
    raise ConfigError(f"{given}: no such file or directory")


def _check_outside(path: Path, output: Path | None) -> None:
    if output is None:
        return
    resolved = _real(path)
    if resolved == output:
        raise ConfigError(f"{path}: is both input and output; name another output directory")
    if output in resolved.parents:
        raise ConfigError(
            f"{path}: lies inside the output directory {output}; name another output directory"
        )


def _check_shard_outside(shard: Shard, output: Path | None) -> None:
    """The same for what was found: a link or a `file://` URL may lead into the output."""
    scheme, separator, rest = shard.path.partition("://")
    if shard.path == STDIN or (separator and scheme not in ("file", "local")):
        return
    _check_outside(Path(rest if separator else shard.path), output)


def _expand_path(path: Path, output: Path | None) -> Found:
    _check_outside(path, output)
    size = _size(path)
    if not path.is_dir():
        return Found(path.absolute().parent.name, [_shard(path, path.name, size)])
    found = Found(_real(path).name, root=str(path))
    for file in _walk(path, output, found):
        found.shards.append(_shard(file, file.relative_to(path).as_posix(), _size(file)))
    found.shards.sort(key=in_order)
    return found


def _expand_glob(given: str, output: Path | None, *, may_be_empty: bool) -> Found:
    base = _literal_base(given)
    found = Found(_real(base).name, root=str(base))
    files: list[Path] = []
    for match in sorted(glob.glob(given, recursive=True)):  # noqa: PTH207 (keeps the spelling)
        path = Path(match)
        _check_outside(path, output)
        if path.is_dir():
            files.extend(_walk(path, output, found))
        elif path.exists():
            files.append(path)
        else:
            found.left_out.append(left_out.looked_at(path))
    files = list(dict.fromkeys(files))
    if not files and not found.left_out:
        if may_be_empty and base.is_dir():
            return found
        raise ConfigError(f"{given}: nothing matches")
    # `data/*` also matches a README; `data/part-*` may well match files without any ending.
    files = _without_metadata(files, found)
    known = {file for file in files if has_known_ending(file.name)}
    names = {file.name for file in files}
    taken = [file for file in files if file in known] if known else files
    found.left_out += (left_out.looked_at(f, names) for f in files if known and f not in known)
    for file in taken:
        found.shards.append(_shard(file, os.path.relpath(file, base), _size(file)))
    found.shards.sort(key=in_order)
    return found


def _without_metadata(files: Sequence[Path], found: Found) -> list[Path]:
    """A glob's files but for metadata, unless that is all that it matches."""
    by_folder: dict[Path, set[str]] = {}
    for file in files:
        by_folder.setdefault(file.parent, set()).add(file.name)
    data = [file for file in files if not left_out.is_metadata(file.name, by_folder[file.parent])]
    if not data:
        return list(files)
    found.left_out += (left_out.metadata(str(file)) for file in files if file not in set(data))
    return data


def _literal_base(pattern: str) -> Path:
    """The directory part of a glob in front of its first wildcard."""
    base = Path()
    for part in Path(pattern).parts[:-1]:
        if MAGIC & set(part):
            break
        base /= part
    return base


def _walk(root: Path, output: Path | None, found: Found) -> Iterator[Path]:
    """Every shard below `root` that is not hidden; each directory is entered once.

    What else there is goes into what `found` says was left out.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    start = root.stat()
    seen = {(start.st_dev, start.st_ino): str(root)}
    # os.walk follows links for ever; the directories' identities end a loop.
    for directory, names, files in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(directory)
        kept = []
        no_data = NO_DATA if RUN_FOLDER in names else ()
        for name in sorted(names):
            child = here / name
            info = child.stat()
            identity = (info.st_dev, info.st_ino)
            if name.startswith("."):
                continue
            shown = f"{child}{os.sep}"
            if identity in seen:
                found.left_out.append(left_out.same_file(shown, seen[identity]))
                continue
            if name in no_data or (output is not None and _real(child) == output):
                found.left_out.append(left_out.written(shown))
                continue
            if left_out.is_metadata(name, names):
                found.left_out.append(left_out.metadata(shown))
                continue
            seen[identity] = shown
            kept.append(name)
        names[:] = kept
        for name in sorted(files):
            file = here / name
            if name.startswith("."):
                continue
            if left_out.is_metadata(name, files):
                found.left_out.append(left_out.metadata(str(file)))
            elif name in no_data:
                found.left_out.append(left_out.written(str(file)))
            elif has_known_ending(name) and file.is_file():
                yield file
            else:  # A pipe would block, a broken link would fail.
                found.left_out.append(left_out.looked_at(file, files))


def _real(path: Path) -> Path:
    # Path.resolve raises a bare RuntimeError on a loop of links.
    return Path(os.path.realpath(path))


def _size(path: Path) -> int:
    """The size of a regular file, 0 for a pipe or a directory."""
    try:
        info = path.stat()
    except OSError as error:
        why = broken_link(path) or f"cannot be read ({error.strerror})"
        raise ConfigError(f"{path}: {why}") from error
    return info.st_size if stat.S_ISREG(info.st_mode) else 0


def _shard(path: Path, name: str, size: int) -> Shard:
    return Shard(str(path), safe_name(name), size)


def _drop_repeated(found: Iterable[Found]) -> None:
    """Leaves each file where it was named first: two spellings or links are the same file.

    A second link, unlike the same path spelled otherwise, is said to be left out.
    """
    first: dict[str | tuple[int, int], str] = {}
    for each in found:
        kept = []
        for shard in each.shards:
            identity = _identity(shard.path)
            before = first.get(identity)
            if before is None:
                first[identity] = shard.path
                kept.append(shard)
            elif Path(os.path.abspath(before)) != Path(os.path.abspath(shard.path)):  # noqa: PTH100
                each.left_out.append(left_out.same_file(shard.path, before))
        each.shards = kept


def _identity(path: str) -> str | tuple[int, int]:
    """What the names of one file have in common."""
    if "://" in path or path == STDIN:
        return path
    try:
        info = Path(path).stat()
    except OSError:
        return str(_real(Path(path)))
    # Some network file systems number nothing.
    return (info.st_dev, info.st_ino) if info.st_ino else str(_real(Path(path)))


def _name_descriptors(found: Iterable[Found]) -> None:
    """Numbers what a shell's <(…) stands for by its place: the descriptor's number says nothing."""
    count = 0
    for each in found:
        for i, shard in enumerate(each.shards):
            if is_descriptor(shard.path):
                count += 1
                each.shards[i] = replace(shard, name=f"pipe-{count}")


def _disambiguate(found: Sequence[Found]) -> None:
    """Puts the directory's name in front where inputs would write to the same name."""
    repeated = _repeated(found)
    for each in found:
        if any(shard.name in repeated for shard in each.shards):
            label = safe_name(each.label)
            each.shards = [replace(s, name=f"{label}/{s.name}") for s in each.shards]
    if repeated := _repeated(found):
        name = min(repeated)
        paths = [s.path for each in found for s in each.shards if s.name == name]
        raise ConfigError(
            f"{' and '.join(paths)} would both be written to {name}; give a directory above them "
            "or filter them into separate outputs"
        )


def _repeated(found: Sequence[Found]) -> set[str]:
    seen: set[str] = set()
    again: set[str] = set()
    for each in found:
        for shard in each.shards:
            (again if shard.name in seen else seen).add(shard.name)
    return again
