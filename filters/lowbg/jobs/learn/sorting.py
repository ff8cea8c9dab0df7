"""Sorts the new text into human and AI text, and sets the two apart by their n-grams.

Without a teacher the first fit sets new text apart from old, source against the same source; with
one it sets apart what the teacher is confident of. By what a fit finds all of the new text is
sorted, and the next one sets what is probably AI's apart from all that is probably human.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ConfigError
from lowbg.jobs.learn.balance import evened, paired
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.fit import Ngrams, Sides
from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, Dumps
from lowbg.jobs.learn.mixture import Scores, posterior, share_of_ai
from lowbg.jobs.learn.teacher import Verdicts, standard
from lowbg.jobs.train.regression import Floats

log = logging.getLogger(__name__)

MAX_STYLE = 3.0


def sort_by_dumps(
    dumps: Dumps, ngrams: Ngrams, style_log_odds: Floats, config: LearnConfig
) -> tuple[Sides, Floats]:
    """How much each document counts on either side, and the probability that it is AI's, by what
    sets the new dump apart from the old one.

    Raises `ConfigError` where they have too few sources in common.
    """
    known, new = dumps.known, dumps.part == NEW
    mass = ngrams.mass
    human, ai = paired(dumps.source, mass * known, mass * new)
    common = np.asarray((human + ai) > 0)
    for side, name in ((known, "old"), (new, "new")):
        if (common & side).sum() < config.min_documents // 3:
            raise ConfigError(
                f"{config.language}: only {int((common & side).sum()):,} {name} documents are of a "
                "source that both dumps have: what sets them apart could be their sources. Give "
                "dumps of the same sites, or name the field that says what a source is"
            )
    sides = Sides(_per(human, mass), _per(ai, mass))
    return _rounds(dumps, ngrams, style_log_odds, config, sides, common, None)


def sort_by_teacher(
    dumps: Dumps,
    ngrams: Ngrams,
    style_log_odds: Floats,
    config: LearnConfig,
    taught: Verdicts,
    embedded: Floats | None,
) -> tuple[Sides, Floats]:
    """The same by what the teacher says, which goes before what a fit says of the same document;
    `embedded` is z by other tables, which have an equal say.
    """
    sure = taught.confident(dumps)
    if not (sure & taught.is_ai).any():
        # Nothing to learn from, which the figures will show.
        log.info("%s: the teacher is confident of no AI text", config.language)
    mass = ngrams.mass
    ai = np.where(sure & taught.is_ai, taught.probability, 0.0)
    human = np.where(sure & ~taught.is_ai, 1.0 - taught.probability, 0.0)
    if not ai.any():
        ai = (dumps.part == NEW) * 1.0
    sides = Sides(
        *(_per(evened(dumps.group, mass * own), mass) for own in (human, ai)),
    )
    everywhere = np.ones(len(mass), np.bool_)
    others = np.zeros(len(mass))
    if embedded is not None:
        known = dumps.known & ~np.isnan(embedded)
        others = np.nan_to_num(standard(embedded, known, dumps))
    return _rounds(dumps, ngrams, style_log_odds, config, sides, everywhere, taught, others)


def _rounds(
    dumps: Dumps,
    ngrams: Ngrams,
    style_log_odds: Floats,
    config: LearnConfig,
    sides: Sides,
    common: NDArray[np.bool_],
    taught: Verdicts | None,
    others: Floats | float = 0.0,
) -> tuple[Sides, Floats]:
    """Sorts all of the new text by the last fit and z by `others`, and fits again; `common`
    documents say how scores are to be read."""
    known, new, mass = dumps.known, dumps.part == NEW, ngrams.mass
    probable = np.zeros(len(mass))
    sure = np.zeros(len(mass), np.bool_) if taught is None else taught.confident(dumps)
    for _ in range(config.rounds):
        z = _evidence(dumps, *ngrams.hold_out(sides), style_log_odds) + others
        scores = [Scores(z[common & own], dumps.group[common & own]) for own in (known, new)]
        share = share_of_ai(scores[0], scores[1], config.seed)
        probable = np.where(new, posterior(z, known & common, new & common, share.estimate), 0.0)
        if taught is not None:
            probable = np.where(sure, np.nan_to_num(taught.probability), probable)
        log.info(
            "%s: %.1f %% (%.1f–%.1f) of the new text%s seems to be AI's",
            *(config.language, 100 * share.estimate, 100 * share.low, 100 * share.high),
            "" if taught is not None else " in common sources",
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


def change_of_human_text(dumps: Dumps, ngrams: Ngrams) -> Floats:
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
    known = dumps.known
    both = standard(standard(nb, known, dumps) + standard(lr, known, dumps), known, dumps)
    style = standard(style_log_odds, known, dumps)
    return both + 0.75 * np.clip(style, -MAX_STYLE, MAX_STYLE)
