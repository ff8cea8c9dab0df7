"""Makes a probe of a causal LM from labelled text: the code behind `lowbg train --probe`.

One pass over the text reads the states of several layers. Layer and ridge are those that find most
of kinds that were left out, of both labels at once; a kind is a dataset's rows of one label.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmDtype, LmSettings
from lowbg.decision.lm import heed
from lowbg.errors import ConfigError
from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train import calibration
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.corpus import Row
from lowbg.jobs.train.fit import among_the_first
from lowbg.jobs.train.gather import Material, gather, sources_of
from lowbg.jobs.train.probe_joined import joined_text
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike
from lowbg.runs.progress import NOBODY, Observer
from lowbg.scorers.lm import extras
from lowbg.scorers.lm.probes import Probe, ProbeOf
from lowbg.scorers.lm.store import ModelFolder, locate
from lowbg.scorers.lm.surprise import SURPRISE, SurpriseWeights, weigh

log = logging.getLogger(__name__)

DEPTHS = (0.4, 0.5, 0.6, 0.7)
"""Where in a model the candidate layers lie, as shares of its layers. Of SmolLM2's 30 the best is
18 (`benchmarks/neural/unseen_kinds.py`): the last ones are about the next word alone."""

RIDGES = (0.1, 0.3, 1.0)
"""Candidate ridges, in units of each state's own variance."""

BETWEEN = 3.0
"""How much more the kinds of a label are taken to differ than those at hand do: unseen ones lie
elsewhere. On halves of the kinds of training text left out, with layer 18 of SmolLM2: 50 % found at
1 %, against 43 % by logistic regression and 49 % without this factor."""

MIN_KIND = 20
"""A kind with fewer documents counts in proportion."""

FOLDS = 4
"""Parts of the kinds that are left out in turn."""

RATES = (0.01, 0.05)
"""Mean rates of left-out human kinds called AI at which candidates' recalls are compared."""

MIN_WORDS = 25
"""Shorter documents are neither fitted nor judged."""

Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """What a probe is made from.

    `text` names the labelled text as for tables; of its `max_documents` the first
    `max_documents` here of each kind serve. `lm` is the model and how it is run; with its
    `surprise` the probe weighs that, too. `layers` are the
    candidates, by default those at `DEPTHS`.
    """

    text: TrainConfig
    lm: LmSettings
    layers: tuple[int, ...] = ()
    ridges: tuple[float, ...] = RIDGES
    tokens: int = 192
    max_documents: int = 100
    folds: int = FOLDS


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents that a probe is fitted on, one entry each.

    `kinds` are dataset and label; `datasets` what is left out together; `words` their lengths.
    """

    is_ai: Labels
    datasets: NDArray[np.str_]
    words: NDArray[np.int64]

    @property
    def kinds(self) -> NDArray[np.str_]:
        """The kind of each document."""
        label = np.where(self.is_ai, "ai/", "human/")
        return np.char.add(label, self.datasets)


@dataclass(frozen=True, slots=True)
class Found:
    """What log-odds find of kinds that no fit saw.

    `recall` is the mean share of left-out AI kinds found at each of `RATES`, the rate being the
    mean of the human kinds' own; `lowest_quarter` that of the first rate, exceeded by three
    quarters of the AI kinds; `worst` the human kind most often called AI at it; `auroc` the mean of
    AI kinds against all human text, kinds counting alike.
    """

    recall: tuple[float, ...]
    lowest_quarter: float
    worst: float
    auroc: float

    @property
    def merit(self) -> float:
        """What candidates are compared by."""
        return float(np.mean(self.recall))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer and a ridge, what they find, and each document's log-odds by a fit without it."""

    layer: int
    ridge: float
    found: Found
    held: Floats


@dataclass(frozen=True, slots=True)
class TrainedProbe:
    """The probe that was written, what it was made from, and the candidates, the chosen first."""

    probe: Probe
    material: Material
    documents: Documents
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted probe's numbers: log-odds are ((state − mean) / scale) · weights + intercept."""

    weights: Floats
    mean: Floats
    scale: Floats
    intercept: float

    def log_odds(self, states: Floats) -> Floats:
        """Log-odds (nats) of documents × width."""
        return np.asarray((states - self.mean) / self.scale @ self.weights + self.intercept)


