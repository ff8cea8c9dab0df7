"""What a source's documents say together: how much of it is AI, and what that makes of each.

The calibrated scores of a source's documents scatter about a level that is the source's own: the
errors that are left when a document is judged alone belong to the site, not to chance. So the level
is a random effect. On the scale of z (standard deviations above human text of its language and
length) the human documents of a source lie about a level a, its AI documents about a level b, and a
share π of its documents is AI:

    a ~ human levels of the language (mean and spread of the collections of human text that its
        tables were calibrated on, each scored by tables that never saw it), with heavy tails
    b ~ N(`AI_LEVEL`, `AI_SPREAD`²)
    π ~ `SHARES`, most sources being of one kind

The posterior over a grid of (a, b, π) is worked out from the histogram of a source's scores alone.
Documents from before the cut-off are human, so they tell a and nothing else: a source with a past
is judged against its own level. From the posterior follow the AI share with its interval, the
verdict, and for each language the score from which a document of the source is AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.config import SourceVerdict
from lowbg.decision.calibration import FPR_GRID, Calibration
from lowbg.models import ModelFile

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

LOW, HIGH, STEP = -6.5, 6.5, 0.5
"""The bins of log-odds ln(s / (1 − s)) that a source's documents are counted in; below and above
are bins of their own."""
BINS: Final = int((HIGH - LOW) / STEP) + 2

AI_LEVEL: Final = 4.0
AI_SPREAD: Final = 1.8
"""Levels of sources that are AI, in z. The 19 AI sites of `sites/train` have mean 4.95 and standard
deviation 1.5, and are of the kinds that are easily found: this is lower and wider."""
WITHIN_AI: Final = 0.9
"""How AI documents of one source scatter about its level, in z (.70 there)."""

HUMAN_SPREAD: Final = 0.85
WITHIN_HUMAN: Final = 0.93
"""The same of human text: medians over the eleven languages' collections (29 human sites of
`sites/train`: .77 and .80). A language's own figures go before these the more, the more collections
it has: `PRIOR_COLLECTIONS` is what these weigh."""
PRIOR_COLLECTIONS: Final = 8.0
MIN_COLLECTION: Final = 10
MANY_COLLECTIONS: Final = 20
"""Fewer kinds of human text don't show how much human levels differ: then they are taken to differ
by `HUMAN_SPREAD` at least."""

WIDE: Final = 2.0
WIDE_LEVELS: Final = 0.15
WIDE_DOCUMENTS: Final = 0.04
"""Human levels, and documents about a level, are a normal distribution with a share of another one
that is `WIDE` times as wide: there are odd sources, and odd documents."""

SHARES: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0)
SHARE_WEIGHTS: Final = (40, 3, 2, 2, 2, 2, 2, 2, 2, 3, 6, 34)
"""How likely each AI share is before a source is looked at, in percent. Human and AI sources weigh
alike: how many of each there are differs from crawl to crawl, and what a verdict may cost human
sources is held by `CUTS`."""

HUMAN_UP_TO: Final = 0.10
AI_FROM: Final = 0.80
"""A source is called human up to this AI share, AI from that one, and mixed between."""

SURE: Final = 0.9
"""How probable it must be that a source is human, or mixed, and that a document of it is AI."""

CUTS: Final = ((0.005, 0.84), (0.01, 0.79), (0.02, 0.71), (0.05, 0.47))
"""By the share of human sources that may be called AI, how probable it must be that one is.

Measured on human sources that no table was fitted to (`benchmarks/sources/`): the 171 collections
that the tables of all languages know, drawn from by 20 and by 50 documents. They are odder than
sites: of the 28 human sites of `sites/train` none is called AI at any of these."""

INDEPENDENT: Final = 50.0
"""More documents of a source are no surer evidence: what a site's documents have in common beside
their level doesn't average out."""

_LEVELS: Final = np.linspace(-4.0, 4.0, 33)
_AI_LEVELS: Final = np.linspace(-2.6, 2.6, 27)
"""Levels in standard deviations: close enough together for the mean of some fifty documents."""
_SCORES: Final = np.arange(-7.0, 9.5, 0.5)
"""Where the score is looked for from which a document is AI, in log-odds."""

