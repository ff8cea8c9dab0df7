"""Documents through a causal language model: batched by length, tokenised ahead, in bounded memory.

Importing this module imports torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from lowbg.errors import ModelError
from lowbg.scorers.lm.figures import FIGURES, SURPRISAL, Read
from lowbg.scorers.lm.models import CausalModel, Encoded
from lowbg.scorers.lm.packing import Windows, cut, plan
from lowbg.scorers.lm.reduction import reduction_on
from lowbg.stopping import STOP

_log = logging.getLogger(__name__)

BATCH_TOKENS = {"cuda": 65_536, "cpu": 2_048}
"""Tokens in a batch, padding included, by kind of device."""

LOGIT_BYTES = {"cuda": 1 << 30, "cpu": 32 << 20}
"""Float32 logits that exist at a time, by kind of device."""

_BATCHES_AHEAD = 8
_BYTES_A_TOKEN = 4
_LEAST_CHUNK = 16


@dataclass(slots=True)
class Cost:
    """What was run so far: tokens of texts, tokens in batches (windows overlap, rows are padded),
    batches, and times that memory ran out.
    """

    tokens: int = 0
    padded: int = 0
    windowed: int = 0
    batches: int = 0
    out_of_memory: int = 0

    @property
    def padding_share(self) -> float:
        """Share of the batches' tokens that is padding."""
        return 1.0 - self.windowed / self.padded if self.padded else 0.0