def fit(states: Floats, documents: Documents, chosen: NDArray[np.int64], ridge: float) -> Linear:
    """A probe of the documents `chosen`: a linear discriminant that holds for kinds it never saw.

    What a document differs by is taken to be what documents of its kind differ by, and
    `BETWEEN` times what the kinds of a label differ by: along what sets one kind apart from the
    next, little is learned. Its log-odds are those of two normal distributions with that common
    covariance, about the means of the kinds of either label. `ridge` is added to the variance of
    every state in units of its own. Kinds count alike; below `MIN_KIND` documents, less.
    """
    own = states[chosen].astype(np.float64)
    kinds, of = np.unique(documents.kinds[chosen], return_inverse=True)
    ai = np.char.startswith(kinds, "ai/")
    sizes = np.bincount(of)
    weights = np.minimum(1.0, sizes / MIN_KIND)
    means = np.zeros((len(kinds), own.shape[1]))
    np.add.at(means, of, own)
    means /= sizes[:, None]
    inside = own - means[of]
    inside *= np.sqrt(weights / sizes / weights.sum())[of][:, None]
    centres = [np.average(means[ai == label], 0, weights[ai == label]) for label in (True, False)]
    apart = means - np.where(ai[:, None], *centres)
    apart *= np.sqrt(weights / np.where(ai, weights[ai].sum(), weights[~ai].sum()) / 2)[:, None]
    covariance = inside.T @ inside + BETWEEN * apart.T @ apart
    scale = np.sqrt(np.diag(covariance)) + 1e-6
    mean = (centres[0] + centres[1]) / 2
    inner = covariance / np.outer(scale, scale) + ridge * np.eye(len(scale))
    found = np.linalg.solve(inner, (centres[0] - centres[1]) / scale)
    return Linear(found.astype(np.float64), mean, scale, 0.0)


def spread_over_folds(documents: Documents, folds: int) -> NDArray[np.int64]:
    """The fold in which each document is left out, with its whole dataset.

    Datasets are dealt out by what they hold (AI text, human text or both), the largest first. Where
    a label is in one dataset alone its documents are dealt out one by one, and a warning says so.
    """
    names = documents.datasets
    result = np.zeros(len(names), np.int64)
    holds = {
        str(name): (bool(documents.is_ai[names == name].any()), int((names == name).sum()))
        for name in np.unique(names)
    }
    both = {n for n in holds if len(set(documents.is_ai[names == n].tolist())) == 2}
    for group in (
        sorted(both),
        sorted(n for n in holds if holds[n][0] and n not in both),
        sorted(n for n in holds if not holds[n][0]),
    ):
        for k, name in enumerate(sorted(group, key=lambda n: (-holds[n][1], n))):
            result[names == name] = k % folds
    for label in (True, False):
        own = np.flatnonzero(documents.is_ai == label)
        if len(np.unique(result[own])) < 2:
            log.warning(
                "%s text is of one dataset: what the probe finds is measured on documents, not on "
                "kinds, that were left out. Give text of several kinds, each a dataset of its own",
                "AI" if label else "human",
            )
            result[own] = np.arange(len(own)) % folds
    return result


def left_out(states: Floats, documents: Documents, fold: NDArray[np.int64], ridge: float) -> Floats:
    """The log-odds of each document by a fit without its fold."""
    held = np.zeros(len(fold))
    for k in np.unique(fold):
        inside = np.flatnonzero(fold == k)
        held[inside] = fit(states, documents, np.flatnonzero(fold != k), ridge).log_odds(
            states[inside]
        )
    return held


def judge(score: Floats, documents: Documents) -> Found:
    """What a score of documents finds, each by a fit without its kind."""
    kinds, is_ai = documents.kinds, documents.is_ai
    human = [score[kinds == kind] for kind in np.unique(kinds[~is_ai])]
    ai = [score[kinds == kind] for kind in np.unique(kinds[is_ai])]
    cuts = [threshold_at(human, rate) for rate in RATES]
    recalls = [[float(np.mean(own > cut)) for own in ai] for cut in cuts]
    return Found(
        recall=tuple(float(np.mean(of_rate)) for of_rate in recalls),
        lowest_quarter=float(np.quantile(recalls[0], 0.25)),
        worst=max(float(np.mean(own > cuts[0])) for own in human),
        auroc=float(np.mean([np.mean([auroc(people, own) for people in human]) for own in ai])),
    )


def threshold_at(human: Sequence[Floats], rate: float) -> float:
    """The least score that at most `rate` of human kinds exceed on average, each counting alike."""
    scores = np.concatenate(human)
    weights = np.concatenate([np.full(len(own), 1.0 / len(own) / len(human)) for own in human])
    order = np.argsort(-scores, kind="stable")
    above = np.cumsum(weights[order])
    # The first that would be one too many is where the threshold lies: only what exceeds it counts.
    place = int(np.searchsorted(above, rate + 1e-12, side="right"))
    return float(scores[order[min(place, len(order) - 1)]])


