"""What scorers that run a causal LM have in common: settings, the model's files, its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.scorers.base import Column, Scorer, SecondLook
from lowbg.scorers.lm import extras, gguf_loading
from lowbg.scorers.lm.store import ModelFolder, locate

ROLES = ("lm", "lm-performer")
"""What a model is for, as the options call it."""

PROBE_ROLE = "lm-probe"

LM_MODELS = Column(
    "lm_models",
    pa.list_(pa.string()),
    meaning="the LM and its probes, each with the SHA-256 of its files, and what else decides what "
    "they say (a context, surprise)",
    null="not read by the LM",
    in_explanation=False,
    order=190,
)

_CONTEXT = "context "
SURPRISE = "surprise"

TOKENS_A_WORD = 1.35
"""Of English under SmolLM2's tokenizer; what a budget in tokens is planned by."""


def spelled(models: Mapping[str, str]) -> tuple[str, ...]:
    """Models as `LM_MODELS` has them: role, label and SHA-256."""
    return tuple(f"{name} {sha256}" for name, sha256 in models.items())


def models_of(made_of: Sequence[str]) -> dict[str, str]:
    """The models that an LM scorer is made of: role and label → SHA-256."""
    named = (part.rpartition(" ") for part in made_of if part.startswith(ROLES))
    return {name: sha256 for name, _, sha256 in named}


def identity_of(made_of: Sequence[str]) -> str:
    """The identity of the LM scorer that is made of this: what a calibration holds for."""
    digests = " ".join(models_of(made_of).values())
    if any(part.startswith(PROBE_ROLE) for part in made_of):
        text = f"{digests} {SURPRISE}" if SURPRISE in made_of else digests
    else:
        context = (part.removeprefix(_CONTEXT) for part in made_of if part.startswith(_CONTEXT))
        text = f"{digests} {next(context, '')}"
    return hashlib.sha256(text.encode()).hexdigest()


class LmScorer(Scorer):
    """A scorer over the model of `LmSettings`; without settings it only says what it is."""

    min_words = 1
    settings = LmSettings
    tokens_column: str
    """The column that counts the tokens that it read."""

    def __init__(self, settings: LmSettings | None) -> None:
        self._settings = settings

    @property
    def models(self) -> Mapping[str, str]:
        """The models' roles and labels → SHA-256 over their files."""
        return {
            f"{role} {folder.label}": folder.sha256()
            for role, folder in zip(ROLES, self._folders(), strict=False)
        }

    @property
    def second_look(self) -> SecondLook:
        """Every document, or what is selected."""
        selection = self._settings.selection if self._settings is not None else None
        return SecondLook(self.tokens_column, selection)

    def expected_tokens(self, words: NDArray[np.float64]) -> NDArray[np.float64]:
        """About how many tokens it reads of documents of so many words."""
        return TOKENS_A_WORD * words

    @property
    def made_of(self) -> tuple[str, ...]:
        """All that decides what it says, as `LM_MODELS` has it.

        The type of numbers isn't among it: it moves figures by less than documents differ.
        """
        context = self._settings.context if self._settings is not None else None
        return (*spelled(self.models), *([f"{_CONTEXT}{context}"] if context else []))

    def identity(self) -> str:
        """Of all of it."""
        return identity_of(self.made_of)

    def said_by(self, documents: int) -> pa.ListArray:
        """The column `LM_MODELS` of so many documents that it reads."""
        return pa.array([self.made_of] * documents, LM_MODELS.type)

    def _asked(self) -> LmSettings:
        if self._settings is None:
            raise ConfigError(f"scorer {self.name!r} needs a model: `extras.lm.model=…`")
        return self._settings

    def _folders(self, *, fetch: bool = False) -> tuple[ModelFolder, ...]:
        if self._settings is None:
            return ()
        return (locate(self._settings.model, "`extras.lm.model`", fetch=fetch),)

    def prepare(self) -> None:
        """Downloads the model, unless it is here; checks that the extra is installed."""
        self._asked()
        for module in ("torch", "transformers"):
            extras.load(module, extra="lm", wanted_by="`extras.lm.model`")
        for folder in self._folders(fetch=True):
            if folder.gguf:
                gguf_loading.check_extra(folder.gguf)
