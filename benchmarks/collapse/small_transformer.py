"""A small transformer of words, trained from scratch in each generation; needs torch, transformers.

GPT-2's architecture with two layers, over the words of its own corpus. Words that come once there
share a symbol, and those that come twice another one; within them every word is as probable (count
classes, after Goodman 2001, section 10). So few words are enough to learn the others' contexts, and
the output layer starts from the unigrams' logarithms. A share of the probability, that of the words
that came once (Good 1953), is spread over the whole vocabulary, as the floor for words that never
came. It draws without that floor: a word that its corpus lacks it can't write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.collapse.human_text import prose, tokens_of
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2Model

CLASSES: Final = 2
"""Words that come so many times or fewer share a symbol with all that come as often."""

START: Final = 0
"""The symbol before a text; after it the classes' ones, then those of words."""

IGNORED: Final = -100


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the model is, and how long it learns: `documents` in all, but each at least once.

    So a small corpus is learned in more epochs than a large one, in about as many steps.
    """

    width: int = 64
    layers: int = 2
    heads: int = 2
    documents: int = 1_050
    batch: int = 4
    learning_rate: float = 4e-3
    dropout: float = 0.1


class TransformerFamily:
    """Small transformers; the texts they write have `tokens` tokens.

    `vocabulary` is how many words there are in all; `work` keeps the model of generation 0.
    """

    name = "transformer"

    def __init__(
        self, vocabulary: int, tokens: int, top_p: float, work: Path, shape: Shape | None = None
    ) -> None:
        self.shape = shape or Shape()
        self.vocabulary = vocabulary
        self.tokens = tokens
        self.top_p = top_p
        torch.set_num_threads(1)  # Seeds run side by side, each in a process.
        self._kept: Path | None = work / "generation-0.pt"

    def fit(self, texts: Sequence[str], seed: int) -> TransformerModel:
        """A model that was trained on the texts; the first one is kept, and read if it is there."""
        kept, self._kept = self._kept, None
        torch.manual_seed(seed)
        own = TransformerModel(self, texts)
        if kept is not None and kept.exists():
            own.network.load_state_dict(torch.load(kept, weights_only=True))
            return own
        own.train(texts, seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(own.network.state_dict(), kept)
        return own


class _Network(torch.nn.Module):
    """GPT-2's layers, and an output layer with its input's weights and a bias."""

    def __init__(self, shape: Shape, unigrams: NDArray[np.float64], context: int) -> None:
        super().__init__()
        config = GPT2Config(
            vocab_size=len(unigrams), n_positions=context, n_embd=shape.width,
            n_layer=shape.layers, n_head=shape.heads, resid_pdrop=shape.dropout,
            embd_pdrop=shape.dropout, attn_pdrop=0.0, bos_token_id=START, eos_token_id=START,
        )  # fmt: skip
        self.layers = GPT2Model(config)
        self.bias = torch.nn.Parameter(torch.tensor(np.log(unigrams), dtype=torch.float32))

    def forward(self, symbols: Tensor, cache: DynamicCache | None = None) -> Tensor:
        """What comes out of the last layer at each place."""
        out = self.layers(input_ids=symbols, past_key_values=cache, use_cache=cache is not None)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Of the symbol that comes next."""
        return torch.nn.functional.linear(hidden, self.layers.wte.weight, self.bias)


