"""A baseline as a file: the profile, and all that a later check must have in common with it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

import lowbg
from lowbg.errors import ConfigError
from lowbg.jobs.drift.holdout import HoldOut
from lowbg.jobs.drift.measure import REPLICATES
from lowbg.jobs.drift.profile import Distribution, Figure, Profile
from lowbg.jobs.drift.settings import Size
from lowbg.report.render_json import render_json
from lowbg.runs.engine import Engine, policy_digest
from lowbg.storage.files import write_whole

SCHEMA: Final = "lowbg-drift-baseline/1"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a profile depends on beside the corpus: two compare only where all of it is the same.

    `models` are SHA-256 by name, `scorers` versions by name.
    """

    version: str
    models: Mapping[str, str]
    scorers: Mapping[str, int]
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


def write_baseline(
    path: Path, profile: Profile, conditions: Conditions, inputs: tuple[str, ...]
) -> None:
    """Writes the file whole or not at all. Raises `OutputError` where the system refuses."""
    value = {
        "schema": SCHEMA,
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "inputs": list(inputs),
        "conditions": asdict(conditions),
        "sample": asdict(profile.size),
        "documents_seen": profile.seen,
        "figures": figures_json(profile),
        "tail_from": profile.tail_from,
        "distributions": {
            name: {
                "names": list(d.names),
                "counts": [int(count) for count in d.counts],
                "noise": d.noise,
            }
            for name, d in profile.distributions.items()
        },
        "holdout": None if profile.holdout is None else _holdout_json(profile.holdout),
    }
    write_whole(path, render_json(value))


def figures_json(profile: Profile) -> dict[str, dict[str, float | None]]:
    """Every figure with its interval, as plain JSON values."""
    return {name: asdict(figure) for name, figure in profile.figures.items()}


def read_baseline(path: Path) -> Baseline:
    """A stored baseline. Raises `ConfigError` where there is none, or something else."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; lowbg drift baseline INPUT -o FILE makes one"
        ) from error
    try:
        value = orjson.loads(data)
        found = value["schema"] if isinstance(value, dict) else None
        if found != SCHEMA:
            raise ConfigError(f"{path}: not a drift baseline that this version reads ({SCHEMA})")
        profile = Profile(
            size=Size(**value["sample"]),
            seen=int(value["documents_seen"]),
            figures={name: Figure(**figure) for name, figure in value["figures"].items()},
            distributions={
                name: Distribution(
                    tuple(d["names"]), np.array(d["counts"], np.float64), float(d["noise"])
                )
                for name, d in value["distributions"].items()
            },
            holdout=None if value["holdout"] is None else _read_holdout(value["holdout"]),
            tail_from=value["tail_from"],
        )
        conditions = Conditions(**value["conditions"])
        inputs = tuple(str(given) for given in value["inputs"])
        digest = hashlib.sha256(data).hexdigest()
        return Baseline(profile, conditions, str(value["made"]), inputs, digest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: not a drift baseline, or a damaged one ({error!r})") from error


def _holdout_json(holdout: HoldOut) -> dict[str, Any]:
    return {
        "words": _packed(holdout.words),
        "starts": holdout.starts.tolist(),
        "openings": _packed(holdout.openings),
        "log_likelihoods": holdout.log_likelihoods.tolist(),
        "training_error": holdout.training_error,
    }


def _read_holdout(value: Mapping[str, Any]) -> HoldOut:
    words, openings = _unpacked(value["words"]), _unpacked(value["openings"])
    starts = np.array(value["starts"], np.int64)
    log_likelihoods = np.array(value["log_likelihoods"], np.float64)
    documents = len(starts) - 1
    if starts[-1] != len(words) or {len(log_likelihoods), len(openings)} != {documents}:
        raise ValueError("its hold-out doesn't add up")
    return HoldOut(words, starts, openings, log_likelihoods, float(value["training_error"]))


def _packed(hashes: NDArray[np.uint64]) -> str:
    """Hashes as little-endian 64-bit integers in base64."""
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode("ascii")


def _unpacked(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<u8").astype(np.uint64)
