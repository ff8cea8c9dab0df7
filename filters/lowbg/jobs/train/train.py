"""Makes a language's model file from human and AI text: the code behind `lowbg train`."""

from __future__ import annotations

import datetime as dt
import logging
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.amounts import counted
from lowbg.config import RunConfig
from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.errors import ConfigError
from lowbg.jobs.train import calibration, kneser_ney, log_odds, style
from lowbg.jobs.train.corpus import (
    Row,
    find,
    in_language,
    rows_of,
    tokenize_rows,
    with_row_fields,
)
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig, Sample
from lowbg.jobs.train.regression import Floats, Sparse, fit_logistic
from lowbg.jobs.train.windows import Vocabulary, Windows, count_ngrams, cut
from lowbg.models import FORMAT, save_arrays
from lowbg.report.results import ShardResult
from lowbg.runs.inputs import STDIN
from lowbg.runs.progress import NOBODY, Observer
from lowbg.runs.reading import ShardReading, Source, refuse_broken
from lowbg.scorers.perplexity import log_likelihoods
from lowbg.storage.files import file_digest
from lowbg.text.style import standardise
from lowbg.text.tokens import Tokens

log = logging.getLogger(__name__)

FORBIDDEN_LICENCES = r"\b(NC|ND)\b|BY.?-?NC|non-commercial|study and exchange only"
"""Matches licences under which nothing may be made for commercial use, or be derived."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a model file is made from.

    `human` and `ai` are shards or what stands for several (a directory, a glob), read as `reading`
    says; a row's own label counts where it has one, so a shard that holds both may stand in either.
    Of `labelled` shards rows without a label are left out.
    Of both there must be `min_documents` different texts of `min_words` words or more. `prose` is
    human text for the language model, and a human collection for the log-odds too. Rows whose
    licence matches `forbidden_licences`, or whose dataset is in `excluded`, are left out; of these
    the datasets in `calibrate_only` still serve as human text that thresholds are measured on.
    Of each kind of text (a dataset's rows of one label) `max_documents` serve, chosen by hash, and
    the rest for the language model alone. `genres` says of which genre a row's domain is: of the
    first that has a word that stands in it (`log_odds.balance`). `perplexity_weight`: what one
    standard deviation of human log-perplexity takes off z; `style_weight`: what one of the style's
    log-odds adds. `prose_bytes` bounds what the language model reads of each dataset, in UTF-8
    bytes.
    """

    language: str
    output: Path
    human: tuple[str | Path, ...] = ()
    ai: tuple[str | Path, ...] = ()
    labelled: tuple[str | Path, ...] = ()
    prose: tuple[str | Path, ...] = ()
    reading: RunConfig = field(default_factory=RunConfig)
    seed: int = 1
    date: dt.date = dt.date(2026, 11, 29)
    forbidden_licences: str = FORBIDDEN_LICENCES
    excluded: tuple[str, ...] = ()
    calibrate_only: tuple[str, ...] = ()
    max_documents: int = 1_000
    genres: dict[str, list[str]] = field(default_factory=dict)
    prose_bytes: dict[str, int] = field(default_factory=dict)
    min_words: int = 75
    min_documents: int = 200
    perplexity_weight: float = 0.3
    style_weight: float = 0.75
    folds: int = 7
    odds: OddsConfig = field(default_factory=OddsConfig)
    lm: LmConfig = field(default_factory=LmConfig)


