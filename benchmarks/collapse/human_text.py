"""Human text for the experiment: documents of equal length, in one form, and who gets which.

What generated text has, human text has too: every document is so many tokens (words and marks) in
lower case, written as prose again by `prose`. So no layout, no length and no capital tells the one
from the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from lowbg.errors import ConfigError
from lowbg.jobs.train.corpus import read_rows
from lowbg.storage.files import file_digest

MAJORITY: Final = (
    "en2_openstax", "en2_senate_press", "en3_h_fcc_guides", "en3_h_hippocorpus", "human_bbc",
    "human_eltec", "human_imdb",
)  # fmt: skip
"""Textbooks, press releases, tutorials, people's stories, news, old novels, film reviews."""

MINORITY: Final = "en2_african_storybook"
"""Stories for children from African countries: the small group whose voice may get lost."""

_TOKEN: Final = re.compile(r"\w+(?:['’-]\w+)*|[.,;:!?()]")
_ENDS: Final = frozenset(".!?")
_NO_SPACE_BEFORE: Final = frozenset(".,;:!?)")


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known of it: the human dataset, or null for generated text."""

    text: str
    dataset: str | None

    @property
    def generated(self) -> bool:
        """Whether a model wrote it."""
        return self.dataset is None

    @property
    def minority(self) -> bool:
        """Whether it is of the small group."""
        return self.dataset == MINORITY


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large an experiment is.

    A corpus is `documents` of `tokens` tokens each, of which `minority` (0 … 1) are of the small
    group. The hold-out has `holdout` documents alike, and `minority_holdout` of the small group
    beside them. A drift check samples `drift_documents`, and counts `drift_words` of their words.
    Generation 0 writes `first_written` documents; tables are trained on the first `documents` of
    these, and regimes that use such tables go on from the others. On `calibration` documents a
    threshold is set; 0: no tables are trained.
    """

    documents: int = 350
    tokens: int = 200
    generations: int = 8
    seeds: int = 5
    minority: float = 0.02
    holdout: int = 175
    minority_holdout: int = 20
    drift_documents: int = 280
    drift_words: int = 30_000
    first_written: int = 3_500
    calibration: int = 700


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents of each dataset, and every token that comes in them, sorted."""

    documents: Mapping[str, Sequence[Document]]
    vocabulary: Sequence[str]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Supply:
    """One seed's human text: what generation 0 learns, and new documents for every later one.

    No document is in two of these. `reference` is all that may be trained on.
    """

    original: Sequence[Document]
    fresh: Sequence[Sequence[Document]]
    holdout: Sequence[Document]
    minority_holdout: Sequence[Document]
    calibration: Sequence[Document]

    @property
    def reference(self) -> list[Document]:
        """All documents that a model may be trained on."""
        return [*self.original, *(each for crawl in self.fresh for each in crawl)]


@lru_cache(maxsize=4_096)
def tokens_of(text: str) -> tuple[str, ...]:
    """The words and marks of a text, in lower case."""
    return tuple(_TOKEN.findall(text.lower()))


def prose(tokens: Iterable[str]) -> str:
    """The tokens as text: capitals where sentences begin, no space before a mark.

    `tokens_of` gives the tokens again.
    """
    parts: list[str] = []
    starts, opened = True, True
    for token in tokens:
        if not opened and token not in _NO_SPACE_BEFORE:
            parts.append(" ")
        if token[0].isalnum():
            first = starts or token == "i" or token.startswith(("i'", "i’"))
            parts.append(token[0].upper() + token[1:] if first else token)
            starts = False
        else:
            parts.append(token)
            starts = starts or token in _ENDS
        opened = token == "("
    return "".join(parts)


def read_corpus(folder: Path, tokens: int) -> Corpus:
    """The documents of `folder` that are long enough, cut to `tokens`; one of each `pair`.

    Raises `ConfigError` where a dataset isn't there.
    """
    documents: dict[str, list[Document]] = {}
    digests = {}
    vocabulary: set[str] = set()
    for name in (*MAJORITY, MINORITY):
        path = folder / f"{name}.jsonl.zst"
        if not path.is_file():
            raise ConfigError(f"{path}: not there; DATA has to hold labelled/train/{path.name}")
        digests[path.name] = file_digest(path)
        own: dict[str, Document] = {}
        for row in read_rows(path):
            if row.is_ai or row.language.split("-")[0] != "en":
                continue
            found = tokens_of(row.text)[:tokens]
            key = row.pair or row.text
            if len(found) == tokens and key not in own:
                own[key] = Document(prose(found), name)
                vocabulary.update(found)
        documents[name] = list(own.values())
    return Corpus(documents, sorted(vocabulary), digests)


def supply(corpus: Corpus, sizes: Sizes, seed: int) -> Supply:
    """The human text of one seed. Raises `ConfigError` where a dataset has too few documents."""
    rng = np.random.default_rng(seed)
    shuffled = {
        name: iter([own[i] for i in rng.permutation(len(own))])
        for name, own in corpus.documents.items()
    }

    def draw(counts: Mapping[str, int]) -> list[Document]:
        drawn = []
        for name, count in counts.items():
            for _ in range(count):
                document = next(shuffled[name], None)
                if document is None:
                    raise ConfigError(
                        f"{name}: {len(corpus.documents[name]):,} documents of {sizes.tokens} "
                        "tokens are too few for this size; ask for fewer documents or generations"
                    )
                drawn.append(document)
        return [drawn[i] for i in rng.permutation(len(drawn))]

    holdout = draw(composition(sizes.holdout, sizes.minority))
    minority_holdout = draw({MINORITY: sizes.minority_holdout})
    calibration = draw(composition(sizes.calibration, sizes.minority))
    counts = composition(sizes.documents, sizes.minority)
    original, *fresh = (draw(counts) for _ in range(sizes.generations + 1))
    return Supply(original, fresh, holdout, minority_holdout, calibration)


def composition(documents: int, minority: float) -> dict[str, int]:
    """How many documents each dataset gives: the small group its share, the others alike."""
    small = round(documents * minority)
    each, more = divmod(documents - small, len(MAJORITY))
    return {**{name: each + (i < more) for i, name in enumerate(MAJORITY)}, MINORITY: small}
