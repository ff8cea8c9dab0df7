"""The inputs of a mix: shards under the name of their role, `human/…` or `synthetic/…`."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from lowbg.errors import ConfigError, cause
from lowbg.runs.checkpoints import FOLDER
from lowbg.runs.inputs import Discovery, Listed, Shard, survey
from lowbg.runs.manifest import NAME as MANIFEST
from lowbg.runs.manifest import listed_of_kind
from lowbg.storage.objects import ObjectStore, is_object_url, object_url
from lowbg.storage.whole_files import address, is_there

Role = Literal["human", "synthetic"]

HUMAN: Final = "human"
SYNTHETIC: Final = "synthetic"

KINDS: Final[dict[Role, tuple[str, ...]]] = {HUMAN: ("human",), SYNTHETIC: ("ai", "synthetic")}
"""Which files of an output of lowbg, or of a reserve, an input of each role stands for."""

_SCHEMA: Final = b'"lowbg.manifest/'
_MAGIC: Final = frozenset("*?[")


def role_of(shard: Shard) -> Role:
    """The role that the shard's name begins with."""
    return HUMAN if shard.name.startswith(f"{HUMAN}/") else SYNTHETIC


def find(
    human: Sequence[str], synthetic: Sequence[str], output: Path, exclude: Sequence[str] = ()
) -> Discovery:
    """The shards of both roles, sorted by name, but for what `exclude` names (see `survey`).

    An output directory of lowbg stands for what is human (or synthetic) in it, under the names that
    it has there: of a run not the other half, of a reserve what its manifest lists. Raises
    `ConfigError` where an input can't be read twice, is given in both roles, or would take the
    other half of an output along.
    """
    shards: list[Shard] = []
    all_found: list[Discovery] = []
    given: tuple[tuple[Role, Sequence[str]], ...] = ((HUMAN, human), (SYNTHETIC, synthetic))
    for role, inputs in given:
        if not inputs:
            continue
        found = _surveyed([_local(path) for path in inputs], role, output, exclude)
        shards += (replace(shard, name=f"{role}/{shard.name}") for shard in found.shards)
        all_found.append(found)
    _check(shards)
    return Discovery(
        tuple(sorted(shards, key=lambda shard: shard.name)),
        tuple(each for found in all_found for each in found.left_out),
    )


def _local(given: str) -> str:
    """A local path as such, where it is given as a URL."""
    scheme, _, rest = given.partition("://")
    return rest if rest and scheme in ("file", "local") else given


def _surveyed(inputs: Sequence[str], role: Role, output: Path, exclude: Sequence[str]) -> Discovery:
    """What the inputs stand for in their role."""
    paths = list(dict.fromkeys(path for given in inputs for path in _matches(given)))
    below = {path: outputs_below(path) for path in paths if is_object_url(path)}
    roots = [
        Path(path)
        for path in paths
        if (object_url(path) in below[path] if path in below else _is_output(Path(path)))
    ]
    labels = dict(zip(map(str, roots), _labels(roots), strict=True))
    asked = [
        Listed(labels[str(Path(path))], _files_of(Path(path), role))
        if Path(path) in roots
        else path
        for path in paths
    ]
    found = survey(
        asked,
        output=output,
        may_be_empty=all(isinstance(each, Listed) for each in asked),
        exclude=exclude,
    )
    listed = {file for each in asked if isinstance(each, Listed) for file, _, _ in each.files}
    stored = {root for each in below.values() for root in each}
    _check_halves([s for s in found.shards if s.path not in listed], inputs, role, stored)
    return found


def _matches(given: str) -> list[str]:
    """The input itself; of a glob that matches outputs of lowbg, each of its matches."""
    if "://" in given or os.path.lexists(given):
        return [given]
    matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 (keeps the spelling)
    return matches if any(_is_output(Path(match)) for match in matches) else [given]


