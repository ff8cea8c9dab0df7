"""CCNet's figures under a KenLM model: by hand, from a small model file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from lowbg.config import KenlmSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.kenlm import Kenlm, normalise

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-1.0\t<unk>\t0
0\t<s>\t0
-0.5\t</s>\t0
-0.75\tthe\t0
-0.25\tcat\t0

\\2-grams:
-0.125\tcat the

\\end\\
"""
"""Unigrams, but for `the` after `cat`."""


class Texts(list[str]):
    """As much of a batch as the scorer looks at."""

    @property
    def text(self) -> pa.LargeStringArray:
        return pa.array(list(self), pa.large_string())


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "small.arpa"
    path.write_text(ARPA)
    return path


def scored(settings: KenlmSettings, *texts: str) -> list[float | None]:
    scorer = Kenlm(settings)
    scorer.prepare()
    batch: Any = Texts(texts)
    values: list[float | None] = scorer.score(batch)["kenlm_perplexity"].to_pylist()
    return values


def test_text_as_ccnet_prepares_it() -> None:
    assert (
        normalise("  Ça va — «Élan» №１２, 34…\u0007\nnext ") == 'ca va  -  "elan" №00, 00...next'
    )
    assert normalise("你好，世界。（１）") == "你好,世界.(0)"
    assert normalise(" ") == ""


def test_perplexity_by_hand(arpa: Path) -> None:
    pytest.importorskip("kenlm", reason="needs the extra kenlm: pip install 'lowbg[kenlm]'")
    plain = scored(KenlmSettings(str(arpa)), "the cat", "the\ncat", "", " \n", "The cat")
    assert plain[0] == pytest.approx(10 ** ((0.75 + 0.25 + 0.5) / 3), rel=1e-5)
    assert plain[1] == pytest.approx(10 ** ((0.75 + 0.5 + 0.25 + 0.5) / 4), rel=1e-5)
    assert plain[2:4] == [None, None]
    assert plain[4] == pytest.approx(10 ** ((1.0 + 0.25 + 0.5) / 3), rel=1e-5)
    lower = scored(KenlmSettings(str(arpa), normalise=True), "The cat")
    assert lower[0] == pytest.approx(plain[0])


def test_pieces_of_a_sentencepiece_model(arpa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kenlm", reason="needs the extra kenlm: pip install 'lowbg[kenlm]'")
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the extra kenlm")

    class Pieces:
        def __init__(self, model_file: str) -> None:
            assert model_file == str(arpa)

        def encode(self, text: str, out_type: type) -> list[str]:
            return [*text.replace("\n", "")]

    monkeypatch.setattr(sentencepiece, "SentencePieceProcessor", Pieces)
    settings = KenlmSettings(str(arpa), sentencepiece=str(arpa))
    # One line, whatever the line ends: two unknown pieces and the end.
    assert scored(settings, "a\nb") == [pytest.approx(10 ** ((1.0 + 1.0 + 0.5) / 3), rel=1e-5)]


def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"`extras\.kenlm\.model=…`"):
        Kenlm(None).prepare()
    monkeypatch.setitem(__import__("sys").modules, "kenlm", None)
    with pytest.raises(ConfigError, match=r"pip install 'lowbg\[kenlm\]'"):
        Kenlm(KenlmSettings("x.bin")).prepare()
    monkeypatch.setitem(__import__("sys").modules, "kenlm", SimpleNamespace())
    with pytest.raises(ConfigError, match=r"x\.bin: no such file"):
        Kenlm(KenlmSettings("x.bin")).prepare()


def test_both_files_are_digested_whatever_their_names(tmp_path: Path) -> None:
    for kind in ("lm", "pieces"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "en.bin").write_text(kind)
    lm, pieces = (str(tmp_path / kind / "en.bin") for kind in ("lm", "pieces"))
    digests = Kenlm(KenlmSettings(lm, pieces)).models
    assert list(digests) == ["kenlm en.bin", "kenlm-sentencepiece en.bin"]
    assert len(set(digests.values())) == 2


def test_the_file_that_cannot_be_loaded_is_the_one_named(arpa: Path, tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="needs the extra kenlm: pip install 'lowbg[kenlm]'")
    pytest.importorskip("sentencepiece", reason="needs the extra kenlm")
    pieces = tmp_path / "pieces.model"
    with pytest.raises(ConfigError, match=r"pieces\.model: no .*sentencepiece` takes a \.model"):
        scored(KenlmSettings(str(arpa), str(pieces)), "a")
    pieces.write_text("no model")
    scorer = Kenlm(KenlmSettings(str(arpa), str(pieces)))
    for _ in range(2):  # It stays unloaded: nothing is scored without its pieces.
        with pytest.raises(ModelError, match=r"pieces\.model: cannot be loaded by SentencePiece"):
            scorer.setup()


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="needs the extra kenlm: pip install 'lowbg[kenlm]'")
    path = tmp_path / "no.bin"
    path.write_text("no model")
    with pytest.raises(ModelError, match=r"no\.bin: cannot be loaded by KenLM"):
        scored(KenlmSettings(str(path)), "a")