class Inference:
    """Reads documents with an observer, and a performer if there is one.

    Both share the observer's tokens. `budget` is how many tokens a batch may have, padding
    included; it is halved whenever memory runs out, and stays so.
    """

    def __init__(
        self, observer: CausalModel, performer: CausalModel | None = None, budget: int | None = None
    ) -> None:
        self.models = (observer,) if performer is None else (observer, performer)
        self.context = min(model.context for model in self.models)
        kind = observer.device.type if observer.device.type in BATCH_TOKENS else "cpu"
        self.budget = budget if budget is not None else BATCH_TOKENS[kind]
        # Models that share a tokenizer may pad their vocabularies differently.
        self._vocabulary = min(model.vocabulary for model in self.models)
        widest = sum(model.vocabulary for model in self.models)
        self.chunk = max(_LEAST_CHUNK, LOGIT_BYTES[kind] // (4 * widest))
        self.cost = Cost()
        self._overflowed = False
        self._reduce = reduction_on(observer.device)

    def read(self, texts: Sequence[str]) -> Read:
        """The figures of every document's tokens but its first.

        They don't depend on the other documents, beyond the rounding of the matrix products.
        Raises `ModelError` where the shortest batch doesn't fit into memory.
        """
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]] | None] = [None] * len(texts)
        for documents, encoded in self._encoded(texts):
            figures = self._read(encoded)
            for i, own, tokens in zip(documents, figures, encoded, strict=True):
                parts[i] = (own, tokens.ends[1:])
        whole = [part for part in parts if part is not None]
        starts = np.cumsum([0, *(len(figures) for figures, _ in whole)])
        if not whole:
            return Read(np.empty((0, len(FIGURES)), np.float32), starts, np.empty(0, np.int64))
        return Read(
            np.concatenate([figures for figures, _ in whole]),
            starts,
            np.concatenate([ends for _, ends in whole]),
        )

    def _encoded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Encoded]]]:
        """Documents, longest first, in portions of a few batches; the next is tokenised meanwhile.

        Longest first, and each portion alike in length: so little is padded, and memory runs out
        at once or not at all.
        """
        # Bytes tell tokens best, and characters tell bytes well enough to sort by.
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
        portions: list[list[int]] = []
        room = 0
        for i in order:
            if room <= 0:
                portions.append([])
                room = _BATCHES_AHEAD * _BYTES_A_TOKEN * self.budget
            portions[-1].append(i)
            room -= len(texts[i])
        encode = self.models[0].encode
        with ThreadPoolExecutor(1, "lowbg-tokenise") as thread:
            ahead = [thread.submit(encode, [texts[i] for i in p]) for p in portions[:1]]
            for k, portion in enumerate(portions):
                encoded = ahead.pop().result()
                if k + 1 < len(portions):
                    ahead.append(thread.submit(encode, [texts[i] for i in portions[k + 1]]))
                yield portion, encoded

    def _read(self, encoded: Sequence[Encoded]) -> list[NDArray[np.float32]]:
        """The figures of tokenised documents: one array of (tokens − 1) × figures each."""
        lengths = [len(one.ids) for one in encoded]
        starts = np.cumsum([0, *(max(n - 1, 0) for n in lengths)])
        windows = cut(lengths, self.context)
        self.cost.tokens += sum(lengths)
        waiting = plan(windows.length, self.budget)
        done: list[tuple[torch.Tensor, NDArray[np.int64]]] = []
        while waiting:
            STOP.check()
            batch = _Batch.of(windows, waiting[0], encoded, starts)
            try:
                with torch.inference_mode():
                    done.append((self._run(batch), batch.places))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                left = np.concatenate(waiting)
                self._shrink(batch)
                # Longest first again: what is left is in that order already.
                waiting = [left[part] for part in plan(windows.length[left], self.budget)]
                continue
            self.cost.batches += 1
            self.cost.padded += batch.ids.size
            self.cost.windowed += int(windows.length[waiting[0]].sum())
            del waiting[0]
        figures = np.empty((int(starts[-1]), len(FIGURES)), np.float32)
        for values, places in done:
            figures[places] = values.cpu().numpy()
        self._warn_of_overflow(figures)
        return [figures[a:b] for a, b in pairwise(starts.tolist())]

    def _warn_of_overflow(self, figures: NDArray[np.float32]) -> None:
        """Says once that numbers ran over; their documents have no figures."""
        if not self._overflowed and not np.isfinite(figures[:, SURPRISAL]).all():
            self._overflowed = True
            _log.warning(
                "%s: its numbers ran over, and some documents have no figures; use "
                '`extras.lm.dtype="bfloat16"` or "float32"',
                self.models[0].label,
            )

    def _shrink(self, batch: _Batch) -> None:
        """Halves the budget and the chunk after memory ran out on `batch`."""
        rows, length = batch.ids.shape
        self.cost.out_of_memory += 1
        if rows == 1 and self.chunk <= _LEAST_CHUNK:
            raise ModelError(
                f"{self.models[0].label}: memory doesn't suffice for {length:,} tokens at once. "
                'Use `extras.lm.context` to read fewer, `extras.lm.dtype="bfloat16"`, or a '
                "smaller model."
            )
        self.budget = max(1, min(self.budget, batch.ids.size) // 2)
        self.chunk = max(_LEAST_CHUNK, self.chunk // 2)
        if self.models[0].device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("memory ran out; going on with %d tokens a batch", self.budget)

    def _run(self, batch: _Batch) -> torch.Tensor:
        """The figures of a batch's judged tokens, on the device."""
        device = self.models[0].device
        ids = _to(batch.ids, device)
        before, tokens = _to(batch.before, device), _to(batch.tokens, device)
        states = [model.hidden(ids).flatten(0, 1) for model in self.models]
        parts = []
        for at in range(0, len(tokens), self.chunk):
            STOP.check()
            own = before[at : at + self.chunk]
            logits = [
                model.logits(state[own])[:, : self._vocabulary]
                for model, state in zip(self.models, states, strict=True)
            ]
            other = logits[1] if len(logits) > 1 else None
            parts.append(self._reduce(logits[0], tokens[at : at + self.chunk], other))
        return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class _Batch:
    """`ids` (rows × length, padded with 0); for every judged token, flat into them, the place
    `before` it; its id in `tokens`; and its place among all judged tokens in `places`.
    """

    ids: NDArray[np.int64]
    before: NDArray[np.int64]
    tokens: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        windows: Windows,
        chosen: NDArray[np.int64],
        encoded: Sequence[Encoded],
        starts: NDArray[np.int64],
    ) -> _Batch:
        length = int(windows.length[chosen].max())
        ids = np.zeros((len(chosen), length), np.int64)
        before, places = [], []
        for row, w in enumerate(chosen.tolist()):
            sequence, start = int(windows.sequence[w]), int(windows.start[w])
            first, n = int(windows.first[w]), int(windows.length[w])
            ids[row, :n] = encoded[sequence].ids[start : start + n]
            before.append(np.arange(row * length + first - 1, row * length + n - 1))
            # Its second token is the first that is judged.
            at = int(starts[sequence]) + start - 1
            places.append(np.arange(at + first, at + n))
        flat = np.concatenate(before)
        return cls(ids, flat, ids.reshape(-1)[flat + 1], np.concatenate(places))


def _to(array: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _is_out_of_memory(error: BaseException) -> bool:
    """torch has an exception of its own for GPUs; for main memory it raises RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return "can't allocate memory" in text or "out of memory" in text
