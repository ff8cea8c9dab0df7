"""Whether a model reads plain text with the tokenizer that came with it.

A tokenizer of another model of the same size gives ids that all exist and mean other words: the
model then predicts about as badly as by chance, and the same tokens in any other order no worse.
Measured with SmolLM2-135M on the English sample, perplexity and what shuffling the tokens costs, in
nats a token: its own tokenizer 39 and 4.1, with every id moved by −1, 1, 2, 7, 50 or 100 30,600 to
74,900 and −0.6 to 0.1, with ids permuted or moved by 1,000 and more 196,000 to 2,800,000 and −0.5
to 0.7. Importing this module imports torch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from lowbg.errors import ModelError
from lowbg.scorers.lm.models import CausalModel

ENGLISH = (
    "The old mill by the river had been closed for years, and nobody in the village could say who "
    "owned it now. In winter the children went there to skate, and in summer they swam below the "
    "weir."
)

OTHERS = (
    "El viejo molino junto al río llevaba años cerrado, y nadie en el pueblo sabía de quién era.",
    "Старая мельница у реки была закрыта много лет, и никто не знал, кому она принадлежит.",
    "河边的老磨坊已经关闭多年，村里没有人说得清它现在属于谁。冬天孩子们去那里滑冰。",
    "川辺の古い水車小屋は何年も閉まったままで、今は誰のものなのか村の誰も知らなかった。",
    "كانت الطاحونة القديمة بجانب النهر مغلقة منذ سنوات، ولم يعرف أحد في القرية لمن هي الآن.",
    "नदी के किनारे की पुरानी चक्की बरसों से बंद थी, और गाँव में कोई नहीं जानता था कि वह अब किसकी है।",
)
"""For models that read no English."""

_READS = math.log(256) / 2
"""Nats a byte of UTF-8, half of a guess: a model that reads a language needs 1 to 2."""


ORDER = 0.5
"""Nats a token that text in another order must cost more: of the tokens of plain text a model that
reads it knows which come together."""

_SHUFFLES = 4


def check_reads(model: CausalModel) -> None:
    """Raises `ModelError` where the model doesn't read English, and none of the other languages.

    It reads English where its perplexity is at most the number of its tokens, which is what a guess
    has, and the order of the tokens tells it something (`ORDER`).
    """
    surprisal = _surprisal(model, ENGLISH)[0]
    # A NaN is no reason: numbers that run over are told where text is read.
    if math.isnan(surprisal):
        return
    perplexity = math.exp(min(surprisal, 80.0))
    better = perplexity <= model.vocabulary
    if better and _order_tells(model, ENGLISH):
        return
    if any(_surprisal(model, t)[1] < _READS and _order_tells(model, t) for t in OTHERS):
        return
    than = (
        f"no lower with its words in their order than in any other, of {model.vocabulary:,} tokens,"
        " and it reads no other language: no better than a guess"
        if better
        else f"more than its {model.vocabulary:,} tokens, and it reads no other language: worse "
        "than a guess"
    )
    raise ModelError(
        f"{model.label}: its perplexity of plain English is {perplexity:,.0f}, {than}. Its "
        "tokenizer is another model's, or it was never trained"
    )


def _order_tells(model: CausalModel, text: str) -> bool:
    """Whether the model finds a text's tokens likelier in their order than shuffled."""
    ids = model.encode([text], model.context)[0].ids
    random = np.random.default_rng(1)
    shuffled = [_of_tokens(model, random.permutation(ids)).mean() for _ in range(_SHUFFLES)]
    return float(np.mean(shuffled) - _of_tokens(model, ids).mean()) >= ORDER


def _surprisal(model: CausalModel, text: str) -> tuple[float, float]:
    """Surprisal of a text's tokens but its first, in nats: a token, and a byte of UTF-8."""
    encoded = model.encode([text], model.context)[0]
    own = _of_tokens(model, encoded.ids)
    read = text[: int(encoded.ends[-1])].encode()
    return float(own.mean()), float(own.sum()) / len(read)


def _of_tokens(model: CausalModel, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """The surprisal of every token but the first, in nats."""
    ids = torch.from_numpy(tokens).to(model.device)
    with torch.inference_mode():
        states = model.hidden(ids[None])[0, :-1]
        own = model.logits(states).log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return np.asarray(-own.double().cpu().numpy())
