"""What a causal LM reads of a run's documents, from a budget and a first pass over the inputs.

The first pass reads every record and draws `SAMPLE` documents, which the tables judge. From them a
rule is learnt (`LmSelection`) that spends the budget: most of it on documents near the threshold, a
fifth at most on those too short for the tables, another on pages of sources that are at the border,
a tenth on a random part of the low scores, by which a run estimates what it would have found in the
rest. The rule holds for each document by itself, so verdicts don't depend on batches, order or
workers. What a run reads comes to the budget within about 2 / √(`SAMPLE` × share) of it (with a
chance of 95 %): 4.75–5.3 % where 5 % are asked for, 0.87–1.13 % of 1 %. A stream can't be read
twice: its rule is learnt from what it begins with, and the budget holds as far as the rest is like
that.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from lowbg.amounts import share_text
from lowbg.config import Rule, RunConfig
from lowbg.decision.decide import Decider
from lowbg.errors import ConfigError
from lowbg.lm_budget import EVERYTHING, LmBudget, LmSelection
from lowbg.runs.cascade import kinds_of, page_shares
from lowbg.runs.drawing import Lowest, batch_of, keys_of
from lowbg.runs.engine import Engine
from lowbg.runs.heads import Head
from lowbg.runs.inputs import STDIN, Shard
from lowbg.runs.mapping import ALONE, Workers, map_shards
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.scorers.lm.scorer import LmScorer

SAMPLE: Final = 20_000
"""Documents that a rule is learnt from."""

LOW_SHARE: Final = 0.1
"""The part of a budget that is spent on low scores, at random."""

SHORT_SHARE: Final = 0.2
"""The part, at most, that is spent on documents too short for the tables."""

PAGES: Final = 3.0
PAGES_SHARE: Final = 0.2
"""Documents of each source at the border that are read, and the part of a budget, at most, that
these take beside what is read of them anyway."""

_MUCH_MORE = 1.25
"""Times a budget by which it is said to be overspent."""

_KEY = "extras.lm.budget"
_ROUNDS = 4
_SEED = 0
_ROWS_A_BATCH = 2_000


class Candidates(Struct, frozen=True):
    """A sample of what a budget may be spent on: `of` documents stand for `documents` in all.

    A document an entry, of those on which the LM could have a say: `margin` is how far its z lies
    above the threshold, NaN where it is too short for the tables; `tokens` is about what the LM
    reads of it; `at_border` as in `cascade.drawn`.
    """

    margin: NDArray[np.float64]
    tokens: NDArray[np.float64]
    of: int
    documents: int
    at_border: NDArray[np.float64] | None = None

    def selection(self, share: float) -> LmSelection:
        """What to read of them so that it comes to `share` of all documents."""
        distance = np.sort(np.abs(self.margin[~np.isnan(self.margin)]))
        short = len(self.margin) - len(distance)
        wanted = share * self.of
        if wanted >= len(self.margin):
            return EVERYTHING
        of_short = min(short, SHORT_SHARE * wanted)
        pages, of_pages, cut = PAGES, 0.0, 0.0
        for _ in range(_ROUNDS):  # What is near needs no pages, and what pages take isn't near.
            near = round((1.0 - LOW_SHARE) * wanted - of_short - of_pages)
            if near >= len(distance):
                return LmSelection(None, 1.0, _share(wanted - len(distance), short))
            cut = _rounded(float(distance[near]))
            pages, of_pages = self._pages(cut, PAGES_SHARE * wanted)
        of_source = self._page_shares(pages)
        below = self.margin <= -cut
        low = _share(LOW_SHARE * wanted, int(below.sum()))
        # Of which sources more is read than of low scores depends on how much that is.
        low = _share(LOW_SHARE * wanted, int((below & (of_source <= low)).sum()))
        return LmSelection(cut, low, _share(of_short, short), pages)

    def _pages(self, cut: float, most: float) -> tuple[float, float]:
        """How many pages of each source come to `most` documents of the sample, and to how many."""
        far, pages = np.abs(self.margin) >= cut, PAGES
        while (found := float(self._page_shares(pages)[far].sum())) > most:
            pages /= 2
        return (pages, found) if found else (0.0, 0.0)

    def _page_shares(self, pages: float) -> NDArray[np.float64]:
        if self.at_border is None:
            return np.zeros(len(self.margin))
        return page_shares(pages, self.at_border)

    def within(self, budget: LmBudget) -> LmSelection:
        """What to read of them within a budget."""
        if budget.share is not None:
            return self.selection(float(budget.share))
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            fits = self.tokens_of(self.selection(middle)) <= (budget.tokens or 0)
            low, high = (middle, high) if fits else (low, middle)
        everything = self.tokens_of(EVERYTHING) <= (budget.tokens or 0)
        return EVERYTHING if everything else self.selection(low)

    def tokens_of(self, selection: LmSelection) -> float:
        """About how many tokens the LM reads of all documents under a selection."""
        shares = np.where(np.isnan(self.margin), selection.short, 0.0)
        if selection.margin is None:
            shares[~np.isnan(self.margin)] = 1.0
        else:
            shares[self.margin <= -selection.margin] = selection.low
            of_source = np.where(np.isnan(self.margin), 0.0, self._page_shares(selection.pages))
            shares = np.maximum(shares, of_source)
            shares[np.abs(self.margin) < selection.margin] = 1.0
        return float(shares @ self.tokens) * self.documents / max(1, self.of)


def _share(wanted: float, there: int) -> float:
    return min(1.0, _rounded(wanted / there)) if there else 0.0


def _rounded(value: float) -> float:
    """As notes and reports have it."""
    return float(f"{value:.6g}")


def with_selection(config: RunConfig, selection: LmSelection | None) -> RunConfig:
    """The configuration of a run whose LM reads what is selected; null: as it is."""
    lm = config.extras.lm
    if lm is None or selection is None:
        return config
    return replace(config, extras=replace(config.extras, lm=replace(lm, selection=selection)))


def check_budget(shards: Sequence[Shard], config: RunConfig, *, by_head: bool = False) -> None:
    """Raises `ConfigError` where `config` has a budget that can't be spent on the shards.

    That is under a rule that uses no score, and where one can't be read twice; with `by_head`
    standard input may be such a one, if there is nothing else.
    """
    lm = config.extras.lm
    if lm is None or lm.budget is None:
        return
    if config.policy.rule is not Rule.CALIBRATED:
        raise ConfigError(
            "a budget goes to documents near the score from which they are AI, and rule "
            "'thresholds' uses none; take rule 'calibrated'",
            key=_KEY,
        )
    once = [shard.path for shard in shards if not shard.resumable]
    if once and not (by_head and takes_head(shards, config)):
        raise ConfigError(
            f"{once[0]}: can't be read twice, as `extras.lm.budget` has to; save it to a file. "
            "Where documents are filtered or scored, standard input may be the only input",
            key=_KEY,
        )


def _check_head(head: Head, budget: LmBudget, documents: int) -> None:
    """Raises `ConfigError` where what a stream begins with doesn't say what to read of the rest."""
    if head.whole:
        return
    if budget.share is None:
        raise ConfigError(
            f"{STDIN}: how much will come isn't known, so that a number of tokens can't be shared "
            "out over it. Say which share of the documents the LM reads (5%), or save the input to "
            "a file",
            key=_KEY,
        )
    if not documents:
        raise ConfigError(
            f"{STDIN}: its first {len(head.data):,} bytes hold no document, from which what the "
            "LM reads within `extras.lm.budget` could be learnt; save it to a file",
            key=_KEY,
        )


