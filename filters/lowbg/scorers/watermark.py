"""Watermarks that the user's own models leave in their text, found with the user's own keys.

KGW (Kirchenbauer et al. 2023) through transformers' `WatermarkDetector`, each n-gram counted once;
SynthID-Text (Dathathri et al. 2024) by the mean of transformers' g-values, which without a
watermark are fair coin flips. Needs the extra `lm`; torch is imported by `setup` and not before.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lowbg.config import WatermarkSettings
from lowbg.errors import ConfigError, ModelError, cause
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer
from lowbg.scorers.lm import extras
from lowbg.scorers.lm.store import ModelFolder, locate

WATERMARK_Z = Column(
    "watermark_z",
    pa.float32(),
    unit="standard deviations",
    meaning="how far the watermark's keyed statistic lies above that of text without it",
    null="fewer tokens than the watermark needs",
    order=220,
)
WATERMARK_P = Column(
    "watermark_p",
    pa.float32(),
    unit="0 … 1",
    meaning="probability of such a statistic, or a higher one, without the watermark",
    null="as watermark_z",
    order=220,
)

_KEYS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "kgw": (("hashing_key",), ("greenlist_ratio", "seeding_scheme", "context_width")),
    "synthid": (
        ("keys", "ngram_len"),
        ("sampling_table_size", "sampling_table_seed", "context_history_size"),
    ),
}
"""The keys of a file by scheme: those that it must have, and those that it may."""

_SYNTHID_DEFAULTS: Final = {
    "sampling_table_size": 1 << 16,
    "sampling_table_seed": 0,
    "context_history_size": 1024,
}

ZScore = Callable[[Any], float]
"""z of one document's token ids (int64 tensor, 1 × tokens); NaN where there are too few."""


def _of(path: Path) -> str:
    """How messages name a file of keys."""
    return f"`extras.watermark={path}`"


