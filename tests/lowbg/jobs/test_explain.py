"""`explain`: what it says of a document must be what the scorers and the decision said."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.config import Policy, Rule, RunConfig
from lowbg.decision.calibration import squash
from lowbg.errors import ConfigError, InputError
from lowbg.jobs.explain import NGRAMS, Explanation, find_record
from lowbg.jobs.explain import explain as explain_by
from lowbg.jobs.explain_page import Percentile, render_explanation
from lowbg.runs.engine import Engine

AI_STYLED = (
    "Certainly! Here is an overview. Renewable energy plays a crucial role in addressing the "
    "pressing challenges of climate change. Furthermore, it fosters innovation and enhances "
    "energy security. “It is important to note that the transition requires careful planning.” "
    "In conclusion, embracing renewable energy is essential for a sustainable future. "
) * 3


def explain(text: str, language: str | None = None) -> Explanation:
    return explain_by(Engine(Policy()).setup(), text, language=language)


def test_sentences_are_the_document_and_spans_are_in_them() -> None:
    explanation = explain(AI_STYLED, language="en")

    assert "".join(sentence.text for sentence in explanation.sentences) == AI_STYLED
    assert sum(sentence.words for sentence in explanation.sentences) == explanation.words
    spans = [(s.text[p.start : p.end], p.name) for s in explanation.sentences for p in s.phrases]
    assert ("plays a crucial role in", "plays a crucial role in") in spans
    assert all(text.lower() == name or "[" in name or "!" in text for text, name in spans)
    quoted = [s.text for s in explanation.sentences if "important to note" in s.text]
    assert all(text.startswith("“") for text in quoted)


def test_the_heaviest_ngrams_are_words_of_the_document() -> None:
    explanation = explain(AI_STYLED, language="en")
    ai = [ngram.nats for ngram in explanation.ngrams if ngram.nats > 0]
    human = [ngram.nats for ngram in explanation.ngrams if ngram.nats < 0]
    assert (len(ai), len(human)) == NGRAMS
    assert [ngram.nats for ngram in explanation.ngrams] == [
        *sorted(ai, reverse=True),
        *sorted(human),
    ]
    flat = " ".join(AI_STYLED.lower().replace(",", "").replace("!", "").replace(".", "").split())
    flat = flat.replace("“", "").replace("”", "")
    assert all(ngram.text in flat for ngram in explanation.ngrams)


@pytest.mark.parametrize(("text", "verdict"), [(AI_STYLED, "ai"), (topics["exceptions"], "human")])
def test_the_score_stands_on_the_verdicts_side_of_the_threshold(text: str, verdict: str) -> None:
    explanation = explain(text)
    assert explanation.verdict == verdict
    assert explanation.ai_score is not None
    assert explanation.threshold is not None
    assert (explanation.ai_score >= explanation.threshold) == (verdict == "ai")
    assert explanation.language == "en"


@pytest.mark.parametrize("text", ["", " \n", "?!", "\ud800"])
def test_text_without_words_has_no_sentences(text: str) -> None:
    explanation = explain(text)
    assert (explanation.verdict, explanation.ai_score) == ("unscored", None)
    assert explanation.sentences == ()
    assert explanation.ngrams == ()


def test_a_record_is_found_by_place_or_by_id(tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text('{"id": "x", "text": "one"}\nbroken\n{"id": 7, "text": "two"}\n')
    config = RunConfig()
    assert find_record(str(shard), config, record=None, id=None)[0] == "one"
    assert find_record(str(shard), config, record=2, id=None)[0] == "two"
    assert find_record(str(shard), config, record=None, id="7")[0] == "two"
    with pytest.raises(InputError, match=r"a\.jsonl:2"):
        find_record(str(shard), config, record=1, id=None)
    with pytest.raises(ConfigError, match="'nobody'"):
        find_record(str(shard), config, record=None, id="nobody")


WORDS = (
    "certainly the river important rose delve tapestry of a dog in 1987 however, crucial role. It"
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Policy()).setup()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*WORDS.split(), ". Then", "\n\n“Well”,"]), min_size=60))
def test_what_is_added_comes_to_the_score(engine: Engine, words: list[str]) -> None:
    explanation = explain_by(engine, " ".join(words), language="en")
    parts = {own.name: own.part for own in explanation.parts}
    if explanation.ai_score is None:
        assert parts == {}
        assert explanation.needs
        return
    assert explanation.needs == ""
    score = squash(np.array([sum(parts.values())]))[0]
    assert score == pytest.approx(explanation.ai_score, abs=1e-5)
    of_sentences = [sentence.part or 0.0 for sentence in explanation.sentences]
    assert sum(of_sentences) == pytest.approx(parts["phrase_log_odds"], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "language", "needs"),
    [
        ("", None, "text with words"),
        ("A few words.", "en", "more words"),
        ("Πολλά λόγια για το ποτάμι και το βουνό. " * 40, "el", "tables of the language 'el'"),
        ("x = 1 + {2}; [3] => (4) / 5 * 6 - 7\n" * 60, "en", "prose"),
    ],
)
def test_what_a_score_would_take(
    engine: Engine, text: str, language: str | None, needs: str
) -> None:
    assert needs in explain_by(engine, text, language=language).needs


def test_the_page_escapes_its_text_and_says_where_features_lie(engine: Engine) -> None:
    evil = "</script><script>alert(1)</script>\x1b[2J\u202e"
    explanation = explain_by(engine, f"{AI_STYLED} {evil}", language="en")
    page = render_explanation(explanation, evil, {"ai_score": Percentile(0.5, None)})
    assert page.count("<script>") == 1
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "50.0 %" in page
    assert "<u title=" in page


HUMAN = topics["exceptions"]


@pytest.mark.parametrize("first", [True, False])
def test_an_ai_like_part_of_a_human_text_is_told(first: bool) -> None:
    human = HUMAN[: HUMAN.index("\n", 1200)]
    text = f"{AI_STYLED}\n\n{human}" if first else f"{human}\n\n{AI_STYLED}"
    explanation = explain(text, language="en")

    part = explanation.ai_part
    assert part is not None
    own = "".join(s.text for s in explanation.sentences[part.first : part.last + 1])
    # The change is found to the sentence, or nearly.
    shared = sum(len(s) for s in AI_STYLED.split(". ") if s in own)
    assert shared > 0.8 * len(AI_STYLED)
    assert own.strip() in AI_STYLED
    assert part.words == sum(s.words for s in explanation.sentences[part.first : part.last + 1])
    assert part.ai_score >= (explanation.threshold or 1.0)
    assert part.rest < 0.5
    assert explanation.mixed.startswith(f"mixed: {part.words} of {explanation.words} words")
    page = render_explanation(explanation, "a document")
    assert page.count(' part"') == part.last - part.first + 1
    assert "mixed: " in page


@pytest.mark.parametrize("text", [HUMAN, AI_STYLED * 2, HUMAN[:300] + AI_STYLED[:200], "Hello."])
def test_a_text_of_one_piece_has_no_part(text: str) -> None:
    explanation = explain(text, language="en")
    assert explanation.ai_part is None
    assert explanation.mixed == ""
    assert "mixed: " not in render_explanation(explanation, "a document")


def test_without_tables_or_scores_no_part_is_told() -> None:
    text = f"{AI_STYLED}\n\n{HUMAN[:1200]}"
    assert explain(text, language="fi").ai_part is None
    by_limits = Engine(Policy(rule=Rule.THRESHOLDS)).setup()
    assert explain_by(by_limits, text, language="en").ai_part is None