def takes_head(shards: Sequence[Shard], config: RunConfig) -> bool:
    """Whether a rule is learnt from what standard input begins with: there is nothing else."""
    lm = config.extras.lm
    alone = [shard.path for shard in shards] == [STDIN]
    has_budget = lm is not None and lm.budget is not None
    return alone and has_budget and config.policy.rule is Rule.CALIBRATED


def learn_selection(
    shards: Sequence[Shard],
    config: RunConfig,
    engine: Engine,
    crew: Workers = ALONE,
    head: Head | None = None,
) -> LmSelection | None:
    """What the LM of `config` reads of the shards; null without a budget.

    `engine` is one of `config`, prepared; it needs no `setup`. `head` is that of standard input,
    where it `takes_head`. Raises `ConfigError` as `check_budget` does, and where a head doesn't say
    enough.
    """
    check_budget(shards, config, by_head=head is not None)
    lm = config.extras.lm
    if lm is None or lm.budget is None:
        return None
    found = _candidates(shards, config, engine, crew, head)
    budget = LmBudget.parse(lm.budget)
    if head is not None:
        _check_head(head, budget, found.documents)
    return found.within(budget)


def overspent(config: RunConfig, head: Head | None, share: float | None) -> str | None:
    """What there is to say where the LM read clearly more than its budget: `share` of all."""
    lm = config.extras.lm
    if lm is None or lm.budget is None or head is None or head.whole or share is None:
        return None
    budget = float(LmBudget.parse(lm.budget).share or 1)
    if share <= _MUCH_MORE * budget:
        return None
    return (
        f"the LM read {share_text(share)} of the documents, and its budget is "
        f"{share_text(budget)}: what came later is not like the beginning, from which it was "
        "learnt what to read"
    )


