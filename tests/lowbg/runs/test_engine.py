"""What a document's own date and language do to its verdict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lowbg.config import Policy, Unscored
from lowbg.errors import ConfigError, LowbgError
from lowbg.models import open_embedded, save_arrays
from lowbg.records import Metadata
from lowbg.runs.engine import Engine
from lowbg.runs.identity import policy_digest
from lowbg.runs.routing import Route, masks, routes
from lowbg.text import languages
from lowbg.text.ngrams import NgramFigures, NgramTables
from lowbg.text.tokens import Tokens

AI_STYLED = (
    "Furthermore, it is important to note that renewable energy plays a crucial role in fostering "
    "a sustainable future. Additionally, it enhances overall well-being and promotes innovation. "
) * 6
CUT_OFF = dt.date(2022, 11, 30)


def metadata(
    n: int, *, language: list[str | None] | None = None, date: list[str | None] | None = None
) -> Metadata:
    nothing = pa.nulls(n, pa.string())
    return Metadata(
        id=nothing,
        url=nothing,
        language=pa.array(language, pa.string()) if language else nothing,
        date=pa.array(date, pa.string()) if date else nothing,
    )


def test_own_tables_stand_beside_and_in_place_of_the_embedded(tmp_path: Path) -> None:
    english = open_embedded("en")
    for code in ("en", "it"):
        told = {**english.metadata, "language": code}
        save_arrays(tmp_path / f"{code}.safetensors", english.arrays, told)
    policy = Policy(tables=str(tmp_path), min_ai_scores={"it": 0.5})
    engine = Engine(policy).setup()
    assert engine.models["en"].path == tmp_path / "en.safetensors"
    assert engine.models["de"].sha256 == open_embedded("de").sha256
    assert engine.model_digests()["it"] == engine.models["it"].sha256
    judged = engine.judge(pa.array([AI_STYLED], pa.large_string()), metadata(1, language=["it"]))
    assert judged.decisions.score[0].is_valid
    # Where they lie is no part of what a policy decides; what they are, digests of models say.
    assert policy_digest(policy) == policy_digest(Policy(min_ai_scores={"it": 0.5}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"language": "tlh"}, "a language that lowbg doesn't tell apart"),
        ({"calibration": {}}, "its calibration is none"),
        ({"calibration": {"thresholds": [0, 1]}}, "its calibration is none"),
    ],
)
def test_own_tables_that_are_none(change: dict[str, object], told: str, tmp_path: Path) -> None:
    english = open_embedded("en")
    path = tmp_path / "x.safetensors"
    save_arrays(path, english.arrays, {**english.metadata, **change})
    with pytest.raises(LowbgError, match=told) as refusal:
        Engine(Policy(tables=str(tmp_path)))
    assert str(refusal.value).startswith(f"{path}: ")


def test_thresholds_need_tables() -> None:
    with pytest.raises(ConfigError, match="names 'cs', and there are no tables of it"):
        Engine(Policy(min_ai_scores={"cs": 0.5}))


def test_a_trusted_document_is_human_with_its_score() -> None:
    engine = Engine(Policy(trust_before=CUT_OFF)).setup()
    text = pa.array([AI_STYLED, AI_STYLED], pa.large_string())
    judged = engine.judge(text, metadata(2, date=["2020-01-01", "2024-01-01"]))
    assert judged.decisions.verdicts.tolist() == [0, 1]
    assert judged.decisions.called_ai.tolist() == [True, True]
    assert judged.decisions.score[0] == judged.decisions.score[1]
    assert judged.decisions.reasons(0) == ["dated before 2022-11-30"]


def test_a_record_s_own_language_wins() -> None:
    engine = Engine(Policy()).setup()
    text = pa.array([AI_STYLED] * 4, pa.large_string())
    judged = engine.judge(text, metadata(4, language=[None, "deu_Latn", "English", "und"]))
    codes = [languages.CODES[i] for i in judged.documents.languages]
    assert codes == ["en", "de", "en", "en"]


def test_the_policy_s_digest_is_of_its_values() -> None:
    assert policy_digest(Policy()) == policy_digest(Policy(target_fpr=0.01))
    assert policy_digest(Policy()) != policy_digest(Policy(target_fpr=0.02))


def test_a_lower_target_calls_fewer_documents_ai() -> None:
    texts = pa.array([AI_STYLED[i * 40 :] for i in range(12)], pa.large_string())
    scores = Engine(Policy()).setup().judge(texts).decisions.score
    thresholds = [Engine(Policy(target_fpr=t)).threshold("en") for t in (0.001, 0.01, 0.05, 0.2)]
    assert None not in thresholds
    assert thresholds == sorted(thresholds, reverse=True)  # type: ignore[type-var]
    assert len(set(thresholds)) == 4
    assert len(set(scores.to_pylist())) == 12


@pytest.mark.parametrize("unscored", list(Unscored))
def test_every_document_goes_to_exactly_one_output(unscored: Unscored) -> None:
    verdicts = np.array([0, 1, 2, 2, 0], np.int8)
    kept = masks(verdicts, unscored)
    assert tuple(kept) == routes(unscored)
    assert np.stack(list(kept.values())).sum(axis=0).tolist() == [1] * 5
    where = {
        Unscored.HUMAN: Route.HUMAN,
        Unscored.AI: Route.AI,
        Unscored.SEPARATE: Route.UNSCORED,
    }
    assert kept[where[unscored]][2:4].all()


def test_python_topics_are_taken_for_human() -> None:
    long = [text for text in topics.values() if len(text.split()) > 150]
    decisions = Engine(Policy()).setup().judge(pa.array(long, pa.large_string())).decisions
    assert decisions.called_ai.sum() == 0
    assert (decisions.verdicts == 0).sum() > 30


def test_perplexity_and_log_odds_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Policy()).setup()
    passes: list[int] = []
    read = NgramTables.read

    def counted(
        self: NgramTables, tokens: Tokens, languages: NDArray[np.int8], codes: Sequence[str]
    ) -> NgramFigures:
        passes.append(len(tokens))
        return read(self, tokens, languages, codes)

    monkeypatch.setattr(NgramTables, "read", counted)
    columns = engine.judge(pa.array([AI_STYLED, "One."], pa.large_string())).columns
    assert passes == [2]
    assert columns["perplexity"][0].is_valid
    assert columns["phrase_log_odds"][0].is_valid
