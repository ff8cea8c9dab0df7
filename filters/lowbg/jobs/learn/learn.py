"""Learns a language's tables from old and new text: the code behind `lowbg learn`.

Old text is human, new text a mixture. The first fit sets new text apart from old, source against
the same source; by what it finds the new text is sorted, and the next fit sets what is probably
AI's apart from all that is probably human. Elkan & Noto 2008, "Learning classifiers from only
positive and unlabeled data", is the root of it, with human text as what is known.
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
from lowbg.jobs.learn.balance import evened, paired
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.fit import Ngrams, Sides
from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, PARTS, Dumps, gather
from lowbg.jobs.learn.measure import LIKELY, Figures, calibrate, figures, standardised
from lowbg.jobs.learn.mixture import Scores, posterior, share_of_ai
from lowbg.jobs.train import style
from lowbg.jobs.train.calibration import fit_spread
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.fit import held_perplexity
from lowbg.jobs.train.fit_lm import fit_lm
from lowbg.jobs.train.gather import Material
from lowbg.jobs.train.held_out import Held
from lowbg.jobs.train.log_odds import make_table
from lowbg.jobs.train.regression import Floats
from lowbg.models import FORMAT, save_arrays
from lowbg.runs.progress import NOBODY, Observer
from lowbg.storage.files import file_digest
from lowbg.text.style import standardise

log = logging.getLogger(__name__)

MAX_STYLE = 3.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned, and what it says of text that it was not fitted on.

    `refused` says why no tables were written; then there is nothing at `path`. `z` is each
    document's, by a fit without its source, and `called_ai` what that comes to at the target;
    `offered` and `kept` count n-grams before and after those of few sources were left out.
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


def learn(config: LearnConfig, observer: Observer = NOBODY) -> Learned:
    """Writes the tables that `config` describes, unless what was measured speaks against them.

    Equal input gives equal bytes. Raises as `gather` does, and `ConfigError` where old and new text
    have too few sources in common.
    """
    dumps = gather(config, observer)
    log.info(
        "%s: %s",
        config.language,
        ", ".join(f"{dumps.count(part):,} {name}" for part, name in enumerate(PARTS)),
    )
    style_log_odds, style_metadata = _style(dumps, config)
    ngrams = Ngrams(dumps, config)
    sides, probable = _sort(dumps, ngrams, style_log_odds, config)
    weights = ngrams.weights(sides)
    table, scales, lost = make_table(ngrams.vocabulary, weights, config.odds.slots)
    material, settings = _material(dumps), _settings(config)
    lm = fit_lm(material, settings)
    nb, lr = ngrams.hold_out(sides, capacity=int((table != 0).sum()))
    held = Held(
        document=np.arange(len(dumps.rows)),
        words=dumps.tokens.words_per_document,
        naive_bayes=nb,
        logistic=lr,
        log_perplexity=held_perplexity(material, ngrams.fold, settings),
        style=style_log_odds,
    )
    result, factors, evidence = calibrate(dumps, held, probable >= LIKELY, config)
    measured = figures(dumps, held, ngrams.fold, result, factors, _change(dumps, ngrams), config)
    refused = measured.refusals(config.target_fpr, by_source=dumps.by_source)
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
                "scales": [a * b for a, b in zip(scales, factors, strict=True)],
                "stored": int((table != 0).sum()),
                "offered": ngrams.offered,
                "lost": lost,
                "config": asdict(config.odds),
            },
            "style": style_metadata,
            "calibration": asdict(result),
            "human_collections": evidence,
            "learned": {
                "target_fpr": config.target_fpr,
                "held_out": dumps.held,
                "by_source": dumps.by_source,
                "figures": measured.as_json,
            },
        }
        config.output.mkdir(parents=True, exist_ok=True)
        arrays: Mapping[str, NDArray[Any]] = {"lm_slots": lm.slots, "odds_slots": table}
        save_arrays(path, arrays, metadata)
    z = standardised(result, factors, held)
    called = z >= result.threshold(config.target_fpr)
    return Learned(path, dumps, measured, refused, result, z, called, ngrams.offered, len(ngrams))


def _sort(
    dumps: Dumps, ngrams: Ngrams, style_log_odds: Floats, config: LearnConfig
) -> tuple[Sides, Floats]:
    """How much each document counts on either side, and the probability that it is AI's."""
    known, new = dumps.known, dumps.part == NEW
    mass = ngrams.mass
    human, ai = paired(dumps.source, mass * known, mass * new)
    common = (human + ai) > 0
    for side, name in ((known, "old"), (new, "new")):
        if (common & side).sum() < config.min_documents // 3:
            raise ConfigError(
                f"{config.language}: only {int((common & side).sum()):,} {name} documents are of a "
                "source that both dumps have: what sets them apart could be their sources. Give "
                "dumps of the same sites, or name the field that says what a source is"
            )
    sides = Sides(_per(human, mass), _per(ai, mass))
    probable = np.zeros(len(mass))
    for _ in range(config.rounds):
        z = _evidence(dumps, *ngrams.hold_out(sides), style_log_odds)
        scores = [Scores(z[common & own], dumps.group[common & own]) for own in (known, new)]
        share = share_of_ai(scores[0], scores[1], config.seed)
        probable = np.where(new, posterior(z, known & common, new & common, share.estimate), 0.0)
        log.info(
            "%s: %.1f %% (%.1f–%.1f) of the new text in common sources seems to be AI's",
            *(config.language, 100 * share.estimate, 100 * share.low, 100 * share.high),
        )
        ai = np.where(probable >= config.min_probability, probable, 0.0)
        if not ai.any():
            # Nothing stands out: the next fit needs something to fit, and what comes is refused.
            ai = new * 1.0
        sides = Sides(
            _per(evened(dumps.group, mass * (1.0 - probable)), mass),
            _per(evened(dumps.group, mass * ai), mass),
        )
    return sides, probable


def _change(dumps: Dumps, ngrams: Ngrams) -> Floats:
    """How much more each document is like held-out text than like old text, a word."""
    old, between = (
        evened(dumps.group, ngrams.mass * (dumps.part == part)) for part in (OLD, BETWEEN)
    )
    sides = Sides(_per(old, ngrams.mass), _per(between, ngrams.mass))
    return ngrams.hold_out(sides, steady=False)[0]


def _per(weights: Floats, mass: Floats) -> Floats:
    return np.asarray(weights / np.maximum(mass, 1e-12))


def _evidence(dumps: Dumps, nb: Floats, lr: Floats, style_log_odds: Floats) -> Floats:
    """Both log-odds and the style, each standardised by human text of its length, in one z."""
    words, known = dumps.tokens.words_per_document, dumps.known
    equal = np.ones(int(known.sum()))

    def standard(x: Floats) -> Floats:
        return fit_spread(x[known], words[known], equal).standardise(x, words)

    both = standard(standard(nb) + standard(lr))
    return both + 0.75 * np.clip(standard(style_log_odds), -MAX_STYLE, MAX_STYLE)


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
