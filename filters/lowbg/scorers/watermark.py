"""Watermarks that the user's own models leave in their text, found with the user's own keys.

KGW (Kirchenbauer et al. 2023) through transformers' `WatermarkDetector`, each n-gram counted once;
SynthID-Text (Dathathri et al. 2024) by the mean of transformers' g-values, which without a
watermark are fair coin flips, and by the Bayesian detector where its parameters are given. Needs
the extra `lm`; torch is imported by `setup` and not before. A key is in no message.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lowbg.config import WatermarkSettings
from lowbg.errors import ConfigError, ModelError, cause
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer
from lowbg.scorers.causal_lm import nullable
from lowbg.scorers.lm import extras
from lowbg.scorers.lm.store import ModelFolder, locate
from lowbg.scorers.lm.synthid import Bayesian, Floats, fit, open_bayesian

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
WATERMARK_POSTERIOR = Column(
    "watermark_posterior",
    pa.float32(),
    unit="0 … 1",
    meaning="probability of the watermark by SynthID's Bayesian detector",
    null="as watermark_z, another watermark, or no parameters of a detector",
    order=220,
)

_KEYS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "kgw": (("hashing_key",), ("greenlist_ratio", "seeding_scheme", "context_width")),
    "synthid": (
        ("keys", "ngram_len"),
        ("sampling_table_size", "sampling_table_seed", "context_history_size", "detector"),
    ),
}
"""The keys of a file by scheme: those that it must have, and those that it may."""

_SYNTHID_DEFAULTS: Final = {
    "sampling_table_size": 1 << 16,
    "sampling_table_seed": 0,
    "context_history_size": 1024,
}

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("scheme", "tokenizer", "detector", "seeding_scheme"), str),
    "greenlist_ratio": (int, float),
    "keys": list,
}
"""What a key's value is; where nothing is said, a whole number."""

Detect = Callable[[Any], tuple[float, float]]
"""z and posterior of one document's token ids (int64 tensor, 1 × tokens); NaN where there are too
few, and where there is no Bayesian detector."""


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
    for key, value in values.items():
        kind = _TYPES.get(key, int)
        several = value if kind is list and isinstance(value, list) else [value]
        right = all(
            isinstance(one, int if kind is list else kind) and not isinstance(one, bool)
            for one in several
        )
        if not right or not several or isinstance(value, list) != (kind is list):
            what = (
                "string" if kind is str else "list of whole numbers" if kind is list else "number"
            )
            raise ConfigError(f"{_of(path)}: {key} is no {what}, as it must be")
    return values


def _hidden(text: str, values: Mapping[str, Any]) -> str:
    """`text` without the keys of a file."""
    secret = [values.get("hashing_key"), *values.get("keys", ())]
    for key in sorted((str(key) for key in secret if key is not None), key=len, reverse=True):
        text = text.replace(key, "***")
    return text


