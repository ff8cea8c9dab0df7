"""Makes a language's model file from human and AI text: the code behind `lowbg train`."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.amounts import counted
from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.errors import ConfigError
from lowbg.jobs.train import calibration, kneser_ney, log_odds
from lowbg.jobs.train.corpus import (
    Row,
    in_language,
    list_files,
    read_rows,
    tokenize_rows,
)
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig, Sample
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.windows import Vocabulary, Windows, count_ngrams, cut
from lowbg.models import save_arrays
from lowbg.scorers.perplexity import log_likelihoods
from lowbg.storage.files import file_digest
from lowbg.text.tokens import Tokens

log = logging.getLogger(__name__)

FORMAT = 1
"""Bumped when the arrays or metadata of a model file change meaning."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a model file is made from.

    `human` and `ai` are JSONL files or folders; a row's own label counts where it has one, so a
    file that holds both may stand in either. `prose` is human text for the language model, and a
    human collection for the log-odds too. Rows whose licence matches `forbidden_licences`, or
    whose dataset is in `excluded`, are left out; of these the datasets in `calibrate_only` still
    serve as human text that thresholds are measured on. `strata` merges datasets (or
    dataset/domain) into strata that hold both labels; `weights` scales datasets in the fit of the
    log-odds. `perplexity_weight`: what one standard deviation of human log-perplexity takes off z.
    `prose_bytes` bounds what the language
    model reads of each dataset, in UTF-8 bytes.
    """

    language: str
    output: Path
    human: tuple[Path, ...]
    ai: tuple[Path, ...] = ()
    prose: tuple[Path, ...] = ()
    seed: int = 1
    date: dt.date = dt.date(2026, 11, 21)
    forbidden_licences: str = r"\b(NC|ND)\b|BY.?-?NC|non-commercial|study and exchange only"
    excluded: tuple[str, ...] = ()
    calibrate_only: tuple[str, ...] = ()
    strata: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    prose_bytes: dict[str, int] = field(default_factory=dict)
    min_words: int = 75
    perplexity_weight: float = 0.0
    folds: int = 7
    odds: OddsConfig = field(default_factory=OddsConfig)
    lm: LmConfig = field(default_factory=LmConfig)


@dataclass(frozen=True, slots=True)
class Material:
    """The rows of a training run with their tokens, and the files that they come from.

    `fitted` is false for rows that only serve to set thresholds.
    """

    rows: list[Row]
    tokens: Tokens
    prose: NDArray[np.bool_]
    fitted: NDArray[np.bool_]
    files: list[Path]


def gather(config: TrainConfig) -> Material:
    """Reads everything that `config` names; raises `ConfigError` where no human row is left."""
    forbidden = re.compile(config.forbidden_licences, re.IGNORECASE)
    rows: list[Row] = []
    prose: list[bool] = []
    fitted: list[bool] = []
    used: list[Path] = []
    sources = (
        (config.human, "human", False),
        (config.ai, "ai", False),
        (config.prose, "human", True),
    )
    seen: set[Path] = set()
    human = spoken = 0
    for paths, label, is_prose in sources:
        for path in list_files(paths):
            if path in seen:
                continue
            seen.add(path)
            before = len(rows)
            for row in read_rows(path, label):
                human += not row.is_ai
                if not in_language(row, config.language):
                    continue
                spoken += not row.is_ai
                free = not forbidden.search(row.license) and row.dataset not in config.excluded
                if free or (row.dataset in config.calibrate_only and not row.is_ai):
                    rows.append(row)
                    prose.append(is_prose)
                    fitted.append(free)
            if len(rows) > before:
                used.append(path)
    if not any(f and not row.is_ai for row, f in zip(rows, fitted, strict=True)):
        raise ConfigError(_no_human(config.language, human, spoken))
    tokens = tokenize_rows(rows, config.language)
    return Material(rows, tokens, np.array(prose), np.array(fitted), used)


def _no_human(language: str, human: int, spoken: int) -> str:
    """Why none of these `human` texts, `spoken` of them in the language, can be learnt from."""
    if not human:
        return "the inputs hold no human text"
    if not spoken:
        return f"none of the {counted(human, 'human text')} in the inputs is in {language!r}"
    return f"no licence of the {counted(spoken, 'human text')} in {language!r} allows its use"


def _sample(material: Material, windows: Windows, config: TrainConfig) -> Sample:
    """What the fit knows of each window; a document's windows share the root of their number."""
    rows = material.rows
    names = [
        ("prose/" if p else "") + row.dataset for row, p in zip(rows, material.prose, strict=True)
    ]
    strata = log_odds.strata_of(names, [row.domain for row in rows], config.strata)
    pieces = np.bincount(windows.document, minlength=len(rows))
    base = np.sqrt(np.minimum(1.0, windows.words / 100) / pieces[windows.document])
    own = np.array([config.weights.get(name, 1.0) for name in names])
    rewritten = np.array([bool(row.attack) and row.is_ai for row in rows])
    base = base * (own * np.where(rewritten, config.odds.attack_weight, 1.0))[windows.document]
    return Sample(
        is_ai=np.array([row.is_ai for row in rows])[windows.document],
        collection=np.array(names)[windows.document],
        stratum=np.array(strata)[windows.document],
        base=base,
    )


