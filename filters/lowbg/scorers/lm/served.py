"""A causal LM on a server: surprisal and rank of a text's tokens, by an OpenAI-style API.

vLLM's, best: it cuts text into tokens (`/tokenize`), takes tokens as a prompt, and gives each one's
log-probability and rank (`prompt_logprobs`). So windows are those of a model that runs here. Of a
server without `/tokenize` the text is asked back (`echo`) with `logprobs`: then there are no ranks,
and a text beyond the context has no figures. Entropy and variance no such API gives.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm.figures import FIGURES, LOG_RANK, SURPRISAL, Read
from lowbg.scorers.lm.packing import cut
from lowbg.scorers.lm.server import RefusedError, Server
from lowbg.stopping import STOP

_log = logging.getLogger(__name__)

_SAMPLE = "In 1984 the miller's daughter paid £3.50 for 12 kg of flour — enough, she'd say."
"""What a server is asked first; it shows how its model cuts text."""

_AHEAD = 8
"""Letters that a token's text may lie ahead of where it is looked for."""

_COMMON = {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0}


@functools.cache
def served_model(settings: LmSettings) -> ServedModel:
    """The model that settings name, asked for once a process."""
    return ServedModel(settings)


@dataclass(frozen=True, slots=True)
class Document:
    """The judged tokens of a document: `surprisal` (nats), `log_rank` (nats, NaN where the server
    gives none), and the character of the text after each.
    """

    surprisal: NDArray[np.float32]
    log_rank: NDArray[np.float32]
    ends: NDArray[np.int64]


