"""Which part of a document reads like AI text, where the rest of it does not: for people alone.

A document may be half a person's: an answer of an assistant pasted into a letter, a page that went
on by itself. The verdict is on the whole, as its rate of false positives is. What is told here
changes no verdict: the run of sentences that would be called AI alone, if what is left of the
document reads like the middle of human text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lowbg.config import Rule
from lowbg.runs.engine import Engine
from lowbg.runs.sentences import judge_texts

WINDOW_WORDS: Final = 75
"""A part and what is left of the document have at least so many words each."""

MAX_WINDOWS: Final = 12
"""Longer documents are cut into longer windows: the runs of twelve are 77."""

MAX_REST: Final = 0.5
"""The rest lies at most so many deviations above the mean of human text."""


@dataclass(frozen=True, slots=True)
class AiPart:
    """The sentences `first` to `last` of a document, from 0 and both included, of `words` words.

    `ai_score` is theirs, taken as a document; `rest` that of all other sentences together.
    """

    first: int
    last: int
    words: int
    ai_score: float
    rest: float


@dataclass(frozen=True, slots=True)
class Sentences:
    """A document's sentences in order: text, number of words, log-odds (nats/word, 0 unknown)."""

    texts: Sequence[str]
    words: NDArray[np.int64]
    log_odds: NDArray[np.float64]

    def inside(self, first: int, end: int) -> str:
        """The text of sentences `first` to before `end`."""
        return "".join(self.texts[first:end])

    def outside(self, first: int, end: int) -> str:
        """The text of all others."""
        return "".join([*self.texts[:first], *self.texts[end:]])


def ai_part(engine: Engine, sentences: Sentences, language: str | None) -> AiPart | None:
    """The part of a document that is AI-like; null where it is of one piece, or can't be told.

    A part is found among runs of windows of whole sentences, and its ends are then moved to the
    sentences where the change is sharpest. Of several, the one that differs most from its rest.
    """
    if engine.policy.rule is not Rule.CALIBRATED or language is None:
        return None
    if language not in engine.models:
        return None
    least = max(WINDOW_WORDS, engine.min_words(language))
    cuts = _windows(sentences.words, least)
    n = len(cuts) - 1
    runs = [(cuts[a], cuts[b]) for a in range(n) for b in range(a + 1, n + 1) if b - a < n]
    found = _best(engine, sentences, runs, language)
    if found is None:
        return None
    near = (max(0, found.first - _reach(cuts)), min(cuts[-1], found.last + 1 + _reach(cuts)))
    moved = _sharpest(sentences, (found.first, found.last + 1), near)
    words = int(sentences.words[slice(*moved)].sum())
    if min(words, int(sentences.words.sum()) - words) < least:
        return found
    return _best(engine, sentences, [moved], language) or found


def _best(
    engine: Engine, sentences: Sentences, runs: Sequence[tuple[int, int]], language: str
) -> AiPart | None:
    """The run that differs most from its rest, of those that are AI where the rest is not."""
    if not runs:
        return None
    inside = [sentences.inside(*run) for run in runs]
    outside = [sentences.outside(*run) for run in runs]
    decisions = judge_texts(engine, inside + outside, [language] * (2 * len(runs))).decisions
    ins, outs = np.split(np.asarray(decisions.z, np.float64), 2)
    called = np.asarray(decisions.called_ai)[: len(runs)]
    found = np.flatnonzero(called & (outs <= MAX_REST))
    if not len(found):
        return None
    best = int(found[np.argmax(ins[found] - outs[found])])
    first, end = runs[best]
    scores = engine.score_of(language, np.array([ins[best], outs[best]]))
    words = int(sentences.words[first:end].sum())
    return AiPart(first, end - 1, words, float(scores[0]), float(scores[1]))


def _reach(cuts: Sequence[int]) -> int:
    """How many sentences an end may move: as many as the longest window has."""
    return max(b - a for a, b in pairwise(cuts))


def _sharpest(sentences: Sentences, run: tuple[int, int], near: tuple[int, int]) -> tuple[int, int]:
    """The run within `near` whose sentences lie most above the middle between run and rest."""
    nats = sentences.log_odds * sentences.words
    own = slice(*run)
    words, inside = int(sentences.words[own].sum()), float(nats[own].sum())
    rest = (float(nats.sum()) - inside) / max(1, int(sentences.words.sum()) - words)
    middle = (inside / words + rest) / 2
    sums = np.concatenate([[0.0], np.cumsum(nats - middle * sentences.words)])
    gain, found = -np.inf, run
    for first in range(near[0], near[1]):
        end = first + 1 + int(np.argmax(sums[first + 1 : near[1] + 1]))
        if sums[end] - sums[first] > gain:
            gain, found = sums[end] - sums[first], (first, end)
    return found


def _windows(words: NDArray[np.int64], least: int) -> list[int]:
    """Where windows of at least `least` words begin, and the number of sentences at the end."""
    least = max(least, -(-int(words.sum()) // MAX_WINDOWS))
    cuts, held = [0], 0
    for i, own in enumerate(words.tolist()):
        held += own
        if held >= least:
            cuts.append(i + 1)
            held = 0
    if held and len(cuts) > 1:
        cuts[-1] = len(words)
    return cuts