@dataclass(frozen=True, slots=True)
class Material:
    """The rows of a training run with their tokens, and the files that they come from.

    `fitted` is false for rows that only serve to set thresholds. `shards` says what became of every
    shard that was read; `dropped` counts the rows left out, by why.
    """

    rows: list[Row]
    tokens: Tokens
    prose: NDArray[np.bool_]
    fitted: NDArray[np.bool_]
    files: list[Path]
    shards: tuple[ShardResult, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def gather(config: TrainConfig, observer: Observer = NOBODY) -> Material:
    """Reads everything that `config` names; what comes before damage counts.

    Raises `ConfigError` where there is too little human or AI text, or `InputError` where that is
    because a shard breaks off.
    """
    rows: list[Row] = []
    prose: list[bool] = []
    fitted: list[bool] = []
    used: list[Path] = []
    results: list[ShardResult] = []
    chosen, reading = _Chosen(config), with_row_fields(config.reading)
    seen: set[str] = set()
    for paths, label, is_prose in (
        (config.human, "human", False),
        (config.ai, "ai", False),
        (config.labelled, None, False),
        (config.prose, "human", True),
    ):
        for shard in find(paths) if paths else ():
            if shard.path in seen:
                continue
            seen.add(shard.path)
            before = len(rows)
            with ShardReading(Source(shard, reading), on_progress=observer.progress) as steps:
                for step in steps:
                    for row in rows_of(step.batch, shard, label):
                        use = chosen.use_of(row)
                        if use is not None:
                            rows.append(row)
                            prose.append(is_prose)
                            fitted.append(use)
            results.append(steps.result())
            if len(rows) > before and shard.path != STDIN:
                used.append(Path(shard.path))
    material = Material(
        rows,
        tokenize_rows(rows, config.language),
        np.array(prose, np.bool_),
        np.array(fitted, np.bool_),
        used,
        tuple(results),
        chosen.dropped,
    )
    _require_enough(material, config)
    return material


class _Chosen:
    """Which rows serve; counts those that don't."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._forbidden = re.compile(config.forbidden_licences, re.IGNORECASE)
        self.dropped: Counter[str] = Counter()

    def use_of(self, row: Row) -> bool | None:
        """Whether a row is fitted, or only sets thresholds; null: neither."""
        config = self._config
        if not row.label:
            self.dropped["without a label"] += 1
            return None
        if not in_language(row, config.language):
            self.dropped["in another language, by their own field"] += 1
            return None
        allowed = not self._forbidden.search(row.license)
        if allowed and row.dataset not in config.excluded:
            return True
        if row.dataset in config.calibrate_only and not row.is_ai:
            return False
        self.dropped["excluded" if allowed else "under a licence that forbids such use"] += 1
        return None


def _require_enough(material: Material, config: TrainConfig) -> None:
    """Raises `ConfigError` where there is too little text of a label to learn from."""
    long_enough = material.fitted & (material.tokens.words_per_document >= config.min_words)
    for label in ("human", "ai"):
        own = [i for i, row in enumerate(material.rows) if row.is_ai == (label == "ai")]
        found = len({material.rows[i].text for i in own if long_enough[i]})
        if found >= config.min_documents:
            continue
        refuse_broken(material.shards)
        short = len(own) - int(long_enough[own].sum())
        others = [f"{n:,} {why}" for why, n in material.dropped.items()]
        told = "; ".join(([f"{short:,} shorter"] if short else []) + others)
        raise ConfigError(
            f"{config.language}: {counted(found, f'{_NAMES[label]} document')} of "
            f"{config.min_words} words or more, each text once; {config.min_documents:,} are "
            f"needed{f' (left out: {told})' if told else ''}",
            key=label,
        )


_NAMES = {"human": "human", "ai": "AI"}


def _sample(material: Material, windows: Windows, config: TrainConfig) -> Sample:
    """What the fit knows of each window; a document's windows share the root of their number.

    Those that are not to be fitted weigh nothing.
    """
    rows = material.rows
    pieces = np.bincount(windows.document, minlength=len(rows))
    base = np.sqrt(np.minimum(1.0, windows.words / 100) / pieces[windows.document])
    rewritten = np.array([bool(row.attack) and row.is_ai for row in rows])
    own = np.where(rewritten, config.odds.attack_weight, 1.0)
    own *= material.fitted & among_the_first(rows, config.max_documents)
    return Sample(
        is_ai=np.array([row.is_ai for row in rows])[windows.document],
        collection=np.array([row.dataset for row in rows])[windows.document],
        document=windows.document,
        base=base * own[windows.document],
        genre=np.array([_genre(row.domain, config.genres) for row in rows])[windows.document],
    )


def _genre(domain: str, genres: Mapping[str, Sequence[str]]) -> str:
    found = (name for name, words in genres.items() if any(word in domain for word in words))
    return next(found, "")


def among_the_first(rows: Sequence[Row], most: int) -> NDArray[np.bool_]:
    """Whether each row is one of the first `most` of its kind, in the order of their hashes."""
    order = sorted(range(len(rows)), key=lambda i: (zlib.crc32(_key(rows[i])), i))
    taken: Counter[tuple[str, bool]] = Counter()
    chosen = np.zeros(len(rows), np.bool_)
    for i in order:
        kind = rows[i].dataset, rows[i].is_ai
        chosen[i] = taken[kind] < most
        taken[kind] += 1
    return chosen


def _key(row: Row) -> bytes:
    return (row.id or row.text).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class FittedOdds:
    """The log-odds table with its metadata, and the documents' out-of-collection scores."""

    table: NDArray[np.uint32]
    metadata: dict[str, Any]
    held: calibration.Held


def fit_odds(material: Material, config: TrainConfig, style: Floats) -> FittedOdds:
    """Fits the n-gram weights on everything, and again without each fold for honest scores.

    `style` holds the log-odds of each document's style.
    """
    odds = config.odds
    windows = cut(material.tokens.word_starts, odds.min_words, odds.max_windows)
    vocabulary, matrix = count_ngrams(material.tokens.words, windows, odds.order, odds.min_windows)
    sample = _sample(material, windows, config)
    usable = np.flatnonzero(sample.base > 0)
    log.info("%s: %d windows, %d n-grams", config.language, len(windows), matrix.width)
    weights = log_odds.fit(matrix.rows(usable), sample.rows(usable), odds)
    table, scales, lost = log_odds.make_table(vocabulary, weights, odds.slots)
    stored = int((table != 0).sum())
    held = _hold_out(material, matrix, vocabulary, windows, sample, stored, style, config)
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
    style: Floats,
    config: TrainConfig,
) -> calibration.Held:
    rows = material.rows
    is_ai = np.array([row.is_ai for row in rows])
    fold = calibration.folds([row.dataset for row in rows], is_ai, config.folds)
    of_label = (range(config.folds), range(config.folds, config.folds + calibration.AI_FOLDS))
    usable = material.fitted & (material.tokens.words_per_document >= config.odds.min_words)
    texts = [row.text for row in rows]
    for label, its_folds in zip((False, True), of_label, strict=True):
        scattered = calibration.scatter(
            fold,
            is_ai == label,
            usable=usable,
            texts=texts,
            folds=its_folds,
            least=config.min_documents // 2,
        )
        if scattered and not label:
            log.warning(
                "%s: too little human text is left without one of its collections: thresholds are "
                "set on documents that were left out one by one, not with their whole collection. "
                "On text of another kind more may be called AI: calibrate on your own",
                config.language,
            )
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
        style,
    )


