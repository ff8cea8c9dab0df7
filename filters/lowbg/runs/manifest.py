"""The manifest of an output directory: every file that a run wrote, and whether it is still so.

`manifest.json` is written last: a directory that has one is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lowbg.amounts import counted
from lowbg.errors import ConfigError, LowbgError, OutputError, cause
from lowbg.formats import count_records
from lowbg.report.results import RunInfo, ShardResult
from lowbg.storage.compression import open_input
from lowbg.storage.files import WrittenFile, file_digest
from lowbg.storage.left_out import LeftOut, all_there
from lowbg.storage.typed import SCHEMA_KEY, Closed, Count, FileType, swiftly, to_plain
from lowbg.storage.whole_files import address, sizes, write_whole

NAME: Final = "manifest.json"
EXEMPT: Final = (".lowbg", NAME)
"""What may lie in an output directory without being in its manifest."""

_KINDS: Final = ("human", "ai", "unscored", "synthetic", "quarantine")

FindingKind = Literal["missing", "changed", "extra", "count", "manifest", "incomplete"]
"""INCOMPLETE alone says nothing against what is there: the run itself lacks a part of its input."""


class Totals(Closed, frozen=True, kw_only=True):
    """Records, and what became of them."""

    records: Count
    human: Count
    ai: Count
    unscored: Count
    quarantined: Count


class Input(Totals, frozen=True, kw_only=True):
    """An input and what became of its records; `sha256` is that of the input, where asked for.

    A reserve's are its packs: `path` is the pack's, `names` that of its names, `added` says when.
    """

    shard: str
    source: str
    complete: bool
    format: str | UnsetType = UNSET
    compression: str | UnsetType = UNSET
    read_bytes: Count | UnsetType = UNSET
    sha256: str | UnsetType | None = UNSET
    path: str | UnsetType = UNSET
    names: str | UnsetType = UNSET
    added: str | UnsetType = UNSET


class ListedFile(Closed, frozen=True, kw_only=True):
    """A file of a directory; shard and records are null where it holds no records of one."""

    kind: str
    path: str
    shard: str | None
    records: Count | None
    bytes: Count
    sha256: str


class ReserveNote(Closed, frozen=True, kw_only=True):
    """Of a reserve: names of documents that aren't to come back, and the field of its texts."""

    removed: list[str]
    text_field: str


class Manifest(Closed, frozen=True, kw_only=True, tag="lowbg.manifest/1", tag_field=SCHEMA_KEY):
    """What a directory holds, and how it was made; `mix` says what a mix is made of.

    A reserve's has `reserve` and the time when it was `written`, in place of what is of a run.
    `absent` are inputs whose data wasn't there, where there are any.
    `content_sha256` is the digest of all else, so that an edited manifest shows.
    """

    version: str
    totals: Totals
    inputs: list[Input]
    files: list[ListedFile]
    command: str | UnsetType = UNSET
    started: str | UnsetType = UNSET
    finished: str | UnsetType = UNSET
    configuration: dict[str, Any] | UnsetType = UNSET
    policy: dict[str, Any] | UnsetType = UNSET
    policy_sha256: str | UnsetType = UNSET
    models: dict[str, str] | UnsetType = UNSET
    scorers: dict[str, int] | UnsetType = UNSET
    absent: list[LeftOut] | UnsetType = UNSET
    mix: Any = UNSET
    reserve: ReserveNote | UnsetType = UNSET
    written: str | UnsetType = UNSET
    content_sha256: str | UnsetType = UNSET


def _encode(plain: Any) -> bytes:
    """JSON in UTF-8; in ASCII where a file name isn't valid Unicode, so that it comes back."""
    found = swiftly(plain, indent=True)
    if found is not None:
        return found + b"\n"
    text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode("ascii")


