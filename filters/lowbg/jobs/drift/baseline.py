"""A baseline as a file: the profile, and all that a later check must have in common with it."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import lowbg
from lowbg.errors import ConfigError
from lowbg.jobs.drift.holdout import HoldOut
from lowbg.jobs.drift.measure import REPLICATES
from lowbg.jobs.drift.profile import Distribution, Figure, Profile
from lowbg.jobs.drift.settings import Size
from lowbg.runs.engine import Engine
from lowbg.runs.identity import policy_digest
from lowbg.storage.typed import SCHEMA_KEY, Closed, FileType, indented
from lowbg.storage.whole_files import address, read_bytes, write_whole


class Conditions(Closed, frozen=True):
    """What a profile depends on beside the corpus: two compare only where all of it is the same.

    `models` are SHA-256 by name, `scorers` versions by name.
    """

    version: str
    models: dict[str, str]
    scorers: dict[str, int]
    policy_sha256: str
    replicates: int = REPLICATES

    def differences(self, other: Conditions) -> list[str]:
        """What is another in `other`, as "what: this one, other one"."""
        found = []
        for name in ("version", "policy_sha256", "replicates"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                found.append(f"{name.replace('_sha256', '')}: {_short(ours)}, {_short(theirs)}")
        for what in ("models", "scorers"):
            ours, theirs = getattr(self, what), getattr(other, what)
            for name in sorted({*ours, *theirs}):
                if ours.get(name) != theirs.get(name):
                    found.append(
                        f"{what.removesuffix('s')} {name}: {_short(ours.get(name))}, "
                        f"{_short(theirs.get(name))}"
                    )
        return found


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text


def conditions_of(engine: Engine) -> Conditions:
    """The conditions under which `engine` measures."""
    return Conditions(
        lowbg.__version__,
        engine.model_digests(),
        engine.scorer_versions(),
        policy_digest(engine.policy),
    )


@dataclass(frozen=True, slots=True)
class Baseline:
    """A profile with its conditions; `made` is UTC in ISO 8601, `inputs` as they were given.

    `sha256` is that of the file, empty for one that isn't stored yet.
    """

    profile: Profile
    conditions: Conditions
    made: str
    inputs: tuple[str, ...]
    sha256: str = ""


class _Counted(Closed, frozen=True):
    """A `Distribution`."""

    names: tuple[str, ...]
    counts: list[int]
    noise: float


class _HeldOut(Closed, frozen=True):
    """A `HoldOut`; hashes are little-endian 64-bit integers."""

    words: bytes
    starts: list[int]
    openings: bytes
    log_likelihoods: list[float]
    training_error: float


class _Stored(
    Closed, frozen=True, kw_only=True, tag="lowbg-drift-baseline/1", tag_field=SCHEMA_KEY
):
    """A baseline without its digest; `documents_seen` is how many there were to draw from."""

    made: str
    inputs: tuple[str, ...]
    conditions: Conditions
    sample: Size
    documents_seen: int
    figures: dict[str, Figure]
    tail_from: float | None
    distributions: dict[str, _Counted]
    holdout: _HeldOut | None


BASELINE: Final[FileType[_Stored]] = FileType(
    _Stored, "a drift baseline", ConfigError,
    "Make one with lowbg drift baseline", indented,
    lambda plain: [plain["conditions"]["version"]],
)  # fmt: skip


def write_baseline(
    path: Path, profile: Profile, conditions: Conditions, inputs: tuple[str, ...]
) -> None:
    """Writes the file whole or not at all. Raises `OutputError` where the system refuses."""
    stored = _Stored(
        made=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        inputs=inputs,
        conditions=conditions,
        sample=profile.size,
        documents_seen=profile.seen,
        figures=dict(profile.figures),
        tail_from=profile.tail_from,
        distributions={
            name: _Counted(d.names, d.counts.astype(np.int64).tolist(), d.noise)
            for name, d in profile.distributions.items()
        },
        holdout=None if profile.holdout is None else _packed(profile.holdout),
    )
    write_whole(path, BASELINE.encode(stored))


def read_baseline(path: Path) -> Baseline:
    """A stored baseline. Raises `ConfigError` where there is none, or something else."""
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConfigError(f"{address(path)}: {error.strerror}. {BASELINE.advice}") from error
    stored = BASELINE.decode(data, address(path))
    profile = Profile(
        size=stored.sample,
        seen=stored.documents_seen,
        figures=stored.figures,
        distributions={
            name: Distribution(d.names, np.array(d.counts, np.float64), d.noise)
            for name, d in stored.distributions.items()
        },
        holdout=None if stored.holdout is None else _unpacked(stored.holdout, path),
        tail_from=stored.tail_from,
    )
    digest = hashlib.sha256(data).hexdigest()
    return Baseline(profile, stored.conditions, stored.made, stored.inputs, digest)


def _packed(holdout: HoldOut) -> _HeldOut:
    return _HeldOut(
        words=holdout.words.astype("<u8").tobytes(),
        starts=holdout.starts.tolist(),
        openings=holdout.openings.astype("<u8").tobytes(),
        log_likelihoods=holdout.log_likelihoods.tolist(),
        training_error=holdout.training_error,
    )


def _unpacked(stored: _HeldOut, path: Path) -> HoldOut:
    starts = np.array(stored.starts, np.int64)
    log_likelihoods = np.array(stored.log_likelihoods, np.float64)
    documents = len(starts) - 1
    sizes = (len(stored.words), len(stored.openings), len(log_likelihoods))
    if documents < 0 or sizes != (8 * starts[-1], 8 * documents, documents):
        raise ConfigError(f"{path}: holdout: damaged, its parts don't add up. {BASELINE.advice}")
    words, openings = (
        np.frombuffer(data, "<u8").astype(np.uint64) for data in (stored.words, stored.openings)
    )
    return HoldOut(words, starts, openings, log_likelihoods, stored.training_error)
