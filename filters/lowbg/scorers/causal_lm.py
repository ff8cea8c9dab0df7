"""Perplexity, ranks, entropy and curvature of a document under a causal language model.

Needs the extra `lm`; torch is imported by `setup` and not before. The text is read as it is,
layout included: what the model sees is what its users compare with.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import LmSettings, is_served
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents
from lowbg.scorers.lm import extras
from lowbg.scorers.lm.figures import DocumentFigures, sum_up
from lowbg.scorers.lm.scorer import LM_MODELS, LmScorer

if TYPE_CHECKING:
    from lowbg.scorers.lm.inference import Inference
    from lowbg.scorers.lm.served import ServedModel


def served_model(settings: LmSettings) -> ServedModel:
    """The model of a server; what talks with one is imported where there is one."""
    from lowbg.scorers.lm import served

    return served.served_model(settings)


# The figures are means over tokens 2 … n, each given those before it.
NO_TOKENS = "not read by the LM, fewer than two tokens, or numbers that ran over (float16)"
LM_PERPLEXITY = Column(
    "lm_perplexity",
    pa.float32(),
    unit="per token",
    meaning="perplexity under the causal LM: exp of the mean surprisal",
    null=NO_TOKENS,
    order=200,
)
LM_LOG_RANK = Column(
    "lm_log_rank",
    pa.float32(),
    unit="nats",
    meaning="mean ln rank of the tokens among all by likelihood; the likeliest has rank 1",
    null=NO_TOKENS,
    order=200,
)
LM_ENTROPY = Column(
    "lm_entropy",
    pa.float32(),
    unit="nats",
    meaning="mean entropy of the causal LM's predictions",
    null=NO_TOKENS,
    order=200,
)
LM_LRR = Column(
    "lm_lrr",
    pa.float32(),
    meaning="mean surprisal over mean ln rank (log-likelihood log-rank ratio)",
    null=f"{NO_TOKENS}, or every token is the likeliest",
    order=200,
)
LM_CURVATURE = Column(
    "lm_curvature",
    pa.float32(),
    unit="standard deviations",
    meaning=(
        "Fast-DetectGPT's analytic conditional probability curvature, the LM as its own reference"
    ),
    null=f"{NO_TOKENS}, or no variance",
    order=200,
)
LM_SURPRISAL_SPREAD = Column(
    "lm_surprisal_spread",
    pa.float32(),
    unit="nats",
    meaning="standard deviation across sentences of their mean surprisal",
    null="not read by the LM, or fewer than two sentences",
    order=200,
)
LM_TOKENS = Column(
    "lm_tokens",
    pa.int64(),
    unit="tokens",
    meaning="tokens that the LM judged",
    null="not read by it",
    in_row=False,
    order=200,
)


class CausalLm(LmScorer):
    """The scorer `causal_lm`; without settings it only says what it is."""

    name = "causal_lm"
    version = 1
    columns: tuple[Column, ...] = (
        LM_PERPLEXITY,
        LM_LOG_RANK,
        LM_ENTROPY,
        LM_LRR,
        LM_CURVATURE,
        LM_SURPRISAL_SPREAD,
        LM_MODELS,
        LM_TOKENS,
    )
    tokens_column = LM_TOKENS.name

    def __init__(self, settings: LmSettings | None) -> None:
        super().__init__(settings)
        if settings is not None and is_served(settings.model):
            # A server gives no more of its predictions than the token's own likelihood and rank.
            self.columns = tuple(c for c in self.columns if c not in (LM_ENTROPY, LM_CURVATURE))
        self._inference: Inference | ServedModel | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The models' roles and labels → SHA-256 over their files, or over what a server says."""
        if self._settings is None or not is_served(self._settings.model):
            return super().models
        served = served_model(self._settings)
        return {f"lm {served.label} (served)": served.identity()}

    def prepare(self) -> None:
        """Downloads the model, unless it is here, and checks the extra; or asks its server."""
        if is_served(self._asked().model):
            served_model(self._asked())
        else:
            super().prepare()

    def setup(self) -> None:
        """Loads the model, once, or asks its server."""
        if self._inference is not None:
            return
        settings = self._asked()
        if is_served(settings.model):
            self._inference = served_model(settings)
            return
        module: Any = extras.load(
            "lowbg.scorers.lm.models", extra="lm", wanted_by="`extras.lm.model`"
        )
        inference: Any = extras.load(
            "lowbg.scorers.lm.inference", extra="lm", wanted_by="`extras.lm.model`"
        )
        device = module.device_of_this_process(settings.device)
        loaded = [
            module.CausalModel(folder, device, settings.dtype, settings.context)
            for folder in self._folders()
        ]
        if len(loaded) > 1:
            module.check_same_tokens(*loaded)
        sample: Any = importlib.import_module("lowbg.scorers.lm.sample")
        for model in loaded:
            sample.check_reads(model)
        self._inference = inference.Inference(*loaded, budget=settings.batch_tokens)

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null below two tokens."""
        figures = self._columns(self._read(documents))
        return {column.name: figures[column.name] for column in self.columns}

    def _columns(self, figures: DocumentFigures) -> dict[str, pa.Array]:
        return {
            LM_PERPLEXITY.name: nullable(figures.perplexity),
            LM_LOG_RANK.name: nullable(figures.log_rank),
            LM_ENTROPY.name: nullable(figures.entropy),
            LM_LRR.name: nullable(figures.lrr),
            LM_CURVATURE.name: nullable(figures.curvature),
            LM_SURPRISAL_SPREAD.name: nullable(figures.surprisal_spread),
            LM_MODELS.name: self.said_by(len(figures.tokens)),
            LM_TOKENS.name: pa.array(figures.tokens, pa.int64()),
        }

    def _read(self, documents: Documents) -> DocumentFigures:
        self.setup()
        assert self._inference is not None
        texts = documents.text.to_pylist()
        read = self._inference.read(texts)
        sentences = np.empty(len(read.ends), np.int64)
        for i, text in enumerate(texts):
            own = slice(int(read.starts[i]), int(read.starts[i + 1]))
            sentences[own] = sentences_of(documents, i, text, read.ends[own])
        return sum_up(read.figures, read.starts, sentences)

    def __getstate__(self) -> dict[str, Any]:
        # A process loads its own copy, onto its own device.
        return {**self.__dict__, "_inference": None}


def sentences_of(
    documents: Documents, i: int, text: str, ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which sentence of document i each LM token is in, by the character `ends` after it.

    What lies between two sentences belongs to the first of them.
    """
    tokens = documents.tokens
    sizes = tokens.sentences[tokens.sentence_starts[i] : tokens.sentence_starts[i + 1]]
    first_words = tokens.word_starts[i] + np.cumsum(sizes) - sizes
    begins = tokens.word_offsets[first_words].astype(np.int64) - tokens.text_starts[i]
    # Offsets in bytes → in characters: those bytes that continue a character don't count.
    data = np.frombuffer(text.encode("utf-8"), np.uint8)
    characters = np.cumsum((data & 0xC0) != 0x80)
    begins = characters[begins] - 1
    return np.maximum(np.searchsorted(begins, ends - 1, side="right") - 1, 0)


def nullable(values: NDArray[np.float64]) -> pa.Array:
    """Float32, null where NaN."""
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0.0, values).astype(np.float32), mask=missing)


def create(models: Mapping[str, ModelFile], settings: LmSettings | None = None) -> CausalLm:
    """The scorer; it uses none of the embedded models."""
    return CausalLm(settings)