def _candidates(
    shards: Sequence[Shard],
    config: RunConfig,
    engine: Engine,
    crew: Workers,
    head: Head | None = None,
) -> Candidates:
    pool, documents = Lowest(SAMPLE), 0
    task = _DrawTask(config, head.data if head is not None else None)
    for ended in map_shards(task, shards, crew):
        if ended.result is not None:  # What can't be read is said where it is judged.
            documents += ended.result.documents
            if ended.result.rows is not None:
                pool.add_rows(ended.result.rows)
    rows = pool.rows()
    if rows is None:
        return Candidates(np.zeros(0), np.zeros(0), 0, 0)
    tables = Engine(replace(config.policy, scorers={}), third_parties=False).setup()
    lm = engine.cascade.calibration(engine.policy, engine.models)
    joint = Decider(engine.policy, engine.models, lm) if lm is not None else None
    margins, tokens, at_border = [], [], []
    for first in range(0, len(rows), _ROWS_A_BATCH):
        batch = batch_of(rows.slice(first, _ROWS_A_BATCH).combine_chunks())
        judged = tables.judge(batch.text, batch.metadata)
        can_say = engine.cascade.can_say(judged.documents, joint)
        own = kinds_of(EVERYTHING, judged.decisions, can_say) >= 0
        margins.append(judged.decisions.margin[own])
        found = tables.sources_of(batch.metadata)
        known = found.at_border if found is not None else np.full(len(batch), np.nan)
        at_border.append(known[own])
        words = judged.documents.tokens.words_per_document[own]
        tokens.append(_tokens(engine, words.astype(np.float64)))
    return Candidates(
        *(np.concatenate(margins), np.concatenate(tokens), len(rows), documents),
        at_border=np.concatenate(at_border),
    )


def _tokens(engine: Engine, words: NDArray[np.float64]) -> NDArray[np.float64]:
    witness = engine.cascade.witness
    return witness.expected_tokens(words) if isinstance(witness, LmScorer) else words


class _Drawn(Struct, frozen=True):
    """A shard's own sample, a row a document, null where it has none; how many it has in all."""

    documents: int
    rows: pa.Table | None


@dataclass(frozen=True, slots=True)
class _DrawTask:
    """Draws a shard's own sample; nothing is judged. `head` is what "-" begins with."""

    config: RunConfig
    head: bytes | None = None

    def start(self) -> _DrawTask:
        """The task in a worker: nothing has to be loaded."""
        return self

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> _Drawn:
        """Reads the shard to its end, or as far as it goes."""
        lowest = Lowest(SAMPLE)
        stdin = None if self.head is None else io.BytesIO(self.head)
        with ShardReading(Source(shard, self.config, stdin)) as reading:
            for step in reading:
                lowest.add(step.batch, keys_of(_SEED, shard.name, step.batch.records))
        return _Drawn(reading.tally.records - reading.tally.quarantined, lowest.rows())
