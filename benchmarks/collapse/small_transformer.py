"""A small transformer, trained from scratch in each generation; needs torch and transformers.

GPT-2's architecture with two layers, over byte-pair pieces that are learned once from the human
text of generation 0, so that all generations of a seed see text in the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.collapse.human_text import prose, tokens_of
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

START = "<s>"


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the model is, and how long it learns: `epochs` over its corpus."""

    pieces: int = 1_000
    width: int = 64
    layers: int = 2
    heads: int = 2
    context: int = 384
    epochs: int = 6
    batch: int = 8
    learning_rate: float = 5e-3


class TransformerFamily:
    """Small transformers over one tokenizer; `work` keeps it, and the model of generation 0."""

    name = "transformer"

    def __init__(self, tokens: int, top_p: float, work: Path, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.tokens = tokens
        self.top_p = top_p
        self._work = work
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts text into pieces; there is one once a model was fitted."""
        assert self._tokenizer is not None
        return self._tokenizer

    def fit(self, texts: Sequence[str], seed: int) -> TransformerModel:
        """A model that was trained on the texts. The first one brings the tokenizer.

        That one is read from the work folder if it is there.
        """
        if self._tokenizer is not None:
            return TransformerModel.trained(self, texts, seed)
        place = self._work / "tokenizer.json"
        weights = self._work / "generation-0.pt"
        if place.exists() and weights.exists():
            self._tokenizer = Tokenizer.from_file(str(place))
            own = TransformerModel(self, seed)
            own.network.load_state_dict(torch.load(weights, weights_only=True))
            return own
        self._tokenizer = _tokenizer(texts, self.shape.pieces)
        own = TransformerModel.trained(self, texts, seed)
        self._work.mkdir(parents=True, exist_ok=True)
        self._tokenizer.save(str(place))
        torch.save(own.network.state_dict(), weights)
        return own

    @property
    def start(self) -> int:
        """The number of the start mark."""
        return int(self.tokenizer.token_to_id(START) or 0)

    def encoded(self, text: str) -> list[int]:
        """The start mark and the text's pieces, as many as the context holds."""
        pieces: list[int] = self.tokenizer.encode(text).ids
        return [self.start, *pieces][: self.shape.context]


def _tokenizer(texts: Sequence[str], pieces: int) -> Tokenizer:
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    own.train_from_iterator(texts, trainer)
    return own


class TransformerModel:
    """One generation's network."""

    def __init__(self, family: TransformerFamily, seed: int) -> None:
        self._family = family
        shape = family.shape
        torch.manual_seed(seed)
        start = family.start
        self.network: Any = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=family.tokenizer.get_vocab_size(), n_positions=shape.context,
                n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads,
                initializer_range=0.08, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                bos_token_id=start, eos_token_id=start, pad_token_id=start,
            )
        )  # fmt: skip
        self.network.eval()

    @classmethod
    def trained(
        cls, family: TransformerFamily, texts: Sequence[str], seed: int
    ) -> TransformerModel:
        """A new network, trained on the texts: AdamW, one cycle of the learning rate."""
        own, shape = cls(family, seed), family.shape
        rows = [family.encoded(text) for text in texts]
        rng = np.random.default_rng(seed)
        optimizer = torch.optim.AdamW(
            own.network.parameters(), lr=shape.learning_rate, weight_decay=0.1
        )
        steps = shape.epochs * -(-len(rows) // shape.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, shape.learning_rate, total_steps=steps
        )
        own.network.train()
        for _ in range(shape.epochs):
            order = rng.permutation(len(rows))
            for at in range(0, len(rows), shape.batch):
                ids, wanted = _batch([rows[i] for i in order[at : at + shape.batch]])
                loss = own.network(input_ids=ids, attention_mask=_mask(wanted), labels=wanted).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(own.network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        own.network.eval()
        return own

    def log_probabilities(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        """ln P of each piece of each text, in nats."""
        found = []
        rows = [self._family.encoded(text) for text in texts]
        for at in range(0, len(rows), 32):
            ids, wanted = _batch(rows[at : at + 32])
            with torch.no_grad():
                logits = (
                    self.network(input_ids=ids, attention_mask=_mask(wanted)).logits[:, :-1].float()
                )
            target = wanted[:, 1:]
            own = torch.log_softmax(logits, -1).gather(-1, target.clamp(min=0)[..., None])[..., 0]
            for row, known in zip(own, target >= 0, strict=True):
                found.append(row[known].double().numpy())
        return found

    def generate(self, count: int, seed: int) -> list[str]:
        """So many texts of as many tokens as the human ones have, if the context suffices."""
        torch.manual_seed(seed)
        texts = []
        for at in range(0, count, 128):
            ids = torch.full((min(128, count - at), 1), self._family.start, dtype=torch.long)
            with torch.no_grad():
                out = self.network.generate(
                    ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0,
                    top_p=self._family.top_p, max_new_tokens=self._family.shape.context - 1,
                    min_new_tokens=self._family.shape.context - 1,
                )  # fmt: skip
            for row in out.tolist():
                text = self._family.tokenizer.decode(row[1:])
                texts.append(prose(tokens_of(text)[: self._family.tokens]))
        return texts


def _batch(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Piece numbers and what to predict, −100 where a row is over."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    wanted = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        wanted[i, : len(row)] = ids[i, : len(row)]
    return ids, wanted


def _mask(wanted: torch.Tensor) -> torch.Tensor:
    """Which places hold a piece."""
    return (wanted >= 0).long()