MANIFEST: Final[FileType[Manifest]] = FileType(
    Manifest,
    "a lowbg manifest",
    ConfigError,
    "The run didn't finish, or this isn't an output directory of lowbg, or the file was changed",
    _encode,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a directory is not what its manifest says; `path` is relative to it."""

    kind: FindingKind
    path: str
    message: str


def write_manifest(
    root: Path,
    info: RunInfo,
    shards: Sequence[ShardResult],
    extra_files: Sequence[str] = (),
    mix: Any = UNSET,
    left_out: Iterable[LeftOut] = (),
) -> None:
    """Writes `manifest.json` atomically; call it when everything else is in place.

    `extra_files` are paths below `root` that belong to no shard, such as the report; `left_out` is
    what lay among the inputs, of which the manifest notes data that wasn't there. Raises
    `OutputError` where one of them can't be read or the manifest not written.
    """
    inputs = [_input(shard) for shard in shards]
    absent = [each for each in left_out if not all_there([each])]
    write(
        root,
        Manifest(
            version=info.version,
            command=info.command,
            started=info.started,
            finished=info.finished,
            configuration=info.configuration,
            policy=info.policy,
            policy_sha256=info.policy_sha256,
            models=info.models,
            scorers=info.scorers,
            totals=totals_of(inputs),
            inputs=inputs,
            files=[
                *(listed(file, _kind(file.path), s.shard) for s in shards for file in s.outputs),
                *(extra_file(root, path) for path in extra_files),
            ],
            absent=absent or UNSET,
            mix=mix,
        ),
    )


def write(root: Path, manifest: Manifest) -> None:
    """Writes a manifest atomically; its digest is added."""
    write_whole(root / NAME, encoded(manifest))


def encoded(manifest: Manifest) -> bytes:
    """A manifest's bytes; its digest is added."""
    return MANIFEST.encode(replace(manifest, content_sha256=_content_digest(manifest)))


def totals_of(inputs: Sequence[Input]) -> Totals:
    """The sums over all inputs."""
    return Totals(
        records=sum(each.records for each in inputs),
        human=sum(each.human for each in inputs),
        ai=sum(each.ai for each in inputs),
        unscored=sum(each.unscored for each in inputs),
        quarantined=sum(each.quarantined for each in inputs),
    )


def listed(file: WrittenFile, kind: str, shard: str) -> ListedFile:
    """The entry of a shard's output."""
    return ListedFile(
        kind=kind, path=file.path, shard=shard, records=file.records, bytes=file.bytes,
        sha256=file.sha256,
    )  # fmt: skip


def _input(shard: ShardResult) -> Input:
    documents = shard.statistics.documents()
    return Input(
        source=shard.source,
        shard=shard.shard,
        format=shard.format,
        compression=shard.compression,
        read_bytes=shard.read_bytes,
        sha256=shard.input_sha256,
        complete=shard.complete,
        records=shard.records,
        human=documents["human"],
        ai=documents["ai"],
        unscored=documents["unscored"],
        quarantined=documents["quarantined"],
    )


def _kind(path: str) -> str:
    top = path.partition("/")[0]
    return top if top in _KINDS else "other"


def extra_file(root: Path, path: str) -> ListedFile:
    """The entry of a file that belongs to no shard. Raises `OutputError` where it can't be read."""
    try:
        size, digest = (root / path).stat().st_size, file_digest(root / path)
    except OSError as error:
        message = f"{root / path}: cannot be read for the manifest ({error.strerror})"
        raise OutputError(message) from error
    return ListedFile(kind="report", path=path, shard=None, records=None, bytes=size, sha256=digest)


def _content_digest(manifest: Manifest) -> str:
    plain = to_plain(replace(manifest, content_sha256=UNSET))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode("ascii")).hexdigest()


def verify(root: Path, deep: bool = True) -> list[Finding]:
    """Every way in which the directory isn't what its manifest says; empty when all is well.

    `deep` reads every file: its digest, and its records counted anew. Without it only names,
    sizes and the manifest's own sums are checked. Nothing outside `root` is opened, whatever the
    manifest says. Inputs that the run itself didn't process whole are told last.
    """
    return compare(root, _files_below(root), lambda file: check_file(root, file, deep))


def compare(
    root: Path, there: Iterable[str], check: Callable[[ListedFile], list[Finding]]
) -> list[Finding]:
    """What is wrong with files by the manifest in `root`: `there` are all, `check` looks at one."""
    content, findings = _load(root)
    if content is None:
        return findings
    known: set[str] = set()
    for file in content.files:
        path = file.path
        if path in known:
            findings.append(Finding("manifest", path, f"{path}: listed twice in {NAME}"))
            continue
        known.add(path)
        findings += check(file)
    findings += [
        Finding("extra", path, f"{path}: not in {NAME}; it was added after the run")
        for path in there
        if path not in known and not _is_unfinished(content, path)
    ]
    return [*findings, *_check_sums(content), *_incomplete(content)]


def listed_files(root: Path) -> list[Path]:
    """The files that the manifest of `root` lists and that lie below it; none without one."""
    content, _ = _load(root)
    files = [] if content is None else content.files
    return [root / file.path for file in files if inside(root, file.path)]


def _is_unfinished(content: Manifest, path: str) -> bool:
    """Whether a file that isn't listed is what a killed append to a reserve left: no part of it."""
    return content.reserve is not UNSET and path.startswith(("packs/", "names/"))


def read(root: Path) -> Manifest | None:
    """The manifest of `root`, a directory or a URL; null without one.

    Raises `ConfigError` where it can't be used.
    """
    content = MANIFEST.read_if_there(root / NAME)
    if content is not None and content.content_sha256 != _content_digest(content):
        raise ConfigError(_changed(root / NAME))
    return content


def listed_of_kind(root: Path, kinds: Sequence[str]) -> dict[str, int]:
    """The files of `kinds` that the manifest of `root` lists, in its order, with their sizes.

    Raises `ConfigError` where the manifest can't be used, or one of the files is gone.
    """
    content = read(root)
    names = [
        file.path
        for file in (content.files if content is not None else ())
        if file.kind in kinds and inside(root, file.path)
    ]
    found = check_there(root, names)
    return {name: found[name] for name in names}


