"""A text cut into its sentences, each judged by itself: what a page shades."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from msgspec.structs import replace
from numpy.typing import NDArray

from lowbg.arrays import strings_of
from lowbg.records import Metadata
from lowbg.report import Report
from lowbg.report.examples import Example, Shade
from lowbg.report.sections.documents import SECTION as DOCUMENTS
from lowbg.runs.engine import Engine, Judged
from lowbg.scorers.phrases import PHRASE_LOG_ODDS
from lowbg.text.tokens import Tokens

_OPENINGS = ('"', "'", "(", "[", "“", "‘", "«", "„", "「", "『", "（", "*", "_", "#")


def judge_texts(
    engine: Engine,
    texts: Sequence[str],
    languages: Sequence[str | None],
    origin: Metadata | None = None,
) -> Judged:
    """What is known of texts that say their language; `origin`: what else they say of themselves,
    null: nothing."""
    own = strings_of(languages, pa.string())
    metadata = dataclasses.replace(origin or Metadata.unknown(len(texts)), language=own)
    return engine.judge(strings_of(texts, pa.large_string()), metadata)


def sentence_texts(tokens: Tokens, i: int = 0) -> list[str]:
    """The sentences of document i, in order; together they are its text."""
    words = slice(int(tokens.word_starts[i]), int(tokens.word_starts[i + 1]))
    if words.start == words.stop:
        return []
    sentences = tokens.sentences[
        int(tokens.sentence_starts[i]) : int(tokens.sentence_starts[i + 1])
    ]
    data = tokens.data[int(tokens.text_starts[i]) : int(tokens.text_starts[i + 1])]
    firsts = tokens.word_offsets[words.start + np.cumsum(sentences[:-1])].astype(np.int64)
    cuts = [0, *(firsts - tokens.text_starts[i]).tolist(), len(data)]
    cuts = [_before_opening(data, cut) for cut in cuts]
    return [bytes(data[a:b]).decode("utf-8", "replace") for a, b in pairwise(cuts)]


def _before_opening(data: NDArray[np.uint8], cut: int) -> int:
    """The cut moved before an opening quote or bracket, which belongs to what follows."""
    while 0 < cut < len(data):
        before = bytes(data[max(0, cut - 3) : cut])
        for opening in _OPENINGS:
            if before.endswith(opening.encode()):
                cut -= len(opening.encode())
                break
        else:
            return cut
    return cut


def shaded(report: Report, engine: Engine) -> Report:
    """The report, with the sentences of its examples judged by the tables of `engine`."""
    kinds = report[DOCUMENTS]
    bare = {
        example.excerpt: example
        for examples in kinds.values()
        for example in examples
        if not example.shades and example.language in engine.models
    }
    if not bare:
        return report
    # The tables alone: what else runs may be slow, or not loaded in this process.
    if not engine.is_plain:
        policy = dataclasses.replace(engine.policy, scorers={})
        engine = Engine(policy, third_parties=False)
    plain = engine.setup()
    shades = dict(zip(bare, _shades(plain, [*bare.values()]), strict=True))
    documents = {
        kind: [replace(e, shades=shades.get(e.excerpt, e.shades)) for e in examples]
        for kind, examples in kinds.items()
    }
    return replace(report, **{DOCUMENTS.key: documents})


def _shades(engine: Engine, examples: Sequence[Example]) -> list[list[Shade]]:
    whole = judge_texts(engine, [e.excerpt for e in examples], [e.language for e in examples])
    texts = [sentence_texts(whole.documents.tokens, i) for i in range(len(examples))]
    languages = [e.language for e, own in zip(examples, texts, strict=True) for _ in own]
    alone = judge_texts(engine, [text for own in texts for text in own], languages)
    odds = iter(alone.columns[PHRASE_LOG_ODDS.name].to_pylist())
    found = []
    for own in texts:
        ends = np.cumsum([0, *map(len, own)]).tolist()
        values = [next(odds) for _ in own]
        found.append(
            [
                Shade(start, end, None if value is None else round(value, 4))
                for (start, end), value in zip(pairwise(ends), values, strict=True)
            ]
        )
    return found
