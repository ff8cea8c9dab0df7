"""Texts → log-odds under probes of one causal LM. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmDtype, LmSettings
from lowbg.errors import ConfigError
from lowbg.scorers.lm.models import CausalModel, device_of_this_process
from lowbg.scorers.lm.probes import Probe, check_model, check_surprise
from lowbg.scorers.lm.sample import check_reads
from lowbg.scorers.lm.shipped import serving
from lowbg.scorers.lm.states import StateReader, fast_dtype
from lowbg.scorers.lm.store import ModelFolder, locate


@dataclass(frozen=True, slots=True)
class ProbeRead:
    """`log_odds` (nats, NaN where a document has no token) and `tokens` read, one entry each.

    `surprise` is documents × `SURPRISE`, and `evenness` what the probe makes of it; NaN where
    it isn't read.
    """

    log_odds: NDArray[np.float64]
    tokens: NDArray[np.int64]
    surprise: NDArray[np.float64]
    evenness: NDArray[np.float64]


class LogOddsReader:
    """Reads texts of one language: their log-odds by a probe. `tokens` counts what it read."""

    def __init__(self, reader: ProbeReader, probe: Probe) -> None:
        self._reader, self.probe = reader, probe
        self.tokens = 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds, AI against human (nats), of each text; NaN without any token."""
        read = self._reader.judge(texts, self.probe)
        self.tokens += int(read.tokens.sum())
        return read.log_odds


def reader_of(settings: LmSettings, language: str) -> LogOddsReader:
    """What reads texts of a language, by the probe that the settings name, or the one that comes
    with lowbg for the model.

    Raises `ConfigError` where neither serves the language; as `ProbeReader`, and as `locate`.
    """
    probe = serving(settings, language)
    reader = ProbeReader(locate(settings.model, "`extras.lm.model`"), [probe], settings)
    return LogOddsReader(reader, probe)


class ProbeReader:
    """A model, cut after the layer that its probes need, with those probes; whole where its
    surprise is read, too.

    Raises `ConfigError` where a probe is another model's, has another width, or weighs no surprise
    where that is asked for.
    """

    def __init__(self, folder: ModelFolder, probes: Sequence[Probe], settings: LmSettings) -> None:
        check_model(probes, folder)
        if settings.surprise:
            check_surprise(probes, "`extras.lm.surprise`")
        device = device_of_this_process(settings.device)
        dtype = settings.dtype
        if dtype is LmDtype.AUTO:
            dtype = fast_dtype(device)
            if probes[0].of.dtype == LmDtype.FLOAT32.value:
                dtype = LmDtype.FLOAT32
        model = CausalModel(folder, device, dtype, settings.context)
        check_reads(model)
        for probe in probes:
            if probe.of.tokenizer != model.token_digest():
                raise ConfigError(
                    f"{probe.path}: the tokenizer of {folder.label} cuts text differently from the "
                    "one that the probe was fitted with; give the model's own"
                )
        layers = sorted({probe.of.layer for probe in probes})
        self._reader = StateReader(
            *(model, layers, probes[0].of.tokens, settings.batch_tokens),
            surprise=settings.surprise,
        )
        self._place = {layer: k for k, layer in enumerate(layers)}
        for probe in probes:
            if len(probe.weights) != self._reader.width:
                raise ConfigError(
                    f"{probe.path}: of states of {len(probe.weights)} numbers; those of "
                    f"{folder.label} have {self._reader.width}"
                )

    def parts(self, text: str, probe: Probe) -> tuple[str, NDArray[np.int64], NDArray[np.float64]]:
        """What `probe` makes of a text, token by token: the text as it is read, where each token
        ends in it, and what each adds to the log-odds (nats). With `probe.intercept` they come to
        them.
        """
        read, ends, states = self._reader.token_states(text)
        own = states[:, self._place[probe.of.layer]].astype(np.float64)
        nats = ((own - probe.mean) / probe.scale * probe.weights).sum(axis=1)
        return read, ends, nats / max(1, len(ends))

    def judge(self, texts: Sequence[str], probe: Probe) -> ProbeRead:
        """What `probe` says of each text."""
        states, tokens, surprise = self._reader.read(texts)
        log_odds = probe.log_odds(states[:, self._place[probe.of.layer]])
        # Numbers that ran over (float16) leave nothing that can be trusted of their document.
        said = (tokens > 0) & np.isfinite(log_odds)
        evenness = np.full(len(texts), np.nan)
        if probe.surprise is not None:
            evenness = probe.surprise.evenness(surprise)
        return ProbeRead(np.where(said, log_odds, np.nan), tokens, surprise, evenness)