def read_keys(path: Path) -> dict[str, Any]:
    """The scheme, tokenizer and keys in a file.

    Raises `ConfigError`, which names file and key, where it can't be read or used.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{_of(path)}: cannot be read as TOML ({cause(error)})") from error
    scheme = str(values.get("scheme"))
    if scheme not in _KEYS:
        raise ConfigError(f"{_of(path)}: scheme is {scheme!r}; it must be kgw or synthid")
    needed, optional = _KEYS[scheme]
    needed = ("scheme", "tokenizer", *needed)
    missing = [key for key in needed if key not in values]
    if missing:
        what = "the tokenizer of the model that wrote" if missing[0] == "tokenizer" else "the key"
        raise ConfigError(f"{_of(path)}: {missing[0]} is missing ({what}, as it was set)")
    unknown = sorted(set(values) - {*needed, *optional})
    if unknown:
        known = ", ".join((*needed, *optional))
        raise ConfigError(f"{_of(path)}: unknown key {unknown[0]!r}; there are {known}")
    return values


class Watermark(Scorer):
    """The scorer `watermark`; without a file of keys it only says what it is."""

    name = "watermark"
    version = 1
    columns: tuple[Column, ...] = (WATERMARK_Z, WATERMARK_P)
    min_words = 1
    settings = WatermarkSettings

    def __init__(self, settings: WatermarkSettings | None) -> None:
        self._path = settings.keys if settings is not None else None
        self._tokenizer: Any = None
        self._z: ZScore | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The file's name → a digest of it; a slow one, so that keys can't be guessed from it.

        The tokenizer, too: → SHA-256 over its files.
        """
        if self._path is None:
            return {}
        path = self._file()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{_of(path)}: {error.strerror}") from error
        digest = hashlib.scrypt(content, salt=b"lowbg watermark", n=1 << 14, r=8, p=1, dklen=32)
        tokenizer = self._folder(read_keys(path))
        return {
            f"watermark {path.name}": digest.hex(),
            f"watermark-tokenizer {tokenizer.label}": tokenizer.sha256(weights=False),
        }

    def _folder(self, values: Mapping[str, Any], *, fetch: bool = False) -> ModelFolder:
        option = f"{_of(self._file())}: tokenizer"
        return locate(str(values["tokenizer"]), option, fetch=fetch, weights=False)

    def _file(self) -> Path:
        if self._path is None:
            raise ConfigError("scorer 'watermark' needs keys: `extras.watermark=…`")
        return Path(self._path)

    def prepare(self) -> None:
        """Checks the keys, and that the extra is installed; downloads a tokenizer by name."""
        values = read_keys(self._file())
        for module in ("torch", "transformers"):
            extras.load(module, extra="lm", wanted_by="`extras.watermark`")
        self._folder(values, fetch=True)

    def setup(self) -> None:
        """Loads the tokenizer and makes the detector, once."""
        path = self._file()
        if self._z is not None:
            return
        values = read_keys(path)
        transformers = extras.load("transformers", extra="lm", wanted_by="`extras.watermark`")
        folder = self._folder(values)
        common = {"trust_remote_code": False, "local_files_only": True, **folder.loading}
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, **common)
            config = transformers.AutoConfig.from_pretrained(folder.path, **common)
        except (OSError, ValueError, KeyError, ImportError) as error:
            why = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{_of(path)}: no tokenizer and config.json at {folder.label!r} ({why})"
            ) from error
        if not self._tokenizer("Hello, world", add_special_tokens=False)["input_ids"]:
            raise ModelError(f"{_of(path)}: {folder.label!r} has no tokenizer in it")
        given = {k: v for k, v in values.items() if k not in ("scheme", "tokenizer")}
        make = _kgw if values["scheme"] == "kgw" else _synthid
        try:
            self._z = make(transformers, config.get_text_config(), given)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"{_of(path)}: {error}") from error

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """z and p; null where the text has fewer tokens than the watermark needs."""
        self.setup()
        assert self._z is not None
        z = np.full(len(documents), np.nan)
        for i, text in enumerate(documents.text.to_pylist()):
            ids = self._tokenizer(
                text, add_special_tokens=False, return_tensors="pt", verbose=False
            )["input_ids"]
            z[i] = self._z(ids.long().reshape(1, -1))
        missing = np.isnan(z)
        z = np.where(missing, 0.0, z)
        p = np.array([0.5 * math.erfc(value / math.sqrt(2.0)) for value in z])
        return {
            WATERMARK_Z.name: pa.array(z.astype(np.float32), mask=missing),
            WATERMARK_P.name: pa.array(p.astype(np.float32), mask=missing),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_tokenizer": None, "_z": None}


def _kgw(transformers: Any, config: Any, keys: Mapping[str, Any]) -> ZScore:
    settings = transformers.WatermarkingConfig(**keys)
    settings.validate()
    detector = transformers.WatermarkDetector(
        model_config=config,
        device="cpu",
        watermarking_config=settings,
        ignore_repeated_ngrams=True,
    )

    def z(ids: Any) -> float:
        # The detector leaves out a start token, and needs a token after the context.
        if ids.shape[1] <= settings.context_width + 1:
            return math.nan
        return float(detector(ids, return_dict=True).z_score[0])

    return z


def _synthid(transformers: Any, config: Any, keys: Mapping[str, Any]) -> ZScore:
    processor = transformers.SynthIDTextWatermarkLogitsProcessor(
        **{**_SYNTHID_DEFAULTS, **keys}, device="cpu"
    )
    depth = len(keys["keys"])

    def z(ids: Any) -> float:
        if ids.shape[1] < processor.ngram_len:
            return math.nan
        # A context that comes again gets the same coin flips again: it is counted once.
        mask = processor.compute_context_repetition_mask(ids)[0].bool()
        flips = int(mask.sum()) * depth
        if not flips:
            return math.nan
        heads = float(processor.compute_g_values(ids)[0][mask].sum())
        return (heads - flips / 2) / math.sqrt(flips / 4)

    return z


def create(models: Mapping[str, ModelFile], settings: WatermarkSettings | None = None) -> Watermark:
    """The scorer; it uses none of the embedded models."""
    return Watermark(settings)
