"""From a batch's text to features and decisions: what every command shares.

An `Engine` is made once a worker. It holds the models, the scorers and the decision, and judges
batches; it neither reads nor writes.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import AUTO, Extras, LmCalibration, Policy, Rule, RunConfig, Sources
from lowbg.decision.decide import (
    PHRASE_LOG_ODDS,
    STYLE_LOG_ODDS,
    Decider,
    Features,
    Verdicts,
)
from lowbg.decision.limits import PERPLEXITY, Limits
from lowbg.decision.provenance import ProvenanceJudge, counted_values
from lowbg.decision.unscored import is_prose
from lowbg.errors import ConfigError
from lowbg.formats import open_reader
from lowbg.models import ModelFile, embedded_names, open_embedded, open_folder
from lowbg.records import Batch, KnownOrigin, Metadata
from lowbg.runs.cascade import Cascade, LookedAgain
from lowbg.runs.identity import comes_with_lowbg, scored_by
from lowbg.runs.splitting import refuse_missing
from lowbg.schema import Columns
from lowbg.scorers import columns_of, running_scorers
from lowbg.scorers.base import Documents, Scorer
from lowbg.scorers.checked import CheckedScorer
from lowbg.text import languages
from lowbg.text.characters import folding_of
from lowbg.text.dates import Dates, read_dates
from lowbg.text.sources import SourceBy
from lowbg.text.tokens import tokenize

if TYPE_CHECKING:
    from lowbg.decision.source_evidence import Found, SourceEvidence
    from lowbg.decision.source_tables import SourceTables
    from lowbg.decision.sources import SourceModel

NO_EXTRAS = Extras()
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch of documents with everything that is known of them, in their order.

    `columns` holds every scorer's features; `dates` the days that they give; `known` what
    provenance says of them; `decisions` the verdicts and scores; `counted` the values of the
    policy's `count_fields`, by field.
    `second` is what a second look came to, null where no scorer has one. `declared` are the columns
    as the scorers declare them. `scored_by` says by language what the scores depend on
    (`Engine.scored_by`).
    """

    documents: Documents
    columns: Mapping[str, pa.Array]
    dates: Dates
    known: KnownOrigin
    decisions: Verdicts
    counted: Mapping[str, list[str]] = field(default_factory=dict)
    second: LookedAgain | None = None
    declared: Columns = field(default_factory=Columns)
    scored_by: Mapping[str | None, str] = field(default_factory=dict)

    def part(self, start: int, stop: int) -> Judged:
        """What is known of the documents from `start` to before `stop`."""
        own = slice(start, stop)
        return replace(
            self,
            documents=self.documents.part(start, stop),
            columns={name: column[own] for name, column in self.columns.items()},
            dates=self.dates.part(own),
            known=self.known.part(own),
            decisions=self.decisions.part(start, stop),
            counted={name: values[own] for name, values in self.counted.items()},
            second=self.second.part(own) if self.second is not None else None,
        )


class Judge(Protocol):
    """What says of documents what they are; an `Engine` is the usual one."""

    def judge_batches(self, batches: Sequence[Batch]) -> Sequence[Judged]:
        """Everything that is known of the documents of each batch, in order; from any thread.

        Batches of small shards come together: to judge one takes time, whatever is in it.
        """
        ...


def language_tables(policy: Policy) -> Mapping[str, ModelFile]:
    """The model file of each language that can be scored: the embedded ones, and the policy's own.

    Raises `ConfigError` for tables of a language that isn't told apart, and for thresholds of a
    language without tables; `ModelError` for a file that holds none.
    """
    own = open_folder(Path(policy.tables)) if policy.tables is not None else {}
    for code, model in own.items():
        if code not in languages.CODES:
            raise ConfigError(
                f"{model.path}: tables of {code!r}, a language that lowbg doesn't tell apart. "
                f"There are {', '.join(languages.CODES)}",
                key="decision.tables",
            )
    embedded = [code for code in embedded_names() if code in languages.CODES and code not in own]
    models = {**{code: open_embedded(code) for code in embedded}, **own}
    lacking = [code for code in policy.min_ai_scores if code not in models]
    if lacking:
        raise ConfigError(
            f"calibration.min_ai_scores names {lacking[0]!r}, and there are no tables of it; "
            "name the directory of those that it was made with: `decision.tables`",
            key="calibration.min_ai_scores",
        )
    return dict(sorted(models.items()))


