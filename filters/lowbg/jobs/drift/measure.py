"""From a sample of documents to the profile of their corpus; see `profile.py` for what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.arrays import filled, is_known
from lowbg.config import Verdict
from lowbg.errors import ConfigError
from lowbg.jobs.drift.diversity import (
    Floats,
    Grams,
    distinct_share,
    entropy_bits,
    grams,
    hapax_share,
    js_divergence,
    zipf_slope,
)
from lowbg.jobs.drift.holdout import BigramModel, HoldOut, openings
from lowbg.jobs.drift.profile import (
    DISTRIBUTIONS,
    FIGURES,
    OTHER,
    Distribution,
    Figure,
    FigureKind,
    Profile,
    Z,
)
from lowbg.jobs.drift.sampling import Sample
from lowbg.jobs.drift.settings import Size
from lowbg.records import Metadata
from lowbg.report.statistics import UNKNOWN_LANGUAGE
from lowbg.runs.engine import Engine
from lowbg.scorers.perplexity import PERPLEXITY
from lowbg.text.origins import hosts
from lowbg.text.tokens import text_buffer

REPLICATES: Final = 100
HELD_OUT: Final = 5
"""One document in so many may be put aside as hold-out."""

TOP_WORDS: Final = 1_000
MIN_NAMED: Final = 20
"""Least count of a word that the distribution names: rarer ones are chosen by chance."""

TOP_HOSTS: Final = 100
SENTENCE_WORDS: Final = (1, 2, 3, 5, 8, 11, 15, 20, 25, 30, 40, 50, 75, 100)
"""Where the bins of sentence lengths begin."""

_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """A profile, with the replicates that comparing needs and that aren't stored.

    `divergences` (bits) is, by distribution, the Jensen–Shannon divergence from the baseline: the
    estimate, then that of the replicates of both. `holdout_gain`, likewise, is the change of ln
    hold-out perplexity. Both are empty for a baseline.
    """

    profile: Profile
    divergences: Mapping[str, Floats]
    holdout_gain: Floats


@dataclass(frozen=True, slots=True)
class _Documents:
    """What is known of the sampled documents, one entry each, and their words, flat.

    `log_perplexity` is NaN where there is none. Document i owns
    `words[word_starts[i]:word_starts[i + 1]]`, and `sentences` (their words) likewise.
    """

    log_perplexity: Floats
    scored: NDArray[np.bool_]
    ai: NDArray[np.bool_]
    languages: list[str]
    hosts: list[str]
    words: NDArray[np.uint64]
    word_starts: NDArray[np.int64]
    sentences: NDArray[np.int32]
    sentence_starts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Counted:
    """What documents have, by category: thing i is a `names[codes[i]]` of `documents[i]`."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]
    documents: NDArray[np.int64]

    def counts(self, weights: Floats) -> Floats:
        own = weights[self.documents]
        return np.asarray(np.bincount(self.codes, own, len(self.names)), np.float64)


def measure(sample: Sample, size: Size, engine: Engine, against: Profile | None = None) -> Measured:
    """The profile of a sample; measured `against` a baseline, it uses its hold-out and names.

    Raises `ConfigError` where the sample has fewer documents or words than `size` says.
    """
    if len(sample) < size.documents:
        raise ConfigError(
            f"the input has {len(sample):,} readable documents, and the sample is of "
            f"{size.documents:,}. {_advice(f'`documents={len(sample)}`', len(sample), against)}"
        )
    documents = _judge(sample, engine)
    opening = openings(documents.words, documents.word_starts)
    training = np.arange(size.documents) % HELD_OUT != 0
    aside = ~training & ~documents.ai & ~np.isin(opening, opening[training])
    if against is not None and against.holdout is not None:
        training &= ~np.isin(opening, against.holdout.openings)
    lengths = np.where(training, np.diff(documents.word_starts), 0)
    taken = level(lengths, size.words)
    if taken is None:
        there = int(lengths.sum())
        raise ConfigError(
            f"the sampled documents have {there:,} words to count, and the sample is of "
            f"{size.words:,}. {_advice(f'`words={there}`', there, against)}"
        )
    words, owners = take(documents.words, documents.word_starts, taken)
    rng = np.random.default_rng(size.seed)
    weights = _weights(rng, size.documents)
    rows = _of_documents(documents, weights, against.tail_from if against else None)
    orders = [grams(words, owners, n) for n in (1, 2, 3)]
    rows.update(_of_words(orders, weights))
    if against is None:
        aside &= np.diff(documents.word_starts) > 0
        holdout, rows["holdout_perplexity"] = _put_aside(
            documents, np.flatnonzero(aside), opening, (words, owners), weights
        )
        gain = np.empty(0)
    else:
        holdout = against.holdout
        rows["holdout_perplexity"], gain = _predict(holdout, words, owners, weights, rng)
    counted = _categories(documents, orders[0], against)
    distributions, divergences = _distributions(counted, weights, against)
    figures = {kind.name: _figure(kind, rows[kind.name]) for kind in FIGURES}
    tail_from = against.tail_from if against else figures["perplexity_decile_9"].value
    profile = Profile(size, sample.seen, figures, distributions, holdout, tail_from)
    return Measured(profile, divergences, gain)