def _is_output(root: Path) -> bool:
    """Whether this is an output directory of lowbg, finished or not."""
    if (root / FOLDER).is_dir():
        return True
    try:
        return _SCHEMA in (root / MANIFEST).read_bytes()
    except OSError:
        return False


def outputs_below(url: str) -> frozenset[str]:
    """The outputs of lowbg at and below a URL of a store, or what a glob there begins with.

    Raises `ConfigError` where it can't be listed.
    """
    base = url[: min((url.index(c) for c in _MAGIC if c in url), default=len(url))]
    base = object_url(base if base == url else base.rpartition("/")[0])
    store = ObjectStore(base)
    try:
        names = list(store.list())
        roots = {name.rpartition(f"{FOLDER}/")[0] for name in names if f"/{FOLDER}/" in f"/{name}"}
        for name in names:
            if f"/{name}".endswith(f"/{MANIFEST}") and _SCHEMA in (store.read(name) or b""):
                roots.add(name.removesuffix(MANIFEST))
    except OSError as error:
        raise ConfigError(f"{base}: cannot be listed ({cause(error)})") from error
    return frozenset(f"{base}/{root}".rstrip("/") for root in roots)


def _files_of(root: Path, role: Role) -> tuple[tuple[str, str, int], ...]:
    """The files of an output that a role stands for, by the shards they came from."""
    if not is_there(root / MANIFEST):
        raise ConfigError(
            f"{address(root)}: its run isn't finished, and there are both human and AI files in "
            'it. Finish it with `existing="resume"`, or name the files'
        )
    files = listed_of_kind(root, KINDS[role])
    return tuple((address(root / n), n.partition("/")[2], size) for n, size in files.items())


def _labels(roots: Sequence[Path]) -> list[str]:
    """For each directory as much of the end of its path as tells them apart."""
    parts = [Path(os.path.realpath(root)).parts for root in roots]
    labels: list[str] = []
    for length in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(path[-length:]) for path in parts]
        if len(set(labels)) == len(set(parts)):
            break
    return labels


def _check_halves(
    shards: Sequence[Shard], inputs: Sequence[str], role: Role, stored: Set[str]
) -> None:
    """Raises `ConfigError` for a shard in an output of lowbg that no input names a part of.

    `stored` are the outputs in stores.
    """
    outputs: dict[Path, bool] = {}
    for shard in shards:
        in_store = is_object_url(shard.path)
        if "://" in shard.path and not in_store:
            continue
        for folder in Path(shard.path).parents:
            if folder not in outputs:
                named = any(_names_part(given, folder) for given in inputs)
                is_output = address(folder) in stored if in_store else _is_output(folder)
                outputs[folder] = not named and is_output
            if outputs[folder]:
                where = address(folder)
                raise ConfigError(
                    f"{where}: an output of lowbg, of which `{role}` would take all files, human "
                    f"and AI. Give it as an input of its own: `{role}={where}`"
                )


def _names_part(given: str, folder: Path) -> bool:
    """Whether an input says which part of the folder it means: `runs/*/human` of `runs/a`."""
    parts, own = Path(given).parts, folder.parts
    if len(parts) <= len(own) or "**" in parts[: len(own)]:
        return False
    above = all(
        mine == part or fnmatch.fnmatchcase(mine, part)
        for mine, part in zip(own, parts, strict=False)
    )
    return above and not _MAGIC & set(parts[len(own)])


def _check(shards: Sequence[Shard]) -> None:
    seen: dict[object, Role] = {}
    for shard in shards:
        if not shard.resumable:
            raise ConfigError(
                f"{shard.path}: a mix reads its inputs more than once, and this can be read only "
                "once. Save it to a file."
            )
        if seen.setdefault(_identity(shard), role_of(shard)) != role_of(shard):
            raise ConfigError(f"{shard.path}: is given both as human and as synthetic")


def _identity(shard: Shard) -> object:
    """What two names of one file, also two hard links to it, have in common."""
    if "://" in shard.path:
        return shard.path
    info = Path(shard.path).stat()
    return info.st_dev, info.st_ino