def choose(
    states: Mapping[int, Floats], documents: Documents, ridges: Sequence[float], folds: int
) -> tuple[Candidate, ...]:
    """All candidates, the best first; equal ones: the lower layer, which costs less."""
    fold = spread_over_folds(documents, folds)
    found = []
    for layer in sorted(states):
        for ridge in ridges:
            held = left_out(states[layer], documents, fold, ridge)
            found.append(Candidate(layer, ridge, judge(held, documents), held))
            log.info(
                "layer %d, ridge %g: %.0f %% of left-out kinds at 1 %% of human text",
                *(layer, ridge, 100 * found[-1].found.recall[0]),
            )
    return tuple(sorted(found, key=lambda c: (-c.found.merit, c.layer, -c.ridge)))


def documents_of(material: Material, most: int) -> tuple[Documents, list[Row]]:
    """What a probe is fitted on, with the rows: of each kind the first `most` by hash.

    Texts that were rewritten to escape detection are no kind of their own, and left out; so is what
    serves thresholds alone.
    """
    rows = material.rows
    words = material.tokens.words_per_document
    usable = material.fitted & (words >= MIN_WORDS)
    usable &= np.array([not (row.is_ai and row.attack) for row in rows], np.bool_)
    candidates = np.flatnonzero(usable)
    first = among_the_first([rows[i] for i in candidates], most)
    chosen = candidates[first]
    documents = Documents(
        is_ai=np.array([rows[i].is_ai for i in chosen], np.bool_),
        datasets=np.array([rows[i].dataset for i in chosen], np.str_),
        words=words[chosen].astype(np.int64),
    )
    return documents, [rows[i] for i in chosen]


def read_states(
    folder: ModelFolder, rows: Sequence[Row], config: ProbeConfig
) -> tuple[dict[int, Floats], Floats, ProbeOf]:
    """The mean state after each candidate layer (documents × width), documents × `SURPRISE` (NaN
    where that isn't read), and what was read how.

    Raises `ConfigError` for a layer that the model hasn't.
    """
    models: Any = extras.load("lowbg.scorers.lm.models", extra="lm", wanted_by="`extras.lm.model`")
    states: Any = extras.load("lowbg.scorers.lm.states", extra="lm", wanted_by="`extras.lm.model`")
    device = models.device_of_this_process(config.lm.device)
    dtype = config.lm.dtype
    if dtype is LmDtype.AUTO:
        dtype = states.fast_dtype(device)
    model = models.CausalModel(folder, device, dtype, config.lm.context)
    sample: Any = importlib.import_module("lowbg.scorers.lm.sample")
    sample.check_reads(model)
    layers = config.layers or tuple(
        sorted({max(1, round(depth * model.layers)) for depth in DEPTHS})
    )
    reader = states.StateReader(
        *(model, layers, config.tokens, config.lm.batch_tokens), surprise=config.lm.surprise
    )
    surprise = np.full((len(rows), len(SURPRISE)), np.nan)
    found = np.zeros((len(rows), len(layers), reader.width), np.float32)
    started = told = time.monotonic()
    size = 64
    for at in range(0, len(rows), size):
        own = rows[at : at + size]
        read = reader.read([row.text for row in own])
        found[at : at + size], surprise[at : at + size] = read.states, read.surprise
        now = time.monotonic()
        if now - told > 30.0:
            told = now
            speed = reader.read_tokens / (now - started)
            log.info("%d of %d documents read, %.0f tokens a second", at, len(rows), speed)
    of = ProbeOf(
        model=folder.sha256(),
        tokenizer=model.token_digest(),
        label=folder.label,
        layer=0,
        tokens=reader.tokens,
        dtype=dtype.value,
        fingerprint=folder.fingerprint(),
    )
    return {layer: found[:, k] for k, layer in enumerate(layers)}, surprise, of


def make_probe(
    best: Candidate,
    states: Floats,
    documents: Documents,
    rows: Sequence[Row],
    of: ProbeOf,
    card: Mapping[str, Any],
    surprise: Floats | None = None,
) -> Probe:
    """The probe of everything, with what left-out human text gets and what it was made from.

    `surprise` is documents × `SURPRISE`, NaN where it wasn't read: thresholds that count it are of
    those of which it was. Without it the probe doesn't weigh it.
    """
    linear = fit(states, documents, np.arange(len(documents.words)), best.ridge)
    human, z = human_text(best.held, documents)
    own = [row for row in rows if not row.is_ai]
    language = str(card["language"])
    people = ~documents.is_ai
    weighed = None
    joined = joined_text(own, z, language)
    if surprise is not None:
        words, names = documents.words[people], documents.datasets[people]
        weighed, told, by_surprise = surprise_of_human_text(surprise[people], words, names)
        read = ~np.isnan(by_surprise)
        higher = heed(z[read], by_surprise[read])
        told["alone"] = {"thresholds": calibration.document_thresholds(higher, names[read])}
        told["documents"] = int(read.sum())
        told["joined"] = joined_text(own, z, language, by_surprise)
        card = {**card, "surprise": told}
    return Probe(
        of=replace(of, layer=best.layer),
        languages=(language,),
        weights=linear.weights.astype(np.float32),
        mean=linear.mean.astype(np.float32),
        scale=linear.scale.astype(np.float32),
        intercept=float(np.float32(linear.intercept)),
        card={**card, "human": human, "joined": joined},
        surprise=weighed,
    )


