"""What is measured of each generation: of the model on human text, and of what it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from benchmarks.collapse.human_text import Document, Sizes, Supply, tokens_of
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.drift.check import Change, compare
from lowbg.jobs.drift.diversity import distinct_share, entropy_bits, grams
from lowbg.jobs.drift.measure import measure
from lowbg.jobs.drift.profile import Profile
from lowbg.jobs.drift.sampling import Sample
from lowbg.jobs.drift.settings import Limits, Size
from lowbg.runs.engine import Engine

Floats = NDArray[np.float64]

TAIL: Final = 0.1
"""The rarest share of the hold-out's words."""

MARKER_SHARE, MARKER_COUNT = 0.9, 3
"""A word marks the small group that so much of its use is in, and that uses it so often."""

LOG_BINS: Final = np.linspace(-24.0, 0.0, 25)
"""Of the histogram of hold-out log-probabilities, in nats; what is below is in the first."""


class Model(Protocol):
    """A language model that was trained on texts."""

    def log_probabilities(self, texts: Sequence[str]) -> list[Floats]:
        """ln P (nats) of each of a text's tokens, as the model sees tokens."""
        ...

    def generate(self, count: int, seed: int) -> list[str]:
        """So many texts, drawn from the model."""
        ...


class Family(Protocol):
    """A kind of model."""

    @property
    def name(self) -> str:
        """What its results are called."""
        ...

    def fit(self, texts: Sequence[str], seed: int) -> Model:
        """A model that was trained on the texts alone."""
        ...


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What one seed's generations are measured with; the same for all its regimes.

    `tail` are the words that make up the rarest tenth of the hold-out's, by their frequency in all
    human text that could be trained on; `markers` are the small group's own words. `first` is the
    model of generation 0.
    """

    holdout: Sequence[str]
    minority_holdout: Sequence[str]
    tail: frozenset[str]
    markers: frozenset[str]
    inverse_documents: dict[str, float]
    first: Model


def yardstick(supply: Supply, first: Model) -> Yardstick:
    """What a seed's human text makes of it."""
    reference = [(each, tokens_of(each.text)) for each in supply.reference]
    counts = Counter(token for _, tokens in reference for token in tokens)
    small = Counter(token for each, tokens in reference if each.minority for token in tokens)
    held = Counter(
        token for each in supply.holdout for token in tokens_of(each.text) if token[0].isalnum()
    )
    room = TAIL * held.total()
    tail = set()
    for word in sorted(held, key=lambda word: (counts[word], word)):
        room -= held[word]
        if room < 0:
            break
        tail.add(word)
    markers = {
        word
        for word, count in small.items()
        if count >= MARKER_COUNT and count >= MARKER_SHARE * counts[word]
    }
    documents = Counter(token for _, tokens in reference for token in set(tokens))
    return Yardstick(
        holdout=[each.text for each in supply.holdout],
        minority_holdout=[each.text for each in supply.minority_holdout],
        tail=frozenset(tail),
        markers=frozenset(markers),
        inverse_documents={w: float(np.log(len(reference) / n)) for w, n in documents.items()},
        first=first,
    )


def figures(
    model: Model, held: Sequence[Floats], written: Sequence[str], by: Yardstick
) -> dict[str, float]:
    """Of a model and what it wrote; see the README for what each figure is.

    `held` are the log-probabilities of the hold-out.
    """
    small = model.log_probabilities(by.minority_holdout)
    found = {
        "perplexity": _perplexity(held, by.holdout),
        "minority_perplexity": _perplexity(small, by.minority_holdout),
        "own_bits": float(-_per_token(model.log_probabilities(written), written) / np.log(2)),
        "variance": float(
            np.var(
                [
                    own.sum() / len(tokens_of(text))
                    for own, text in zip(by.first.log_probabilities(written), written, strict=True)
                ]
            )
        ),
    }
    return {**found, **text_figures(written, by)}