_AT_ONCE: Final = 1_024
"""Sources that are worked out at a time: the grid has some 4,700 points."""

_ROWS_AT_A_TIME: Final = 64
"""Rows of a product. How BLAS adds up depends on how many rows there are: what is said of a source
would depend, in its last bits, on which others it is judged with."""


@dataclass(frozen=True, slots=True)
class Reference:
    """How the log-odds of one language's documents are spread, by kind of source.

    All in log-odds of `ai_score`: `human` is the mean of human levels, `human_spread` their
    standard deviation, `within_human` that of documents about a level; likewise of AI.
    """

    human: float
    human_spread: float
    within_human: float
    ai: float
    ai_spread: float
    within_ai: float

    @classmethod
    def of(cls, model: ModelFile) -> Reference:
        """What a language's tables carry, towards the figures of all languages where it is little.

        A collection's level is its median z, and its scatter what lies between that and the z that
        a tenth exceeds.
        """
        calibration = Calibration.of(model)
        collections: Mapping[str, Any] = model.metadata.get("human_collections", {})
        rows = [e["z"] for e in collections.values() if e["documents"] >= MIN_COLLECTION]
        z = np.asarray(rows, np.float64).reshape(-1, len(FPR_GRID))
        levels, n = z[:, FPR_GRID.index(0.5)], len(z)
        scatter = (z[:, FPR_GRID.index(0.1)] - levels) / 1.2816
        weight = n + PRIOR_COLLECTIONS
        mean = levels.sum() / weight
        squares = ((levels - mean) ** 2).sum() + PRIOR_COLLECTIONS * HUMAN_SPREAD**2
        spread = np.sqrt(squares / weight)
        if n < MANY_COLLECTIONS:
            spread = max(spread, HUMAN_SPREAD)
        within = (n * np.median(scatter) if n else 0.0) + PRIOR_COLLECTIONS * WITHIN_HUMAN
        at, by = calibration.intercept, calibration.slope
        return cls(
            human=float(at + by * mean),
            human_spread=float(by * spread),
            within_human=float(by * within / weight),
            ai=at + by * AI_LEVEL,
            ai_spread=by * AI_SPREAD,
            within_ai=by * WITHIN_AI,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """The scored documents of some sources, counted: one entry a source, language and bin.

    `source` and `language` are codes, `bin` as `bins_of` gives it; `before`: dated before the
    cut-off, so known to be human.
    """

    source: NDArray[np.int64]
    language: NDArray[np.int64]
    before: NDArray[np.bool_]
    bin: NDArray[np.int64]
    documents: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReadPages:
    """Pages of sources that a causal LM's probe read, one entry each, sorted by source: `z` is in
    standard deviations above human text."""

    source: NDArray[np.int64]
    z: Floats


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What the documents of sources say, one entry a source.

    `share` is the estimated AI share of the documents that aren't known to be human, with its
    interval; NaN where there are too few. `own_past`: the source's earlier documents tell its human
    level. `verdicts` are codes of `SourceVerdict`. `thresholds` (sources × languages) holds the
    log-odds from which a document is AI; +∞ where none is, NaN where a document's own score decides
    alone.
    """

    share: Floats
    low: Floats
    high: Floats
    verdicts: NDArray[np.int8]
    certainty: Floats
    own_past: NDArray[np.bool_]
    thresholds: Floats


def bins_of(log_odds: Floats) -> NDArray[np.int64]:
    """The bin of each document's log-odds, 0 … `BINS` − 1."""
    bins = np.clip(np.floor((log_odds - LOW) / STEP) + 1, 0, BINS - 1)
    return np.asarray(bins, np.int64)


def cut_of(bound: float) -> float:
    """How probable it must be that a source is AI, where `bound` of human ones may be called so."""
    rates, cuts = np.array(CUTS).T
    return float(np.interp(np.log(bound), np.log(rates), cuts))


def needed_sources(bound: float) -> int:
    """How many human sources, none of which is called AI, show with 95 % confidence that no more
    than `bound` are: 299 for 1 %."""
    return int(np.ceil(np.log(0.05) / np.log1p(-bound)))


class SourceModel:
    """Judges sources whose documents are in the languages of `references`, by their codes.

    `alone` holds the log-odds from which a document is AI by itself. With fewer than
    `min_documents` scored documents that aren't known to be human nothing is said of a source.
    `bound` is the share of human sources that may be called AI.

    A document whose own score is below the bar is AI by its source where that is `SURE`, and one
    above it is human where it is more likely than not. A source that is rather AI than human raises
    the bar for none of its documents.
    """

    def __init__(
        self,
        references: Mapping[int, Reference],
        alone: Mapping[int, float],
        *,
        min_documents: int,
        bound: float,
    ) -> None:
        self.languages = sorted(references)
        self._references = references
        self._alone = alone
        self._min_documents = min_documents
        self._bound = bound

    @cached_property
    def _grid(self) -> tuple[Floats, Floats, Floats, Floats]:
        """a, b, π and the logarithm of the weight of each point."""
        blocks = []
        for of_share, weight in zip(SHARES, SHARE_WEIGHTS, strict=True):
            # Without AI documents b says nothing, and without human ones a: a point stands for all.
            a = _LEVELS if of_share == 0.0 else _LEVELS[::2] if of_share < 1.0 else _LEVELS[16:17]
            b = _AI_LEVELS if of_share > 0.0 else _AI_LEVELS[13:14]
            of_a, of_b = _heavy(a, WIDE_LEVELS), np.exp(-0.5 * b * b)
            weights = (of_a / of_a.sum())[:, None] * (of_b / of_b.sum())[None, :]
            at_a, at_b = np.meshgrid(a, b, indexing="ij")
            log_weights = np.log(weights.ravel() * weight / sum(SHARE_WEIGHTS))
            shares = np.full(weights.size, of_share)
            blocks.append((at_a.ravel(), at_b.ravel(), shares, log_weights))
        a, b, share, log_weight = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return a, b, share, log_weight

    @cached_property
    def _likelihoods(self) -> dict[int, tuple[Singles, Singles]]:
        """By language the log-likelihood of a document in each bin: at large; known to be human."""
        a, b, share, _ = self._grid
        found = {}
        for code in self.languages:
            human, ai = self._in_bins(code, a, b)
            mixed = (1.0 - share) * human + share * ai
            pair = np.log(mixed + 1e-12), np.log(human + 1e-12)
            found[code] = pair[0].astype(np.float32), pair[1].astype(np.float32)
        return found

    def _in_bins(self, code: int, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """The probability of every bin (bins × points): of a human document, of an AI one."""
        own = self._references[code]
        edges = np.concatenate([[-np.inf], np.arange(LOW, HIGH + STEP / 2, STEP), [np.inf]])
        human = own.human + own.human_spread * a
        ai = own.ai + own.ai_spread * b
        return (
            np.diff(_cumulative(edges[:, None], human, own.within_human), axis=0),
            np.diff(_cumulative(edges[:, None], ai, own.within_ai), axis=0),
        )

    @cached_property
    def _responsibilities(self) -> dict[int, Singles]:
        """By language the probability that a document is AI, by its score (points × scores).

        A share of 1 counts as .99 here: even there a document has to look as AI ones do.
        """
        a, b, share, _ = self._grid
        share = np.minimum(share, 0.99)
        found = {}
        for code in self.languages:
            own = self._references[code]
            x = _SCORES[:, None]
            human = _density(x, own.human + own.human_spread * a, own.within_human)
            ai = _density(x, own.ai + own.ai_spread * b, own.within_ai)
            likely = share * ai / ((1.0 - share) * human + share * ai + 1e-300)
            found[code] = np.ascontiguousarray(likely.T, np.float32)
        return found

    def judge(
        self, counted: Counted, sources: int, pages: ReadPages | None = None
    ) -> SourceFigures:
        """What the documents of `sources` sources say, and pages that an LM read; `counted` is
        sorted by source.
        """
        made = SourceFigures(
            share=np.full(sources, np.nan),
            low=np.full(sources, np.nan),
            high=np.full(sources, np.nan),
            verdicts=np.full(sources, SourceVerdict.UNKNOWN.code, np.int8),
            certainty=np.zeros(sources),
            own_past=np.zeros(sources, np.bool_),
            thresholds=np.full((sources, len(self.languages)), np.nan),
        )
        known = np.isin(counted.language, self.languages)
        recent, before = (
            np.bincount(
                counted.source[known & (counted.before == past)],
                counted.documents[known & (counted.before == past)],
                minlength=sources,
            )
            for past in (False, True)
        )
        made.own_past[:] = (before >= self._min_documents) & (recent >= self._min_documents)
        enough = np.flatnonzero(recent >= self._min_documents)
        for start in range(0, len(enough), _AT_ONCE):
            own = enough[start : start + _AT_ONCE]
            place = np.full(sources, -1)
            place[own] = np.arange(len(own))
            entries = np.flatnonzero(known & (place[counted.source] >= 0))
            posterior = self._posterior(made, own, place, counted, entries)
            if pages is not None and len(pages.z):
                posterior *= self._of_pages(pages, own)
                posterior /= posterior.sum(axis=1, keepdims=True)
            self._judge_some(made, own, place, counted, entries, posterior)
        return made

    def _of_pages(self, pages: ReadPages, own: NDArray[np.int64]) -> Singles:
        """How much likelier each point of the grid makes each source's pages; 1 without any."""
        from lowbg.decision.source_pages import share_evidence

        evidence = np.zeros((len(own), len(SHARES)))
        first = np.searchsorted(pages.source, own)
        number = np.searchsorted(pages.source, own, side="right") - first
        for n in np.unique(number[number > 0]).tolist():
            rows = np.flatnonzero(number == n)
            z = pages.z[first[rows, None] + np.arange(n)]
            evidence[rows] = share_evidence(z, SHARES)
        at = np.searchsorted(np.array(SHARES), self._grid[2])
        return np.exp(evidence).astype(np.float32)[:, at]

    def _judge_some(
        self,
        made: SourceFigures,
        own: NDArray[np.int64],
        place: NDArray[np.int64],
        counted: Counted,
        entries: NDArray[np.int64],
        posterior: Singles,
    ) -> None:
        shares, share = np.array(SHARES), self._grid[2]
        columns = (share[:, None] == shares[None, :]).astype(np.float32)
        by_share = _product(posterior, columns).astype(np.float64)
        made.share[own] = by_share @ shares
        # Between the points of the grid a quantile is as good as a guess.
        made.low[own] = np.minimum(_quantile(by_share, 0.025), made.share[own])
        made.high[own] = np.maximum(_quantile(by_share, 0.975), made.share[own])
        likely = np.stack(
            [
                by_share[:, shares <= HUMAN_UP_TO].sum(axis=1),
                by_share[:, shares >= AI_FROM].sum(axis=1),
                by_share[:, (shares > HUMAN_UP_TO) & (shares < AI_FROM)].sum(axis=1),
            ]
        )
        codes = np.array([SourceVerdict(v).code for v in ("human", "ai", "mixed")], np.int8)
        best = likely.argmax(axis=0)
        made.certainty[own] = likely.max(axis=0)
        sure = likely.max(axis=0) >= np.where(best == 1, cut_of(self._bound), SURE)
        made.verdicts[own] = np.where(sure, codes[best], SourceVerdict.UNKNOWN.code)
        present = np.zeros((len(own), len(self.languages)), np.bool_)
        spoken = np.searchsorted(self.languages, counted.language[entries])
        present[place[counted.source[entries]], spoken] = True
        weights = self._for_documents(posterior, made.verdicts[own])
        for k, code in enumerate(self.languages):
            rows = np.flatnonzero(present[:, k])
            if not len(rows):
                continue
            even, sure = self._thresholds(weights[rows], code)
            # An AI source never raises the bar: what differs in it may be another kind of AI text.
            leans_ai = made.share[own[rows]] >= 0.5
            raised = np.maximum(self._alone[code], np.where(leans_ai, -np.inf, even))
            made.thresholds[own[rows], k] = np.minimum(raised, sure)

    def _for_documents(self, posterior: Singles, verdicts: NDArray[np.int8]) -> Singles:
        """The posterior given that the verdict on the source is right."""
        share = self._grid[2]
        weights = posterior.copy()
        weights[np.ix_(verdicts == SourceVerdict.AI.code, share < AI_FROM)] = 0.0
        weights[np.ix_(verdicts == SourceVerdict.HUMAN.code, share > HUMAN_UP_TO)] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def _posterior(
        self,
        made: SourceFigures,
        own: NDArray[np.int64],
        place: NDArray[np.int64],
        counted: Counted,
        entries: NDArray[np.int64],
    ) -> Singles:
        """The weight of every point of the grid (sources × points), adding up to 1."""
        grid = self._grid[3].astype(np.float32)
        log_weights = np.zeros((len(own), len(grid)), np.float32)
        documents = np.zeros(len(own))
        of_entries = counted.source[entries]
        for code in self.languages:
            for past, likelihood in zip((False, True), self._likelihoods[code], strict=True):
                chosen = (counted.language[entries] == code) & (counted.before[entries] == past)
                if past:
                    chosen &= made.own_past[of_entries]
                if not chosen.any():
                    continue
                histogram = np.zeros((len(own), BINS), np.float32)
                rows, bins = place[of_entries[chosen]], counted.bin[entries[chosen]]
                np.add.at(histogram, (rows, bins), counted.documents[entries[chosen]])
                log_weights += _product(histogram, likelihood)
                documents += histogram.sum(axis=1)
        counting = np.minimum(documents, INDEPENDENT)
        log_weights *= (counting / np.maximum(documents, 1.0)).astype(np.float32)[:, None]
        log_weights += grid
        log_weights -= log_weights.max(axis=1, keepdims=True)
        np.exp(log_weights, out=log_weights)
        log_weights /= log_weights.sum(axis=1, keepdims=True)
        return log_weights

    def _thresholds(self, posterior: Singles, code: int) -> tuple[Floats, Floats]:
        """The least log-odds from which on a document is AI more likely than not, and with
        probability `SURE`; +∞ where none is."""
        likely = _product(posterior, self._responsibilities[code])
        padded = np.concatenate([_SCORES, [np.inf]])
        found = []
        for least in (0.5, SURE):
            # From the top: as long as all above are.
            lasting = np.logical_and.accumulate(likely[:, ::-1] >= least, axis=1).sum(axis=1)
            found.append(np.asarray(padded[len(_SCORES) - lasting], np.float64))
        return found[0], found[1]


def _product(rows: Singles, columns: Singles) -> Singles:
    """`rows @ columns`, each row the same bits whatever rows there are beside it."""
    n, across = rows.shape
    more = -n % _ROWS_AT_A_TIME
    padded = np.concatenate([rows, np.zeros((more, across), rows.dtype)]) if more else rows
    found = padded.reshape(-1, _ROWS_AT_A_TIME, across) @ columns
    return np.asarray(found.reshape(n + more, -1)[:n])


def _heavy(x: Floats, wide: float) -> Floats:
    """The density of a standard normal distribution, a part `wide` of it `WIDE` times as wide."""
    return np.asarray(
        (1.0 - wide) * np.exp(-0.5 * x * x) + wide / WIDE * np.exp(-0.5 * (x / WIDE) ** 2)
    )


def _density(x: Floats, mean: Floats, spread: float) -> Floats:
    return np.asarray(_heavy((x - mean) / spread, WIDE_DOCUMENTS) / spread)


def _cumulative(x: Floats, mean: Floats, spread: float) -> Floats:
    t = (x - mean) / spread
    return np.asarray((1.0 - WIDE_DOCUMENTS) * _phi(t) + WIDE_DOCUMENTS * _phi(t / WIDE))


def _phi(t: Floats) -> Floats:
    """The distribution function of the normal distribution (Abramowitz and Stegun 26.2.17)."""
    size = np.abs(t)
    k = 1.0 / (1.0 + 0.2316419 * size)
    tail = k * (
        0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429)))
    )
    with np.errstate(over="ignore"):
        tail = tail * np.exp(-0.5 * size * size) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(t > 0, 1.0 - tail, tail))


def _quantile(by_share: Floats, q: float) -> Floats:
    """The share below which a part `q` of the posterior lies, between the grid's in proportion."""
    shares, n = np.array(SHARES), np.arange(len(by_share))
    upto = np.cumsum(by_share, axis=1)
    upto /= upto[:, -1:]
    at = np.maximum((upto < q).sum(axis=1), 1)
    low, high = upto[n, at - 1], upto[n, at]
    part = np.clip((q - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    return np.asarray(shares[at - 1] + part * (shares[at] - shares[at - 1]))