def human_text(held: Floats, documents: Documents) -> tuple[dict[str, Any], Floats]:
    """How left-out human text spreads, and the z that each rate of it exceeds (`FPR_GRID`); and z
    of each human document.
    """
    human = np.flatnonzero(~documents.is_ai)
    words, names = documents.words[human], documents.datasets[human]
    spread = calibration.fit_spread(held[human], words, alike(names))
    z = spread.standardise(held[human], words)
    collections = {
        str(name): {
            "documents": int((names == name).sum()),
            "z": calibration.quantiles(z[names == name]),
        }
        for name in np.unique(names)
    }
    told = {
        "mean": round(spread.mean, 6),
        "between": round(spread.between, 6),
        "within": round(spread.within, 6),
        "min_words": MIN_WORDS,
        "thresholds": calibration.document_thresholds(z, names),
        "collections": collections,
    }
    return told, z


def surprise_of_human_text(
    figures: Floats, words: NDArray[np.int64], names: NDArray[np.str_]
) -> tuple[SurpriseWeights, dict[str, Any], Floats]:
    """What weighs surprise (human documents × `SURPRISE`), how that spreads, and z of each."""
    read = np.isfinite(figures).all(axis=1)
    weights = weigh(figures[read], alike(names[read]))
    evenness = weights.evenness(figures)
    spread = calibration.fit_spread(evenness[read], words[read], alike(names[read]))
    told: dict[str, Any] = {
        "mean": round(spread.mean, 6),
        "between": round(spread.between, 6),
        "within": round(spread.within, 6),
    }
    return weights, told, spread.standardise(evenness, words)


def train_probe(config: ProbeConfig, observer: Observer = NOBODY) -> TrainedProbe:
    """Writes the probe that `config` describes.

    Raises as `gather` does, and `ConfigError` or `ModelError` where the model can't be used.
    """
    folder = locate(config.lm.model, "`extras.lm.model`", fetch=True)
    material = gather(config.text, observer)
    documents, rows = documents_of(material, config.max_documents)
    for label in (True, False):
        if not (documents.is_ai == label).any():
            raise ConfigError(f"no {'AI' if label else 'human'} text that a probe could learn from")
    log.info("%s reads %d documents", folder.label, len(rows))
    states, surprise, of = read_states(folder, rows, config)
    candidates = choose(states, documents, config.ridges, config.folds)
    best = candidates[0]
    card = card_of(config, material, documents, rows, candidates)
    figures = surprise if config.lm.surprise else None
    probe = make_probe(best, states[best.layer], documents, rows, of, card, figures)
    digest = probe.save(config.text.output)
    saved = replace(probe, path=config.text.output, sha256=digest)
    return TrainedProbe(saved, material, documents, candidates)


def card_of(
    config: ProbeConfig,
    material: Material,
    documents: Documents,
    rows: Sequence[Row],
    candidates: Sequence[Candidate],
) -> dict[str, Any]:
    """What a probe says of itself: text, licences, candidates, and what it finds of left-out kinds.

    `licences` are shares of the documents.
    """
    best = candidates[0]
    licences = Counter(row.license or "not stated" for row in rows)
    kinds = np.unique(documents.kinds)
    return {
        "language": config.text.language,
        "date": config.text.date.isoformat(),
        "documents": len(rows),
        "kinds": {
            "ai": int(sum(str(kind).startswith("ai/") for kind in kinds)),
            "human": int(sum(str(kind).startswith("human/") for kind in kinds)),
        },
        "sources": sources_of(material, rows),
        "licences": {name: round(n / len(rows), 5) for name, n in sorted(licences.items())},
        "left_out": {
            "recall": dict(zip(map(str, RATES), best.found.recall, strict=True)),
            "lowest_quarter": best.found.lowest_quarter,
            "worst_human_kind": best.found.worst,
            "auroc": best.found.auroc,
        },
        "candidates": [
            {"layer": c.layer, "ridge": c.ridge, "recall": list(c.found.recall)} for c in candidates
        ],
    }
