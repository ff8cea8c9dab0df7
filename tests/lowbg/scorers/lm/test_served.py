"""A model on a server says what it says here: a real server process, a small model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests.served_lm import ServedLm, served_lm  # noqa: E402
from tests.tiny_lm import prose, save_model  # noqa: E402

from lowbg.config import LmDtype, LmSettings  # noqa: E402
from lowbg.errors import ConfigError, ModelError  # noqa: E402
from lowbg.scorers.lm import server as requests  # noqa: E402
from lowbg.scorers.lm.figures import ENTROPY, LOG_RANK, SURPRISAL, Read  # noqa: E402
from lowbg.scorers.lm.inference import Inference  # noqa: E402
from lowbg.scorers.lm.models import CausalModel  # noqa: E402
from lowbg.scorers.lm.served import ServedModel, served_model  # noqa: E402
from lowbg.scorers.lm.store import ModelFolder  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.lm]

TEXTS = ["", "x", "Grüße, мир 🌍", *(prose(i, 1 + i % 3) for i in range(6)), prose(99, 30)]
"""Nothing, a letter, letters of several bytes, mixed lengths, and one of many contexts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("lm") / "tiny", "llama")


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[ServedLm]:
    with served_lm(folder) as running:
        yield running


@pytest.fixture
def lm(process: ServedLm, monkeypatch: pytest.MonkeyPatch) -> ServedLm:
    process.behave()
    served_model.cache_clear()
    monkeypatch.setattr(requests, "BACK_OFF_S", 0.01)
    return process


@pytest.fixture(scope="module")
def here(folder: Path) -> Read:
    model = CausalModel(ModelFolder(folder, "tiny"), torch.device("cpu"), LmDtype.FLOAT32)
    return Inference(model).read(TEXTS)


def served(lm: ServedLm, **settings: Any) -> ServedModel:
    return ServedModel(LmSettings(lm.address, **settings))


def test_figures_are_those_of_the_model_here(lm: ServedLm, here: Read) -> None:
    model = served(lm)
    assert (model.label, model.context) == ("tiny", 64)
    read = model.read(TEXTS)
    np.testing.assert_array_equal(read.starts, here.starts)
    both = [SURPRISAL, LOG_RANK]
    np.testing.assert_allclose(read.figures[:, both], here.figures[:, both], rtol=1e-4, atol=1e-4)
    assert np.isnan(read.figures[:, ENTROPY]).all()
    own = slice(int(read.starts[3]), int(read.starts[10]))
    np.testing.assert_array_equal(read.ends[own], here.ends[own])
    assert (read.ends[: read.starts[3]] <= len(TEXTS[2])).all()


def test_a_server_that_cuts_no_text_echoes_it(lm: ServedLm, here: Read) -> None:
    """As those that know OpenAI's completions alone: there is no rank, and no window."""
    lm.behave(cuts=False)
    read = served(lm).read(TEXTS)
    fits = slice(0, int(here.starts[4]))
    for k in range(len(TEXTS) - 1):
        a, b = (slice(int(one.starts[k]), int(one.starts[k + 1])) for one in (read, here))
        if here.starts[k + 1] - here.starts[k] < 64:
            np.testing.assert_allclose(
                read.figures[a, SURPRISAL], here.figures[b, SURPRISAL], rtol=1e-4, atol=1e-4
            )
            np.testing.assert_array_equal(read.ends[a], here.ends[b])
    assert np.isnan(read.figures[fits, LOG_RANK]).all()
    assert read.starts[-1] == read.starts[-2]  # too long


def test_as_many_requests_at_a_time_as_it_is_told(lm: ServedLm) -> None:
    model = served(lm, requests=3)
    lm.behave()
    model.read([prose(i, 3) for i in range(12)])
    counted = lm.behave()
    assert counted["completions"] >= 12
    assert 1 < counted["at_once"] <= 3