def check_there(root: Path, names: Sequence[str]) -> dict[str, int]:
    """The stored sizes of listed files of `root`. Raises `ConfigError` where one is gone."""
    try:
        found = sizes(root, names)
    except OSError as error:
        raise ConfigError(f"{address(root)}: cannot be listed ({cause(error)})") from error
    for name in names:
        if name not in found:
            path, by = address(root / name), address(root / NAME)
            raise ConfigError(f"{path}: listed in {by}, but missing")
    return found


def _load(root: Path) -> tuple[Manifest | None, list[Finding]]:
    """The manifest, or what is wrong with it."""
    path = root / NAME
    try:
        content = MANIFEST.read(path)
    except ConfigError as error:
        return None, [Finding("manifest", NAME, str(error))]
    if content.content_sha256 != _content_digest(content):
        return content, [Finding("manifest", NAME, _changed(path))]
    return content, []


def _changed(path: Path) -> str:
    return f"{address(path)}: was changed after the run; don't trust its figures"


def inside(root: Path, path: str) -> bool:
    """Whether a path that a file notes stays below `root`, symbolic links followed."""
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        return False
    return (root / path).resolve().is_relative_to(root.resolve())


def check_file(root: Path, file: ListedFile, deep: bool) -> list[Finding]:
    """What is wrong with one listed file below `root`."""
    name = file.path
    if not inside(root, name):
        message = f"{name!r} points outside the directory; it wasn't opened"
        return [Finding("manifest", name, message)]
    path = root / name
    if not path.is_file():
        return [Finding("missing", name, f"{name}: missing")]
    try:
        size = path.stat().st_size
        if size != file.bytes:
            message = f"{name}: {size:,} bytes; the run wrote {file.bytes:,}"
            return [Finding("changed", name, message)]
        if not deep:
            return []
        if file_digest(path) != file.sha256:
            return [Finding("changed", name, f"{name}: its SHA-256 isn't the one that was written")]
        if file.records is None:
            return []
        records = _count_records(path, file.kind)
    except (OSError, LowbgError, ValueError) as error:
        return [Finding("changed", name, f"{name}: cannot be read ({cause(error)})")]
    if records != file.records:
        message = f"{name}: holds {records:,} records; {NAME} says {file.records:,}"
        return [Finding("count", name, message)]
    return []


def _count_records(path: Path, kind: str) -> int:
    """The records of a file; a line of quarantine may stand for several."""
    if kind == "quarantine":
        return sum(int(json.loads(line).get("count", 1)) for line in _lines(path))
    return count_records(path)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, one at a time."""
    parts: list[bytes] = []
    with open_input(path) as stream:
        while chunk := stream.read_chunk():
            first, *rest = chunk.split(b"\n")
            parts.append(first)
            for part in rest:
                yield b"".join(parts)
                parts = [part]
    if line := b"".join(parts):
        yield line


def _files_below(root: Path) -> Iterator[str]:
    """Every file below `root` that the manifest must name, sorted; links count as files."""
    found = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        if here == root:
            folders[:] = [name for name in folders if name not in EXEMPT]
            names = [name for name in names if name not in EXEMPT]
        names += [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(root).as_posix() for name in names]
    return iter(sorted(found))


def _incomplete(content: Manifest) -> Iterator[Finding]:
    """The inputs that the manifest itself says are not here whole."""
    written = _written(content)
    for each in content.inputs:
        if not each.complete:
            here = "nothing of it is here"
            if each.shard in written:
                here = f"what is here of it: {counted(written[each.shard], 'record')}"
            message = f"{each.shard}: the run did not process {each.source} whole; {here}"
            yield Finding("incomplete", each.shard, message)
    for absent in content.absent or ():
        message = f"{absent.path}: was not there to process: {absent.reason}"
        yield Finding("incomplete", absent.path, message)


def _written(content: Manifest) -> dict[str, int]:
    """The records in the files of each shard that has files."""
    written: dict[str, int] = {}
    for file in content.files:
        if file.shard is not None and file.records is not None:
            written[file.shard] = written.get(file.shard, 0) + file.records
    return written


def _check_sums(content: Manifest) -> list[Finding]:
    """Records in = records out, for every shard and in all, as the manifest has them."""
    findings = []
    written = _written(content)
    for shard in content.inputs:
        name = shard.shard
        out = shard.human + shard.ai + shard.unscored + shard.quarantined
        if shard.records != out:
            message = f"{name}: {shard.records:,} records in, {out:,} judged or in quarantine"
            findings.append(Finding("count", name, message))
        # Of a shard whose outputs could not be written there are no files.
        lost = not shard.complete and name not in written
        if not lost and written.get(name, 0) != shard.records:
            message = f"{name}: {shard.records:,} records in, {written.get(name, 0):,} in files"
            findings.append(Finding("count", name, message))
    sums = totals_of(content.inputs)
    for count in Totals.__struct_fields__:
        said, total = getattr(content.totals, count), getattr(sums, count)
        if said != total:
            message = f"total of {count}: {said:,}; the shards have {total:,}"
            findings.append(Finding("count", NAME, message))
    return findings