def _advice(most: str, there: int, against: Profile | None) -> str:
    if not there:
        return "There is nothing to measure."
    if against is not None:
        return f"To compare it, make the baseline anew with {most} at most."
    return f"Give {most} at most."


def _weights(rng: np.random.Generator, n: int) -> Floats:
    """How often each document counts: once in row 0, as drawn with replacement in the others."""
    draws = rng.integers(0, n, (REPLICATES, n))
    return np.stack([np.ones(n), *(np.bincount(d, minlength=n).astype(np.float64) for d in draws)])


def level(lengths: NDArray[np.int64], total: int) -> NDArray[np.int64] | None:
    """How many words to take from each document so that they add up to `total`; null if too few.

    Every document gives as many as the others, or all that it has; the last ones give one less
    where the total demands it.
    """
    if total < 1 or lengths.sum() < total:
        return None
    low, high = 0, int(lengths.max())
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if np.minimum(lengths, middle).sum() >= total else (middle, high)
    taken = np.minimum(lengths, high)
    full = np.flatnonzero(taken == high)
    excess = int(taken.sum()) - total
    taken[full[len(full) - excess :]] -= 1
    return taken


def take(
    words: NDArray[np.uint64], starts: NDArray[np.int64], taken: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The first `taken[i]` words of each document i, and whose each is."""
    owners = np.repeat(np.arange(len(taken)), taken)
    inside = np.arange(len(owners)) - np.repeat(np.cumsum(taken) - taken, taken)
    return words[starts[:-1][owners] + inside], owners


def _judge(sample: Sample, engine: Engine) -> _Documents:
    """Every sampled document through the scorers and the decision, a few megabytes at a time."""
    text, metadata = sample.text, sample.metadata
    _, offsets = text_buffer(text)
    parts: list[tuple[Any, ...]] = []
    start = 0
    while start < len(text):
        most = int(np.searchsorted(offsets, offsets[start] + _BATCH_BYTES, side="right")) - 1
        end = max(start + 1, most)
        own = Metadata(
            metadata.id[start:end],
            metadata.language[start:end],
            metadata.date[start:end],
            metadata.url[start:end],
        )
        parts.append(_judge_batch(text[start:end], own, engine))
        start = end
    columns = list(zip(*parts, strict=True))
    log_perplexity, scored, ai, words, word_lengths, sentences, sentence_lengths = (
        np.concatenate(column) for column in columns[2:]
    )
    languages, host = ([name for part in column for name in part] for column in columns[:2])
    return _Documents(
        log_perplexity, scored, ai, languages, host,
        words, np.concatenate([[0], np.cumsum(word_lengths)]),
        sentences, np.concatenate([[0], np.cumsum(sentence_lengths)]),
    )  # fmt: skip


def _judge_batch(text: pa.LargeStringArray, metadata: Metadata, engine: Engine) -> tuple[Any, ...]:
    judged = engine.judge(text, metadata)
    tokens = judged.documents.tokens
    perplexity = judged.columns[PERPLEXITY.name]
    known = is_known(perplexity)
    values = filled(perplexity, 1.0).astype(np.float64)
    codes = [*judged.documents.language_codes, UNKNOWN_LANGUAGE]
    host = hosts(metadata.url)
    verdicts = judged.decisions.verdicts
    return (
        [codes[i] for i in judged.documents.languages],
        [host.names[i] for i in host.codes],
        np.where(known, np.log(values), np.nan),
        judged.decisions.scored,
        verdicts == Verdict.AI.code,
        tokens.words,
        tokens.words_per_document,
        tokens.sentences,
        np.diff(tokens.sentence_starts),
    )


def _of_documents(
    documents: _Documents, weights: Floats, tail_from: float | None
) -> dict[str, Floats]:
    """The figures of documents: the estimate, then the replicates; NaN for nothing to measure.

    The tail begins at `tail_from`, or where that is null at the ninth decile.
    """
    known = ~np.isnan(documents.log_perplexity)
    values = np.where(known, documents.log_perplexity, 0.0)
    words, sentences = np.diff(documents.word_starts), np.diff(documents.sentence_starts)
    rows = {
        "perplexity": np.exp(_ratio(weights @ values, weights @ known)),
        "ai_share": _ratio(weights @ documents.ai, weights @ documents.scored),
        "sentence_words": _ratio(weights @ words, weights @ sentences),
    }
    rising = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    totals = np.cumsum(weights[:, rising], axis=1)
    for k in range(1, 10):
        decile = np.full(len(weights), np.nan)
        if len(rising):
            at = [int(np.searchsorted(row, k / 10 * row[-1])) for row in totals]
            decile = np.exp(values[rising[np.minimum(at, len(rising) - 1)]])
        rows[f"perplexity_decile_{k}"] = decile
    bound = tail_from or rows["perplexity_decile_9"][0]
    rows["tail_share"] = _ratio(weights @ (known & (np.exp(values) > bound)), weights @ known)
    return rows


def _ratio(above: Floats, below: Floats) -> Floats:
    nothing = np.full(len(above), np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0), np.float64)


def _of_words(orders: Sequence[Grams], weights: Floats) -> dict[str, Floats]:
    """The figures of words, as `_of_documents`."""
    rows: dict[str, list[float]] = {}
    for own in weights:
        counts = [order.counts(own) for order in orders]
        found = {
            "unique_tokens": float((counts[0] > 0).sum()),
            "entropy_unigrams": entropy_bits(counts[0]),
            "entropy_bigrams": entropy_bits(counts[1]),
            "zipf_slope": zipf_slope(counts[0]),
            "hapax_share": hapax_share(counts[0]),
            **{f"distinct_{n}": distinct_share(c) for n, c in enumerate(counts, 1)},
        }
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in rows.items()}


def _put_aside(
    documents: _Documents,
    chosen: NDArray[np.int64],
    opening: NDArray[np.uint64],
    sample: tuple[NDArray[np.uint64], NDArray[np.int64]],
    weights: Floats,
) -> tuple[HoldOut | None, Floats]:
    """The `chosen` documents as a baseline's hold-out, and its perplexity by row of `weights`.

    As many words a document as the sample has at most of one; null where none is chosen.
    """
    if not len(chosen):
        return None, np.full(len(weights), np.nan)
    taken = np.zeros(len(opening), np.int64)
    taken[chosen] = np.diff(documents.word_starts)[chosen]
    taken = np.minimum(taken, np.bincount(sample[1]).max())
    held, owners = take(documents.words, documents.word_starts, taken)
    model = BigramModel(*sample, held, np.searchsorted(chosen, owners))
    found = np.stack([model.log_likelihoods(row) for row in weights])
    lengths = taken[chosen].astype(np.float64)
    own = weights[:, chosen]
    rows = np.exp(-_ratio((own * found).sum(axis=1), own @ lengths))
    starts = np.concatenate([[0], np.cumsum(taken[chosen])])
    training = found[1:].sum(axis=1) / lengths.sum()
    return HoldOut(held, starts, opening[chosen], found[0], float(training.std())), rows


def _predict(
    holdout: HoldOut | None,
    words: NDArray[np.uint64],
    owners: NDArray[np.int64],
    weights: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """The baseline's hold-out under this sample's model: perplexity, and change of its logarithm.

    The estimate, then the replicates, which draw anew from the sample and from the hold-out.
    """
    if holdout is None:
        nothing = np.full(len(weights), np.nan)
        return nothing, nothing
    model = BigramModel(words, owners, holdout.words, holdout.documents)
    found = np.stack([model.log_likelihoods(row) for row in weights])
    lengths = np.diff(holdout.starts).astype(np.float64)
    own = _weights(rng, len(lengths))
    total = own @ lengths
    gain = (own * (holdout.log_likelihoods - found)).sum(axis=1) / total
    return np.exp(-(own * found).sum(axis=1) / total), gain


def _categories(
    documents: _Documents, words: Grams, against: Profile | None
) -> dict[str, _Counted]:
    """What the distributions count: the baseline's names, or for a baseline its commonest ones."""
    ones = words.counts(np.ones(len(documents.languages)))
    commonest = np.lexsort((words.keys, -ones))[:TOP_WORDS]
    commonest = commonest[ones[commonest] >= MIN_NAMED]
    spelled = {int(key): f"{key:016x}" for key in words.keys[commonest].tolist()}
    everyone = np.arange(len(documents.languages))
    names = {
        "words": tuple(spelled.values()),
        "sentence_lengths": tuple(f"{n}+" for n in SENTENCE_WORDS),
        "languages": _largest(documents.languages, len(documents.languages)),
        "hosts": _largest(documents.hosts, TOP_HOSTS),
    }
    if against is not None:
        names = {name: against.distributions[name].names[:-1] for name in DISTRIBUTIONS}
    slots = {int(name, 16): i for i, name in enumerate(names["words"])}
    by_type = np.array([slots.get(key, len(slots)) for key in words.keys.tolist()], np.int64)
    bins = np.searchsorted(SENTENCE_WORDS, documents.sentences, side="right") - 1
    writers = np.repeat(everyone, np.diff(documents.sentence_starts))
    codes = {
        "words": (by_type[words.codes], words.documents),
        "sentence_lengths": (bins, writers),
        "languages": (_places(names["languages"], documents.languages), everyone),
        "hosts": (_places(names["hosts"], documents.hosts), everyone),
    }
    return {name: _Counted((*names[name], OTHER), *codes[name]) for name in DISTRIBUTIONS}


def _largest(values: Sequence[str], most: int) -> tuple[str, ...]:
    ranked = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return tuple(name for name, _ in ranked[:most])


def _places(names: Sequence[str], values: Sequence[str]) -> NDArray[np.int64]:
    slots = {name: i for i, name in enumerate(names)}
    return np.array([slots.get(value, len(slots)) for value in values], np.int64)


def _distributions(
    counted: Mapping[str, _Counted], weights: Floats, against: Profile | None
) -> tuple[dict[str, Distribution], dict[str, Floats]]:
    """The counts with their noise, and the divergences from the baseline's; see `Measured`."""
    distributions, divergences = {}, {}
    for name, things in counted.items():
        rows = np.stack([things.counts(own) for own in weights])
        if not rows.any(axis=1).all():
            rows[:, -1] += ~rows.any(axis=1)  # No sentence was drawn: all of nothing is "other".
        noise = float(js_divergence(rows[1:], rows[0]).mean())
        distributions[name] = Distribution(things.names, rows[0], noise)
        if against is not None:
            divergences[name] = js_divergence(rows, _redraw(against.distributions[name]))
    return distributions, divergences


def _redraw(distribution: Distribution) -> Floats:
    """A baseline's counts, then replicates of them, drawn from a multinomial distribution.

    Words and sentences come in documents, so the counts vary more than as many independent things
    would; so many fewer are drawn that the replicates have the noise that was measured (the
    effective sample size of cluster sampling: Kish 1965, section 5.4).
    """
    counts = distribution.counts
    n = int(counts.sum())
    rng = np.random.default_rng(0)
    independent = rng.multinomial(n, counts / n, REPLICATES).astype(np.float64)
    expected = float(js_divergence(independent, counts).mean())
    share = min(1.0, expected / distribution.noise) if distribution.noise else 1.0
    drawn = rng.multinomial(max(1, round(n * share)), counts / n, REPLICATES)
    return np.concatenate([counts[None, :], drawn]).astype(np.float64)


def _figure(kind: FigureKind, rows: Floats) -> Figure:
    """The estimate of a figure with its interval; see `profile.py`."""
    value, replicates = float(rows[0]), rows[1:]
    replicates = replicates[~np.isnan(replicates)]
    if np.isnan(value) or not len(replicates):
        return Figure(None, None, None, None)
    if kind.scale == "ratio":
        error = float(np.log(replicates).std())
        return Figure(value, value * exp(-Z * error), value * exp(Z * error), error)
    error = float(replicates.std())
    return Figure(value, value - Z * error, value + Z * error, error)
