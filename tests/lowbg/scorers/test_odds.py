"""The log-odds kernel against sums in plain Python."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lowbg.kernels.characters import LATIN
from lowbg.kernels.hashes import extend
from lowbg.kernels.tables import build
from lowbg.models import ModelFile, open_model, save_arrays
from lowbg.scorers.base import Documents
from lowbg.scorers.phrases.odds import create_odds
from lowbg.text.ngrams import MAX_ORDER, WINDOW
from lowbg.text.tokens import tokenize

CODES = ("en", "de")
WEIGHTS = {
    ("delve",): (40, 20),
    ("the",): (-5, -3),
    ("delve", "into"): (60, 90),
    ("into", "the", "tapestry"): (100, 7),
    ("of", "a", "rich", "tapestry"): (127, -127),
}
SCALES = (0.05, 0.02)


def documents(*texts: str, language: int = 0) -> Documents:
    text = pa.array(list(texts), pa.large_string())
    tokens = tokenize(text, np.full(len(texts), LATIN, np.uint8))
    return Documents(text, tokens, np.full(len(texts), language, np.int8), CODES)


def ngram_hash(ngram: tuple[str, ...]) -> np.uint64:
    words = documents(" ".join(ngram)).tokens.words
    h = words[0]
    for word in words[1:]:
        h = extend(h, word)
    return np.uint64(h)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path: Path = tmp_path_factory.mktemp("odds") / "en.safetensors"
    hashes = np.array([ngram_hash(ngram) for ngram in WEIGHTS], np.uint64)
    payloads = np.array([((a + 128) << 8) | (b + 128) for a, b in WEIGHTS.values()], np.uint16)
    slots, lost = build(hashes, payloads, 64)
    assert lost == 0
    save_arrays(path, {"odds_slots": slots}, {"odds": {"order": 4, "scales": SCALES}})
    return open_model(path)


def expected(text: str) -> tuple[float, float]:
    """Sums over distinct n-grams a window, over all words."""
    words = text.lower().replace(".", "").split()
    pieces = math.ceil(len(words) / WINDOW)
    size = math.ceil(len(words) / pieces)
    sums = [0.0, 0.0]
    for start in range(0, len(words), size):
        window = words[start : start + size]
        seen = {
            tuple(window[i : i + n])
            for n in range(1, MAX_ORDER + 1)
            for i in range(len(window) - n + 1)
        }
        for ngram in seen & WEIGHTS.keys():
            sums[0] += WEIGHTS[ngram][0] * SCALES[0]
            sums[1] += WEIGHTS[ngram][1] * abs(WEIGHTS[ngram][1]) * SCALES[1]
    return sums[0] / len(words), sums[1] / len(words)


TEXTS = (
    "Let us delve into the tapestry.",
    "delve delve delve delve into into the the",
    "nothing known here",
    "part of a rich tapestry of a rich tapestry",
    "the cat. " * 400 + "delve into the tapestry " * 30,
    "word " * WINDOW,
    "delve " * (WINDOW + 1),
)


@pytest.mark.parametrize("text", TEXTS)
def test_sums(model: ModelFile, text: str) -> None:
    scored = create_odds({"en": model}).score(documents(text))
    assert (scored["nb"][0], scored["lr"][0]) == pytest.approx(expected(text), rel=1e-5)


def test_batches_do_not_matter(model: ModelFile) -> None:
    odds = create_odds({"en": model})
    together = odds.score(documents(*TEXTS, "", *TEXTS))
    for i, text in enumerate(TEXTS):
        alone = odds.score(documents(text))
        for name in ("nb", "lr"):
            assert together[name][i] == together[name][i + len(TEXTS) + 1] == alone[name][0]
        assert (together["known"][i] == alone["known"][0]).all()


def test_no_table_or_words_gives_nan(model: ModelFile) -> None:
    odds = create_odds({"en": model})
    assert np.isnan(odds.score(documents("delve", language=1))["nb"][0])
    assert np.isnan(odds.score(documents("delve", language=-1))["lr"][0])
    assert np.isnan(odds.score(documents(""))["nb"][0])
    assert np.isnan(create_odds({}).score(documents("delve"))["nb"][0])
    assert len(odds.score(documents())["nb"]) == 0


def test_known_counts_distinct_ngrams_by_length(model: ModelFile) -> None:
    scored = create_odds({"en": model}).score(documents("delve into the tapestry, delve"))
    assert scored["known"][0].tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("text", TEXTS)
def test_contributions_add_up_to_the_score(model: ModelFile, text: str) -> None:
    odds = create_odds({"en": model})
    batch = documents("the tapestry delve", text, "delve into")
    listed = odds.contributions(batch, 1)
    words = batch.tokens.words_per_document[1]
    scored = odds.score(batch)
    for name, column in (("naive_bayes", "nb"), ("logistic", "lr")):
        total = sum(getattr(entry, name) for entry in listed)
        assert total / words == pytest.approx(scored[column][1], rel=1e-6, abs=1e-6)


def test_contributions_are_the_same_whatever_was_listed_before(model: ModelFile) -> None:
    long = "delve into the tapestry " * 300  # of several windows
    batch = documents(long, "delve into", "the tapestry delve")
    first = [create_odds({"en": model}).contributions(batch, i) for i in range(3)]
    assert all(first)
    odds = create_odds({"en": model})
    for i in (2, 0, 1, 0, 2, 2):
        assert odds.contributions(batch, i) == first[i]


def test_contributions_point_at_the_text(model: ModelFile) -> None:
    text = "Ünïcode first; then delve into it"
    batch = documents("into", text)
    listed = create_odds({"en": model}).contributions(batch, 1)
    raw = bytes(batch.tokens.data)
    offsets = batch.tokens.word_offsets
    places = {(raw[offsets[found.at] :].split()[0].decode(), found.length) for found in listed}
    assert places == {("delve", 1), ("delve", 2)}


@pytest.mark.parametrize(
    "disguised",
    [
        "ＤＥＬＶＥ into the tapestry",
        "dеlvе intо the tapestry",
        "de\u200blve in\u00adto the\u00a0tapestry",
        "“delve” — into\n\nthe   **tapestry**",
        "DELVE INTO THE TAPESTRY",
    ],
)
def test_disguises_do_not_change_the_score(model: ModelFile, disguised: str) -> None:
    odds = create_odds({"en": model})
    plain, other = odds.score(documents("delve into the tapestry", disguised))["nb"]
    assert plain == other
