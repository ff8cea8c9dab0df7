"""What scorers that run a causal LM have in common: settings, the model's files, its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.scorers.base import Scorer, SecondLook
from lowbg.scorers.lm import extras, gguf_loading
from lowbg.scorers.lm.store import ModelFolder, locate

ROLES = ("lm", "lm-performer")
"""What a model is for, as the options call it."""


TOKENS_A_WORD = 1.35
"""Of English under SmolLM2's tokenizer; what a budget in tokens is planned by."""


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

    def identity(self) -> str:
        """Of models, their roles, and the context.

        The type of numbers isn't among it: it moves figures by less than documents differ.
        """
        context = self._settings.context if self._settings is not None else None
        text = f"{' '.join(self.models.values())} {context or ''}"
        return hashlib.sha256(text.encode()).hexdigest()

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
