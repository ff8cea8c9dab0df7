"""Where a language model's files lie, and which ones they are.

A model is a local folder, or a name on the Hugging Face Hub with an optional revision:
`gpt2`, `Qwen/Qwen2.5-0.5B@060db64`. A folder never causes a request. Weights are safetensors;
pickled ones are refused, and no code of a model's repository is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm import extras
from lowbg.storage.files import file_digest

_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_PATTERNS = ("*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt")
"""Files that a model is made of, at the top of its folder: weights, configuration, tokenizer."""


MIN_DISTINCT = 64
"""Fewer different values among the one-dimensional weights tell no model apart."""

_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has left in the place of another."""

_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"})
"""Files that a tokenizer can be read from; any of them will do."""

_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How weights of each type are read; bfloat16 as its bits, since NumPy has none."""

_MAX_HEADER = 100 << 20


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model's files on this machine.

    `label` names it in manifests and reports: the folder's name, or the Hub's name with the
    commit that it was resolved to.
    """

    path: Path
    label: str

    def files(self) -> list[Path]:
        """The files that influence what the model says, by name."""
        found = {path for pattern in _PATTERNS for path in self.path.glob(pattern)}
        return sorted(path for path in found if path.is_file())

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the one-dimensional weights in bfloat16, whatever they are called.

        Those are norms and biases: quantising leaves them as they are, and training on moves them.
        So every form of one model's weights has the same. Empty where they tell no model apart
        (hardly any differ, as before training), and where the files can't be read so.
        """
        state = tuple(
            (path, path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.files()
            if path.suffix == ".safetensors"
        )
        return fingerprint_of(state)

    def sha256(self, *, weights: bool = True) -> str:
        """SHA-256 (hex) over names and contents of `files`; read once a process.

        Without `weights` over those of the tokenizer and the configuration alone.
        """
        lines = []
        for path in self.files():
            if not weights and path.suffix == ".safetensors":
                continue
            state = path.stat()
            lines.append(f"{path.name} {_file_sha256(path, state.st_size, state.st_mtime_ns)}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@functools.cache
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_digest(path)


@functools.cache
def fingerprint_of(files: Sequence[tuple[Path, int, int]]) -> str:
    """See `ModelFolder.fingerprint`; `files` are the weights' (path, size, time), by name."""
    digests = []
    values: set[int] = set()
    for path, size, _ in files:
        try:
            vectors = _vectors(path, size)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ""
        for vector in vectors:
            values.update(np.unique(vector).tolist())
            digests.append(hashlib.sha256(vector.tobytes()).hexdigest())
    if len(values) < MIN_DISTINCT:
        return ""
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def _vectors(path: Path, size: int) -> list[NDArray[np.uint16]]:
    """The bits, as bfloat16, of a safetensors file's one-dimensional weights; others are skipped.

    Raises `ValueError` or `KeyError` for a file that is none.
    """
    found = []
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < min(size, _MAX_HEADER):
            raise ValueError("no header")
        header = json.loads(file.read(length))
        for name, entry in header.items():
            kind = _TYPES.get(entry.get("dtype", "")) if name != "__metadata__" else None
            if kind is None or len(entry["shape"]) != 1:
                continue
            start, end = entry["data_offsets"]
            file.seek(8 + length + start)
            found.append(_as_bfloat16(np.frombuffer(file.read(end - start), kind)))
    return found


def _as_bfloat16(vector: NDArray[Any]) -> NDArray[np.uint16]:
    """The upper halves of float32, rounded to even; bits that are bfloat16 stay."""
    if vector.dtype == np.dtype("<u2"):
        return vector.astype(np.uint16)
    bits = vector.astype("<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def locate(model: str, option: str, *, fetch: bool = False, weights: bool = True) -> ModelFolder:
    """The folder of `model`; with `fetch`, one that isn't on this machine yet is downloaded.

    `option` names the option in messages. Without `weights` configuration and tokenizer are
    enough, and weights are not downloaded. Raises `ConfigError` for a name that is neither a folder
    nor one that the Hub could have, and `ModelError` where its files aren't there or aren't
    safetensors.
    """
    path = Path(model).expanduser()
    if model and path.is_dir():
        return _checked(ModelFolder(path.resolve(), path.resolve().name), model, weights=weights)
    near = _near(path)
    if near is not None:
        raise ConfigError(f"{option} {model}: no such folder; did you mean {near}?")
    name, _, revision = model.partition("@")
    if path.exists() or model.startswith((".", "/", "~")) or not _HUB_NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {model}: no such folder. Give a folder with config.json, tokenizer.json and "
            "*.safetensors, or a model's name on the Hugging Face Hub."
        )
    patterns = _PATTERNS if weights else _PATTERNS[1:]
    path = _from_hub(name, revision or None, option, patterns, fetch=fetch)
    return _checked(ModelFolder(path, f"{name}@{path.name}"), model, weights=weights)


def _near(path: Path) -> Path | None:
    """The folder beside it that a name was meant for, if one is called nearly so; null without.

    Of a name of one part, which may well be the Hub's, only one that differs in case, - or _.
    """
    parent = path.parent
    if not parent.is_dir():
        return None
    folders = {
        each.name.lower().replace("_", "-"): each for each in parent.iterdir() if each.is_dir()
    }
    wanted = path.name.lower().replace("_", "-")
    if wanted in folders or len(path.parts) == 1:
        return folders.get(wanted)
    close = get_close_matches(wanted, folders, 1, cutoff=0.7)
    return folders[close[0]] if close else None


def _from_hub(
    name: str, revision: str | None, option: str, patterns: Sequence[str], *, fetch: bool
) -> Path:
    hub = extras.load("huggingface_hub", extra="lm", wanted_by=option)
    try:
        return Path(
            hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*"],
                local_files_only=not fetch,
            )
        )
    except (OSError, ValueError, RuntimeError, hub.errors.HfHubHTTPError) as error:
        why = str(error).strip().split("\n", 1)[0]
        raise ModelError(
            f"{option} {name}: it can't be had from the Hugging Face Hub or its cache ({why}). "
            f"On a machine with a network run: hf download {name}"
            f"{f' --revision {revision}' if revision else ''}; or give a local folder."
        ) from error


def _checked(folder: ModelFolder, model: str, *, weights: bool) -> ModelFolder:
    names = {path.name for path in folder.path.iterdir()}
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelError(
            f"{model}: an adapter, no whole model. Merge it into its base model "
            "(model.merge_and_unload() of peft) and save that with save_pretrained"
        )
    if "config.json" not in names:
        raise ModelError(f"{model}: no config.json in {folder.path}; it is no model's folder")
    if weights and not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt")))
        only = f"only {pickled[0]}, " if pickled else ""
        raise ModelError(
            f"{model}: no *.safetensors in {folder.path} ({only}and lowbg loads no pickled "
            "weights). Save the model with save_pretrained(…, safe_serialization=True)."
        )
    for path in sorted(folder.path.glob("*.safetensors")) if weights else ():
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise ModelError(
                    f"{path}: a pointer of Git LFS, the weights aren't here; run git lfs pull"
                )
    if not names & _TOKENIZERS:
        raise ModelError(
            f"{model}: no tokenizer.json in {folder.path}; save the tokenizer there, too: "
            "tokenizer.save_pretrained(…)"
        )
    return folder