def _take(sample: Sample, chosen: NDArray[np.int64]) -> Sample:
    return Sample(
        sample.is_ai[chosen], sample.collection[chosen], sample.stratum[chosen], sample.base[chosen]
    )


@dataclass(frozen=True, slots=True)
class FittedOdds:
    """The log-odds table with its metadata, and the documents' out-of-collection scores."""

    table: NDArray[np.uint32]
    metadata: dict[str, Any]
    held: calibration.Held


def fit_odds(material: Material, config: TrainConfig) -> FittedOdds:
    """Fits the n-gram weights on everything, and again without each fold for honest scores."""
    odds = config.odds
    windows = cut(material.tokens.word_starts, odds.min_words, odds.max_windows)
    vocabulary, matrix = count_ngrams(material.tokens.words, windows, odds.order, odds.min_windows)
    sample = _sample(material, windows, config)
    usable = np.flatnonzero(material.fitted[windows.document] & (sample.base > 0))
    log.info("%s: %d windows, %d n-grams", config.language, len(windows), matrix.width)
    weights = log_odds.fit(matrix.rows(usable), _take(sample, usable), odds)
    table, scales, lost = log_odds.make_table(vocabulary, weights, odds.slots)
    stored = int((table != 0).sum())
    held = _hold_out(material, matrix, vocabulary, windows, sample, stored, config)
    metadata = {
        "order": odds.order,
        "scales": list(scales),
        "stored": stored,
        "offered": matrix.width,
        "lost": lost,
        "config": asdict(odds),
    }
    return FittedOdds(table, metadata, held)


def _hold_out(
    material: Material,
    matrix: Sparse,
    vocabulary: Vocabulary,
    windows: Windows,
    sample: Sample,
    capacity: int,
    config: TrainConfig,
) -> calibration.Held:
    rows = material.rows
    keys = [row.pair or (row.generator if row.is_ai else "") or row.id or row.text for row in rows]
    names = [
        ("prose/" if p else "") + row.dataset for row, p in zip(rows, material.prose, strict=True)
    ]
    # A dataset's labelled rows and its prose are the same collection: held out together.
    base = [name.removeprefix("prose/") for name in names]
    is_ai = np.array([row.is_ai for row in rows])
    fold = calibration.folds(base, is_ai, keys, config.folds)
    # What serves thresholds only is never fitted: a fold of its own after all others.
    fold = np.where(material.fitted, fold, -1)
    return calibration.hold_out(
        matrix,
        vocabulary,
        windows,
        sample,
        fold[windows.document],
        config.odds,
        capacity,
        _held_perplexity(material, fold, config),
    )


