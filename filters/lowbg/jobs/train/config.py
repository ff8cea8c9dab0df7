"""What a language's tables are made from, and how."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from lowbg.config import RunConfig
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig

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