def test_a_busy_server_is_asked_again(lm: ServedLm) -> None:
    model = served(lm)
    expected = model.read(TEXTS[:5]).figures
    lm.behave(fails=requests.TRIES - 1)
    np.testing.assert_array_equal(model.read(TEXTS[:5]).figures, expected)
    lm.behave(fails=1000)
    with pytest.raises(ModelError, match=r"/v1/completions: asked 6 times, .*503 .*busy"):
        model.read(TEXTS[:5])


def test_a_key_is_taken_from_the_environment_and_never_shown(
    lm: ServedLm, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.behave(key="sesame-4711")
    with pytest.raises(ModelError, match=r"401 .*LOWBG_LM_API_KEY"):
        served(lm)
    monkeypatch.setenv("LOWBG_LM_API_KEY", "wrong-key-1234")
    with pytest.raises(ModelError, match=r"no such key: Bearer \*\*\*") as caught:
        served(lm)
    assert "1234" not in str(caught.value)
    monkeypatch.setenv("LOWBG_LM_API_KEY", "sesame-4711")
    model = served(lm)
    assert len(model.read([prose(1)]).figures)
    assert "4711" not in repr(model.__dict__)


def test_another_model_is_not_asked_for(lm: ServedLm) -> None:
    with pytest.raises(ConfigError, match=r"no model 'other'\. It has tiny: `extras\.lm\.name`"):
        served(lm, name="other")
    assert served(lm, name="tiny").identity() == served(lm).identity()
    assert served(lm, context=32).context == 32


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lowbg(tmp_path: Path) -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lowbg_cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_score_equals_score_with_the_model_here(
    lm: ServedLm, folder: Path, lowbg: Run, tmp_path: Path
) -> None:
    shard = tmp_path / "a.jsonl"
    rows = [json.dumps({"text": prose(i, 3 + i % 9), "language": "en"}) for i in range(30)]
    shard.write_text("\n".join(rows) + "\n")
    for model, name in ((lm.address, "served"), (folder, "here")):
        got = lowbg("score", shard, "-o", tmp_path / name, "--lm", model)
        assert got.returncode == 0, got.stderr
    found, expected = (
        [json.loads(line) for line in (tmp_path / name / "a.jsonl").read_text().splitlines()]
        for name in ("served", "here")
    )
    for a, b in zip(found, expected, strict=True):
        for column in ("lm_perplexity", "lm_log_rank", "lm_lrr", "lm_surprisal_spread"):
            assert a[column] == pytest.approx(b[column], rel=1e-4)
        assert not {"lm_curvature", "lm_entropy"} & set(a)
    manifest = json.loads((tmp_path / "served" / "manifest.json").read_bytes())
    assert "lm tiny (served)" in manifest["models"]


def test_there_is_nothing_to_calibrate(lm: ServedLm, lowbg: Run, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    rows = [{"text": prose(i, 14), "language": "en", "label": "human"} for i in range(400)]
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--label-field", "label", "--lm-requests", 4]
    got = lowbg("calibrate", shard, *options, "--lm", lm.address, "-o", tmp_path / "p.toml")
    assert got.returncode == 2, got.stderr
    assert "a server has no curvature" in " ".join(got.stderr.split())
    assert not (tmp_path / "p.toml").exists()


def test_a_server_needs_no_torch(lm: ServedLm) -> None:
    code = (
        "import sys\n"
        "from lowbg.config import Extras, LmSettings, Policy\n"
        "from lowbg.scorers import running_scorers\n"
        "from lowbg.scorers.lm.served import ServedModel\n"
        f"lm = LmSettings({lm.address!r})\n"
        "(scorer,) = [s for s in running_scorers({}, Policy(), Extras(lm)) if s.settings]\n"
        "scorer.prepare(), scorer.setup(), scorer.identity()\n"
        "assert ServedModel(lm).read(['Two words, and more.']).figures.shape[0] > 5\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