def _held_perplexity(
    material: Material, fold: NDArray[np.int64], config: TrainConfig
) -> NDArray[np.float64]:
    """Log-perplexity of every document under a model without the human text of its fold."""
    result = np.zeros(len(material.rows))
    for k in np.unique(fold):
        table = fit_lm(material, config, fold != k)
        inside = np.flatnonzero(fold == k)
        total = log_likelihoods(table.slots, table.metadata, material.tokens, inside)
        lengths = material.tokens.words_per_document[inside]
        result[inside] = -total / np.maximum(lengths, 1)
    return result


def calibrate(
    material: Material, held: calibration.Held, config: TrainConfig
) -> tuple[Calibration, tuple[float, float], dict[str, Any]]:
    """The calibration, the factors of both log-odds, and the human collections' quantiles.

    x = (a × nb + b × lr) / 2, with a = 2 × `naive_bayes_share`, and b such that both spread alike
    in human text at equal shares.
    """
    rows = [material.rows[i] for i in held.document]
    is_ai = np.array([row.is_ai for row in rows])
    names = np.array([row.dataset for row in rows])
    judged = held.words >= config.min_words
    human, ai = ~is_ai & judged, is_ai & judged & np.array([not row.attack for row in rows])
    size = Counter(names[human].tolist())
    equal = np.array([1.0 / size[name] if size[name] else 0.0 for name in names])
    parts = [
        calibration.fit_spread(x[human], held.words[human], equal[human])
        for x in (held.naive_bayes, held.logistic)
    ]
    scale = [np.sqrt(part.between + part.within / 250) for part in parts]
    share = config.odds.naive_bayes_share
    factors = (2 * share, 2 * (1 - share) * float(scale[0] / scale[1]))
    x = (factors[0] * held.naive_bayes + factors[1] * held.logistic) / 2
    spread = calibration.fit_spread(x[human], held.words[human], equal[human])
    average = float(equal[human] @ held.log_perplexity[human] / equal[human].sum())
    variance = float(
        equal[human] @ (held.log_perplexity[human] - average) ** 2 / equal[human].sum()
    )
    slope_of_perplexity = config.perplexity_weight / max(np.sqrt(variance), 1e-6)
    z = spread.standardise(x, held.words) - slope_of_perplexity * (held.log_perplexity - average)
    evidence = _collections(z, names, human)
    thresholds = calibration.thresholds(evidence)
    slope, intercept = 1.0, -thresholds[FPR_GRID.index(0.01)]
    if ai.any():
        chosen = np.flatnonzero(human | ai)
        ai_size = Counter(names[ai].tolist())
        balanced = np.where(
            ai, [1.0 / max(ai_size[name], 1) / len(ai_size) for name in names], equal / len(size)
        )
        slope, intercept = _logistic_line(z[chosen], ai[chosen], balanced[chosen])
    result = Calibration(
        mean=spread.mean,
        between=spread.between,
        within=spread.within,
        thresholds=tuple(thresholds),
        intercept=intercept,
        slope=slope,
        min_words=config.min_words,
        perplexity_mean=average,
        perplexity_slope=float(slope_of_perplexity),
    )
    return result, factors, evidence


