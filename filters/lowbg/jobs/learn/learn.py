"""Learns a language's tables from old and new text: the code behind `lowbg learn`.

Old text is human, new text a mixture. The first fit sets new text apart from old, source against
the same source, or, with a teacher, what it is confident of; by what it finds the new text is
sorted, and the next fit sets what is probably AI's apart from all that is probably human. Elkan &
Noto 2008, "Learning classifiers from only positive and unlabeled data", is the root of it, with
human text as what is known.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbg.decision.calibration import Calibration
from lowbg.errors import ConfigError
from lowbg.jobs.learn.beside import judged_by_embedded
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.fit import Ngrams, Sides
from lowbg.jobs.learn.gather import NEW, PARTS, Dumps, gather
from lowbg.jobs.learn.grown import Base, base_of, grown_table
from lowbg.jobs.learn.measure import LIKELY, Figures, calibrate, figures, standardised
from lowbg.jobs.learn.sorting import change_of_human_text, sort_by_dumps, sort_by_teacher
from lowbg.jobs.learn.teacher import Teacher, TwoWays, Verdicts, ask, compare, teacher_of, told_of
from lowbg.jobs.train import style
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.fit import held_perplexity
from lowbg.jobs.train.fit_lm import fit_lm
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.log_odds import Weights, make_table
from lowbg.jobs.train.regression import Floats
from lowbg.models import FORMAT, embedded_names, save_arrays
from lowbg.runs.progress import NOBODY, Observer
from lowbg.storage.files import file_digest
from lowbg.text.style import standardise

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned, and what it says of text that it was not fitted on.

    `refused` says why no tables were written; then there is nothing at `path`. `z` is each
    document's, by a fit without its source, and `called_ai` what that comes to at the target;
    `offered` and `kept` count n-grams before and after those of few sources were left out. `taught`
    is what a teacher said, and `ways` how that agrees with what the dumps say without it; null
    without a teacher, and where the dumps alone say nothing.
    """

    path: Path
    dumps: Dumps
    figures: Figures
    refused: list[str]
    calibration: Calibration
    z: Floats
    called_ai: NDArray[np.bool_]
    offered: int
    kept: int
    taught: Verdicts | None = None
    ways: TwoWays | None = None


def learn(
    config: LearnConfig, observer: Observer = NOBODY, teacher: Teacher | None = None
) -> Learned:
    """Writes the tables that `config` describes, unless what was measured speaks against them.

    `teacher` teaches, else the model that `config.teacher` names, if it names one. Equal input
    gives equal bytes. Raises as `gather`, `teacher_of` and `ask` do, and `ConfigError` where
    without a teacher old and new text have too few sources in common.
    """
    if teacher is None and config.teacher is not None:
        teacher = teacher_of(config.teacher, config.language)
    dumps = gather(config, observer)
    log.info(
        "%s: %s",
        config.language,
        ", ".join(f"{dumps.count(part):,} {name}" for part, name in enumerate(PARTS)),
    )
    style_log_odds, style_metadata = _style(dumps, config)
    taught = embedded = None
    if teacher is not None:
        if config.language in embedded_names():
            _, embedded = judged_by_embedded(dumps, config.language, config.target_fpr)
        taught = ask(dumps, teacher, config.teacher_documents, config.seed, embedded)
    ngrams = Ngrams(dumps, config)
    ways = None
    if taught is None:
        sides, probable = sort_by_dumps(dumps, ngrams, style_log_odds, config)
    else:
        ways = _without(dumps, ngrams, style_log_odds, config, taught)
        sides, probable = sort_by_teacher(dumps, ngrams, style_log_odds, config, taught, embedded)
    base = base_of(dumps, config.language) if embedded is not None else None
    odds = _odds(dumps, ngrams, sides, config, base)
    material, settings = _material(dumps), _settings(config)
    lm = fit_lm(material, settings)
    held = Held(
        document=np.arange(len(dumps.rows)),
        words=dumps.tokens.words_per_document,
        naive_bayes=odds.held.naive_bayes,
        logistic=odds.held.logistic,
        log_perplexity=held_perplexity(material, ngrams.fold, settings),
        style=style_log_odds,
    )
    result, factors, evidence = calibrate(dumps, held, probable >= LIKELY, config)
    change = change_of_human_text(dumps, ngrams)
    measured = figures(dumps, held, ngrams.fold, result, factors, change, config)
    refused = measured.refusals(
        config.target_fpr, by_source=dumps.by_source, taught=taught is not None
    )
    path = config.output / f"{config.language}.safetensors"
    if not refused:
        metadata: dict[str, Any] = {
            "format": FORMAT,
            "language": config.language,
            "date": config.date.isoformat(),
            "seed": config.seed,
            "sources": _sources(dumps),
            "lm": lm.metadata,
            "odds": {
                "order": config.odds.order,
                "scales": [a * b for a, b in zip(odds.scales, factors, strict=True)],
                "stored": int((odds.table != 0).sum()),
                "offered": ngrams.offered,
                "lost": odds.lost,
                "config": asdict(config.odds),
                **({} if base is None else {"grown_on": base.sha256}),
            },
            "style": style_metadata,
            "calibration": asdict(result),
            "human_collections": evidence,
            "learned": {
                "target_fpr": config.target_fpr,
                "held_out": dumps.held,
                "by_source": dumps.by_source,
                "figures": measured.as_json,
                **({} if taught is None else {"teacher": told_of(taught, ways, dumps)}),
            },
        }
        arrays: Mapping[str, NDArray[Any]] = {"lm_slots": lm.slots, "odds_slots": odds.table}
        save_arrays(path, arrays, metadata)
    z = standardised(result, factors, held)
    called = z >= result.threshold(config.target_fpr)
    return Learned(
        path=path,
        dumps=dumps,
        figures=measured,
        refused=refused,
        calibration=result,
        z=z,
        called_ai=called,
        offered=ngrams.offered,
        kept=len(ngrams),
        taught=taught,
        ways=ways,
    )


