"""What tables are learned from, and how."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path

from lowbg.config import LmSettings, RunConfig
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """What tables are learned from.

    `old` is human text, `unlabelled` a mixture, `holdout` human text from between the two; where
    there is none, the latest year of the human text is held out, or some of its sources. Documents
    dated from `human_before` on are left out of `old` and `holdout`; those of `unlabelled` that are
    dated before it are human. A document's source is what its `source_field` says, else its URL's
    registered domain; what `kind_field` says parts a source further. Of each part `max_documents`
    serve, chosen by hash. `target_fpr` is the rate that must hold on the text held out. `rounds`
    times the new text is sorted by what was learned, and learned from again; a document that is
    AI's with a probability below `min_probability` doesn't count as AI text. `perplexity_weight`
    and `style_weight` as in `TrainConfig`.

    `teacher` is a causal LM whose probe reads `teacher_documents` of all that, and from whose
    confident verdicts is learned first; its other settings say how it is read.
    """

    language: str
    output: Path
    old: tuple[str | Path, ...]
    unlabelled: tuple[str | Path, ...]
    holdout: tuple[str | Path, ...] = ()
    human_before: dt.date = dt.date(2022, 11, 30)
    source_field: str | None = None
    kind_field: str | None = None
    reading: RunConfig = field(default_factory=RunConfig)
    seed: int = 1
    date: dt.date = dt.date(2026, 11, 29)
    max_documents: int = 20_000
    min_words: int = 75
    min_documents: int = 299
    target_fpr: float = 0.01
    folds: int = 5
    rounds: int = 2
    min_probability: float = 0.6
    perplexity_weight: float = 0.3
    style_weight: float = 0.75
    odds: OddsConfig = field(default_factory=lambda: OddsConfig(min_windows=5, iterations=25))
    lm: LmConfig = field(default_factory=LmConfig)
    teacher: LmSettings | None = None
    teacher_documents: int = 2_000

    def suited(self) -> LearnConfig:
        """With what suits the language: where a word is a character, documents and windows are
        longer, and so are n-grams.
        """
        if self.language not in _IDEOGRAPHIC:
            return self
        return replace(
            self,
            min_words=120,
            odds=replace(self.odds, order=4, min_words=50, l2=1e-5),
            lm=replace(self.lm, order=3),
        )


_IDEOGRAPHIC = ("zh", "ja")
