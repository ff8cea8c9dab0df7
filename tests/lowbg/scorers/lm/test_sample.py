"""A tokenizer of another model, or a model that was never trained, is found by plain text."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests import tiny_lm  # noqa: E402
from tests.tiny_lm import save_model  # noqa: E402

from lowbg.config import LmDtype, LmSettings  # noqa: E402
from lowbg.errors import ModelError  # noqa: E402
from lowbg.scorers.causal_lm import CausalLm  # noqa: E402
from lowbg.scorers.lm import sample  # noqa: E402
from lowbg.scorers.lm.models import CausalModel, Encoded  # noqa: E402
from lowbg.scorers.lm.sample import ENGLISH, OTHERS, _surprisal, check_reads  # noqa: E402
from lowbg.scorers.lm.store import ModelFolder  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.lm]

CPU = torch.device("cpu")


def load(folder: Path) -> CausalModel:
    return CausalModel(ModelFolder(folder, "tiny"), CPU, LmDtype.FLOAT32)


def test_a_model_reads_with_its_own_tokenizer_alone(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", "llama")
    model = load(folder)
    check_reads(model)
    assert math.exp(_surprisal(model, ENGLISH)[0]) < model.vocabulary
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    words = tokenizer["model"]["vocab"]
    # As many tokens, each of which is there, and another word.
    own = sorted(word for word in words if words[word] > 1)
    numbers = [words[word] for word in own]
    tokenizer["model"]["vocab"].update(zip(own, [*numbers[7:], *numbers[:7]], strict=True))
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match=r"tiny: its perplexity of plain English is [\d,]+, more"):
        check_reads(load(folder))
    # And before a run begins to read.
    with pytest.raises(ModelError, match="worse than a guess"):
        CausalLm(LmSettings(str(folder))).setup()


def test_a_tokenizer_moved_by_a_constant_is_another_one(tmp_path: Path) -> None:
    """Though its perplexity may be below a guess's: common tokens are guessed where there are none.

    A model that knows how frequent its tokens are, and nothing else, is what it comes to.
    """
    folder = save_model(tmp_path / "tiny", "llama", steps=60)
    model = load(folder)
    check_reads(model)
    found = []
    for by in (1, 2, 5, 11, 40):
        moved = load(folder)
        encode = moved.encode

        def shifted(texts: list[str], most: int | None = None, by: int = by) -> list[Encoded]:
            return [Encoded((e.ids + by) % 403, e.ends) for e in encode(texts, most)]  # noqa: B023

        moved.encode = shifted  # type: ignore[method-assign]
        with pytest.raises(ModelError, match=r"perplexity of plain English is .* guess"):
            check_reads(moved)
        found.append(math.exp(_surprisal(moved, ENGLISH)[0]))
    assert min(found) > 20 * math.exp(_surprisal(model, ENGLISH)[0])


def test_order_tells_a_model_that_guesses_by_frequency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(save_model(tmp_path / "tiny", "llama", steps=60))
    ids = model.encode([ENGLISH], model.context)[0].ids
    frequent = torch.full((403,), 1e-3)
    frequent[torch.from_numpy(ids)] = 1.0
    # Every state gives the same predictions: those of the text's own tokens, in no order.
    monkeypatch.setattr(model, "logits", lambda states: frequent.log().expand(len(states), -1))
    assert math.exp(_surprisal(model, ENGLISH)[0]) < model.vocabulary / 5
    with pytest.raises(ModelError, match=r"no lower with its words in their order than in any"):
        check_reads(model)


def test_a_model_that_was_never_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"than its 403 tokens.* or it was never trained"):
        check_reads(load(save_model(tmp_path / "tiny", "llama", steps=0)))


def test_a_model_of_another_language_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_lm, "ENGLISH", OTHERS[1][:16])
    model = load(save_model(tmp_path / "tiny", "llama", steps=60))
    monkeypatch.setattr(sample, "OTHERS", (*OTHERS[2:], OTHERS[1][:16]))
    assert math.exp(_surprisal(model, ENGLISH)[0]) > model.vocabulary
    check_reads(model)