def _logistic_line(z: Floats, is_ai: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of the label on z."""
    n = len(z)
    # The sparse solver knows only ones: each row's scale carries its z.
    matrix = Sparse(np.arange(n + 1, dtype=np.int64), np.zeros(n, np.int32), z, 1)
    slope, intercept = fit_logistic(matrix, is_ai, weights, l2=1e-6, iterations=100)
    return max(float(slope[0]), 1e-3), intercept


def _collections(
    z: Floats, names: NDArray[np.str_], human: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Of each judged human collection its documents and the z that each rate of them exceeds."""
    table = {}
    for name in sorted(set(names[human].tolist())):
        own = z[human & (names == name)]
        table[str(name)] = {"documents": len(own), "z": calibration.quantiles(own)}
    return table


def fit_lm(
    material: Material, config: TrainConfig, among: NDArray[np.bool_] | None = None
) -> kneser_ney.LmTable:
    """The language model of the human rows that may be fitted, each dataset up to its bound.

    `among` says which rows to choose from; all by default.
    """
    generator = np.random.default_rng(config.seed)
    rows = material.rows
    chosen: list[int] = []
    spent: Counter[str] = Counter()
    for i in generator.permutation(len(rows)):
        row = rows[int(i)]
        if row.is_ai or not material.fitted[i] or (among is not None and not among[i]):
            continue
        bound = config.prose_bytes.get(row.dataset, config.prose_bytes.get("*", 4_000_000))
        if spent[row.dataset] < bound:
            spent[row.dataset] += len(row.text.encode("utf-8", "replace"))
            chosen.append(int(i))
    words, sentences = _gather_tokens(material.tokens, np.array(sorted(chosen)))
    levels = kneser_ney.count_levels(words, sentences, config.lm)
    table = kneser_ney.make_table(kneser_ney.estimate(levels), config.lm)
    table.metadata["trained_words"] = len(words)
    return table


def _gather_tokens(
    tokens: Tokens, documents: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    def pick(starts: NDArray[np.int64]) -> NDArray[np.int64]:
        lengths = starts[documents + 1] - starts[documents]
        ends = np.cumsum(lengths)
        return np.asarray(
            np.arange(ends[-1]) + np.repeat(starts[documents] - ends + lengths, lengths)
        )

    return tokens.words[pick(tokens.word_starts)], tokens.sentences[pick(tokens.sentence_starts)]


def _sources(material: Material, files: Sequence[Path]) -> dict[str, Any]:
    """What the card says of the sources: rows and share by dataset, label, use and licence."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    size: Counter[tuple[str, str, str, str]] = Counter()
    for i, row in enumerate(material.rows):
        use = (
            "thresholds" if not material.fitted[i] else "prose" if material.prose[i] else "labelled"
        )
        key = (row.dataset, row.label, use, row.license or "not stated")
        count[key] += 1
        size[key] += len(row.text)
    total = sum(size.values())
    listed = [
        {
            "dataset": key[0],
            "label": key[1],
            "use": key[2],
            "licence": key[3],
            "rows": count[key],
            "share": round(size[key] / total, 5),
        }
        for key in sorted(count)
    ]
    return {"rows": listed, "files": {path.name: file_digest(path) for path in files}}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What rows got by fits that never saw their collection, and what makes a score of that.

    `held` says which of `rows`, all that were read; `factors` weigh its two log-odds.
    """

    rows: Sequence[Row]
    held: calibration.Held
    factors: tuple[float, float]
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Trained:
    """The model file that was written; `left_out` is None where there was no AI text."""

    path: Path
    left_out: LeftOut | None


def train(config: TrainConfig) -> Trained:
    """Writes the model file that `config` describes; equal input gives equal bytes."""
    material = gather(config)
    arrays: dict[str, NDArray[Any]] = {}
    metadata: dict[str, Any] = {
        "format": FORMAT,
        "language": config.language,
        "date": config.date.isoformat(),
        "seed": config.seed,
        "sources": _sources(material, material.files),
    }
    lm = fit_lm(material, config)
    arrays["lm_slots"] = lm.slots
    metadata["lm"] = lm.metadata
    left_out = None
    if any(row.is_ai for row in material.rows):
        odds = fit_odds(material, config)
        result, factors, evidence = calibrate(material, odds.held, config)
        arrays["odds_slots"] = odds.table
        scales = [a * b for a, b in zip(odds.metadata["scales"], factors, strict=True)]
        metadata["odds"] = {**odds.metadata, "scales": scales}
        metadata["calibration"] = asdict(result)
        metadata["human_collections"] = evidence
        left_out = LeftOut(material.rows, odds.held, factors, result)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(config.output, arrays, metadata)
    return Trained(config.output, left_out)