class Watermark(Scorer):
    """The scorer `watermark`; without a file of keys it only says what it is."""

    name = "watermark"
    version = 1
    columns: tuple[Column, ...] = (WATERMARK_Z, WATERMARK_P, WATERMARK_POSTERIOR)
    min_words = 1
    settings = WatermarkSettings

    def __init__(self, settings: WatermarkSettings | None) -> None:
        self._path = settings.keys if settings is not None else None
        self._tokenizer: Any = None
        self._judge: Detect | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The file's name → a digest of it; a slow one, so that keys can't be guessed from it.

        The tokenizer, too: → SHA-256 over its files; and a Bayesian detector's parameters.
        """
        if self._path is None:
            return {}
        path = self._file()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{_of(path)}: {error.strerror}") from error
        digest = hashlib.scrypt(content, salt=b"lowbg watermark", n=1 << 14, r=8, p=1, dklen=32)
        values = read_keys(path)
        tokenizer = self._folder(values)
        found = {
            f"watermark {path.name}": digest.hex(),
            f"watermark-tokenizer {tokenizer.label}": tokenizer.sha256(weights=False),
        }
        if "detector" in values:
            detector = Path(values["detector"]).expanduser()
            found[f"watermark-detector {detector.name}"] = open_bayesian(detector)[1]
        return found

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
        if "detector" in values:
            open_bayesian(Path(values["detector"]).expanduser())

    def setup(self) -> None:
        """Loads the tokenizer and makes the detector, once."""
        path = self._file()
        if self._judge is not None:
            return
        values = read_keys(path)
        transformers = extras.load("transformers", extra="lm", wanted_by="`extras.watermark`")
        self._tokenizer, config = _loaded(transformers, self._folder(values), path)
        try:
            self._judge = (
                _kgw(transformers, config.get_text_config(), given_to(values))
                if values["scheme"] == "kgw"
                else _synthid(transformers, values)
            )
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            why = _hidden(str(error), values)
        else:
            return
        # Outside of the handler: what it has caught may hold the keys.
        raise ConfigError(f"{_of(path)}: {why}")

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null where the text has fewer tokens than the watermark needs."""
        self.setup()
        assert self._judge is not None
        z, posterior = np.full((2, len(documents)), np.nan)
        for i, text in enumerate(documents.text.to_pylist()):
            z[i], posterior[i] = self._judge(_ids(self._tokenizer, text))
        missing = np.isnan(z)
        z = np.where(missing, 0.0, z)
        p = np.array([0.5 * math.erfc(value / math.sqrt(2.0)) for value in z])
        return {
            WATERMARK_Z.name: pa.array(z.astype(np.float32), mask=missing),
            WATERMARK_P.name: pa.array(p.astype(np.float32), mask=missing),
            WATERMARK_POSTERIOR.name: nullable(posterior),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_tokenizer": None, "_judge": None}


def fit_detector(keys: Path, marked: Sequence[str], unmarked: Sequence[str]) -> Bayesian:
    """A Bayesian detector of SynthID's watermark under the keys of a file, from texts of the model
    that wrote with it, and others without it: hundreds of either, as long as those to be judged.

    Raises `ConfigError` for keys of another scheme, and where texts of a kind are missing;
    `ModelError` where the tokenizer isn't there.
    """
    values = read_keys(keys)
    if values["scheme"] != "synthid":
        raise ConfigError(f"{_of(keys)}: only SynthID's watermark has a Bayesian detector")
    transformers = extras.load("transformers", extra="lm", wanted_by="`extras.watermark`")
    option = f"{_of(keys)}: tokenizer"
    tokenizer, _ = _loaded(transformers, locate(values["tokenizer"], option, weights=False), keys)
    g_values = g_values_of(transformers, values)
    kinds = [
        [own for text in texts if (own := g_values(_ids(tokenizer, text))).size]
        for texts in (marked, unmarked)
    ]
    if not all(kinds):
        raise ConfigError(f"{_of(keys)}: a detector takes texts with the watermark and without it")
    return fit(*kinds)


def _loaded(transformers: Any, folder: ModelFolder, path: Path) -> tuple[Any, Any]:
    """Tokenizer and configuration of the model that wrote."""
    common = {"trust_remote_code": False, "local_files_only": True, **folder.loading}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, **common)
        config = transformers.AutoConfig.from_pretrained(folder.path, **common)
    except (OSError, ValueError, KeyError, ImportError) as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{_of(path)}: no tokenizer and config.json at {folder.label!r} ({why})"
        ) from error
    if not tokenizer("Hello, world", add_special_tokens=False)["input_ids"]:
        raise ModelError(f"{_of(path)}: {folder.label!r} has no tokenizer in it")
    return tokenizer, config


def _ids(tokenizer: Any, text: str) -> Any:
    """The tokens of a text: int64 tensor, 1 × tokens."""
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt", verbose=False)
    return ids["input_ids"].long().reshape(1, -1)


def given_to(values: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers is given of a file of keys."""
    own = ("scheme", "tokenizer", "detector")
    return {key: value for key, value in values.items() if key not in own}


def _kgw(transformers: Any, config: Any, keys: Mapping[str, Any]) -> Detect:
    settings = transformers.WatermarkingConfig(**keys)
    settings.validate()
    detector = transformers.WatermarkDetector(
        model_config=config,
        device="cpu",
        watermarking_config=settings,
        ignore_repeated_ngrams=True,
    )

    def judge(ids: Any) -> tuple[float, float]:
        # The detector leaves out a start token, and needs a token after the context.
        if ids.shape[1] <= settings.context_width + 1:
            return math.nan, math.nan
        return float(detector(ids, return_dict=True).z_score[0]), math.nan

    return judge


def g_values_of(transformers: Any, values: Mapping[str, Any]) -> Callable[[Any], Floats]:
    """What gives the g-values of a document's token ids (int64 tensor, 1 × tokens) under the keys.

    Counted tokens × layers, 0 or 1. A context that comes again gets the same coin flips again: it
    is counted once.
    """
    processor = transformers.SynthIDTextWatermarkLogitsProcessor(
        **{**_SYNTHID_DEFAULTS, **given_to(values)}, device="cpu"
    )
    none = np.empty((0, len(values["keys"])))

    def g_values(ids: Any) -> Floats:
        if ids.shape[1] < processor.ngram_len:
            return none
        mask = processor.compute_context_repetition_mask(ids)[0].bool()
        found: Floats = processor.compute_g_values(ids)[0][mask].double().numpy()
        return found

    return g_values


def _synthid(transformers: Any, values: Mapping[str, Any]) -> Detect:
    g_values = g_values_of(transformers, values)
    bayesian = None
    if "detector" in values:
        bayesian = open_bayesian(Path(values["detector"]).expanduser())[0]
        if len(bayesian.beta) != len(values["keys"]):
            raise ValueError(
                f"detector is of {len(bayesian.beta)} layers, and there are {len(values['keys'])} "
                "keys; it was fitted with others"
            )

    def judge(ids: Any) -> tuple[float, float]:
        own = g_values(ids)
        if not own.size:
            return math.nan, math.nan
        z = (float(own.sum()) - own.size / 2) / math.sqrt(own.size / 4)
        return z, bayesian.posterior(own) if bayesian is not None else math.nan

    return judge


def create(models: Mapping[str, ModelFile], settings: WatermarkSettings | None = None) -> Watermark:
    """The scorer; it uses none of the embedded models."""
    return Watermark(settings)
