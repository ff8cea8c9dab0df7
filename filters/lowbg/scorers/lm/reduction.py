"""From logits to the figures of a token, in float32, a chunk of tokens at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import torch

_log = logging.getLogger(__name__)

Reduce: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def reduce_logits(
    logits: torch.Tensor, tokens: torch.Tensor, other: torch.Tensor | None
) -> torch.Tensor:
    """The figures (`figures.FIGURES`) of tokens, tokens × 5, from their logits.

    `logits` (tokens × vocabulary, float32) are the model's before each token, `tokens` (int64)
    those that came. `other` are a second model's logits for the cross-entropy; without them it is
    NaN. Everything is measured from the largest logit, which keeps the variance exact.
    """
    z = logits - logits.amax(-1, keepdim=True)
    own = z.gather(1, tokens[:, None])
    rank = (z > own).sum(-1) + 1
    weights = z.exp()
    total = weights.sum(-1)
    log_total = total.log()
    mean = _dot(weights, z) / total
    if other is None:
        cross = torch.full_like(mean, float("nan"))
    else:
        cross = other.logsumexp(-1) - _dot(weights, other) / total
    variance = _dot(weights * z, z) / total - mean * mean
    return torch.stack(
        [log_total - own[:, 0], rank.float().log(), log_total - mean, variance, cross], -1
    )


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Row by row; no product as large as its factors is made."""
    product: torch.Tensor = torch.linalg.vecdot(a, b)
    return product


def reduction_on(device: torch.device) -> Reduce:
    """The reduction for a device: fused into few passes over the logits where that pays.

    On a GPU it is compiled: there, memory traffic decides, and the plain form reads the logits
    some ten times. Where compiling fails (Triton needs a C compiler), the plain form is used.
    """
    if device.type != "cuda":
        return reduce_logits
    return _CompiledReduction()


class _CompiledReduction:
    def __init__(self) -> None:
        self._reduce: Reduce = torch.compile(reduce_logits, dynamic=True)

    def __call__(
        self, logits: torch.Tensor, tokens: torch.Tensor, other: torch.Tensor | None
    ) -> torch.Tensor:
        try:
            return self._reduce(logits, tokens, other)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self._reduce is reduce_logits:
                raise
            why = str(error).split("\n", 1)[0]
            _log.warning("the reduction of logits can't be compiled, it runs slower (%s)", why)
            self._reduce = reduce_logits
            return reduce_logits(logits, tokens, other)
