"""The manifest of an output directory: every file that a run wrote, and whether it is still so.

`manifest.json` (schema `lowbg.manifest/1`) is written last: a directory that has one is whole. It
holds `files` (path, kind, shard, records, bytes, sha256), `inputs` with what became of their
records, `totals`, the configuration, policy, models and version, and `content_sha256`, the digest
of all of that, so that an edited manifest shows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from lowbg.config import OUTCOMES, as_dict
from lowbg.errors import ConfigError, LowbgError, OutputError, cause
from lowbg.formats import count_records
from lowbg.report.results import RunInfo, ShardResult
from lowbg.storage.compression import open_input
from lowbg.storage.files import AtomicFile, file_digest

SCHEMA: Final = "lowbg.manifest/1"
NAME: Final = "manifest.json"
EXEMPT: Final = (".lowbg", NAME)
"""What may lie in an output directory without being in its manifest."""

_KINDS: Final = ("human", "ai", "unscored", "synthetic", "quarantine")

FindingKind = Literal["missing", "changed", "extra", "count", "manifest"]


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
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes `manifest.json` atomically; call it when everything else is in place.

    `extra_files` are paths below `root` that belong to no shard, such as the report; `more` is
    written beside the rest, as plain JSON values. Raises
    `OutputError` where one of them can't be read or the manifest not written.
    """
    content = {
        **(more or {}),
        "version": info.version,
        "command": info.command,
        "started": info.started,
        "finished": info.finished,
        "configuration": as_dict(info.configuration),
        "policy": as_dict(info.policy),
        "policy_sha256": info.policy_sha256,
        "models": dict(info.models),
        "scorers": dict(info.scorers),
        "totals": _totals(shards),
        "inputs": [_input(shard) for shard in shards],
        "files": [
            *(
                {"kind": _kind(file.path), "shard": shard.shard, **as_dict(file)}
                for shard in shards
                for file in shard.outputs
            ),
            *(_extra_file(root, path) for path in extra_files),
        ],
    }
    write(root, content)


def write(root: Path, content: Mapping[str, Any]) -> None:
    """Writes a manifest of `content` atomically; schema and digest are added."""
    whole = {**content, "schema": SCHEMA}
    whole["content_sha256"] = _content_digest(whole)
    file = AtomicFile(root / NAME)
    try:
        file.write(_encode(whole, indent=2))
        file.commit()
    finally:
        file.abort()


def _totals(shards: Sequence[ShardResult]) -> dict[str, int]:
    counted = [shard.statistics.documents() for shard in shards]
    return {
        "records": sum(shard.records for shard in shards),
        **{verdict: sum(documents[verdict] for documents in counted) for verdict in OUTCOMES},
    }


def _input(shard: ShardResult) -> dict[str, Any]:
    return {
        "source": shard.source,
        "shard": shard.shard,
        "format": shard.format,
        "compression": shard.compression,
        "read_bytes": shard.read_bytes,
        "sha256": shard.input_sha256,
        "complete": shard.complete,
        "records": shard.records,
        **shard.statistics.documents(),
    }


def _kind(path: str) -> str:
    top = path.partition("/")[0]
    return top if top in _KINDS else "other"


def _extra_file(root: Path, path: str) -> dict[str, Any]:
    try:
        size, digest = (root / path).stat().st_size, file_digest(root / path)
    except OSError as error:
        message = f"{root / path}: cannot be read for the manifest ({error.strerror})"
        raise OutputError(message) from error
    return {
        "kind": "report", "path": path, "shard": None, "records": None, "bytes": size,
        "sha256": digest,
    }  # fmt: skip


def _encode(content: object, indent: int | None) -> bytes:
    """JSON in UTF-8; in ASCII where a file name isn't valid Unicode, so that it comes back."""
    text = json.dumps(content, indent=indent, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(content, indent=indent, sort_keys=True) + "\n").encode("ascii")


