"""Formats: one file or package each, found by its name, and those of installed third parties.

A module here (those of `_SHARED` aside) has an object `FORMAT`; so has what a third party names in
the entry-point group `lowbg.formats`. Whatever asks what a file is, what it is called or how it is
read and written asks here.
"""

from __future__ import annotations

import os
import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lowbg.errors import ConfigError, FormatError, InputError
from lowbg.formats.base import SNIFF_BYTES, Format, Opened, SplitFormat, TableFormat
from lowbg.plugins import entry_points

if TYPE_CHECKING:
    from lowbg.config import RunConfig
    from lowbg.formats.base import Reader
    from lowbg.records import Position
    from lowbg.storage.compression import InputStream

ENTRY_POINTS = "lowbg.formats"
"""The entry-point group of third parties' formats."""

DEFAULT = "jsonl"
"""The format of what no other one knows."""

CODEC_ENDINGS = {"gzip": ".gz", "zstd": ".zst", "bz2": ".bz2", "xz": ".xz"}

OTHER_CODEC_ENDINGS = {".gzip": "gzip", ".zstd": "zstd", ".bzip2": "bz2"}
"""Endings that others give such files."""

UNPACKED_BY = {
    ".lz4": "lz4 -dc",
    ".br": "brotli -dc",
    ".zip": "unzip -p",
    ".lzma": "lzma -dc",
    ".lz": "lzip -dc",
    ".lzo": "lzop -dc",
    ".z": "gzip -dc",
    ".sz": "snzip -dc",
}
"""What decompresses files that lowbg neither reads nor writes, by their ending."""

_SHARED = (
    *("base", "blocks", "columns", "foreign", "naming", "paths", "quarantine", "rows", "texts"),
    *("row_logs", "row_sizes", "views"),
)


@cache
def available() -> tuple[Format, ...]:
    """Every installed format, by name; the default one is last, for it takes what others don't.

    Raises `ConfigError` when one can't be loaded, and when two claim one name.
    """
    places = {
        found.name: (f"{__name__}.{found.name}", "FORMAT")
        for found in pkgutil.iter_modules(__path__)
        if found.name not in _SHARED
    }
    for point in entry_points(ENTRY_POINTS):
        place = (point.module, point.attr or "FORMAT")
        clash = places.get(point.name, place)
        if clash != place:
            raise ConfigError(
                f"two formats are called {point.name!r}: {clash[0]} and {place[0]}. "
                "Uninstall one of them."
            )
        places[point.name] = place
    names = sorted(places, key=lambda name: (name == DEFAULT, name))
    return tuple(_loaded(name, *places[name]) for name in names)


def _loaded(name: str, module: str, attribute: str) -> Format:
    try:
        return cast(Format, getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"format {name!r} ({module}:{attribute}) can't be loaded: {error}. "
            "Repair or uninstall what brings it."
        ) from error


def named(name: str) -> Format:
    """The format of this name."""
    return next(each for each in available() if each.name == name)


def table_format(name: str) -> TableFormat:
    """The format of this name, one that can hold the rows of any table."""
    return cast(TableFormat, named(name))


@cache
def endings() -> tuple[str, ...]:
    """How files are called that are taken from a directory, in lower case."""
    return tuple(
        ending + codec
        for each in available()
        for ending in each.endings
        for codec in ("", *(_codec_endings() if each.wrapped else ()))
    )


def _codec_endings() -> tuple[str, ...]:
    return (*CODEC_ENDINGS.values(), *OTHER_CODEC_ENDINGS)


def codec_by_name(name: str) -> str:
    """The codec that a file of this name says that it is compressed with."""
    known = {ending: codec for codec, ending in CODEC_ENDINGS.items()} | OTHER_CODEC_ENDINGS
    return known.get(os.path.splitext(name)[1].lower(), "none")  # noqa: PTH122


def has_known_ending(name: str) -> bool:
    """Whether a file of this name is taken from a directory."""
    return name.lower().endswith(endings())


def is_shard(path: str) -> bool:
    """Whether a file holds records, by its name or its first bytes; if not, it may be a text."""
    if has_known_ending(path):
        return True
    try:
        return recognise_file(path)[0].name != DEFAULT
    except InputError:
        return False


def described_endings() -> str:
    """The same for people: "*.jsonl, *.ndjson and *.json, plain or .gz, …, and *.parquet"."""
    wrapped, bare = (
        [f"*{e}" for each in reversed(available()) if each.wrapped is kind for e in each.endings]
        for kind in (True, False)
    )
    codecs = ", ".join(_codec_endings())
    return f"{', '.join(wrapped)}, plain or {codecs}, and {', '.join(bare)}"


def titles() -> str:
    """What formats there are, for people: "JSONL, WET, Parquet or Arrow IPC"."""
    *others, last = (each.title for each in reversed(available()))
    return f"{', '.join(others)} or {last}"


