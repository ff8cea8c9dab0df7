"""Perplexity under a user's own KenLM model, computed as CCNet does.

10 ^ (−Σ log₁₀ P / Σ (words + 1)) over the lines of a document, a line's end being a word. With a
SentencePiece model the words are its pieces of the whole text, which is one line then. Wenzek et
al. 2020, "CCNet". Needs the extra `kenlm`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lowbg.config import KenlmSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents, Scorer
from lowbg.scorers.lm import extras
from lowbg.storage.files import file_digest

KENLM_PERPLEXITY = Column(
    "kenlm_perplexity",
    pa.float32(),
    unit="per token",
    meaning="perplexity under the user's KenLM model, as CCNet computes it; a sentence end a line",
    null="no text left to score",
    order=210,
)

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("„“”«»「」《》", '"'),
        **dict.fromkeys("´’", "'"),
        **dict.fromkeys("，、", ","),
        **dict.fromkeys("∶：", ":"),
        **dict.fromkeys("–━►", "-"),
        **dict(zip("。？！（）；～〈〉【】％", ".?!();~<>[]%", strict=True)),
        "—": " - ",
        "．": ". ",
        "…": "...",
    }
)
"""Punctuation as CCNet spells it, for models that were trained on text spelt so."""
_DIGIT = re.compile(r"\d")
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_LOG10 = 38.0


def normalise(text: str) -> str:
    """`text` as CCNet gives it to its models: lower case, without accents and control characters
    (line ends among them), every digit 0, punctuation in ASCII.
    """
    text = unicodedata.normalize("NFD", text.strip().lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    return _UNPRINTED.sub("", _DIGIT.sub("0", text).translate(_PLAIN))


class Kenlm(Scorer):
    """The scorer `kenlm`; without settings it only says what it is."""

    name = "kenlm"
    version = 1
    columns: tuple[Column, ...] = (KENLM_PERPLEXITY,)
    min_words = 1
    settings = KenlmSettings

    def __init__(self, settings: KenlmSettings | None) -> None:
        self._settings = settings
        self._model: Any = None
        self._pieces: Any = None

    @property
    def models(self) -> Mapping[str, str]:
        """The files' roles and names → SHA-256."""
        return {f"{role} {path.name}": _sha256(path) for role, path in self._paths()}

    def _asked(self) -> KenlmSettings:
        if self._settings is None:
            raise ConfigError("scorer 'kenlm' needs a model: `extras.kenlm.model=…`")
        return self._settings

    def _paths(self) -> list[tuple[str, Path]]:
        """The files, each with what it is for, as manifests call it."""
        if self._settings is None:
            return []
        named = (
            ("kenlm", self._settings.model),
            ("kenlm-sentencepiece", self._settings.sentencepiece),
        )
        return [(role, Path(path)) for role, path in named if path is not None]

    def prepare(self) -> None:
        """Checks that the extra is installed and the files are there."""
        settings = self._asked()
        extras.load("kenlm", extra="kenlm", wanted_by="`extras.kenlm.model`")
        if settings.sentencepiece is not None:
            extras.load("sentencepiece", extra="kenlm", wanted_by="`extras.kenlm.sentencepiece`")
        for role, path in self._paths():
            if not path.is_file():
                takes = "`extras.kenlm.sentencepiece` takes a .model file"
                if role == "kenlm":
                    takes = "`extras.kenlm.model` takes a .bin or .arpa file"
                raise ConfigError(f"{path}: no such file; {takes}")

    def setup(self) -> None:
        """Loads the model, once."""
        settings = self._asked()
        if self._model is not None:
            return
        kenlm = extras.load("kenlm", extra="kenlm", wanted_by="`extras.kenlm.model`")
        try:
            config = kenlm.Config()
            config.show_progress = False
            config.arpa_complain = kenlm.ARPALoadComplain.NONE
            model = kenlm.Model(settings.model, config)
        except (OSError, RuntimeError) as error:
            why = " ".join(str(error).split())[:300]
            raise ModelError(f"{settings.model}: cannot be loaded by KenLM ({why})") from error
        if settings.sentencepiece is not None:
            self._pieces = _pieces_of(settings.sentencepiece)
        self._model = model

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """`kenlm_perplexity`; null where no word is left."""
        self.setup()
        values = np.full(len(documents), np.nan)
        for i, text in enumerate(documents.text.to_pylist()):
            lines = self._lines(text)
            if any(lines):
                log10 = sum(self._model.score(" ".join(words)) for words in lines)
                per_word = -log10 / sum(len(words) + 1 for words in lines)
                values[i] = 10.0 ** min(per_word, _MAX_LOG10)
        missing = np.isnan(values)
        filled = np.where(missing, 0.0, values).astype(np.float32)
        return {KENLM_PERPLEXITY.name: pa.array(filled, mask=missing)}

    def _lines(self, text: str) -> list[list[str]]:
        """The words of each line."""
        prepare = normalise if self._asked().normalise else str
        if self._pieces is not None:
            return [self._pieces.encode(prepare(text), out_type=str)]
        return [prepare(line).split() for line in text.split("\n")]

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings, "_model": None, "_pieces": None}


def _pieces_of(path: str) -> Any:
    sentencepiece = extras.load(
        "sentencepiece", extra="kenlm", wanted_by="`extras.kenlm.sentencepiece`"
    )
    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: cannot be loaded by SentencePiece ({why})") from error


@functools.cache
def _sha256(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def create(models: Mapping[str, ModelFile], settings: KenlmSettings | None = None) -> Kenlm:
    """The scorer; it uses none of the embedded models."""
    return Kenlm(settings)
