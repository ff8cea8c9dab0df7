"""One document, looked at closely: its features, its sentences, and the phrases in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from lowbg.config import VERDICTS, RunConfig
from lowbg.decision.unscored import NOT_PROSE
from lowbg.errors import ConfigError, InputError
from lowbg.jobs.partly import AiPart, Sentences, ai_part
from lowbg.records import Metadata
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.inputs import Shard
from lowbg.runs.reading import ShardReading, Source
from lowbg.runs.sentences import judge_texts, sentence_texts
from lowbg.scorers.base import Scorer
from lowbg.scorers.lm_probe import LM_PROBE_LOG_ODDS, LmProbe
from lowbg.scorers.perplexity import PERPLEXITY
from lowbg.scorers.phrases import PHRASE_LOG_ODDS

NGRAMS = (8, 4)
"""How many n-grams an explanation lists that speak for AI, and for a human."""


QUOTED = 24
"""How many characters of a sentence say which one it is."""


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """A feature of the document; `value` is null where it doesn't apply.

    What JSON has no type for is text.
    """

    name: str
    value: Any
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class PhraseSpan:
    """A phrase pattern in a sentence, `text[start:end]` in characters."""

    start: int
    end: int
    category: str
    name: str


@dataclass(frozen=True, slots=True)
class SentenceNote:
    """A sentence, what follows its last word included.

    `perplexity` (per word) and `log_odds` (nats/word, AI against human) are the sentence's own,
    null where the language has no tables. `part` is what its n-grams add to the document's score:
    those of all sentences come to the part of `phrase_log_odds`.
    """

    text: str
    words: int
    perplexity: float | None
    log_odds: float | None
    phrases: tuple[PhraseSpan, ...]
    part: float | None = None


@dataclass(frozen=True, slots=True)
class NgramNote:
    """A word sequence of the document that the learned table knows.

    `nats` is what it adds to the document's log-odds, all its counted places together; above zero
    it speaks for AI.
    """

    text: str
    nats: float


@dataclass(frozen=True, slots=True)
class LmPart:
    """A sentence as a causal LM's probe reads it, without layout and cut where it stops.

    `nats` is what its `tokens` add to `lm_probe_log_odds`, above zero AI-like. The first part has
    no text: it is what the probe starts from. All of them come to the log-odds.
    """

    text: str
    tokens: int
    nats: float


@dataclass(frozen=True, slots=True)
class ScorerNote:
    """What a scorer adds in its own words."""

    scorer: str
    text: str


@dataclass(frozen=True, slots=True)
class ScorePart:
    """What a feature adds to the argument of the logistic function that gives the score.

    All of them, `intercept` included, come to the argument; above zero is AI-like.
    """

    name: str
    part: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a document gets its verdict. `ai_score` is null when it is unscored.

    `threshold` is the `ai_score` from which the policy says AI; null without tables of the
    language, or under `rule = "thresholds"`. `parts` come to the score, the heaviest first; empty
    without one, and then `needs` says what it would take. `ai_part` is AI-like alone where
    the rest is not; it changes no verdict.
    """

    language: str | None
    words: int
    verdict: str
    ai_score: float | None
    threshold: float | None
    reasons: tuple[str, ...]
    features: tuple[FeatureValue, ...]
    ngrams: tuple[NgramNote, ...]
    sentences: tuple[SentenceNote, ...]
    notes: tuple[ScorerNote, ...] = ()
    parts: tuple[ScorePart, ...] = ()
    needs: str = ""
    ai_part: AiPart | None = None
    lm_parts: tuple[LmPart, ...] = ()

    @property
    def mixed(self) -> str:
        """Where the AI-like part is, in words; empty where there is none."""
        part = self.ai_part
        if part is None:
            return ""
        first, last = self.sentences[part.first].text, self.sentences[part.last].text
        return (
            f"mixed: {part.words:,} of {self.words:,} words, from “{_start(first)}” to "
            f"“{_end(last)}”, are AI-like alone (score {part.ai_score:.2f}), the rest is not "
            f"({part.rest:.2f}); the verdict is on the whole"
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; `notes` and `lm_parts` only where there are any."""
        values = asdict(self)
        for name in ("notes", "lm_parts"):
            if not values[name]:
                del values[name]
        return values


def _start(text: str) -> str:
    """The beginning of a sentence, in one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else f"{flat[:QUOTED].rstrip()} …"


def _end(text: str) -> str:
    """The end of a sentence, in one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else f"… {flat[-QUOTED:].lstrip()}"


def explain(
    engine: Engine, text: str, *, language: str | None = None, origin: Metadata | None = None
) -> Explanation:
    """What the scorers and the decision of `engine` make of `text`.

    `language` (any usual tag) overrides the identified one. `origin` is what its record says of
    itself: then what is known of its provenance and of its source decides, too.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    plain = engine.without_second_look()
    judged = judge_texts(engine, [text], [language], origin)
    decisions = judged.decisions
    index = int(judged.documents.languages[0])
    code = judged.documents.language_codes[index] if index >= 0 else None
    sentences = _sentences(plain, judged, code)
    return Explanation(
        language=code,
        words=int(judged.documents.tokens.words_per_document[0]),
        verdict=VERDICTS[decisions.verdicts[0]],
        ai_score=decisions.score[0].as_py(),
        threshold=engine.threshold(code),
        reasons=tuple(decisions.reasons(0)),
        features=tuple(
            FeatureValue(c.name, _plain(judged.columns[c.name][0].as_py()), c.unit, c.meaning)
            for c in judged.declared.row
            if c.in_explanation and c.name in judged.columns
        ),
        ngrams=_ngrams(engine.ngrams(judged.documents, 0)),
        sentences=sentences,
        notes=tuple(_notes(engine.scorers, judged)),
        parts=_parts(engine, judged),
        needs=_needs(engine, judged, code),
        ai_part=ai_part(plain, _lengths_and_odds(sentences), code),
        lm_parts=_lm_parts(engine, text, judged, code),
    )


def _lm_parts(engine: Engine, text: str, judged: Judged, code: str | None) -> tuple[LmPart, ...]:
    """What pulls the log-odds of a probe, sentence by sentence; empty without any."""
    witness = engine.cascade.witness
    found = witness.parts(text, code) if isinstance(witness, LmProbe) else None
    if found is None or judged.columns[LM_PROBE_LOG_ODDS.name][0].as_py() is None:
        return ()
    read = engine.documents(pa.array([found.text], pa.large_string()), judged.documents.languages)
    # What is before the first word, and the marks between words, lie in sentences, too.
    ends = np.cumsum([len(sentence) for sentence in sentence_texts(read.tokens)] or [0])
    place = np.minimum(np.searchsorted(ends, found.ends, side="left"), len(ends) - 1)
    parts = [LmPart("", 0, found.intercept)]
    for i, end in enumerate(ends.tolist()):
        own = place == i
        if own.any():
            start = int(ends[i - 1]) if i else 0
            stop = min(end, int(found.ends[-1]))
            said = found.text[start:stop].strip()
            parts.append(LmPart(said, int(own.sum()), float(found.nats[own].sum())))
    return tuple(parts)


def _parts(engine: Engine, judged: Judged) -> tuple[ScorePart, ...]:
    found = engine.parts(judged, 0)
    return tuple(
        ScorePart(name, part)
        for name, part in sorted(found.items(), key=lambda item: (-abs(item[1]), item[0]))
    )


def _needs(engine: Engine, judged: Judged, code: str | None) -> str:
    """What it would take for the document to have a score; empty where it has one."""
    decisions = judged.decisions
    if decisions.score[0].is_valid:
        return ""
    words = int(judged.documents.tokens.words_per_document[0])
    unscored = int(decisions.unscored_codes[0])
    if unscored == NOT_PROSE:
        return "prose: of what is mostly code, numbers or symbols a verdict would mean nothing"
    if not words:
        return "text with words"
    if code is None:
        return "more text, or its language named: too little is there to tell it by"
    if code not in engine.models:
        return f"tables of the language {code!r}: lowbg train makes them of human and AI text"
    least = engine.min_words(code)
    missing = max(1, least - words)
    if engine.cascade.witness is not None:
        return f"{missing} more words ({least} are judged)"
    return f"{missing} more words ({least} are judged), or a causal LM: `extras.lm.model`"


def find_record(
    path: str, config: RunConfig, *, record: int | None, id: str | None
) -> tuple[str, Metadata]:
    """The text of one record of a shard, and what it says of itself.

    The record is the one at the 0-based position `record`, or the first that has the identifier
    `id`; without either, the first. Raises `ConfigError` when there is none.
    """
    # The record may well be the first one that has a text.
    config = replace(config, force=True)
    with ShardReading(Source(Shard(path, path, 0), config)) as reading:
        for batch in (step.batch for step in reading):
            if id is not None:
                found = np.flatnonzero(np.asarray(batch.metadata.id.to_pylist(), object) == id)
            else:
                found = np.flatnonzero(batch.records == (record or 0))
            if len(found):
                i = int(found[0])
                only = np.arange(len(batch)) == i
                return batch.text[i].as_py(), batch.filtered(only).metadata
            for rejected in batch.rejected:
                if id is None and rejected.record == (record or 0):
                    raise InputError(rejected.message.removesuffix(" Record quarantined."))
    if reading.broken is not None:
        raise reading.broken
    wanted = f"with the identifier {id!r}" if id is not None else f"number {record or 0:,}"
    raise ConfigError(f"{path} has no record {wanted}")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _notes(scorers: Sequence[Scorer], judged: Judged) -> Iterator[ScorerNote]:
    """What the scorers say of the document in their own words."""
    for scorer in scorers:
        values = {column.name: judged.columns[column.name][0].as_py() for column in scorer.columns}
        for line in scorer.notes(judged.documents, 0, values):
            yield ScorerNote(scorer.name, line)


def _ngrams(found: Sequence[tuple[str, float]]) -> tuple[NgramNote, ...]:
    """The n-grams that speak most for AI, heaviest first, then those for a human."""
    ai = [item for item in found if item[1] > 0][: NGRAMS[0]]
    human = [item for item in reversed(found) if item[1] < 0][: NGRAMS[1]]
    return tuple(NgramNote(text, nats) for text, nats in (*ai, *human))


def _sentences(engine: Engine, judged: Judged, code: str | None) -> tuple[SentenceNote, ...]:
    texts = sentence_texts(judged.documents.tokens)
    if not texts:
        return ()
    alone = judge_texts(engine, texts, [code or "und"] * len(texts))
    spans = _spans(engine, judged, texts)
    parts = _sentence_parts(engine, judged, code)
    perplexity = alone.columns[PERPLEXITY.name].to_pylist()
    log_odds = alone.columns[PHRASE_LOG_ODDS.name].to_pylist()
    return tuple(
        SentenceNote(
            text=text,
            words=int(alone.documents.tokens.words_per_document[i]),
            perplexity=perplexity[i],
            log_odds=log_odds[i],
            phrases=tuple(spans[i]),
            part=parts[i] if parts else None,
        )
        for i, text in enumerate(texts)
    )


def _lengths_and_odds(notes: Sequence[SentenceNote]) -> Sentences:
    return Sentences(
        [note.text for note in notes],
        np.array([note.words for note in notes], np.int64),
        np.array([note.log_odds or 0.0 for note in notes], np.float64),
    )


def _sentence_parts(engine: Engine, judged: Judged, code: str | None) -> list[float]:
    """What each sentence adds to the part of `phrase_log_odds`; empty without a score.

    An n-gram counts where it begins. What the average human text has a word is taken off.
    """
    whole = engine.parts(judged, 0).get(PHRASE_LOG_ODDS.name)
    tokens = judged.documents.tokens
    words = int(tokens.words_per_document[0])
    log_odds = judged.columns[PHRASE_LOG_ODDS.name][0].as_py()
    if whole is None or not words or log_odds is None or code is None:
        return []
    ends = np.cumsum(tokens.sentences)
    nats = np.zeros(len(ends))
    for at, own in engine.places(judged, 0):
        nats[np.searchsorted(ends, at, side="right")] += own
    mean = engine.mean_log_odds(code)
    excess = nats - mean * tokens.sentences
    # The scorer's sums are of single precision: the rest is spread over the words.
    excess += (words * (log_odds - mean) - excess.sum()) * tokens.sentences / words
    scale = whole / (words * (log_odds - mean)) if log_odds != mean else 0.0
    return [float(value) for value in excess * scale]


def _spans(engine: Engine, judged: Judged, texts: Sequence[str]) -> list[list[PhraseSpan]]:
    """The phrases of the document, by the sentence in which each begins; cut at its end.

    They are the document's: whether one is quoted no sentence tells alone.
    """
    spans: list[list[PhraseSpan]] = [[] for _ in texts]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(text) for text in texts])])
    for scorer in engine.scorers:
        for span in scorer.spans(judged.documents):
            i = int(np.searchsorted(starts, span.start, side="right")) - 1
            first, end = span.start - int(starts[i]), span.end - int(starts[i])
            own = PhraseSpan(first, min(end, len(texts[i])), span.category, span.name)
            spans[i].append(own)
    return spans
