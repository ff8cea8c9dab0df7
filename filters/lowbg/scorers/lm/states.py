"""What a causal LM represents of a document: the mean hidden state after some of its layers.

The forward pass ends after the last layer that is asked for; neither the layers above it nor the
head are run or kept, unless the model's surprise is asked for, too. Importing this module imports
torch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lowbg.config import LmDtype
from lowbg.errors import ModelError
from lowbg.scorers.lm.inference import LOGIT_BYTES
from lowbg.scorers.lm.models import CausalModel, Encoded
from lowbg.scorers.lm.packing import plan
from lowbg.scorers.lm.plain import plain
from lowbg.scorers.lm.reduction import reduction_on
from lowbg.scorers.lm.surprise import SURPRISE, sum_up
from lowbg.stopping import STOP

_log = logging.getLogger(__name__)

BATCH_TOKENS = 65_536
"""Tokens in a batch on a GPU, padding included."""

_PORTION = 64
"""Documents that are tokenised at a time."""

_Pass: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Rows × layers × width, and rows × `SURPRISE`."""

CHARACTERS_A_TOKEN = 24
"""No more of a text than this for each token is tokenised: most of a long one is never read."""


def fast_dtype(device: torch.device) -> LmDtype:
    """bfloat16 where the device multiplies such matrices itself, else float32."""
    if device.type == "cuda":
        return LmDtype.BFLOAT16 if torch.cuda.is_bf16_supported() else LmDtype.FLOAT32
    has_bf16: Callable[[], bool] = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return LmDtype.BFLOAT16 if device.type == "cpu" and has_bf16() else LmDtype.FLOAT32


class StatesRead(NamedTuple):
    """What was read of documents: `states` (documents × layers × width, zeros where a document has
    no token), `tokens` read of each, and `surprise` (documents × `SURPRISE`, NaN where it wasn't
    asked for, or a document has too few tokens).
    """

    states: NDArray[np.float32]
    tokens: NDArray[np.int64]
    surprise: NDArray[np.float64]


