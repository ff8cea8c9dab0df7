"""Where a language model's files lie, and which ones they are.

A model is a local folder, a GGUF file, or a name on the Hugging Face Hub with an optional revision:
`gpt2`, `Qwen/Qwen2.5-0.5B@060db64`. What is here never causes a request. Weights are safetensors or
GGUF; pickled ones are refused, and no code of a model's repository is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import is_served
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm import extras, gguf_files
from lowbg.storage.files import file_digest

_log = logging.getLogger(__name__)

_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_PATTERNS = ("*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt")
"""Files that a model is made of, at the top of its folder: weights, configuration, tokenizer."""

_GGUF = ".gguf"
_WEIGHTS = (".safetensors", _GGUF)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
"""How llama.cpp calls the parts of a model that it has split."""


MIN_DISTINCT = 64
"""Fewer different values among the one-dimensional weights tell no model apart."""

_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has left in the place of another."""

_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"})
"""Files that a tokenizer can be read from; any of them will do."""

_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How weights of each type are read; bfloat16 as its bits, since NumPy has none."""

_MAX_HEADER = 100 << 20


class ModelFolder(Struct, frozen=True):
    """A model's files on this machine.

    `label` names it in manifests and reports: the folder's name, or the Hub's name with the
    commit that it was resolved to. `gguf` is the name of the file in the folder that is the whole
    model, its label without the ending; empty for a folder of safetensors.
    """

    path: Path
    label: str
    gguf: str = ""

    @property
    def loading(self) -> dict[str, str]:
        """What transformers' `from_pretrained` has to be told, beside the path."""
        return {"gguf_file": self.gguf} if self.gguf else {}

    def files(self) -> list[Path]:
        """The files that influence what the model says, by name."""
        if self.gguf:
            return [self.path / self.gguf]
        found = {path for pattern in _PATTERNS for path in self.path.glob(pattern)}
        return sorted(path for path in found if path.is_file())

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the one-dimensional weights in bfloat16, whatever they are called.

        Those are norms and biases: quantising leaves them as they are, and training on moves them.
        So every form of one model's weights has the same, GGUF too, but for models whose vectors
        llama.cpp changes (Gemma's norms). Empty where they tell no model apart (hardly any differ,
        as before training), and where the files can't be read so.
        """
        state = tuple(
            (path, path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.files()
            if path.suffix.lower() in _WEIGHTS
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
            is_gguf = path.suffix.lower() == _GGUF
            found = gguf_files.vectors(path) if is_gguf else _vectors(path, size)
            vectors = [_as_bfloat16(vector) for vector in found]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ""
        for vector in vectors:
            values.update(np.unique(vector).tolist())
            digests.append(hashlib.sha256(vector.tobytes()).hexdigest())
    if len(values) < MIN_DISTINCT:
        return ""
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def _vectors(path: Path, size: int) -> list[NDArray[Any]]:
    """A safetensors file's one-dimensional weights, of the types in `_TYPES`; others are skipped.

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
            found.append(np.frombuffer(file.read(end - start), kind))
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
    or GGUF file nor one that the Hub could have, and `ModelError` where its files aren't there, or
    are neither safetensors nor one GGUF file.
    """
    if is_served(model):
        raise ConfigError(
            f"{option} {model}: a server gives log-probabilities alone; here the files of the "
            "model are needed"
        )
    path = Path(model).expanduser()
    if model and path.is_dir():
        path = path.resolve()
        return _whole_gguf(path, model) or _checked(
            ModelFolder(path, path.name), model, weights=weights
        )
    if path.is_file():
        if path.suffix.lower() != _GGUF:
            raise ConfigError(f"{option} {model}: a file, and no GGUF file; give a model's folder")
        # A file in the Hub's cache is a link, and has its name from that alone.
        return _checked_gguf(path.parent.resolve() / path.name, model)
    near = _near(path)
    if near is not None:
        raise ConfigError(
            f"{option} {model}: no such folder{' or file' if near.is_file() else ''}; "
            f"did you mean {near}?"
        )
    name, _, revision = model.partition("@")
    if (
        path.exists()
        or model.startswith((".", "/", "~"))
        or path.suffix.lower() == _GGUF
        or not _HUB_NAME.fullmatch(name)
    ):
        raise ConfigError(
            f"{option} {model}: no such folder or file. Give a folder with config.json, "
            "tokenizer.json and *.safetensors, a GGUF file, or a model's name on the Hugging Face "
            "Hub."
        )
    if fetch and len(path.parts) > 1 and path.parent.is_dir():
        _log.warning("%s: no such folder in %s; asking the Hugging Face Hub", model, path.parent)
    patterns = _PATTERNS if weights else _PATTERNS[1:]
    path = _from_hub(name, revision or None, option, patterns, fetch=fetch)
    return _checked(ModelFolder(path, f"{name}@{path.name}"), model, weights=weights)


def _near(path: Path) -> Path | None:
    """The folder or GGUF file beside it that a name was meant for, if one is called nearly so.

    Null without. Of a name of one part, which may well be the Hub's, only one that differs in
    case, - or _.
    """
    parent = path.parent
    if not parent.is_dir():
        return None
    known = {
        each.name.lower().replace("_", "-"): each
        for each in parent.iterdir()
        if each.is_dir() or each.suffix.lower() == _GGUF
    }
    wanted = path.name.lower().replace("_", "-")
    if wanted in known or (len(path.parts) == 1 and path.suffix.lower() != _GGUF):
        return known.get(wanted)
    close = get_close_matches(wanted, known, 1, cutoff=0.7)
    return known[close[0]] if close else None


def _whole_gguf(folder: Path, model: str) -> ModelFolder | None:
    """The model that a folder's only GGUF file holds; null where it has safetensors, or none."""
    files = sorted(each for each in folder.iterdir() if each.suffix.lower() == _GGUF)
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1 and not _SPLIT.search(files[0].name):
        raise ModelError(
            f"{model}: several GGUF files ({', '.join(file.name for file in files)}); name one"
        )
    return _checked_gguf(files[0], model)


def _checked_gguf(file: Path, model: str) -> ModelFolder:
    if _SPLIT.search(file.name):
        raise ModelError(
            f"{model}: a part of a GGUF file that is split; merge the parts with llama.cpp's "
            "llama-gguf-split"
        )
    _check_no_pointer(file)
    try:
        header = gguf_files.read_header(file)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: can't be read as GGUF ({error}); it is damaged") from error
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"{file}: of type {kind!r}, no whole model")
    if "tokenizer.ggml.model" not in header.metadata:
        raise ModelError(f"{file}: has no tokenizer in it")
    return ModelFolder(file.parent, file.stem, file.name)


def _check_no_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ModelError(
                f"{path}: a pointer of Git LFS, the weights aren't here; run git lfs pull"
            )


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
            f"{option} {name}: no folder here, and it can't be had from the Hugging Face Hub or "
            f"its cache ({why}). "
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
        _check_no_pointer(path)
    if not names & _TOKENIZERS:
        raise ModelError(
            f"{model}: no tokenizer.json in {folder.path}; save the tokenizer there, too: "
            "tokenizer.save_pretrained(…)"
        )
    return folder