def text_figures(texts: Sequence[str], by: Yardstick) -> dict[str, float]:
    """Of texts alone, whoever wrote them."""
    tokens = [tokens_of(text) for text in texts]
    types: dict[str, int] = {}
    codes = np.array([types.setdefault(t, len(types)) for own in tokens for t in own], np.uint64)
    documents = np.repeat(np.arange(len(tokens)), [len(own) for own in tokens])
    once = np.ones(len(tokens))
    found = {}
    for n in (1, 2, 3):
        counts = grams(codes, documents, n).counts(once)
        found[f"distinct_{n}"] = distinct_share(counts)
        if n < 3:
            found["entropy_" + ("unigrams", "bigrams")[n - 1]] = entropy_bits(counts)
    flat = [token for own in tokens for token in own]
    words = sum(token[0].isalnum() for token in flat) or 1
    return {
        **found,
        "unique_tokens": float(len(types)),
        "tail_mass": sum(token in by.tail for token in flat) / words,
        "tail_coverage": len(by.tail & types.keys()) / max(1, len(by.tail)),
        "minority_share": sum(token in by.markers for token in flat) / words,
        "self_similarity": self_similarity(tokens, by.inverse_documents),
    }


def self_similarity(tokens: Sequence[Sequence[str]], weights: dict[str, float]) -> float:
    """Mean cosine of the tf-idf vectors of two different documents, 0 … 1.

    `weights` are the inverse document frequencies in human text; a word that isn't there has none.
    Salton & Buckley 1988 (logarithmic tf).
    """
    places: dict[str, int] = {}
    counted = [Counter(token for token in own if weights.get(token)) for own in tokens]
    for own in counted:
        for token in own:
            places.setdefault(token, len(places))
    total = np.zeros(len(places))
    known = 0
    for own in counted:
        if own:
            at = np.array([places[token] for token in own])
            vector = np.array([(1 + np.log(n)) * weights[token] for token, n in own.items()])
            total[at] += vector / np.sqrt(vector @ vector)
            known += 1
    return float((total @ total - known) / (known * (known - 1))) if known > 1 else 1.0


def histogram(held: Sequence[Floats]) -> list[int]:
    """How many hold-out tokens have a log-probability in each of the bins."""
    every = np.clip(np.concatenate(held), LOG_BINS[0], LOG_BINS[-1])
    counts: list[int] = np.histogram(every, LOG_BINS)[0].tolist()
    return counts


def _perplexity(log_probabilities: Sequence[Floats], texts: Sequence[str]) -> float:
    return float(np.exp(-_per_token(log_probabilities, texts)))


def _per_token(log_probabilities: Sequence[Floats], texts: Sequence[str]) -> float:
    """Mean ln P of a word or mark, however many pieces a model cuts it into."""
    return sum(float(own.sum()) for own in log_probabilities) / sum(
        len(tokens_of(text)) for text in texts
    )


class Watch:
    """`lowbg drift`: a baseline of the human corpus, and checks of what arrives."""

    def __init__(self, human: Sequence[Document], sizes: Sizes, seed: int) -> None:
        self._engine = Engine(Policy()).setup()
        self._size = Size(sizes.drift_documents, sizes.drift_words, seed)
        self._seed = seed
        self._baseline = self._measured(human, None)

    def _measured(self, documents: Sequence[Document], baseline: Profile | None) -> Profile:
        return measure(self._sample(documents), self._size, self._engine, baseline).profile

    def check(self, documents: Sequence[Document]) -> list[Change]:
        """What `lowbg drift check` with default limits says of the documents."""
        measured = measure(self._sample(documents), self._size, self._engine, self._baseline)
        return compare(self._baseline, measured, Limits())

    def _sample(self, documents: Sequence[Document]) -> Sample:
        """A random sample of the documents, as `lowbg drift` would have drawn it."""
        drawn = np.random.default_rng(self._seed).permutation(len(documents))
        drawn = drawn[: self._size.documents]
        nothing = pa.nulls(len(drawn), pa.string())
        columns = {
            "priority": pa.array(np.arange(len(drawn), dtype=np.uint64)),
            "text": pa.array([documents[i].text for i in drawn], pa.large_string()),
            **dict.fromkeys(("id", "language", "date", "url"), nothing),
        }
        return Sample(pa.table(columns), len(documents))