class StateReader:
    """Reads the mean state after each of `layers` over the first `tokens` tokens of documents.

    Layer k is the state after k of the model's layers, as Hugging Face's `hidden_states[k]`.
    On a CPU every document is a pass of its own, in one of as many threads as torch has: its state
    doesn't depend, not even by a rounding, on what is read with it, nothing is padded, and no
    thread waits for another within a pass. On a GPU documents alike in length share a pass of at
    most `budget` tokens. With `surprise` the whole model is run, its head included.
    """

    def __init__(
        self,
        model: CausalModel,
        layers: Sequence[int],
        tokens: int,
        budget: int | None = None,
        *,
        surprise: bool = False,
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.tokens = min(tokens, model.context)
        self.read_tokens = 0
        self._budget = budget if budget is not None else BATCH_TOKENS
        self._surprise = surprise
        self._reduce = reduction_on(model.device)
        deepest = max(self.layers)
        self._stack = model.layer_list(deepest) if surprise else model.cut_after(deepest)
        self._own = threading.local()
        for layer in self.layers:
            self._stack[layer - 1].register_forward_hook(self._keep(layer))

    @property
    def width(self) -> int:
        """Entries of a state."""
        return int(self.model.width)

    def _keep(self, layer: int) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self._own.seen[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    def read(self, texts: Sequence[str]) -> StatesRead:
        """What is read of each text. Raises `ModelError` where memory doesn't suffice for one."""
        states = np.zeros((len(texts), len(self.layers), self.width), np.float32)
        lengths = np.zeros(len(texts), np.int64)
        surprise = np.full((len(texts), len(SURPRISE)), np.nan)
        for places, encoded in self._encoded(texts):
            lengths[places] = [len(one.ids) for one in encoded]
            batches = self._batches(lengths[places])
            ids = [[encoded[k].ids for k in rows.tolist()] for rows in batches]
            for rows, found in zip(batches, self._passes(ids), strict=True):
                states[places[rows]], surprise[places[rows]] = found
        self.read_tokens += int(lengths.sum())
        return StatesRead(states, lengths, surprise)

    def token_states(self, text: str) -> tuple[str, NDArray[np.int64], NDArray[np.float32]]:
        """What is read of one document: its text without layout, the place in it where each token
        ends, and tokens × layers × width.
        """
        read = plain(text, CHARACTERS_A_TOKEN * self.tokens)
        (encoded,) = self.model.encode([read], self.tokens)
        if not len(encoded.ids):
            empty = np.zeros((0, len(self.layers), self.width), np.float32)
            return read, encoded.ends, empty
        self._own.seen = {}
        with torch.inference_mode():
            self.model.hidden(torch.from_numpy(encoded.ids[None]).to(self.model.device))
        seen = [self._own.seen[layer][0].float().cpu().numpy() for layer in self.layers]
        self._own.seen = {}
        return read, encoded.ends, np.stack(seen, 1)

    def _encoded(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], list[Encoded]]]:
        most = CHARACTERS_A_TOKEN * self.tokens
        size = _PORTION if self.model.device.type == "cpu" else 64 * _PORTION
        for start in range(0, len(texts), size):
            own = texts[start : start + size]
            encoded = self.model.encode([plain(text, most) for text in own], self.tokens)
            yield np.arange(start, start + len(own)), encoded

    def _batches(self, lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        full = np.flatnonzero(lengths)
        if self.model.device.type == "cpu":
            return [full[k : k + 1] for k in range(len(full))]
        return [full[rows] for rows in plan(lengths[full], self._budget)]

    def _passes(self, batches: Sequence[Sequence[NDArray[np.int64]]]) -> Iterator[_Pass]:
        """The result of every batch, in order."""
        threads = min(torch.get_num_threads(), len(batches))
        if self.model.device.type != "cpu" or threads < 2:
            yield from map(self._pass, batches)
            return
        # The number is a thread's own: the caller keeps its.
        with ThreadPoolExecutor(threads, "lowbg-lm", torch.set_num_threads, (1,)) as pool:
            yield from pool.map(self._pass, batches)

    def _pass(self, ids: Sequence[NDArray[np.int64]]) -> _Pass:
        """What is read of one batch; halves it where memory runs out."""
        STOP.check()
        try:
            return self._run(ids)
        except (torch.OutOfMemoryError, MemoryError) as error:
            if len(ids) == 1:
                raise ModelError(
                    f"{self.model.label}: memory doesn't suffice for {len(ids[0]):,} tokens at "
                    "once; use a smaller model"
                ) from error
        torch.cuda.empty_cache()
        half = len(ids) // 2
        _log.warning("memory ran out; going on with %d documents a batch", half)
        self._budget = max(1, self._budget // 2)
        first, second = self._pass(ids[:half]), self._pass(ids[half:])
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])

    def _run(self, ids: Sequence[NDArray[np.int64]]) -> _Pass:
        device = self.model.device
        longest = max(len(one) for one in ids)
        padded = np.zeros((len(ids), longest), np.int64)
        inside = np.zeros((len(ids), longest), np.bool_)
        for row, one in enumerate(ids):
            padded[row, : len(one)] = one
            inside[row, : len(one)] = True
        own = torch.from_numpy(inside).to(device)[..., None]
        self._own.seen = {}
        with torch.inference_mode():
            # Rows are padded on their right: no token sees what follows it, and no mask is needed.
            hidden = self.model.hidden(torch.from_numpy(padded).to(device))
            surprise = self._surprise_of(hidden, ids)
            count = own.sum(1)
            means = [
                torch.where(own, self._own.seen[layer].float(), 0.0).sum(1) / count
                for layer in self.layers
            ]
            result: NDArray[np.float32] = torch.stack(means, 1).cpu().numpy()
        self._own.seen = {}
        return result, surprise

    def _surprise_of(
        self, hidden: torch.Tensor, ids: Sequence[NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        """Rows × `SURPRISE`, from what logits are made of (rows × length × …)."""
        found = np.full((len(ids), len(SURPRISE)), np.nan)
        if not self._surprise:
            return found
        kind = "cuda" if self.model.device.type == "cuda" else "cpu"
        chunk = max(16, LOGIT_BYTES[kind] // (4 * self.model.vocabulary))
        for row, one in enumerate(ids):
            tokens = torch.from_numpy(one[1:]).to(self.model.device)
            parts = [
                self._reduce(
                    self.model.logits(hidden[row, at : min(at + chunk, len(tokens))]),
                    tokens[at : at + chunk],
                    None,
                )
                for at in range(0, len(tokens), chunk)
            ]
            if parts:
                found[row] = sum_up(torch.cat(parts).cpu().numpy())
        return found