def _content_digest(content: dict[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "content_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode("ascii")).hexdigest()


def verify(root: Path, deep: bool = True) -> list[Finding]:
    """Every way in which the directory isn't what its manifest says; empty when all is well.

    `deep` reads every file: its digest, and its records counted anew. Without it only names,
    sizes and the manifest's own sums are checked. Nothing outside `root` is opened, whatever the
    manifest says.
    """
    content, findings = _load(root)
    if content is None:
        return findings
    known: set[str] = set()
    for file in content["files"]:
        path = file["path"]
        if path in known:
            findings.append(Finding("manifest", path, f"{path}: listed twice in {NAME}"))
            continue
        known.add(path)
        findings += _check_file(root, file, deep)
    findings += [
        Finding("extra", path, f"{path}: not in {NAME}; it was added after the run")
        for path in _files_below(root)
        if path not in known and not _is_unfinished(content, path)
    ]
    return findings + _check_sums(content)


def listed_files(root: Path) -> list[Path]:
    """The files that the manifest of `root` lists and that lie below it; none without one."""
    content, _ = _load(root)
    listed = [] if content is None else content["files"]
    return [root / file["path"] for file in listed if inside(root, file["path"])]


def _is_unfinished(content: Mapping[str, Any], path: str) -> bool:
    """Whether a file that isn't listed is what a killed append to a reserve left: no part of it."""
    return "reserve" in content and path.startswith(("packs/", "names/"))


def read(root: Path) -> dict[str, Any] | None:
    """The manifest of `root`; null without one. Raises `ConfigError` where it can't be used."""
    if not (root / NAME).exists():
        return None
    content, findings = _load(root)
    if content is None or findings:
        raise ConfigError(findings[0].message)
    return content


def listed_of_kind(root: Path, kinds: Sequence[str]) -> list[Path]:
    """The files of `kinds` that the manifest of `root` lists, in its order.

    Raises `ConfigError` where the manifest can't be used, or one of the files is gone.
    """
    content = read(root)
    paths = [
        root / file["path"]
        for file in (content or {"files": []})["files"]
        if file["kind"] in kinds and inside(root, file["path"])
    ]
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"{path}: listed in {root / NAME}, but missing")
    return paths


def _load(root: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The manifest, or what is wrong with it."""
    path = root / NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [
            Finding(
                "manifest",
                NAME,
                f"{path}: cannot be read ({error.strerror}). The run didn't finish, or this isn't "
                "an output directory of lowbg.",
            )
        ]
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        return None, [Finding("manifest", NAME, f"{path}: damaged ({error})")]
    fault = _fault(content)
    if fault:
        return None, [Finding("manifest", NAME, f"{path}: {fault}")]
    if content.get("content_sha256") != _content_digest(content):
        return content, [
            Finding("manifest", NAME, f"{path}: was changed after the run; don't trust its figures")
        ]
    return content, []


def _fault(content: object) -> str | None:
    """Why this can't be used as a manifest; null when it can."""
    if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
        return "not a lowbg manifest"
    if content["schema"] != SCHEMA:
        return f"of the form {content['schema']!r}; this version reads {SCHEMA}"
    files, inputs, totals = (content.get(key) for key in ("files", "inputs", "totals"))
    if not isinstance(files, list) or not isinstance(inputs, list) or not isinstance(totals, dict):
        return "damaged (files, inputs or totals missing)"
    for file in files:
        if not (
            isinstance(file, dict)
            and isinstance(file.get("path"), str)
            and isinstance(file.get("kind"), str)
            and isinstance(file.get("shard", 0), (str, type(None)))
            and isinstance(file.get("records", ""), (int, type(None)))
            and isinstance(file.get("bytes"), int)
            and isinstance(file.get("sha256"), str)
        ):
            return f"damaged (entry of files: {json.dumps(file)[:200]})"
    counts = ("records", *OUTCOMES)
    for row in (*inputs, totals):
        if not (isinstance(row, dict) and all(isinstance(row.get(name), int) for name in counts)):
            return f"damaged (counts: {json.dumps(row)[:200]})"
    return None


def inside(root: Path, path: str) -> bool:
    """Whether a path that a file notes stays below `root`, symbolic links followed."""
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        return False
    return (root / path).resolve().is_relative_to(root.resolve())


def _check_file(root: Path, file: dict[str, Any], deep: bool) -> list[Finding]:
    name = file["path"]
    if not inside(root, name):
        message = f"{name!r} points outside the directory; it wasn't opened"
        return [Finding("manifest", name, message)]
    path = root / name
    if not path.is_file():
        return [Finding("missing", name, f"{name}: missing")]
    try:
        size = path.stat().st_size
        if size != file["bytes"]:
            message = f"{name}: {size:,} bytes; the run wrote {file['bytes']:,}"
            return [Finding("changed", name, message)]
        if not deep:
            return []
        if file_digest(path) != file["sha256"]:
            return [Finding("changed", name, f"{name}: its SHA-256 isn't the one that was written")]
        if file["records"] is None:
            return []
        records = _count_records(path, file["kind"])
    except (OSError, LowbgError, ValueError) as error:
        return [Finding("changed", name, f"{name}: cannot be read ({cause(error)})")]
    if records != file["records"]:
        message = f"{name}: holds {records:,} records; {NAME} says {file['records']:,}"
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


def _check_sums(content: dict[str, Any]) -> list[Finding]:
    """Records in = records out, for every shard and in all, as the manifest has them."""
    findings = []
    written: dict[str, int] = {}
    for file in content["files"]:
        if file["shard"] is not None and file["records"] is not None:
            written[file["shard"]] = written.get(file["shard"], 0) + file["records"]
    for shard in content["inputs"]:
        name = str(shard.get("shard"))
        out = sum(shard[verdict] for verdict in OUTCOMES)
        if shard["records"] != out:
            message = f"{name}: {shard['records']:,} records in, {out:,} judged or in quarantine"
            findings.append(Finding("count", name, message))
        # Of a shard whose outputs could not be written there are no files.
        lost = shard.get("complete") is False and name not in written
        if not lost and written.get(name, 0) != shard["records"]:
            message = f"{name}: {shard['records']:,} records in, {written.get(name, 0):,} in files"
            findings.append(Finding("count", name, message))
    for count in ("records", *OUTCOMES):
        total = sum(shard[count] for shard in content["inputs"])
        if content["totals"][count] != total:
            message = f"total of {count}: {content['totals'][count]:,}; the shards have {total:,}"
            findings.append(Finding("count", NAME, message))
    return findings