_NOTHING = Document(np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


class ServedModel:
    """The model of a server; `context` is how many tokens it is given at once, null: unknown."""

    def __init__(self, settings: LmSettings) -> None:
        """Asks the server which models it has, and for a sample.

        Raises `ConfigError` where it has several and none is named, or not that one, and
        `ModelError` where it can't be reached, or gives no log-probabilities of a prompt.
        """
        self._server = Server.at(settings.model, settings.timeout)
        self._requests = settings.requests
        self._warned = False
        self.label, card = self._choose(settings.name)
        own = card.get("max_model_len")
        # A token is written, too: it needs a place.
        limits = [own - 1 if isinstance(own, int) else None, settings.context]
        known = [limit for limit in limits if limit is not None]
        self.context = min(known) if known else None
        self._cuts = self._can_cut()
        sample = self._document(_SAMPLE)
        if len(sample.surprisal) < 2:
            raise ModelError(f"{self._server.url}: has no log-probabilities of a sample's tokens")
        self._described = json.dumps(
            [self.label, card.get("root"), own, len(sample.ends), sample.ends.tolist()]
        )

    def _choose(self, name: str | None) -> tuple[str, dict[str, Any]]:
        """The name of the model, and what the server says of it."""
        listed = self._server.get("/models")
        try:
            cards = {str(card["id"]): dict(card) for card in listed["data"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self._server.url}/models: no list of models, as an OpenAI-style API has it"
            ) from error
        if name is None and len(cards) == 1:
            return next(iter(cards.items()))
        if name is None or name not in cards:
            said = "which model?" if name is None else f"no model {name!r}."
            raise ConfigError(
                f"{self._server.url}: {said} It has {', '.join(sorted(cards)) or 'none'}: "
                "`extras.lm.name`"
            )
        return name, cards[name]

    def _can_cut(self) -> bool:
        try:
            answer = self._tokenize(_SAMPLE)
        except RefusedError as error:
            if error.status in (401, 403):
                raise
            return False
        if answer is None:
            return False
        if self.context is None:
            raise ModelError(
                f"{self._server.url}: doesn't say how many tokens {self.label} reads at once; "
                "`extras.lm.context`"
            )
        return True

    def identity(self) -> str:
        """SHA-256 (hex) over what the server says of the model: name, source, context, and how it
        cuts a sample. Its weights can't be seen.
        """
        return hashlib.sha256(self._described.encode()).hexdigest()

    def read(self, texts: Sequence[str]) -> Read:
        """The figures of every document's tokens but its first, entropy and variance NaN.

        Documents are asked for at the same time, as many as `extras.lm.requests`. Raises
        `ModelError` where the server gives no answer, or one that can't be read.
        """
        pool = ThreadPoolExecutor(self._requests, "lowbg-lm-server")
        try:
            documents = list(pool.map(self._document, texts))
        finally:
            # Where one failed, the others needn't be waited for.
            pool.shutdown(wait=False, cancel_futures=True)
        starts = np.cumsum([0, *(len(one.ends) for one in documents)])
        figures = np.full((int(starts[-1]), len(FIGURES)), np.nan, np.float32)
        ends = np.empty(int(starts[-1]), np.int64)
        for i, one in enumerate(documents):
            own = slice(int(starts[i]), int(starts[i + 1]))
            figures[own, SURPRISAL], figures[own, LOG_RANK] = one.surprisal, one.log_rank
            ends[own] = one.ends
        return Read(figures, starts, ends)

    def _document(self, text: str) -> Document:
        STOP.check()
        if not text:
            return _NOTHING
        return self._by_tokens(text) if self._cuts else self._by_echo(text)

    def _tokenize(self, text: str) -> list[int] | None:
        """The tokens of a text, special ones included; null where the answer has none."""
        answer = self._server.post("../tokenize", {"model": self.label, "prompt": text})
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        # llama.cpp's server has such an address, too, and answers with no tokens.
        return [int(token) for token in tokens] if tokens else None

    def _by_tokens(self, text: str) -> Document:
        ids = self._tokenize(text) or []
        if len(ids) < 2:
            return _NOTHING
        assert self.context is not None
        figures = np.empty((len(ids) - 1, 2), np.float32)
        pieces = [""] * len(ids)
        windows = cut([len(ids)], self.context)
        for start, length, first in zip(
            windows.start.tolist(), windows.length.tolist(), windows.first.tolist(), strict=True
        ):
            own = ids[start : start + length]
            judged = self._prompt_log_probabilities(own)
            for k in range(first, length):
                log_probability, rank, piece = _told(judged[k], own[k])
                figures[start + k - 1] = -log_probability, math.log(max(rank, 1))
                pieces[start + k] = piece
        return Document(figures[:, 0], figures[:, 1], _ends_of(text, pieces)[1:])

    def _prompt_log_probabilities(self, ids: Sequence[int]) -> list[Any]:
        answer = self._server.post(
            "/completions",
            {"model": self.label, "prompt": list(ids), "prompt_logprobs": 1, **_COMMON},
        )
        choice = self._choice(answer)
        judged = choice.get("prompt_logprobs")
        if not isinstance(judged, list) or len(judged) != len(ids):
            raise ModelError(
                f"{self._server.url}: gives no log-probabilities of the prompt "
                "(prompt_logprobs); vLLM does"
            )
        return judged

    def _by_echo(self, text: str) -> Document:
        try:
            answer = self._server.post(
                "/completions",
                {"model": self.label, "prompt": text, "echo": True, "logprobs": 1, **_COMMON},
            )
        except RefusedError as error:
            if error.status not in (400, 413, 422) or text is _SAMPLE:
                raise
            if not self._warned:
                self._warned = True
                _log.warning("%s; such documents, too long mostly, have no figures", error)
            return _NOTHING
        told: Any = self._choice(answer).get("logprobs")
        try:
            log_probabilities = told["token_logprobs"]
            offsets = [int(offset) for offset in told["text_offset"]]
            usage = answer.get("usage") or {}
            # What was written comes last, and is no part of the text.
            own = int(usage.get("prompt_tokens") or sum(at < len(text) for at in offsets))
            surprisal = -np.array(log_probabilities[1:own], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self._server.url}: gives no log-probabilities of the prompt (echo with "
                "logprobs); vLLM does"
            ) from error
        if own < 2 or len(surprisal) != own - 1:
            return _NOTHING
        ends = np.array([*offsets[2:own], len(text)], np.int64)
        return Document(surprisal.astype(np.float32), np.full(own - 1, np.nan, np.float32), ends)

    def _choice(self, answer: Any) -> dict[str, Any]:
        try:
            return dict(answer["choices"][0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self._server.url}: an answer without choices, as an OpenAI-style API has them"
            ) from error


def _told(judged: Any, token: int) -> tuple[float, int, str]:
    """Log-probability, rank and text of a token among those that the server names at a place."""
    try:
        own = judged[str(token)]
        return float(own["logprob"]), int(own["rank"]), str(own.get("decoded_token") or "")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"a server's prompt_logprobs without the token {token} that was given, or its rank"
        ) from error


def _ends_of(text: str, pieces: Sequence[str]) -> NDArray[np.int64]:
    """The character of `text` after each token, found by the tokens' own texts.

    A part of a letter has none of its own: it ends where the token before it does.
    """
    ends = np.zeros(len(pieces), np.int64)
    at = 0
    for k, piece in enumerate(pieces):
        found = text.find(piece, at, at + _AHEAD + len(piece)) if piece else -1
        if found >= 0:
            at = found + len(piece)
        ends[k] = at
    return ends
