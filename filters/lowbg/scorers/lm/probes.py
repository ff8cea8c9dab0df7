"""Probes: what a linear model makes of the mean hidden state of one causal LM, in which languages.

A probe is a safetensors file of a few hundred numbers (`weights`, `mean`, `scale`, and `intercept`)
whose metadata says which model, layer and tokens it was fitted on, and on which text. It holds for
that model alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ConfigError, ModelError
from lowbg.models import open_model, save_arrays
from lowbg.scorers.lm.store import ModelFolder
from lowbg.scorers.lm.surprise import NAMES, SURPRISE, SurpriseWeights

KIND = "lm_probe"
"""What the metadata of such a file calls it."""

FORMAT = 1
"""Bumped when the arrays or metadata of a probe change meaning."""

ARRAYS = ("intercept", "mean", "scale", "weights")
"""What every probe's file holds; that of one which weighs surprise holds `surprise.NAMES`, too."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ProbeOf:
    """What a probe reads, and how.

    `model` is the SHA-256 over the model's files; `fingerprint` that over the weights which no
    quantisation changes (`store.ModelFolder.fingerprint`), empty where they tell no model apart;
    `tokenizer` that over the tokens of sample text. `label` is what the model was called. The state
    is that after `layer` of its layers, over the first `tokens` tokens, in numbers of the type
    `dtype`.
    """

    model: str
    tokenizer: str
    label: str
    layer: int
    tokens: int
    dtype: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear probe. Its log-odds are ((state − mean) / scale) · weights + intercept, in nats.

    It serves `languages` alone. `surprise` weighs how the model is surprised; null where the probe
    doesn't. `card` says what it was fitted on, under which licences, and what
    it finds of kinds that were left out.
    """

    of: ProbeOf
    languages: tuple[str, ...]
    weights: Floats
    mean: Floats
    scale: Floats
    intercept: float
    card: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path()
    sha256: str = ""
    surprise: SurpriseWeights | None = None

    def log_odds(self, states: Floats) -> NDArray[np.float64]:
        """Log-odds, AI against human (nats), of documents × width."""
        own = (states.astype(np.float64) - self.mean) / self.scale
        # Row by row: a matrix product rounds a document by how many stand beside it.
        return np.asarray((own * self.weights).sum(axis=1) + self.intercept)

    def save(self, path: Path) -> str:
        """Writes it and returns the file's SHA-256 (hex); equal probes give equal bytes."""
        arrays = {
            "weights": self.weights,
            "mean": self.mean,
            "scale": self.scale,
            "intercept": np.array([self.intercept], np.float32),
        }
        if self.surprise is not None:
            own = self.surprise
            arrays |= dict(zip(NAMES, (own.mean, own.scale, own.weights), strict=True))
        of = {name: getattr(self.of, name) for name in ProbeOf.__slots__}
        metadata = {
            "kind": KIND,
            "format": FORMAT,
            "of": of,
            "languages": list(self.languages),
            "card": dict(self.card),
        }
        return save_arrays(path, arrays, metadata)


def open_probe(path: Path) -> Probe:
    """The probe in a file. Raises `ModelError` where it is none, or is damaged."""
    found = open_model(path)
    made = found.metadata.get("kind"), found.metadata.get("format")
    if made != (KIND, FORMAT):
        raise ModelError(
            f"{path}: no probe of format {FORMAT}, but {made[0] or 'tables'!s} of format "
            f"{made[1]!r}; lowbg train with `probe` makes one"
        )
    arrays = found.arrays
    whole = sorted(arrays) == sorted((*ARRAYS, *NAMES))
    if sorted(arrays) != list(ARRAYS) and not whole:
        raise ModelError(f"{path}: holds {', '.join(sorted(arrays))}; a probe has {ARRAYS}")
    width = arrays["weights"].shape
    shapes = {"intercept": (1,), **dict.fromkeys(NAMES, (len(SURPRISE),))}
    for name, array in sorted(arrays.items()):
        shape = shapes.get(name, width)
        if array.dtype != np.float32 or array.shape != shape or array.ndim != 1:
            raise ModelError(f"{path}: {name} is {array.shape} {array.dtype}, no float32 {shape}")
        if not np.isfinite(array).all() or ("scale" in name and not (array > 0).all()):
            raise ModelError(f"{path}: {name} has numbers that can't be; it is damaged")
    try:
        of = ProbeOf(**found.metadata["of"])
        languages = tuple(map(str, found.metadata["languages"]))
        card = dict(found.metadata["card"])
        sound = of.layer >= 1 and of.tokens >= 1 and bool(languages)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its metadata is no probe's ({error!r})") from error
    if not sound:
        raise ModelError(f"{path}: layer, tokens or languages are missing from its metadata")
    return Probe(
        of=of,
        languages=languages,
        weights=arrays["weights"],
        mean=arrays["mean"],
        scale=arrays["scale"],
        intercept=float(arrays["intercept"][0]),
        card=card,
        path=path,
        sha256=found.sha256,
        surprise=SurpriseWeights(*(arrays[name] for name in NAMES)) if whole else None,
    )


def open_probes(path: Path, option: str) -> tuple[Probe, ...]:
    """The probes of a file, or of all `*.safetensors` of a directory, by name.

    `option` names the option in messages. Raises `ConfigError` where there are none, and where two
    serve one language or want different tokens; `ModelError` as `open_probe`.
    """
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise ConfigError(f"{option} {path}: no *.safetensors in it; lowbg train makes them")
    elif path.exists():
        files = [path]
    else:
        raise ConfigError(f"{option} {path}: no such file or directory")
    probes = tuple(open_probe(file) for file in files)
    serves: dict[str, Path] = {}
    for probe in probes:
        if (probe.of.tokens, probe.of.dtype) != (probes[0].of.tokens, probes[0].of.dtype):
            raise ConfigError(
                f"{option}: {probes[0].path} and {probe.path} read different numbers of tokens or "
                "types of numbers; give one of them"
            )
        for code in probe.languages:
            if code in serves:
                raise ConfigError(
                    f"{option}: {serves[code]} and {probe.path} are both for {code!r}; keep one"
                )
            serves[code] = probe.path
    return probes


def check_model(probes: Sequence[Probe], folder: ModelFolder) -> None:
    """Raises `ConfigError` unless every probe was fitted on the model in `folder`.

    The same files are, and so is another form of the same weights (quantised or of another type).
    """
    for probe in probes:
        if probe.of.model == folder.sha256():
            continue
        if not probe.of.fingerprint or probe.of.fingerprint != folder.fingerprint():
            raise ConfigError(
                f"{probe.path}: a probe of {probe.of.label} (SHA-256 {probe.of.model[:12]}), and "
                f"the model given is {folder.label} ({folder.sha256()[:12]}); give that model, or "
                "make a probe of this one: lowbg train with `probe`"
            )


def check_surprise(probes: Sequence[Probe], option: str) -> None:
    """Raises `ConfigError` unless every probe weighs surprise; `option` is what asked for it."""
    for probe in probes:
        if probe.surprise is None or not probe.card.get("surprise"):
            raise ConfigError(
                f"{option}: {probe.path} was made without surprise; make it again with lowbg train "
                "and the same option"
            )


def logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of AI that log-odds stand for, where both labels are as frequent."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -math.log(1e15), math.log(1e15)))))