def _held_perplexity(
    material: Material, fold: NDArray[np.int64], config: TrainConfig
) -> NDArray[np.float64]:
    """Log-perplexity of every document under a model without the human text of its fold."""
    result = np.zeros(len(material.rows))
    # The language model reads human text alone: that of AI folds is of all of it.
    fold = np.minimum(fold, config.folds)
    for k in np.unique(fold):
        table = fit_lm(material, config, fold != k)
        inside = np.flatnonzero(fold == k)
        total = log_likelihoods(table.slots, table.metadata, material.tokens, inside)
        lengths = material.tokens.words_per_document[inside]
        result[inside] = -total / np.maximum(lengths, 1)
    return result


def fit_style(material: Material, config: TrainConfig) -> tuple[Floats, dict[str, list[float]]]:
    """The log-odds of each document's style by weights that never saw its dataset, and what a model
    file holds: the features of human text, kinds counting alike, and the weights of everything.
    """
    rows, fits = material.rows, style.shipped_fits()
    features = style.measure_rows(rows, config.language)
    human = np.array([not row.is_ai for row in rows])
    human &= material.tokens.words_per_document >= config.min_words
    names = np.array([row.dataset for row in rows])
    mean, spread = style.human_style(features[human], style.alike(names[human]))
    deviations = standardise(features, mean, spread)
    known = {"mean": mean, "spread": spread, "weights": fits.weights[0]}
    return style.log_odds(deviations, fits.of(names.tolist())), {
        name: [round(float(v), 6) for v in values] for name, values in known.items()
    }


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
    equal = np.zeros(len(names))
    equal[human] = style.alike(names[human])
    parts = [
        calibration.fit_spread(x[human], held.words[human], equal[human])
        for x in (held.naive_bayes, held.logistic)
    ]
    scale = [part.deviation(250) for part in parts]
    share = config.odds.naive_bayes_share
    factors = (2 * share, 2 * (1 - share) * scale[0] / scale[1])
    x = (factors[0] * held.naive_bayes + factors[1] * held.logistic) / 2
    spread = calibration.fit_spread(x[human], held.words[human], equal[human])
    average = float(equal[human] @ held.log_perplexity[human] / equal[human].sum())
    variance = float(
        equal[human] @ (held.log_perplexity[human] - average) ** 2 / equal[human].sum()
    )
    slope_of_perplexity = config.perplexity_weight / max(np.sqrt(variance), 1e-6)
    own_style = calibration.fit_spread(held.style[human], held.words[human], equal[human])
    result = Calibration(
        mean=spread.mean,
        between=spread.between,
        within=spread.within,
        thresholds=(),
        intercept=0.0,
        slope=1.0,
        min_words=config.min_words,
        perplexity_mean=average,
        perplexity_slope=float(slope_of_perplexity),
        style_mean=own_style.mean,
        style_between=own_style.between,
        style_within=own_style.within,
        style_weight=config.style_weight,
    )
    z = result.standardise(x, held.words, np.exp(held.log_perplexity), held.style)
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
    result = replace(result, thresholds=tuple(thresholds), intercept=intercept, slope=slope)
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