def recognise(source: Opened, *, records: bool = True) -> Format:
    """The format of an opened input, by its first bytes; it stays to be read from its beginning.

    An empty file is one of the default format, without records. With `records` false it may be any
    text. Raises `InputError` when it can't be read and `FormatError` when the content is none that
    lowbg reads, or not what the name says.
    """
    formats = available()
    head = source.head()
    for each in formats:
        if not each.wrapped and each.sniff(head, source.name):
            return each
    content = source.content
    head = content.peek(SNIFF_BYTES)
    for each in formats:
        if each.name == DEFAULT or not each.sniff(head, source.name):
            continue
        if each.wrapped:
            return each
        inside = f" (inside its {content.codec} compression)" if content.codec != "none" else ""
        raise FormatError(
            f"{source.name}{inside}: {each.title}, which cannot be read as a stream; "
            "give it as a file"
        )
    _refuse_foreign(source, records=records)
    claimed = by_name(source.name)
    if claimed is not None and claimed.name != DEFAULT and (head or not claimed.wrapped):
        raise FormatError(
            f"{source.name}: not a {claimed.title} file (its first bytes are {head[:4]!r})"
        )
    return named(DEFAULT)


def _refuse_foreign(source: Opened, *, records: bool) -> None:
    """Raises `FormatError` for what no format knows and is known to be something else."""
    from lowbg.formats import foreign

    head = source.content.peek(foreign.HEAD_BYTES if records else SNIFF_BYTES)
    kind = foreign.binary_kind(head)
    if kind is None and records:
        kind = foreign.text_kind(head, source.name)
    if kind is not None:
        has_name = source.raw.seekable() and source.name != "stdin"
        told = kind.told(source.name, source.content.codec, has_name=has_name)
        raise FormatError(f"{source.name}: {told}")


def holds(path: str) -> str | None:
    """What records a file holds, by its content alone, as messages call it; null: none, or any
    text. Raises what `recognise` does."""
    source = _opened(path, path)
    try:
        found = recognise(source)
        if found.name != DEFAULT or source.content.peek(SNIFF_BYTES).lstrip()[:1] == b"{":
            return found.title
        return None
    finally:
        source.close()


def recognise_file(path: str | os.PathLike[str]) -> tuple[Format, str]:
    """The format of a path or fsspec URL, and the codec around it; raises what `recognise` does."""
    source = _opened(path, os.fspath(path))
    try:
        found = recognise(source)
        return found, source.content.codec if found.wrapped else "none"
    finally:
        source.close()


def open_reader(source: str | os.PathLike[str] | BinaryIO, config: RunConfig, name: str) -> Reader:
    """The reader of a path, an fsspec URL or an open binary stream, by its first bytes.

    `name` is what messages call the shard; closing the reader closes a given stream too. Raises
    what `recognise` and the format's own `open_reader` do.
    """
    opened = _opened(source, name)
    try:
        return recognise(opened).open_reader(opened, config)
    except BaseException:
        opened.close()
        raise


def piece_starts(path: str, config: RunConfig, name: str, size: int) -> list[Position]:
    """Where a file can be read from within, as `SplitFormat.pieces`; nowhere in other formats.

    Nowhere either where a store would be asked for all of it. Raises what `recognise` does, and
    `InputError` for a damaged file.
    """
    opened = _opened(path, name)
    try:
        form = recognise(opened)
        if not isinstance(form, SplitFormat) or ("://" in path and form.wrapped):
            return []
        opened.raw.seek(0)
        return form.pieces(opened, config, size)
    finally:
        opened.close()


def open_text(source: str | os.PathLike[str] | BinaryIO, name: str) -> InputStream:
    """The content of what may be plain text. Raises what `recognise` does, and `FormatError` for
    another format's file."""
    opened = _opened(source, name)
    try:
        found = recognise(opened, records=False)
        if found.name != DEFAULT:
            raise FormatError(f"{name}: {found.title}, not text; give it as a file, and a record")
        return opened.content
    except BaseException:
        opened.close()
        raise


def count_records(path: Path) -> int:
    """How many records a finished file holds; raises what `recognise` and `Format.count` do."""
    return recognise_file(path)[0].count(path)


def _opened(source: str | os.PathLike[str] | BinaryIO, name: str) -> Opened:
    # Not at the top: a caller that only parses options should not load what reads.
    from lowbg.storage.compression import open_binary

    raw = open_binary(source) if isinstance(source, (str, os.PathLike)) else source
    return Opened(raw, name)


def by_name(name: str) -> Format | None:
    """The format whose files are called so."""
    bare = without_codec(name).lower()
    for each in available():
        if (bare if each.wrapped else name.lower()).endswith(each.endings):
            return each
    return None


def without_codec(name: str) -> str:
    """A file's name without the ending of its codec."""
    for ending in _codec_endings():
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
