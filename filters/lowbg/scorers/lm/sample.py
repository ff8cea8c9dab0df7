"""Whether a model reads plain text with the tokenizer that came with it.

A tokenizer of another model of the same size gives ids that all exist and mean other words: the
model then predicts worse than by chance. Measured with SmolLM2-135M on the English sample: its own
tokenizer 40, another BPE of 49,152 tokens 396,000, its own with every id moved by one 51,000.
Importing this module imports torch.
"""

from __future__ import annotations

import math

import torch

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


def check_reads(model: CausalModel) -> None:
    """Raises `ModelError` where the model's perplexity of English is above the number of its
    tokens, which is what a guess has, and it reads none of the other languages either.
    """
    perplexity = math.exp(min(_surprisal(model, ENGLISH)[0], 80.0))
    # A NaN is no reason: numbers that run over are told where text is read.
    if not perplexity > model.vocabulary:
        return
    if any(_surprisal(model, text)[1] < _READS for text in OTHERS):
        return
    raise ModelError(
        f"{model.label}: its perplexity of plain English is {perplexity:,.0f}, more than its "
        f"{model.vocabulary:,} tokens, and it reads no other language: worse than a guess. Its "
        "tokenizer is another model's, or it was never trained"
    )


def _surprisal(model: CausalModel, text: str) -> tuple[float, float]:
    """Surprisal of a text's tokens but its first, in nats: a token, and a byte of UTF-8."""
    encoded = model.encode([text], model.context)[0]
    ids = torch.from_numpy(encoded.ids).to(model.device)
    with torch.inference_mode():
        states = model.hidden(ids[None])[0, :-1]
        own = model.logits(states).log_softmax(-1).gather(1, ids[1:, None])
    read = text[: int(encoded.ends[-1])].encode()
    return -float(own.mean()), -float(own.sum()) / len(read)