def _sources(material: Material) -> dict[str, Any]:
    """What the card says of the sources: rows and share by dataset, label, use and licence."""
    uses = [
        "thresholds" if not fitted else "prose" if prose else "labelled"
        for fitted, prose in zip(material.fitted, material.prose, strict=True)
    ]
    return sources_of(material, material.rows, uses)


def sources_of(
    material: Material, rows: Sequence[Row], uses: Sequence[str] | None = None
) -> dict[str, Any]:
    """`rows` and share by dataset, label, use and licence, and the digests of the files read."""
    count: Counter[tuple[str, str, str, str]] = Counter()
    size: Counter[tuple[str, str, str, str]] = Counter()
    for row, use in zip(rows, uses or ["labelled"] * len(rows), strict=True):
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
    digests = {path.name: file_digest(path) for path in material.files if path.is_file()}
    return {"rows": listed, "files": digests}


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
    """The model file that was written, what it was made from, and what it says of text left out."""

    path: Path
    material: Material
    left_out: LeftOut

    def called_ai(self, label: str, target_fpr: float = 0.01) -> float:
        """The share of left-out documents of this label that the threshold calls AI."""
        out = self.left_out
        first, second = out.factors
        log_odds = (first * out.held.naive_bayes + second * out.held.logistic) / 2
        perplexity = np.exp(out.held.log_perplexity)
        z = out.calibration.standardise(log_odds, out.held.words, perplexity, out.held.style)
        of_label = np.array([out.rows[i].label == label for i in out.held.document])
        own = z[of_label & (out.held.words >= out.calibration.min_words)]
        return float(np.mean(own >= out.calibration.threshold(target_fpr)))


def train(config: TrainConfig, observer: Observer = NOBODY) -> Trained:
    """Writes the model file that `config` describes; equal input gives equal bytes.

    Raises as `gather` does.
    """
    material = gather(config, observer)
    lm = fit_lm(material, config)
    style_log_odds, style_metadata = fit_style(material, config)
    odds = fit_odds(material, config, style_log_odds)
    result, factors, evidence = calibrate(material, odds.held, config)
    scales = [a * b for a, b in zip(odds.metadata["scales"], factors, strict=True)]
    metadata: dict[str, Any] = {
        "format": FORMAT,
        "language": config.language,
        "date": config.date.isoformat(),
        "seed": config.seed,
        "sources": _sources(material),
        "lm": lm.metadata,
        "odds": {**odds.metadata, "scales": scales},
        "style": style_metadata,
        "calibration": asdict(result),
        "human_collections": evidence,
    }
    arrays: dict[str, NDArray[Any]] = {"lm_slots": lm.slots, "odds_slots": odds.table}
    config.output.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(config.output, arrays, metadata)
    left_out = LeftOut(material.rows, odds.held, factors, result)
    return Trained(config.output, material, left_out)
