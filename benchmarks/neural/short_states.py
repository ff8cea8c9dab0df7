"""Short English text, and what a causal LM's middle layer makes of it; kept on disk.

Two sets, which are never mixed: documents that are short themselves (25 to 74 words), and the
beginnings of longer ones, cut at the end of a sentence after 25 to 74 words. Which end that is,
where there are several, a hash of the text says. What lowbg judges by no score, since it is no
prose (program code, mostly), is in neither; nor is more than one document of a kind that begins
with the same four words: short documents are often records that one template made.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.neural.unseen_kinds import BASE_MODELS, Reading, hash_of, state_reader
from numpy.typing import NDArray

from lowbg.decision.unscored import MIN_LETTER_SHARE
from lowbg.jobs.train.corpus import Row, in_language, list_files, read_rows, tokenize_rows
from lowbg.scorers.lm.plain import plain
from lowbg.scorers.lm.store import ModelFolder
from lowbg.text.tokens import DIGITS, LETTERS, SYMBOLS

if TYPE_CHECKING:
    from lowbg.scorers.lm.states import StateReader

MIN_WORDS, MAX_WORDS = 25, 74
"""Of short text."""

MIN_ROWS = 12
"""Documents that a kind needs to be judged."""

TOKENS = 192
LAYER = 18

CHARACTERS = 24 * TOKENS
"""Of a text no more is read."""

PORTION = 50
"""Documents whose states are put into the cache at a time."""

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?= )")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ShortStates:
    """States of documents × width: the mean over all that a probe reads, `whole`, and over what
    `cut_text` leaves, `cut`; NaN where it leaves nothing.
    """

    whole: Floats
    cut: Floats


def fair(rows: Sequence[Row]) -> NDArray[np.int64]:
    """The places of those that are short prose, the first of every kind and beginning."""
    tokens = tokenize_rows(rows, "en")
    words, sizes = tokens.words_per_document, tokens.counts.astype(np.int64)
    visible = sizes[:, LETTERS] + sizes[:, DIGITS] + sizes[:, SYMBOLS]
    good = (words >= MIN_WORDS) & (words <= MAX_WORDS)
    good &= sizes[:, LETTERS] >= MIN_LETTER_SHARE * visible
    seen: set[tuple[str, bool, tuple[str, ...]]] = set()
    for i in np.flatnonzero(good).tolist():
        begins = (rows[i].dataset, rows[i].is_ai, tuple(rows[i].text.lower().split()[:4]))
        good[i] = begins not in seen
        seen.add(begins)
    return np.flatnonzero(good)


def is_of_base_model(row: Row) -> bool:
    """Whether AI text is of a model that was never taught to chat."""
    return row.is_ai and any(name in row.generator.lower() for name in BASE_MODELS)


def short_rows(data: Path, split: str, most: int | None = None) -> list[Row]:
    """All English rows of 25 to 74 words, or `most` of every dataset and label, by hash.

    Text by base models and text that was rewritten to escape detection is left out.
    """
    groups: dict[tuple[str, bool], list[Row]] = {}
    for path in list_files([data / "labelled" / split]):
        for row in read_rows(path):
            wanted = row.language == "en" and in_language(row, "en") and not row.attack
            # A word is one of a few characters: what is far from it needn't be cut into words.
            if wanted and 40 <= len(row.text) <= 1_000 and not is_of_base_model(row):
                groups.setdefault((row.dataset, row.is_ai), []).append(row)
    found = []
    for key in sorted(groups):
        own = sorted(groups[key], key=hash_of)
        found += [own[i] for i in fair(own)[:most].tolist()]
    return found


def cut_text(text: str) -> str:
    """Its beginning of 25 to 74 words, to the end of a sentence; empty where there is none.

    It is without layout, as a probe reads it.
    """
    read = plain(text, CHARACTERS)
    ends = [match.end() for match in _SENTENCE_END.finditer(read)]
    fits = [end for end in ends if MIN_WORDS <= len(read[:end].split()) <= MAX_WORDS]
    if not fits:
        return ""
    digest = blake2b(read.encode(), digest_size=8).digest()
    return read[: fits[int.from_bytes(digest, "big") % len(fits)]]


def cut_rows(rows: Sequence[Row]) -> tuple[NDArray[np.int64], list[Row]]:
    """The places of those that can be cut and are longer than what is left, and what is left."""
    cuts = [cut_text(row.text) for row in rows]
    longer = tokenize_rows(rows, "en").words_per_document > MAX_WORDS
    places = np.flatnonzero(longer & np.array([bool(cut) for cut in cuts]))
    left = [replace(rows[i], text=cuts[i]) for i in places.tolist()]
    fits = fair(left)
    return places[fits], [left[i] for i in fits.tolist()]


def states_of(rows: Sequence[Row], folder: ModelFolder, cache: Path) -> ShortStates:
    """States of the rows; what is in `cache` isn't read again."""
    place = cache / f"{folder.sha256()[:12]}-short-{LAYER}-{TOKENS}"
    place.mkdir(parents=True, exist_ok=True)
    known: dict[bytes, NDArray[np.float16]] = {}
    for file in sorted(place.glob("*.npz")):
        part = np.load(file)
        known.update(zip((bytes(key) for key in part["keys"]), part["states"], strict=True))
    keys = [blake2b(row.text.encode("utf-8", "replace"), digest_size=16).digest() for row in rows]
    missing = [i for i, key in enumerate(keys) if key not in known]
    if missing:
        reader = state_reader(folder, Reading((LAYER,), TOKENS))
        started = time.monotonic()
        for at in range(0, len(missing), PORTION):
            own = missing[at : at + PORTION]
            found = np.array([_read(reader, rows[i].text) for i in own])
            known.update(zip((keys[i] for i in own), found, strict=True))
            written = np.array([np.frombuffer(keys[i], np.uint8) for i in own])
            np.savez(place / f"{time.time_ns()}.npz", keys=written, states=found)
            speed = (at + len(own)) / (time.monotonic() - started)
            print(f"{at + len(own)} of {len(missing)}: {speed:.1f} a second", file=sys.stderr)
    states = np.array([known[key] for key in keys], np.float32)
    return ShortStates(states[:, 0], states[:, 1])


def _read(reader: StateReader, text: str) -> NDArray[np.float16]:
    """Both means (2 × width) of one pass: a causal LM's states of a beginning are those that it has
    in the whole.
    """
    _, ends, states = reader.token_states(text)
    found = np.full((2, states.shape[-1]), np.nan)
    if len(ends):
        found[0] = states[:, 0].mean(0)
    inside = ends <= len(cut_text(text))
    if inside.any():
        found[1] = states[inside, 0].mean(0)
    return found.astype(np.float16)


def lengths(rows: Sequence[Row]) -> NDArray[np.int64]:
    """Words of each."""
    return np.asarray(tokenize_rows(rows, "en").words_per_document, np.int64)


def counts(rows: Sequence[Row]) -> Iterator[str]:
    """A line a label: rows, kinds, and kinds of at least `MIN_ROWS` rows."""
    for label, is_ai in (("AI", True), ("human", False)):
        kinds = [row.dataset for row in rows if row.is_ai is is_ai]
        sizes = [kinds.count(kind) for kind in sorted(set(kinds))]
        large = sum(n >= MIN_ROWS for n in sizes)
        yield f"{label}: {len(kinds):,} of {len(sizes)} kinds, {large} of {MIN_ROWS} or more"
