"""Probes: their files, what they read of a model, and that nothing but the text decides a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowbg.errors import ConfigError, ModelError
from lowbg.models import save_arrays
from lowbg.scorers.lm.plain import plain
from lowbg.scorers.lm.probes import Probe, ProbeOf, logistic, open_probe, open_probes
from lowbg.scorers.lm.surprise import SurpriseWeights

OF = ProbeOf("ab" * 32, "cd" * 32, "tiny", layer=1, tokens=24, dtype="float32")


def made(**changes: Any) -> Probe:
    generator = np.random.default_rng(3)
    weights, mean = (generator.normal(size=32).astype(np.float32) for _ in range(2))
    scale = np.full(32, 2.0, np.float32)
    whole = Probe(OF, ("en",), weights, mean, scale, 0.25, {"documents": 3})
    return replace(whole, **changes)


def test_a_probe_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "en.safetensors"
    digest = made().save(path)
    found = open_probe(path)
    assert (found.of, found.languages, found.card) == (OF, ("en",), {"documents": 3})
    assert (found.sha256, found.intercept) == (digest, 0.25)
    state = np.arange(64, dtype=np.float32).reshape(2, 32)
    wanted = [
        sum((s - m) / 2 * w for s, m, w in zip(row, found.mean, found.weights, strict=True)) + 0.25
        for row in state.tolist()
    ]
    np.testing.assert_allclose(found.log_odds(state), wanted, rtol=1e-6)
    assert made().save(tmp_path / "again.safetensors") == digest


def test_the_weights_of_surprise_are_read_back_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    scale, mean, weights = (generator.uniform(0.5, 2, 5).astype(np.float32) for _ in range(3))
    whole, path = made(surprise=SurpriseWeights(mean, scale, weights)), tmp_path / "en.safetensors"
    whole.save(path)
    found = open_probe(path).surprise
    assert found is not None
    figures = np.array([[3.0, 3.1, 1.9, 3.2, -0.1], [np.nan] * 5])
    wanted = float(((figures[0] - mean) / scale * weights).sum())
    np.testing.assert_allclose(found.evenness(figures), [wanted, np.nan], rtol=1e-6)
    arrays = {"weights": whole.weights, "mean": whole.mean, "scale": whole.scale}
    arrays |= {"intercept": np.array([0.25], np.float32), "surprise_mean": mean}
    arrays |= {"surprise_weights": weights, "surprise_scale": scale[:4]}
    metadata = {"kind": "lm_probe", "format": 1, "of": {}, "languages": ["en"], "card": {}}
    save_arrays(path, arrays, metadata)
    with pytest.raises(ModelError, match=r"surprise_scale is \(4,\) float32, no float32 \(5,\)"):
        open_probe(path)
    save_arrays(path, {**arrays, "surprise_scale": np.zeros(5, np.float32)}, metadata)
    with pytest.raises(ModelError, match="surprise_scale has numbers that can't be"):
        open_probe(path)
    del arrays["surprise_scale"]
    save_arrays(path, arrays, metadata)
    with pytest.raises(ModelError, match="holds intercept, mean, scale, surprise_mean"):
        open_probe(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scale": np.zeros(32, np.float32)}, "scale has numbers that can't be"),
        ({"weights": np.full(32, np.nan, np.float32)}, "weights has numbers that can't be"),
        ({"mean": np.zeros(31, np.float32)}, r"mean is \(31,\) float32"),
        ({"mean": np.zeros(32, np.float64)}, "float64, no float32"),
        ({"more": np.zeros(2, np.float32)}, "holds intercept, mean, more"),
    ],
)
def test_a_damaged_probe_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    whole, path = made(), tmp_path / "en.safetensors"
    whole.save(path)
    own = {name: getattr(whole, name) for name in ("weights", "mean", "scale")}
    own["intercept"] = np.zeros(1, np.float32)
    metadata = {"kind": "lm_probe", "format": 1, "of": {}, "languages": ["en"], "card": {}}
    save_arrays(path, {**own, **arrays}, metadata)
    with pytest.raises(ModelError, match=message):
        open_probe(path)


def test_a_file_that_is_no_probe_says_so(tmp_path: Path) -> None:
    from lowbg.models import embedded_path

    with pytest.raises(ModelError, match="no probe of format 1, but tables"):
        open_probe(embedded_path("en"))
    save_arrays(
        tmp_path / "x.safetensors",
        {n: np.ones(1, np.float32) for n in ("intercept", "mean", "scale", "weights")},
        {"kind": "lm_probe", "format": 1, "of": {"layer": 1}, "languages": [], "card": {}},
    )
    with pytest.raises(ModelError, match="its metadata is no probe's"):
        open_probe(tmp_path / "x.safetensors")


def test_a_folder_has_a_probe_a_language(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        open_probes(tmp_path / "no", "--lm-probe")
    with pytest.raises(ConfigError, match=r"no \*.safetensors in it"):
        open_probes(tmp_path, "--lm-probe")
    made().save(tmp_path / "a.safetensors")
    made(languages=("de",)).save(tmp_path / "b.safetensors")
    assert [probe.languages for probe in open_probes(tmp_path, "x")] == [("en",), ("de",)]
    assert len(open_probes(tmp_path / "a.safetensors", "x")) == 1
    made(languages=("fr", "de")).save(tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="both for 'de'"):
        open_probes(tmp_path, "--lm-probe")
    made(languages=("fr",), of=replace(OF, tokens=9)).save(tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="different numbers of tokens"):
        open_probes(tmp_path, "--lm-probe")


def test_layout_is_immaterial() -> None:
    text = "# A title\n\n- “One” **bold** item\n-  it’s   `two`…\n\n> said\u200b"
    assert plain(text, 99) == 'A title "One" bold item it\'s two... said'
    assert plain("a - b * c", 99) == "a - b * c"
    assert plain("x" * 50, 20) == "x" * 20
    assert plain("a\ud800b", 20) == "a?b"


def test_log_odds_as_a_probability() -> None:
    p = logistic(np.array([-1e9, 0.0, 1e9, np.log(3.0)]))
    assert p == pytest.approx([0.0, 0.5, 1.0, 0.75], abs=1e-9)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
    pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")
    from tests.tiny_lm import save_model

    known: dict[tuple[str, int], Path] = {}

    def make(architecture: str = "llama", seed: int = 0) -> Path:
        key = architecture, seed
        if key not in known:
            folder = tmp_path_factory.mktemp(f"{architecture}{seed}")
            known[key] = save_model(folder, architecture, seed=seed)  # type: ignore[arg-type]
        return known[key]

    return make


def load(folder: Path) -> Any:
    import torch

    from lowbg.config import LmDtype
    from lowbg.scorers.lm.models import CausalModel
    from lowbg.scorers.lm.store import ModelFolder

    return CausalModel(ModelFolder(folder, "tiny"), torch.device("cpu"), LmDtype.FLOAT32)


def of_model(folder: Any) -> ProbeOf:
    return replace(OF, model=folder.sha256(), tokenizer=load(folder.path).token_digest())


@pytest.mark.slow
@pytest.mark.lm
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2"])
def test_surprise_is_that_of_the_whole_model(saved: Callable[..., Path], architecture: str) -> None:
    """Of the same tokens as the states, which stay as they are without it."""
    from tests.tiny_lm import prose

    from lowbg.scorers.lm.inference import Inference
    from lowbg.scorers.lm.states import StateReader
    from lowbg.scorers.lm.surprise import MIN_TOKENS, SURPRISE

    texts = [prose(1), "", prose(2, 2), prose(3, 1)[:9], prose(4)]
    model = load(saved(architecture))
    read = StateReader(model, [1], 24, surprise=True).read(texts)
    plainly = StateReader(load(saved(architecture)), [1], 24).read(texts)
    np.testing.assert_array_equal(read.states, plainly.states)
    beginnings = [plain(t, 9_999)[: e.ends[-1] if len(e.ends) else 0] for t, e in zip(
        texts, model.encode([plain(t, 9_999) for t in texts], 24), strict=True)]  # fmt: skip
    whole = Inference(load(saved(architecture))).read(beginnings)
    for i in range(len(texts)):
        own = whole.figures[whole.starts[i] : whole.starts[i + 1]].astype(np.float64)
        if len(own) < MIN_TOKENS:
            assert np.isnan(read.surprise[i]).all()
            continue
        surprisal, rank, entropy, variance = own[:, :4].T
        curvature = (entropy - surprisal).sum() / np.sqrt(variance.sum() * len(own))
        wanted = [surprisal.mean(), surprisal.std(), rank.mean(), entropy.mean(), curvature]
        assert len(wanted) == len(SURPRISE)
        np.testing.assert_allclose(read.surprise[i], wanted, rtol=2e-4, atol=2e-4)
    one = StateReader(load(saved(architecture)), [1], 24, surprise=True).read(texts[4:])
    np.testing.assert_array_equal(read.surprise[4], one.surprise[0])


@pytest.mark.slow
@pytest.mark.lm
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2"])
def test_states_are_those_of_the_whole_model(saved: Callable[..., Path], architecture: str) -> None:
    import torch
    from tests.tiny_lm import prose

    from lowbg.scorers.lm.states import StateReader

    texts = [prose(1), "", prose(2, 2), prose(3, 1)[:9]]
    whole = load(saved(architecture))
    encoded = whole.encode([plain(text, 9_999) for text in texts], 24)
    states, tokens, surprise = StateReader(load(saved(architecture)), [1], 24).read(texts)
    assert np.isnan(surprise).all()
    assert states.shape == (4, 1, 32)
    assert tokens.tolist() == [len(one.ids) for one in encoded]
    for i, one in enumerate(encoded):
        if not len(one.ids):
            assert not states[i].any()
            continue
        with torch.inference_mode():
            found = whole._model(torch.from_numpy(one.ids)[None], output_hidden_states=True)
        wanted = found.hidden_states[1][0].mean(0).numpy()
        np.testing.assert_allclose(states[i, 0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.lm
def test_the_rest_of_the_model_is_gone(saved: Callable[..., Path]) -> None:
    model = load(saved())
    before = model.parameters
    assert model.layers == 2
    with pytest.raises(ModelError, match="has 2 layers, and no layer 3"):
        model.cut_after(3)
    assert len(model.cut_after(1)) == 1
    assert model.parameters < before


@pytest.mark.slow
@pytest.mark.lm
def test_scores_are_the_same_in_any_company(saved: Callable[..., Path]) -> None:
    """To the last bit: alone, in any order, and among any others."""
    import torch
    from tests.tiny_lm import prose

    from lowbg.config import LmSettings
    from lowbg.scorers.lm.reading import ProbeReader
    from lowbg.scorers.lm.store import ModelFolder

    folder = ModelFolder(saved(), "tiny")
    probe = made(of=of_model(folder))
    reader = ProbeReader(folder, [probe], LmSettings(str(folder.path)))
    texts = [prose(i, 1 + i % 7) for i in range(90)]
    together = reader.judge(texts, probe).log_odds
    alone = [reader.judge([text], probe).log_odds[0] for text in texts]
    backwards = reader.judge(texts[::-1], probe).log_odds[::-1]
    assert together.tolist() == alone == backwards.tolist()
    # Nor do other threads change anything, or what the caller's own are.
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert reader.judge(texts, probe).log_odds.tolist() == alone
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert len(set(alone)) > 80


@pytest.mark.slow
@pytest.mark.lm
def test_a_probe_of_another_model_is_refused(saved: Callable[..., Path]) -> None:
    from lowbg.config import LmSettings
    from lowbg.scorers.lm.reading import ProbeReader
    from lowbg.scorers.lm.store import ModelFolder

    first, second = ModelFolder(saved(), "first"), ModelFolder(saved(seed=1), "second")
    probe = made(of=of_model(first))
    with pytest.raises(ConfigError, match=r"a probe of tiny \(SHA-256 .*; give that model, or"):
        ProbeReader(second, [probe], LmSettings(str(second.path)))
    cut = replace(probe, of=replace(probe.of, tokenizer="00" * 32))
    with pytest.raises(ConfigError, match="the tokenizer of first cuts text differently"):
        ProbeReader(first, [cut], LmSettings(str(first.path)))
    same = replace(probe, of=replace(probe.of, model="00" * 32, fingerprint="ef" * 32))
    with pytest.raises(ConfigError, match="and the model given is first"):
        ProbeReader(first, [same], LmSettings(str(first.path)))
    narrow = replace(probe, **{n: getattr(probe, n)[:9] for n in ("weights", "mean", "scale")})
    with pytest.raises(ConfigError, match="of states of 9 numbers; those of first have 32"):
        ProbeReader(first, [narrow], LmSettings(str(first.path)))
