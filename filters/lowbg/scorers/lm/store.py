"""Where a language model's files lie, and which ones they are.

A model is a local folder, or a name on the Hugging Face Hub with an optional revision:
`gpt2`, `Qwen/Qwen2.5-0.5B@060db64`. A folder never causes a request. Weights are safetensors;
pickled ones are refused, and no code of a model's repository is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm import extras
from lowbg.storage.files import file_digest

_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_PATTERNS = ("*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt")
"""Files that a model is made of, at the top of its folder: weights, configuration, tokenizer."""


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
    name, _, revision = model.partition("@")
    if path.exists() or model.startswith((".", "/", "~")) or not _HUB_NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {model}: no such folder. Give a folder with config.json, tokenizer.json and "
            "*.safetensors, or a model's name on the Hugging Face Hub."
        )
    patterns = _PATTERNS if weights else _PATTERNS[1:]
    path = _from_hub(name, revision or None, option, patterns, fetch=fetch)
    return _checked(ModelFolder(path, f"{name}@{path.name}"), model, weights=weights)


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
    if "config.json" not in names:
        raise ModelError(f"{model}: no config.json in {folder.path}; it is no model's folder")
    if weights and not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt")))
        only = f"only {pickled[0]}, " if pickled else ""
        raise ModelError(
            f"{model}: no *.safetensors in {folder.path} ({only}and lowbg loads no pickled "
            "weights). Save the model with save_pretrained(…, safe_serialization=True)."
        )
    return folder
