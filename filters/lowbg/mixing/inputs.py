"""The inputs of a mix: shards under the name of their role, `human/…` or `synthetic/…`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from lowbg.errors import ConfigError
from lowbg.manifest import NAME as MANIFEST
from lowbg.manifest import listed_of_kind
from lowbg.shards import Discovery, Shard, survey

Role = Literal["human", "synthetic"]

HUMAN: Final = "human"
SYNTHETIC: Final = "synthetic"

KINDS: Final[dict[Role, tuple[str, ...]]] = {HUMAN: ("human",), SYNTHETIC: ("ai", "synthetic")}
"""Which files of an output of lowbg, or of a reserve, an input of each role stands for."""


def role_of(shard: Shard) -> Role:
    """The role that the shard's name begins with."""
    return HUMAN if shard.name.startswith(f"{HUMAN}/") else SYNTHETIC


def find(human: Sequence[str], synthetic: Sequence[str], output: Path) -> Discovery:
    """The shards of both roles, sorted by name.

    A directory that holds a manifest of lowbg stands for what is human (or synthetic) in it: of a
    run's output not the other half, of a reserve what its manifest lists. Raises `ConfigError`
    where an input can't be read twice, or is given in both roles.
    """
    shards: list[Shard] = []
    skipped: list[str] = []
    given: tuple[tuple[Role, Sequence[str]], ...] = ((HUMAN, human), (SYNTHETIC, synthetic))
    for role, inputs in given:
        for found in _surveyed(inputs, role, output):
            shards += found.shards
            skipped += found.skipped
    _check(shards)
    return Discovery(tuple(sorted(shards, key=lambda shard: shard.name)), tuple(skipped))


def _surveyed(inputs: Sequence[str], role: Role, output: Path) -> Iterator[Discovery]:
    if not inputs:
        return
    spelled = list(dict.fromkeys(path for given in inputs for path in _expanded(given, role)))
    if not spelled:
        return
    found = survey(spelled, output=output)
    named = tuple(replace(shard, name=f"{role}/{shard.name}") for shard in found.shards)
    yield replace(found, shards=named)


def _expanded(given: str, role: Role) -> list[str]:
    """The input itself; of an output directory of lowbg, its files of the role."""
    root = Path(given)
    if "://" in given or not (root / MANIFEST).is_file():
        return [given]
    return [str(path) for path in listed_of_kind(root, KINDS[role])]


def _check(shards: Sequence[Shard]) -> None:
    seen: dict[str, Role] = {}
    for shard in shards:
        if not shard.resumable:
            raise ConfigError(
                f"{shard.path}: a mix reads its inputs more than once, and this can be read only "
                "once. Save it to a file."
            )
        path = shard.path if "://" in shard.path else os.path.realpath(shard.path)
        if seen.setdefault(path, role_of(shard)) != role_of(shard):
            raise ConfigError(f"{shard.path}: is given both as human and as synthetic")
