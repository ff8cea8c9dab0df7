"""Log-odds, AI against human, of what a causal LM represents of a document's beginning.

A linear probe on the mean hidden state of a middle layer, over the first tokens alone. It carries
over to kinds of AI text that nobody showed it, where words and surprise don't
(`benchmarks/neural/unseen_kinds.py`). A probe belongs to one model and to the languages that it was
fitted in. Needs the extra `lm`; torch is imported by `setup` and not before. It reads the text
without its layout (`scorers/lm/plain.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.errors import ConfigError
from lowbg.models import ModelFile
from lowbg.scorers.base import Column, Documents
from lowbg.scorers.causal_lm import nullable
from lowbg.scorers.lm import extras
from lowbg.scorers.lm.probes import Probe, check_model, check_surprise, open_probes
from lowbg.scorers.lm.scorer import LM_MODELS, PROBE_ROLE, SURPRISE, LmScorer, spelled

if TYPE_CHECKING:
    from lowbg.scorers.lm.reading import ProbeReader

LM_PROBE_LOG_ODDS = Column(
    "lm_probe_log_odds",
    pa.float32(),
    unit="nats",
    meaning="log-odds, AI against human, of a linear probe on the LM's mean hidden state over the "
    "document's first tokens",
    null="not read by the LM, no token, or in a language that the probe doesn't serve",
    order=200,
)
_NOT_READ = "not asked for, too few tokens, or in a language that the probe doesn't serve"

LM_EVENNESS = Column(
    "lm_evenness",
    pa.float32(),
    unit="standard deviations",
    meaning="how little the tokens that a probe read surprise the LM, against human text: high "
    "curvature, low ranks, and no token much less likely than the others",
    null=_NOT_READ,
    order=200,
)


def _figure(name: str, meaning: str) -> Column:
    return Column(
        f"lm_start_{name}", pa.float32(), unit="nats", meaning=meaning, null=_NOT_READ, order=200
    )


LM_START = (
    _figure("surprisal", "mean surprisal of the tokens that a probe read"),
    _figure("surprisal_deviation", "standard deviation of their surprisal"),
    _figure("log_rank", "their mean ln rank"),
    _figure("entropy", "mean entropy of the LM's predictions of them"),
    _figure("curvature", "their analytic curvature, a token's: it doesn't grow with their number"),
)
"""A column for each of `surprise.SURPRISE`."""

LM_PROBE_TOKENS = Column(
    "lm_probe_tokens",
    pa.int64(),
    unit="tokens",
    meaning="tokens that the LM read for the probe",
    null="not read by it",
    in_row=False,
    order=200,
)

OPTION = "`extras.lm.probe`"


class ProbeParts(Struct, frozen=True):
    """How log-odds come about: `intercept` and the `nats` of every token come to them.

    `text` is what was read, without layout; a token ends at the character of it that is its entry
    of `ends`.
    """

    text: str
    ends: NDArray[np.int64]
    nats: NDArray[np.float64]
    intercept: float


class LmProbe(LmScorer):
    """The scorer `lm_probe`."""

    name = "lm_probe"
    version = 1
    columns: tuple[Column, ...] = (
        LM_PROBE_LOG_ODDS,
        LM_EVENNESS,
        *LM_START,
        LM_MODELS,
        LM_PROBE_TOKENS,
    )
    tokens_column = LM_PROBE_TOKENS.name

    def __init__(self, settings: LmSettings | None) -> None:
        super().__init__(settings)
        if settings is not None and not settings.surprise:
            self.columns = (LM_PROBE_LOG_ODDS, LM_MODELS, LM_PROBE_TOKENS)
        self._probes: tuple[Probe, ...] | None = None
        self._reader: ProbeReader | None = None

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes that are given; each belongs to the model."""
        if self._settings is None or self._settings.probe is None:
            return ()
        if self._probes is None:
            path = Path(self._settings.probe).expanduser()
            self._probes = open_probes(path, OPTION)
        return self._probes

    @property
    def languages(self) -> frozenset[str]:
        """The languages that the probes serve."""
        return frozenset(code for probe in self.probes for code in probe.languages)

    @property
    def models(self) -> Mapping[str, str]:
        """The model → SHA-256 over its files; the probes → theirs."""
        own = {f"{PROBE_ROLE} {probe.path.name}": probe.sha256 for probe in self.probes}
        return {**super().models, **own}

    def expected_tokens(self, words: NDArray[np.float64]) -> NDArray[np.float64]:
        """About how many tokens it reads of documents of so many words: of long ones no more."""
        most = max((probe.of.tokens for probe in self.probes), default=0)
        return np.minimum(super().expected_tokens(words), most)

    @property
    def reads_surprise(self) -> bool:
        """Whether the model's surprise is read, too."""
        return self._settings is not None and self._settings.surprise

    @property
    def made_of(self) -> tuple[str, ...]:
        """The model, the probes, and whether surprise is read: a probe says how many tokens are."""
        return (*spelled(self.models), *([SURPRISE] if self.reads_surprise else []))

    def prepare(self) -> None:
        """Downloads the model, unless it is here; checks the extra, and that the probe is its."""
        if self._asked().probe is None:
            raise ConfigError(f"scorer {self.name!r} needs a probe: {OPTION}")
        self.probes  # noqa: B018 - a probe that can't be read is no reason to fetch a model
        super().prepare()
        check_model(self.probes, self._folders()[0])
        if self.reads_surprise:
            check_surprise(self.probes, "`extras.lm.surprise`")

    def setup(self) -> None:
        """Loads as much of the model as the probe needs, once."""
        if self._reader is not None:
            return
        settings = self._asked()
        module: Any = extras.load(
            "lowbg.scorers.lm.reading", extra="lm", wanted_by="`extras.lm.model`"
        )
        self._reader = module.ProbeReader(self._folders()[0], self.probes, settings)

    def score(self, documents: Documents) -> Mapping[str, pa.Array]:
        """The columns; null where no probe serves the document's language."""
        self.setup()
        assert self._reader is not None
        log_odds = np.full(len(documents), np.nan)
        tokens = np.zeros(len(documents), np.int64)
        surprise = np.full((len(documents), len(LM_START)), np.nan)
        evenness = np.full(len(documents), np.nan)
        for probe in self.probes:
            codes = [
                k for k, code in enumerate(documents.language_codes) if code in probe.languages
            ]
            own = np.flatnonzero(np.isin(documents.languages, codes))
            if len(own):
                texts = documents.text.take(pa.array(own)).to_pylist()
                read = self._reader.judge(texts, probe)
                log_odds[own], tokens[own] = read.log_odds, read.tokens
                surprise[own], evenness[own] = read.surprise, read.evenness
        found = {
            LM_PROBE_LOG_ODDS.name: nullable(log_odds),
            LM_EVENNESS.name: nullable(evenness),
            **{column.name: nullable(surprise[:, k]) for k, column in enumerate(LM_START)},
            LM_MODELS.name: self.said_by(len(documents)),
            LM_PROBE_TOKENS.name: pa.array(tokens, mask=tokens == 0),
        }
        return {column.name: found[column.name] for column in self.columns}

    def parts(self, text: str, language: str | None) -> ProbeParts | None:
        """What the probe of a language makes of a text, token by token; null where there is none,
        and where it reads no token.
        """
        probe = next((probe for probe in self.probes if language in probe.languages), None)
        if probe is None:
            return None
        self.setup()
        assert self._reader is not None
        read, ends, nats = self._reader.parts(text, probe)
        return ProbeParts(read, ends, nats, probe.intercept) if len(ends) else None

    def __getstate__(self) -> dict[str, Any]:
        # A process loads its own copy, onto its own device.
        return {**self.__dict__, "_reader": None}


def create(models: Mapping[str, ModelFile], settings: LmSettings | None = None) -> LmProbe:
    """The scorer; it uses none of the embedded models."""
    return LmProbe(settings)
