"""SynthID-Text's Bayesian detector: how probable a watermark is, given a text's g-values.

Dathathri et al. 2024, "Scalable watermarking for identifying large language model outputs", its
supplement on the Bayesian score; parameters as transformers' `BayesianDetectorModel` saves them. In
layer l two tokens of a tournament differ with probability σ(β_l + Σ_{k<l} δ_lk g_k), given the
g-values of the layers before it, and then the one with g = 1 wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lowbg.errors import ModelError
from lowbg.scorers.lm import extras
from lowbg.storage.files import file_digest

Floats = NDArray[np.float64]

_NAMES = ("likelihood_model_watermarked.beta", "likelihood_model_watermarked.delta", "prior")
FILE = "model.safetensors"
"""The file of parameters in a folder that transformers saved; its other file may hold the keys."""

STEPS = 400
RIDGE = 0.01
"""On δ: without it a fit on few documents learns them by heart."""


class Bayesian(Struct, frozen=True):
    """The detector's parameters: `beta` (layers), `delta` (layers × layers, of which what lies
    below the diagonal counts), and the `prior` probability of a watermark.
    """

    beta: Floats
    delta: Floats
    prior: float

    def log_odds(self, g_values: Floats) -> float:
        """ln P(watermark | g) / P(none | g) of a text's counted tokens × layers of 0 and 1."""
        prior = min(max(self.prior, 1e-5), 1 - 1e-5)
        differ = 1.0 / (1.0 + np.exp(-(g_values @ np.tril(self.delta, -1).T + self.beta)))
        likelihood = 0.5 * ((g_values + 0.5) * differ + 1.0 - differ)
        told = np.log(np.maximum(likelihood, 1e-30)) - math.log(0.5)
        return math.log(prior) - math.log(1.0 - prior) + float(told.sum())

    def posterior(self, g_values: Floats) -> float:
        """P(watermark | g), in 0 … 1."""
        log_odds = self.log_odds(g_values)
        return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0

    def save(self, folder: Path) -> None:
        """Writes the parameters, and no key, into a folder; `BayesianDetectorModel` reads them,
        given the number of layers.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = (self.beta[None, None], self.delta[None, None], np.array([self.prior]))
        own = {name: array.astype(np.float32) for name, array in zip(_NAMES, arrays, strict=True)}
        save_file(own, folder / FILE)


def open_bayesian(path: Path) -> tuple[Bayesian, str]:
    """The parameters in a safetensors file, or in the folder of one, and its SHA-256 (hex).

    Raises `ModelError` where there are none, or none of such a detector.
    """
    file = path / FILE if path.is_dir() else path
    try:
        arrays = load_file(file)
        beta, delta, prior = (arrays[name].astype(np.float64) for name in _NAMES)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"{file}: no parameters of a Bayesian detector, as transformers' "
            f"BayesianDetectorModel.save_pretrained writes them ({error})"
        ) from error
    layers = beta.size
    sound = delta.size == layers**2 and prior.size == 1
    if not sound or not all(np.isfinite(array).all() for array in (beta, delta, prior)):
        raise ModelError(f"{file}: its parameters fit no Bayesian detector, or aren't finite")
    found = Bayesian(beta.reshape(-1), delta.reshape(layers, layers), float(prior[0]))
    return found, file_digest(file)


def fit(marked: Sequence[Floats], unmarked: Sequence[Floats]) -> Bayesian:
    """The parameters that tell texts with the watermark from texts without it.

    Each text is its counted tokens × layers of g-values. The cross-entropy of the texts' posteriors
    is made least, as in transformers' own training, with a ridge on δ. Hundreds of texts of either
    kind, as long as those to be judged, make a detector. Raises `ValueError` without both kinds.
    """
    if not marked or not unmarked:
        raise ValueError("a detector is fitted on texts with the watermark and without it")
    torch: Any = extras.load("torch", extra="lm", wanted_by="`extras.watermark`")
    texts = [*marked, *unmarked]
    g_values = torch.from_numpy(np.concatenate(texts)).float()
    owner = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(text) for text in texts]))
    label = torch.tensor([1.0] * len(marked) + [0.0] * len(unmarked))
    layers = g_values.shape[1]
    beta = torch.full((layers,), -2.5, requires_grad=True)
    delta = torch.zeros((layers, layers), requires_grad=True)
    prior = torch.tensor(0.0, requires_grad=True)
    optimiser = torch.optim.Adam([beta, delta, prior], 0.05)
    for _ in range(STEPS):
        optimiser.zero_grad()
        differ = torch.sigmoid(g_values @ torch.tril(delta, -1).T + beta)
        told = torch.log((g_values + 0.5) * differ + 1.0 - differ).sum(1)
        log_odds = torch.zeros(len(texts)).index_add(0, owner, told) + prior
        loss = torch.nn.functional.binary_cross_entropy_with_logits(log_odds, label)
        (loss + RIDGE * (delta**2).sum()).backward()
        optimiser.step()
    return Bayesian(
        beta.detach().double().numpy(),
        np.tril(delta.detach().double().numpy(), -1),
        float(torch.sigmoid(prior.detach())),
    )
