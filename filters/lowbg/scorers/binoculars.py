"""Binoculars: how surprising a text is to one LM, over how surprising another LM's guesses are.

It reads each document once with both models, so it also has the figures of `causal_lm` under the
observer. Hans et al. 2024, "Spotting LLMs With Binoculars".
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from lowbg.config import Extras
from lowbg.errors import ConfigError
from lowbg.models import ModelFile
from lowbg.schema import BINOCULARS, Column
from lowbg.scorers.base import Documents
from lowbg.scorers.causal_lm import CausalLm, nullable
from lowbg.scorers.lm.store import ModelFolder, locate


class Binoculars(CausalLm):
    """The scorer `binoculars`: the columns of `causal_lm`, and the ratio."""

    name = "binoculars"
    version = 1
    columns: tuple[Column, ...] = (*CausalLm.columns, BINOCULARS)

    def _folders(self, *, fetch: bool = False) -> tuple[ModelFolder, ...]:
        observer = super()._folders(fetch=fetch)
        if self._settings is None:
            return observer
        if self._settings.performer is None:
            raise ConfigError("scorer 'binoculars' needs a second model: --lm-performer MODEL")
        return (*observer, locate(self._settings.performer, "--lm-performer", fetch=fetch))

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null below two tokens."""
        figures = self._read(documents)
        return {**self._columns(figures), BINOCULARS.name: nullable(figures.binoculars)}


def configured(settings: Extras) -> Binoculars:
    """The scorer with these settings."""
    return Binoculars(settings.lm)


def create(models: Mapping[str, ModelFile]) -> Binoculars:
    """The scorer without models; it uses none of the embedded ones."""
    return Binoculars(None)
