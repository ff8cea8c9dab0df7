"""The reserve: documents that are human by provenance, kept for good.

A directory, or a place in an object store, of packs (`packs/`), of the names of what is in each
(`names/`), and of a manifest that lists both; what it doesn't list isn't there. A document's name
is the SHA-256 of its text in UTF-8: the same text is kept once, whatever else its records say, as
the record that came first, in its stored form. Packs are called by the SHA-256 of their
bytes and are never written to again.

A pack comes first, then its names, then the manifest, each at once or not at all: an append that is
killed leaves the reserve as it was, and files that the next append removes. Nothing else is removed
but by name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

import lowbg
from lowbg.config import FieldNames, RunConfig
from lowbg.decision.provenance import ProvenanceJudge
from lowbg.errors import ConfigError, InputError
from lowbg.formats import CODEC_ENDINGS
from lowbg.formats.base import Output, Reader, Writer
from lowbg.records import Batch
from lowbg.runs import manifest
from lowbg.runs.inputs import Shard
from lowbg.runs.manifest import Input, ListedFile, Manifest, ReserveNote, listed, totals_of
from lowbg.runs.reading import ShardReading, Source
from lowbg.storage.files import WrittenFile, file_digest, naming
from lowbg.storage.folders import UNFINISHED, Folder, held_folder
from lowbg.storage.whole_files import address, is_there, top_names
from lowbg.text.dates import read_dates

PACK_DOCUMENTS: Final = 250_000
"""Most documents in a pack: what is kept in memory of one is their names."""

_NAME = re.compile(r"[0-9a-f]{64}")
_NAME_BYTES = 32


@dataclass(frozen=True, slots=True)
class Reserved:
    """What an append came to: documents `added`, `known` already, and `removed` by name before."""

    added: int = 0
    known: int = 0
    removed: int = 0


def check(root: Path, config: RunConfig) -> None:
    """Raises `ConfigError` where nothing could be added to the reserve at `root`; changes nothing.

    That is where no document could be human by provenance, where the directory is something else,
    and where the texts that it holds come from another field: nothing could read both.
    """
    _check_policy(config)
    _check_directory(root)
    content = manifest.read(root)
    if content is not None and content.reserve is not UNSET and content.inputs:
        _check_field(root, content.reserve.text_field, config)


def _check_policy(config: RunConfig) -> None:
    policy = config.policy
    if policy.trust_before or policy.provenance.fields or policy.provenance.allow_sources:
        return
    raise ConfigError(
        "a reserve takes documents that are human by provenance, and nothing says which are; "
        "give `trust.before`, `trust.fields` or `trust.allow_sources`, or a policy with them"
    )


def _check_directory(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; a reserve is a directory")
    content = manifest.read(root)
    shown = address(root)
    if content is not None and content.reserve is UNSET:
        raise ConfigError(f"{shown}: holds a run of lowbg, not a reserve; choose another")
    if content is None:
        # What a first append that was killed leaves.
        ours = (".lowbg", "packs", "names")
        if rest := sorted(name for name in top_names(root) if not _is_ours(name, ours)):
            raise ConfigError(f"{shown}: holds {rest[0]} and is no reserve; choose an empty one")


def _is_ours(name: str, folders: Sequence[str]) -> bool:
    return name in folders or (name.startswith(f".{manifest.NAME}.") and name.endswith(".tmp"))


def _check_field(root: Path, field: str, config: RunConfig) -> None:
    if field != config.fields.text:
        raise ConfigError(
            f"{address(root)}: its texts are in the field {field!r}, those of this run in "
            f"{config.fields.text!r}; choose another reserve"
        )


def names_of(batch: Batch) -> NDArray[np.uint8]:
    """The name of every document: the 32 bytes of the SHA-256 of its text, a row each."""
    digests = [hashlib.sha256(text.as_buffer()).digest() for text in batch.text]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _NAME_BYTES)


def append(root: Path, files: Iterable[tuple[Path, str]], config: RunConfig) -> Reserved:
    """Adds the documents of `files` that are human by provenance and aren't there yet.

    `files` are paths, or made of URLs, with the names that messages call them; each is a whole
    output of a run.
    Raises `ConfigError` for a directory that is no reserve, `LockedError` when another run appends
    to it, `InputError` where a file can't be read and `OutputError` where a pack can't be written;
    packs that were whole by then are in the reserve.
    """
    _check_policy(config)
    with _opened(root) as store:
        if store.packs:
            _check_field(root, store.text_field, config)
        store.text_field = config.fields.text
        adding = _Adding(store, ProvenanceJudge(config.policy))
        try:
            for path, name in files:
                adding.begin(name)
                with _reading(path, name, config) as reading:
                    for step in reading:
                        adding.add(step.batch, reading.opened)
                if reading.broken is not None:
                    raise reading.broken
            adding.end_pack()
        finally:
            adding.abort()
        return Reserved(adding.added, adding.known, adding.removed)


def remove(root: Path, names: Sequence[str]) -> int:
    """Removes the documents of these names (SHA-256, hex) for good; returns how many.

    Their packs are written anew without them, and they aren't added again. Raises `ConfigError`,
    and removes nothing, where one isn't there.
    """
    wanted = {name.lower() for name in names}
    for name in sorted(wanted):
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name; a document's name is the SHA-256 of its text")
    if manifest.read(root) is None:
        raise ConfigError(f"{address(root)}: no reserve there")
    with _opened(root) as store:
        rows = _rows(wanted)
        if missing := [row.tobytes().hex() for row in rows[~store.holds(rows)]]:
            raise ConfigError(
                f"{address(root)}: holds no document {missing[0]}; nothing was removed"
            )
        store.removed |= wanted
        config = RunConfig(FieldNames(text=store.text_field))
        old = [pack for pack in store.packs if pack.holds(rows).any()]
        for pack in old:
            _without(store, pack, config)
        store.packs = [pack for pack in store.packs if pack not in old]
        store.write()
        store.sweep()
    return len(wanted)


@dataclass(slots=True)
class _Pack:
    """A pack as the manifest has it: its file, its names' file, where it came from and when."""

    file: ListedFile
    names: ListedFile
    entry: Input
    rows: NDArray[np.uint8] = field(repr=False)
    _heads: NDArray[np.uint64] | None = field(default=None, repr=False)

    def holds(self, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of the names, 32 bytes a row, are in the pack."""
        if self._heads is None:
            self._heads = _heads(self.rows)
        heads = _heads(rows)
        first = np.searchsorted(self._heads, heads, "left")
        last = np.searchsorted(self._heads, heads, "right")
        found = np.zeros(len(rows), np.bool_)
        for i in np.flatnonzero(last > first).tolist():
            found[i] = (self.rows[first[i] : last[i]] == rows[i]).all(axis=1).any()
        return found


def _heads(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of each name, as numbers that sort as the names do."""
    return np.ascontiguousarray(rows[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


class _Store:
    """An opened reserve."""

    def __init__(self, folder: Folder) -> None:
        self.root = folder.path
        self.folder = folder
        self.packs: list[_Pack] = []
        self.removed: set[str] = set()
        self.text_field = FieldNames().text
        self._read()

    def _read(self) -> None:
        content = manifest.read(self.root)
        if content is None or content.reserve is UNSET:
            return
        self.removed = set(content.reserve.removed)
        self.text_field = content.reserve.text_field
        files = {file.path: file for file in content.files}
        for entry in content.inputs:
            try:
                file, names = files[str(entry.path)], files[str(entry.names)]
                path = self.folder.local(names.path)
                rows = np.memmap(path, np.uint8, "r").reshape(-1, _NAME_BYTES)
            except (OSError, KeyError, ValueError) as error:
                where, root = (address(each) for each in (self.root / str(entry.names), self.root))
                raise ConfigError(
                    f"{where}: the reserve is damaged ({error}); lowbg verify {root} says more"
                ) from error
            self.packs.append(_Pack(file, names, entry, rows))

    def holds(self, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of the names are in any pack."""
        found = np.zeros(len(rows), np.bool_)
        for pack in self.packs:
            found |= pack.holds(rows)
        return found

    def write(self) -> None:
        """Puts a manifest of the packs in place."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        inputs = [pack.entry for pack in self.packs]
        content = Manifest(
            version=lowbg.__version__,
            written=now,
            reserve=ReserveNote(removed=sorted(self.removed), text_field=self.text_field),
            totals=totals_of(inputs),
            inputs=inputs,
            files=[file for pack in self.packs for file in (pack.file, pack.names)],
        )
        self.folder.put(manifest.NAME, manifest.encoded(content))

    def sweep(self) -> None:
        """Removes what the manifest doesn't list: of appends that were killed, or removed."""
        listed = {file.path for pack in self.packs for file in (pack.file, pack.names)}
        names = (n for n in self.folder.names() if n.startswith(("packs/", "names/")))
        self.folder.remove(name for name in names if name not in listed)
        for path in self.folder.work.glob(f"*{UNFINISHED}*"):
            with naming(path):
                path.unlink(missing_ok=True)

    def adopt(self, unfinished: Path, names: Sequence[bytes], source: str) -> None:
        """Gives a whole pack its name, and lists it."""
        with naming(unfinished):
            digest = file_digest(unfinished)
            size = unfinished.stat().st_size
        pack = f"packs/{digest}{unfinished.name.removeprefix(UNFINISHED)}"
        self.folder.adopt(unfinished, pack)
        data = b"".join(sorted(names))
        of_names = f"names/{digest}.sha256"
        self.folder.put(of_names, data)
        entry = Input(
            shard=pack,
            source=source,
            path=pack,
            names=of_names,
            complete=True,
            records=len(names),
            human=len(names),
            ai=0,
            unscored=0,
            quarantined=0,
            added=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        file = listed(WrittenFile(pack, len(names), size, digest), "human", pack)
        index = ListedFile(
            kind="names", path=of_names, shard=None, records=None, bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
        rows = np.frombuffer(data, np.uint8).reshape(-1, _NAME_BYTES)
        self.packs.append(_Pack(file, index, entry, rows))


@contextmanager
def _opened(root: Path) -> Iterator[_Store]:
    """The reserve, under its lock; made where there is none."""
    _check_directory(root)
    with held_folder(root) as folder:
        folder.remove([name for name in folder.names() if _is_ours(name, ())])
        store = _Store(folder)
        store.sweep()
        if not is_there(root / manifest.NAME):
            store.write()
        yield store


class _Adding:
    """An append under way: the pack in the making, and what was counted."""

    def __init__(self, store: _Store, judge: ProvenanceJudge) -> None:
        self.added = self.known = self.removed = 0
        self._store = store
        self._judge = judge
        self._names: dict[bytes, None] = {}
        self._writer: Writer | None = None
        self._kind: object = None
        self._source = self._first = ""

    def begin(self, source: str) -> None:
        """Says that what follows comes from another file."""
        self._source = source
        if self._writer is not None:
            self._writer.join()

    def add(self, batch: Batch, reader: Reader) -> None:
        """Adds the trusted documents of a batch that are new."""
        trusted = self._judge.know(batch.metadata, read_dates(batch.metadata.date)).trusted
        if not trusted.any():
            return
        full = len(self._names) >= PACK_DOCUMENTS
        if self._writer is not None and (reader.kind != self._kind or full):
            self.end_pack()
        rows = names_of(batch)
        there = self._store.holds(rows)
        keep = np.zeros(len(batch), np.bool_)
        for i in np.flatnonzero(trusted).tolist():
            name = rows[i].tobytes()
            if name.hex() in self._store.removed:
                self.removed += 1
            elif there[i] or name in self._names:
                self.known += 1
            else:
                self._names[name] = None
                keep[i] = True
        if keep.any():
            if self._writer is None:
                self._writer = _writer(self._store.folder, reader)
                self._kind, self._first = reader.kind, self._source
            self._writer.write(batch.payload, keep)
            self.added += int(keep.sum())

    def end_pack(self) -> None:
        """Puts the pack in the reserve, if there is one."""
        if self._writer is None:
            return
        written = self._writer.commit()
        self._writer = None
        self._store.adopt(self._store.folder.work / written.path, list(self._names), self._first)
        self._store.write()
        self._names = {}

    def abort(self) -> None:
        """Lets go of a pack that isn't whole."""
        if self._writer is not None:
            self._writer.abort()


def _writer(folder: Folder, reader: Reader) -> Writer:
    """The writer of a pack in the making, for what `reader` reads."""
    form = reader.format
    name = f"{UNFINISHED}{form.endings[0]}{CODEC_ENDINGS.get(form.pack_codec, '')}"
    return form.open_writer(reader, Output(folder.work / name, folder.work, form.pack_codec))


def _without(store: _Store, pack: _Pack, config: RunConfig) -> None:
    """Adds a pack of what is left of `pack` without the removed documents, if anything is."""
    path = store.root / pack.file.path
    shown = address(path)
    writer: Writer | None = None
    names: list[bytes] = []
    try:
        with _reading(path, shown, config) as reading:
            for batch in (step.batch for step in reading):
                if batch.rejected:
                    raise InputError(f"{shown}: {batch.rejected[0].message} Nothing was removed.")
                rows = [row.tobytes() for row in names_of(batch)]
                keep = np.array([row.hex() not in store.removed for row in rows], np.bool_)
                writer = writer or _writer(store.folder, reading.opened)
                writer.write(batch.payload, keep)
                names += [row for row, kept in zip(rows, keep.tolist(), strict=True) if kept]
        if reading.broken is not None:
            raise reading.broken
        if len(names) + int(pack.holds(_rows(store.removed)).sum()) != len(pack.rows):
            raise InputError(f"{shown}: isn't what its names say. Nothing was removed.")
        if names and writer is not None:
            written = writer.commit()
            store.adopt(store.folder.work / written.path, names, pack.entry.source)
    finally:
        if writer is not None:
            writer.abort()


def _reading(path: Path, name: str, config: RunConfig) -> ShardReading:
    return ShardReading(Source(Shard(address(path), name, 0), config))


def _rows(names: Iterable[str]) -> NDArray[np.uint8]:
    data = bytes.fromhex("".join(sorted(names)))
    return np.frombuffer(data, np.uint8).reshape(-1, _NAME_BYTES)