class Engine:
    """Judges batches of text under one policy, with the optional scorers that `extras` asks for.

    `scorers` are all that run, and `columns` what they declare. Without `third_parties` it is one
    of lowbg's own scorers alone. With `by_tables` an LM that runs has no say, whatever is known of
    its thresholds.
    """

    def __init__(
        self,
        policy: Policy,
        extras: Extras = NO_EXTRAS,
        *,
        third_parties: bool = True,
        by_tables: bool = False,
    ) -> None:
        self.policy = policy
        self._by_tables = by_tables
        self._budget = extras.lm.budget if extras.lm is not None else None
        self._third_parties = third_parties
        self.models = language_tables(policy)
        self.scorers: tuple[Scorer, ...] = running_scorers(
            self.models, policy, extras, third_parties=third_parties
        )
        self.columns = columns_of(self.scorers)
        self._checked = [CheckedScorer(scorer) for scorer in self.scorers]
        self._fast = [c for c in self._checked if c.scorer.second_look is None]
        self.cascade = Cascade([c for c in self._checked if c.scorer.second_look is not None])
        owners = (s for s in self.scorers if any(c.name == PHRASE_LOG_ODDS for c in s.columns))
        self._weighing = next(owners, None)
        self._decider = Decider(policy, self.models)
        self._second: Decider | None = None
        self._provenance = ProvenanceJudge(policy)
        self._source_by = SourceBy.parse(policy.sources.by)
        self._evidence: SourceEvidence | None = None
        self._table = self._source_table()
        self._foldings = np.array(
            [folding_of(code) for code in languages.CODES] + [folding_of(None)], np.uint8
        )

    @property
    def is_plain(self) -> bool:
        """Whether only lowbg's own scorers run that look at every document."""
        own = all(map(comes_with_lowbg, self.scorers))
        return own and not self.cascade.scorers and not self.policy.scorers

    def setup(self) -> Engine:
        """Loads what the scorers need in this process; returns itself."""
        for scorer in self._checked:
            scorer.setup()
        if self.policy.sources.table == AUTO:
            raise ConfigError(
                "sources.table 'auto' is for lowbg filter into a directory: it takes two passes. "
                "Make a table with lowbg sources",
                key="sources.table",
            )
        if self._table is not None and self._evidence is None:
            from lowbg.decision.source_evidence import SourceEvidence

            self._evidence = SourceEvidence(self._table.paths)
        if self._budget is not None and self.cascade.selection is None:
            raise ConfigError(
                "a budget is spent by what a first pass over the inputs learns: it is for runs "
                "over shards that can be read twice",
                key="extras.lm.budget",
            )
        lm = None if self._by_tables else self.cascade.calibration(self.policy, self.models)
        self._second = Decider(self.policy, self.models, lm) if lm is not None else None
        return self

    def _source_table(self) -> SourceTables | None:
        """The tables of sources that the policy names, where they are some for this run.

        Raises `ConfigError` where they aren't.
        """
        sources = self.policy.sources
        if sources.table is None or sources.table == AUTO:
            return None
        if self.policy.rule is not Rule.CALIBRATED:
            raise ConfigError(
                "sources move the score from which a document is AI, and rule 'thresholds' uses "
                "no score; take rule 'calibrated'",
                key="sources.table",
            )
        from lowbg.decision.source_tables import source_tables

        found = source_tables(sources.table)
        refuse_missing([Path(found.name)])
        path, header = found.name, found.header
        if header.by != self._source_by.spelled:
            raise ConfigError(
                f"{path}: its sources are told apart by {header.by}, the policy's by "
                f"{self._source_by.spelled}; say sources.by = {header.by!r}, or make it again",
                key="sources.table",
            )
        stated, default = sources, type(sources)()
        for name in ("min_documents", "bound"):
            wanted = getattr(stated, name)
            if wanted not in (getattr(default, name), getattr(header, name)):
                raise ConfigError(
                    f"{path}: made with sources.{name} {getattr(header, name):g}, and the policy "
                    f"says {wanted:g}; make it again with `lowbg sources`",
                    key=f"sources.{name}",
                )
        digests = self._own_digests()
        odd = sorted(name for name, value in header.models.items() if digests.get(name) != value)
        if odd:
            raise ConfigError(
                f"{path}: scored with other tables ({', '.join(odd[:5])}) than this run's; make it "
                "again with `lowbg sources`",
                key="sources.table",
            )
        return found

    def prepare(self) -> None:
        """Fetches what the scorers need on this machine."""
        for scorer in self._checked:
            scorer.prepare()

    def warm_up(self) -> None:
        """Compiles every kernel into the cache on disk, so that workers don't each do it.

        Optional scorers have none, and are loaded by the workers alone.
        """
        policy = replace(self.policy, scorers={}, sources=Sources())
        plain = Engine(policy, third_parties=self._third_parties).setup()
        line = io.BytesIO(b'{"text": "Some text, to be read once."}\n')
        with open_reader(line, RunConfig(), "a line") as reader:
            for batch in reader:
                plain.judge(batch.text, batch.metadata)

    def judge(self, text: pa.LargeStringArray, metadata: Metadata | None = None) -> Judged:
        """Scores and decides every document; pure, and independent of how text is batched.

        `metadata` (one entry a document) gives the documents' own language and origin; without it
        the language is identified and nothing is known of their provenance.
        """
        own = metadata.language if metadata is not None else None
        language = languages.detect(text, own)
        documents = self.documents(text, language)
        columns: dict[str, pa.Array] = {}
        for scorer in self._fast:
            columns.update(scorer.score(documents))
        return self.judge_scored(documents, columns, metadata, partial(self.ngrams, documents))

    def without_second_look(self) -> Engine:
        """An engine of the same that is loaded, but for the slow scorers."""
        plain = copy.copy(self)
        plain.cascade, plain._second = Cascade(()), None
        return plain

    def heeding(self, lm: LmCalibration) -> Engine:
        """An engine of the same that is loaded, for columns that hold what an LM said before."""
        heeding = copy.copy(self)
        heeding._decider = Decider(self.policy, self.models, lm)
        return heeding

    def why_silent(self) -> str | None:
        """What there is to say of an LM that changes no verdict, or that lacks; null: nothing."""
        silent = self.cascade.why_silent(self.policy, self.models)
        return None if silent is None else f"the LM changed no verdict: {silent}"

    def judge_batches(self, batches: Sequence[Batch]) -> Sequence[Judged]:
        """The same of each batch of records, scored as one."""
        if len(batches) == 1:
            return [self.judge(batches[0].text, batches[0].metadata)]
        text = pa.concat_arrays([batch.text for batch in batches])
        judged = self.judge(text, Metadata.joined([batch.metadata for batch in batches]))
        ends = np.cumsum([0, *map(len, batches)]).tolist()
        return [judged.part(start, stop) for start, stop in pairwise(ends)]

    def judge_scored(
        self,
        documents: Documents,
        columns: Mapping[str, pa.Array],
        metadata: Metadata | None,
        ngrams: Callable[[int], Sequence[tuple[str, float]]],
        prose: NDArray[np.bool_] | None = None,
    ) -> Judged:
        """Decides on documents that the fast scorers scored: `columns` is what they found.

        `ngrams` gives those of a document, for its reasons. Of the documents' tokens only the
        counts are looked at, unless there are slow scorers; with `prose`, which says what they
        would of the documents' characters, only those of words.
        """
        written = metadata.date if metadata is not None else pa.nulls(len(documents), pa.string())
        dates = read_dates(written)
        known = self._provenance.know(metadata, dates)
        features = Features(
            sources=self.sources_of(metadata),
            languages=documents.languages,
            codes=languages.CODES,
            words=documents.tokens.words_per_document,
            prose=is_prose(documents.tokens.counts) if prose is None else prose,
            columns=columns,
            known=known,
            ngrams=ngrams,
        )
        counted = counted_values(metadata, self.policy.provenance.count_fields)
        decisions = self._decider.decide(features)
        first = Judged(
            *(documents, columns, dates, known, decisions, counted),
            declared=self.columns,
            scored_by=self.scored_by,
        )
        return self._look_again(first, features) if self.cascade.scorers else first

    def sources_of(self, metadata: Metadata | None) -> Found | None:
        """What is known of the documents' sources; null without a table, or what names them."""
        if self._evidence is None or metadata is None:
            return None
        if any(name not in metadata.others for name in self._source_by.fields):
            return None
        found = self._source_by.of(metadata)
        return self._evidence.find(found.codes, found.names)

    def ngrams(self, documents: Documents, i: int) -> Sequence[tuple[str, float]]:
        """What decides the log-odds of document i, and by how many nats; the heaviest first."""
        return self._weighing.weights(documents, i) if self._weighing is not None else ()

    def parts(self, judged: Judged, i: int) -> Mapping[str, float]:
        """What each feature adds to the argument of the score of document i of a batch.

        With `intercept`, and `lm` where a causal LM had a say, they sum up to it; empty where the
        document has no score.
        """
        z = float(judged.decisions.z[i])
        index = int(judged.documents.languages[i])
        code = judged.documents.language_codes[index] if index >= 0 else ""
        calibration = self._decider.calibrations.get(code)
        if calibration is None or np.isnan(z):
            return {}

        def value(name: str) -> float | None:
            column = judged.columns.get(name)
            found = None if column is None else column[i].as_py()
            return None if found is None else float(found)

        log_odds = value(PHRASE_LOG_ODDS)
        parts = {"intercept": calibration.intercept}
        if log_odds is not None:
            words = int(judged.documents.tokens.words_per_document[i])
            parts |= calibration.parts(log_odds, words, value(PERPLEXITY), value(STYLE_LOG_ODDS))
        rest = calibration.intercept + calibration.slope * z - sum(parts.values())
        return {**parts, "lm": rest} if abs(rest) > _ROUNDING else parts

    def places(self, judged: Judged, i: int) -> Sequence[tuple[int, float]]:
        """The words of document i, by number in the batch, and what each adds to its log-odds."""
        return self._weighing.places(judged.documents, i) if self._weighing is not None else ()

    def _look_again(self, first: Judged, features: Features) -> Judged:
        """With the slow scorers' columns; decided anew where one of them has a say."""
        at_border = None if features.sources is None else features.sources.at_border
        look = self.cascade.look(
            *(first.documents, first.decisions, self._second, self.documents), at_border
        )
        columns = {**first.columns, **look.columns}
        decisions, has_say = first.decisions, np.zeros(len(first.documents), np.bool_)
        if self._second is not None:
            features = replace(features, columns=columns)
            decisions = self._second.decide(features)
            has_say = self._second.hears_lm(features)
        return replace(
            first,
            columns=columns,
            decisions=decisions,
            second=LookedAgain(
                sent=look.sent,
                drawn_from=look.drawn_from,
                shares=look.shares,
                tokens=look.tokens,
                before=first.decisions.verdicts,
                has_say=has_say,
                seconds=look.seconds,
                selection=self.cascade.selection if self._second is not None else None,
            ),
        )

    def documents(self, text: pa.LargeStringArray, language: NDArray[np.int8]) -> Documents:
        """Texts in these languages (codes), with their words and sentences."""
        tokens = tokenize(text, self._foldings[language])
        return Documents(text, tokens, language, languages.CODES)

    def threshold(self, language: str | None) -> float | None:
        """The `ai_score` from which a document of `language` is called AI.

        Null without tables of the language, and where the rule is not one of scores.
        """
        calibration = self._decider.calibrations.get(language or "")
        if calibration is None or self.policy.rule is not Rule.CALIBRATED:
            return None
        z = np.array([self._decider.thresholds[language or ""]])
        return float(calibration.score(z)[0])

    def source_model(self) -> SourceModel:
        """What judges sources by the scores that this engine gives.

        Raises `ConfigError` where the rule is not one of scores.
        """
        if self.policy.rule is not Rule.CALIBRATED:
            raise ConfigError(
                "sources are judged by scores, which rule 'thresholds' doesn't use; take rule "
                "'calibrated'",
                key="decision.rule",
            )
        from lowbg.decision.sources import Reference, SourceModel

        own = {
            languages.CODES.index(code): (code, calibration)
            for code, calibration in self._decider.calibrations.items()
        }
        return SourceModel(
            {place: Reference.of(self.models[code]) for place, (code, _) in own.items()},
            {
                place: calibration.intercept + calibration.slope * self._decider.thresholds[code]
                for place, (code, calibration) in own.items()
            },
            min_documents=self.policy.sources.min_documents,
            bound=self.policy.sources.bound,
        )

    @property
    def limits(self) -> Mapping[str, Limits]:
        """By language, what `rule = "thresholds"` wants of a human document; else empty."""
        return self._decider.limits

    def min_words(self, language: str) -> int:
        """The fewest words of a document of `language` that its tables judge."""
        return self._decider.calibrations[language].min_words

    def scores_around(self, language: str, margins: Sequence[float]) -> list[float]:
        """The scores that lie so far from the threshold of `language`, in deviations."""
        z = self._decider.thresholds[language] + np.asarray(margins, np.float64)
        return [float(score) for score in self._decider.calibrations[language].score(z)]

    def mean_log_odds(self, language: str) -> float:
        """The mean log-odds a word of human text of `language`."""
        return self._decider.calibrations[language].mean

    def score_of(self, language: str, z: NDArray[np.float64]) -> NDArray[np.float32]:
        """The `ai_score` of documents of `language` with these z."""
        return self._decider.calibrations[language].score(z).astype(np.float32)

    def model_digests(self) -> dict[str, str]:
        """Everything that influences a verdict, name → SHA-256 (hex)."""
        digests = self._own_digests()
        if self._table is not None:
            digests["sources"] = self._table.digest()
        return dict(sorted(digests.items()))

    def _own_digests(self) -> dict[str, str]:
        """Everything that influences a score."""
        digests = {
            "characters": open_embedded("characters").sha256,
            **{code: model.sha256 for code, model in self.models.items()},
        }
        for scorer in self.scorers:
            digests.update(scorer.models)
        return dict(sorted(digests.items()))

    @cached_property
    def scored_by(self) -> Mapping[str | None, str]:
        """By language what the scores that tables give depend on (`identity.scored_by`)."""
        return scored_by(self.scorers, self.models)

    def scorer_versions(self) -> dict[str, int]:
        """The scorers that ran and their versions."""
        return {scorer.name: scorer.version for scorer in self.scorers}