@dataclass(frozen=True, slots=True)
class _Odds:
    """A table of n-grams, the scales of its payloads, how many found no place, and what it makes of
    every document (nats a word), by a fit without its source."""

    table: NDArray[np.uint32]
    scales: tuple[float, float]
    lost: int
    held: Weights


def _odds(
    dumps: Dumps, ngrams: Ngrams, sides: Sides, config: LearnConfig, base: Base | None
) -> _Odds:
    """The table that is fitted to the sides, on top of `base` if there is one."""
    weights = ngrams.weights(sides)
    if base is None:
        table, scales, lost = make_table(ngrams.vocabulary, weights, config.odds.slots)
        held = Weights(*ngrams.hold_out(sides, capacity=int((table != 0).sum())))
        return _Odds(table, scales, lost, held)
    alone = Weights(*ngrams.hold_out(sides))
    base = base.scaled(alone, dumps)
    table, scales, lost = grown_table(base, ngrams.vocabulary, weights)
    held = Weights(
        alone.naive_bayes + base.documents.naive_bayes, alone.logistic + base.documents.logistic
    )
    return _Odds(table, scales, lost, held)


def _without(
    dumps: Dumps, ngrams: Ngrams, style_log_odds: Floats, config: LearnConfig, taught: Verdicts
) -> TwoWays | None:
    """How what the dumps say by themselves agrees with the teacher; null where they say nothing."""
    try:
        _, probable = sort_by_dumps(dumps, ngrams, style_log_odds, config)
    except ConfigError as error:
        log.info("the dumps alone can't be asked: %s", error)
        return None
    return compare(dumps, taught, probable)


def _style(dumps: Dumps, config: LearnConfig) -> tuple[Floats, dict[str, list[float]]]:
    """The log-odds of each document's style, and what a model file holds of style."""
    features = style.measure_rows(dumps.rows, config.language)
    mean, spread = style.human_style(features[dumps.known], style.alike(dumps.source[dumps.known]))
    weights = style.shipped_fits().weights[0]
    log_odds = style.log_odds(standardise(features, mean, spread), weights)
    known = {"mean": mean, "spread": spread, "weights": weights}
    return log_odds, {name: [round(float(v), 6) for v in values] for name, values in known.items()}


def _material(dumps: Dumps) -> Material:
    return Material(
        dumps.rows, dumps.tokens, np.zeros(len(dumps.rows), np.bool_), dumps.known, dumps.files
    )


def _settings(config: LearnConfig) -> TrainConfig:
    return TrainConfig(
        language=config.language,
        output=config.output,
        human=(),
        seed=config.seed,
        folds=config.folds,
        lm=config.lm,
    )


def _sources(dumps: Dumps) -> dict[str, Any]:
    """What the model file says of the text that it was learned from."""
    size = np.array([len(row.text) for row in dumps.rows], np.float64)
    rows = [
        {
            "dataset": name,
            "label": "unlabelled" if part == NEW else "human",
            "use": "learned",
            "licence": "not stated",
            "rows": dumps.count(part),
            "sources": len(np.unique(dumps.source[dumps.part == part])),
            "share": round(float(size[dumps.part == part].sum() / size.sum()), 5),
        }
        for part, name in enumerate(PARTS)
    ]
    digests = {path.name: file_digest(path) for path in dumps.files if path.is_file()}
    return {"rows": rows, "files": digests}