class TransformerModel:
    """One generation's network, with the words that its corpus has."""

    def __init__(self, family: TransformerFamily, texts: Sequence[str]) -> None:
        self._family = family
        counts = Counter(token for text in texts for token in tokens_of(text))
        self._members = [sorted(w for w, n in counts.items() if n == i + 1) for i in range(CLASSES)]
        frequent = sorted(word for word, n in counts.items() if n > CLASSES)
        self._symbols = {word: i for i, word in enumerate(frequent, 1 + CLASSES)}
        for i, words in enumerate(self._members, 1):
            self._symbols.update(dict.fromkeys(words, i))
        sizes = np.array([1, *map(len, self._members), *(1 for _ in frequent)], np.float64)
        self._words = [[""], *self._members, *([word] for word in frequent)]
        self._log_sizes = np.log(np.maximum(sizes, 1))
        uses = np.zeros(len(sizes))
        for word, n in counts.items():
            uses[self._symbols[word]] += n
        floor = min(0.5, max(1, len(self._members[0])) / max(1, counts.total()))
        self._log_floor = float(np.log(floor / family.vocabulary))
        self._log_rest = float(np.log1p(-floor))
        shares = np.maximum(uses, 1e-3) / counts.total()
        self.network = _Network(family.shape, shares, family.tokens + 1).eval()

    def _encoded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """Rows of symbols after the start, what follows each, and which of those are known words.

        What follows a text's last token is IGNORED; a word the corpus lacks is read as one that
        comes once.
        """
        rows = [tokens_of(text)[: self._family.tokens] for text in texts]
        read = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        wanted = torch.full_like(read, IGNORED)
        known = np.zeros(read.shape, np.bool_)
        for i, row in enumerate(rows):
            own = torch.tensor([self._symbols.get(token, 1) for token in row])
            wanted[i, : len(row)] = own
            read[i, 1 : len(row)] = own[:-1]
            known[i, : len(row)] = [token in self._symbols for token in row]
        return read, wanted, known

    def train(self, texts: Sequence[str], seed: int) -> None:
        """AdamW, one cycle of the learning rate."""
        shape, network = self._family.shape, self.network
        read, wanted, _ = self._encoded(texts)
        rng = np.random.default_rng(seed)
        matrices = [own for own in network.parameters() if own.ndim > 1]
        vectors = [own for own in network.parameters() if own.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=shape.learning_rate, fused=True)
        epochs = max(1, round(shape.documents / len(texts)))
        batches = -(-len(texts) // shape.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, shape.learning_rate, total_steps=epochs * batches, pct_start=0.1
        )
        network.train()
        for _ in range(epochs):
            for at in np.array_split(rng.permutation(len(texts)), batches):
                target = wanted[at]
                there = target != IGNORED
                logits = network.logits(network(read[at])[there])
                loss: Any = torch.nn.functional.cross_entropy(logits, target[there])
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        network.eval()

    @torch.no_grad()
    def log_probabilities(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        """ln P of each token of each text, in nats."""
        found = []
        for at in range(0, len(texts), 16):
            read, wanted, known = self._encoded(texts[at : at + 16])
            logits = self.network.logits(self.network(read))
            chosen = logits.gather(-1, wanted.clamp(min=0)[..., None])[..., 0] - logits.logsumexp(
                -1
            )
            own = chosen.double().numpy() - self._log_sizes[wanted.clamp(min=0).numpy()]
            own = np.where(known, own + self._log_rest, -np.inf)
            own = np.logaddexp(own, self._log_floor)
            found += [row[there] for row, there in zip(own, wanted.numpy() != IGNORED, strict=True)]
        return found

    @torch.no_grad()
    def generate(self, count: int, seed: int) -> list[str]:
        """So many texts, each drawn token by token."""
        generator = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng(seed)
        texts: list[str] = []
        while len(texts) < count:
            symbols = self._drawn(min(192, count - len(texts)), generator)
            for row in symbols.tolist():
                texts.append(prose(self._words[s][rng.integers(len(self._words[s]))] for s in row))
        return texts

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows of symbols, as many tokens each as a text is to have."""
        cache = DynamicCache()
        last = torch.full((count, 1), START, dtype=torch.long)
        drawn = []
        for _ in range(self._family.tokens):
            logits = self.network.logits(self.network(last, cache)[:, -1])
            logits[:, START] = -torch.inf
            for i, words in enumerate(self._members, 1):
                if not words:
                    logits[:, i] = -torch.inf
            last = self._nucleus(torch.softmax(logits, -1), generator)[:, None]
            drawn.append(last)
        return torch.cat(drawn, 1)

    def _nucleus(self, p: Tensor, generator: torch.Generator) -> Tensor:
        """A symbol of each row, drawn until the more probable words have less than `top_p`."""
        sizes = torch.tensor(np.exp(self._log_sizes), dtype=p.dtype)
        sums = p.cumsum(-1)
        found = torch.zeros(len(p), dtype=torch.long)
        open_rows = torch.arange(len(p))
        while len(open_rows):
            own, total = p[open_rows], sums[open_rows]
            target = torch.rand(len(own), 1, generator=generator) * total[:, -1:]
            at = torch.searchsorted(total, target, right=True).clamp(max=p.shape[1] - 1)
            each = own / sizes
            above = (own * (each > each.gather(1, at) * (1 + 1e-6))).sum(-1)
            taken = (above < self._family.top_p) & (own.gather(1, at)[:, 0] > 0)
            found[open_rows[taken]] = at[taken, 0]
            open_rows = open_rows[~taken]
        return found
