"""Binoculars: how surprising a text is to one LM, over how surprising another LM's guesses are.

It reads each document once with both models, so it also has the figures of `causal_lm` under the
observer. Hans et al. 2024, "Spotting LLMs With Binoculars".
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents
from lowbg.scorers.causal_lm import NO_TOKENS, CausalLm, nullable
from lowbg.scorers.lm.store import ModelFolder, locate

BINOCULARS = Column(
    "binoculars",
    pa.float32(),
    meaning="log-perplexity under the observer over its cross-perplexity with the performer; "
    "low is AI",
    null=f"{NO_TOKENS}, or no performer",
    order=200,
)


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
            raise ConfigError("scorer 'binoculars' needs a second model: `extras.lm.performer=…`")
        return (*observer, locate(self._settings.performer, "`extras.lm.performer`", fetch=fetch))

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null below two tokens."""
        figures = self._read(documents)
        return {**self._columns(figures), BINOCULARS.name: nullable(figures.binoculars)}


def create(models: Mapping[str, ModelFile], settings: LmSettings | None = None) -> Binoculars:
    """The scorer; it uses none of the embedded models."""
    return Binoculars(settings)
