"""What is read of documents equals the plain formulas, whatever the batch, order and memory."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests.tiny_lm import ARCHITECTURES, Architecture, prose, save_model  # noqa: E402

from lowbg.config import LmDtype  # noqa: E402
from lowbg.errors import ConfigError, ModelError, StoppedError  # noqa: E402
from lowbg.scorers.lm.figures import DocumentFigures, sum_up  # noqa: E402
from lowbg.scorers.lm.inference import Inference  # noqa: E402
from lowbg.scorers.lm.models import (  # noqa: E402
    CausalModel,
    check_same_tokens,
    device_of_this_process,
    dtype_on,
)
from lowbg.scorers.lm.reduction import _CompiledReduction, reduce_logits  # noqa: E402
from lowbg.scorers.lm.states import StateReader  # noqa: E402
from lowbg.scorers.lm.store import ModelFolder  # noqa: E402
from lowbg.stopping import STOP  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.lm]

CPU = torch.device("cpu")
CONTEXT = 64
TEXTS = ["", "x", "Два слова", *(prose(i, 1 + i % 9) for i in range(12)), prose(99, 40)]
"""Nothing, one token, other letters, mixed lengths, and one of many contexts."""
COMPARED = ("perplexity", "log_rank", "entropy", "lrr", "curvature", "binoculars")


@pytest.fixture
def stoppable() -> Iterator[None]:
    """What is asked of `STOP` within is taken back."""
    with STOP.watched():
        yield
    STOP.reset()


def reference(
    text: str, tokenizer: Any, observer: Any, performer: Any = None
) -> dict[str, float] | None:
    """One document, no batching, float64, straight from the formulas."""
    ids = tokenizer(text)["input_ids"]
    if len(ids) < 2:
        return None
    sums = dict.fromkeys(("likelihood", "rank", "entropy", "variance", "cross"), 0.0)
    judged, start = 1, 0
    while judged < len(ids):
        window = torch.tensor([ids[start : start + CONTEXT]])
        ln_p = observer(window).logits[0].double().log_softmax(-1)
        ln_q = performer(window).logits[0].double().log_softmax(-1) if performer else ln_p
        while judged < min(start + CONTEXT, len(ids)):
            p, q = ln_p[judged - start - 1], ln_q[judged - start - 1]
            own = p[ids[judged]]
            expected = (p.exp() * p).sum()
            sums["likelihood"] += own.item()
            sums["rank"] += math.log(1 + int((p > own).sum()))
            sums["entropy"] -= expected.item()
            sums["variance"] += ((p.exp() * p**2).sum() - expected**2).item()
            sums["cross"] -= (p.exp() * q).sum().item()
            judged += 1
        start += CONTEXT // 2
    n = len(ids) - 1
    return {
        "perplexity": math.exp(-sums["likelihood"] / n),
        "log_rank": sums["rank"] / n,
        "entropy": sums["entropy"] / n,
        "lrr": -sums["likelihood"] / sums["rank"],
        "curvature": (sums["likelihood"] + sums["entropy"]) / math.sqrt(sums["variance"]),
        "binoculars": -sums["likelihood"] / sums["cross"] if performer else math.nan,
    }


def load(folder: Path, dtype: LmDtype = LmDtype.FLOAT32, context: int | None = None) -> CausalModel:
    return CausalModel(ModelFolder(folder, folder.name), CPU, dtype, context)


def double(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).double().eval()


def figures(inference: Inference, texts: list[str]) -> DocumentFigures:
    read = inference.read(texts)
    return sum_up(read.figures, read.starts, np.zeros(len(read.ends), np.int64))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    root = tmp_path_factory.mktemp("models")

    def make(architecture: Architecture, seed: int = 0) -> Path:
        folder = root / f"{architecture}-{seed}"
        if not folder.exists():
            save_model(folder, architecture, seed=seed, context=CONTEXT)
        return folder

    return make


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("budget", [1, 100, 2048])
def test_equals_the_plain_formulas(
    saved: Callable[..., Path], architecture: Architecture, budget: int
) -> None:
    folders = saved(architecture), saved(architecture, 1)
    observer, performer = map(load, folders)
    plain = [double(folder) for folder in folders]
    order = random.Random(budget).sample(range(len(TEXTS)), len(TEXTS))
    got = figures(Inference(observer, performer, budget), [TEXTS[i] for i in order])
    for place, i in enumerate(order):
        wanted = reference(TEXTS[i], observer.tokenizer, *plain)
        for name in COMPARED:
            value = float(getattr(got, name)[place])
            if wanted is None:
                assert math.isnan(value), (TEXTS[i], name)
            else:
                assert value == pytest.approx(wanted[name], rel=1e-4), (i, name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_stays_within_its_bound(
    saved: Callable[..., Path], architecture: Architecture
) -> None:
    """Eight bits of mantissa: 5 % of each mean a token, where float32 is held to 0.01 %."""
    model, plain = load(saved(architecture), LmDtype.BFLOAT16), double(saved(architecture))
    texts = [prose(i, 6) for i in range(6)]
    got = figures(Inference(model), texts)
    for i, text in enumerate(texts):
        wanted = reference(text, model.tokenizer, plain)
        assert wanted is not None
        assert math.log(got.perplexity[i]) == pytest.approx(
            math.log(wanted["perplexity"]), rel=0.05
        )
        for name in ("log_rank", "entropy", "lrr"):
            assert getattr(got, name)[i] == pytest.approx(wanted[name], rel=0.05), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_moves_curvature_and_binoculars_little(
    saved: Callable[..., Path], architecture: Architecture
) -> None:
    """A curvature is a difference of sums that may cancel: its bound is absolute, in its unit."""
    folders = saved(architecture), saved(architecture, 1)
    observer, performer = (load(folder, LmDtype.BFLOAT16) for folder in folders)
    plain = [double(folder) for folder in folders]
    texts = [prose(i, 6) for i in range(6)]
    got = figures(Inference(observer, performer), texts)
    for i, text in enumerate(texts):
        wanted = reference(text, observer.tokenizer, *plain)
        assert wanted is not None
        assert got.binoculars[i] == pytest.approx(wanted["binoculars"], rel=0.05)
        assert got.curvature[i] == pytest.approx(wanted["curvature"], abs=0.25)


def test_a_lower_context_is_one_of_the_model_s_own(saved: Callable[..., Path]) -> None:
    assert load(saved("gpt2"), context=16).context == 16
    assert load(saved("gpt2"), context=10_000).context == CONTEXT


class Short:
    """A model that runs out of memory above so many tokens at once."""

    def __init__(self, model: CausalModel, most: int, error: BaseException) -> None:
        self._model, self._most, self._error = model, most, error
        self.largest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def hidden(self, ids: Any) -> Any:
        if ids.numel() > self._most:
            raise self._error
        self.largest = max(self.largest, ids.numel())
        return self._model.hidden(ids)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_goes_on_with_half_when_memory_runs_out(
    saved: Callable[..., Path], error: BaseException
) -> None:
    model = load(saved("gpt2"))
    short: Any = Short(model, 150, error)
    inference = Inference(short, budget=1000)
    texts = [prose(i, 3 + i % 5) for i in range(20)]
    got, wanted = figures(inference, texts), figures(Inference(model, budget=1000), texts)
    for name in COMPARED[:-1]:
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=1e-4)
    assert inference.cost.out_of_memory == 3  # 1000, 500, 250, 125
    assert 75 < short.largest <= 150
    assert inference.budget <= 150
    assert inference.cost.tokens == sum(len(one.ids) for one in model.encode(texts))


def test_says_so_when_one_text_alone_is_too_much(saved: Callable[..., Path]) -> None:
    short: Any = Short(load(saved("gpt2")), 3, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ModelError, match=r"64 tokens at once.*`extras\.lm\.context`"):
        Inference(short).read([prose(1)])


def test_another_failure_is_not_taken_for_memory(saved: Callable[..., Path]) -> None:
    short: Any = Short(load(saved("gpt2")), 3, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="multiplied"):
        Inference(short).read([prose(1)])


def test_little_is_padded_at_mixed_lengths(saved: Callable[..., Path]) -> None:
    own = random.Random(3)
    texts = [prose(i, own.choice([1, 2, 3, 5, 8])) for i in range(300)]
    inference = Inference(load(saved("gpt2")), budget=512)
    inference.read(texts)
    assert inference.cost.padding_share < 0.05
    assert inference.cost.batches < 80


def test_logits_are_made_a_chunk_at_a_time(saved: Callable[..., Path]) -> None:
    inference = Inference(load(saved("gpt2")), budget=2048)
    inference.chunk = 16
    seen: list[int] = []
    plain = inference._reduce

    def watching(logits: Any, tokens: Any, other: Any) -> Any:
        seen.append(len(logits))
        return plain(logits, tokens, other)

    inference._reduce = watching
    read = inference.read([prose(1), prose(2)])
    assert max(seen) == 16
    assert sum(seen) == len(read.figures)  # neither padding nor what a window doesn't judge


def test_a_model_that_scales_its_logits_is_read_whole(tmp_path: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    folder = save_model(tmp_path / "gemma", "gpt2")
    config = Gemma2Config(
        vocab_size=403, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=CONTEXT,
        initializer_range=0.3, final_logit_softcapping=2.0,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(folder)
    model, text = load(folder), prose(1)
    got = figures(Inference(model), [text])
    wanted = reference(text, model.tokenizer, double(folder))
    assert wanted is not None
    assert got.curvature[0] == pytest.approx(wanted["curvature"], rel=1e-4)


def gemma(folder: Path, cap: float) -> Path:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    save_model(folder, "gpt2")
    config = Gemma2Config(
        vocab_size=403, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=CONTEXT,
        initializer_range=0.05, final_logit_softcapping=cap,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_weak_cap_of_the_logits_is_noticed(tmp_path: Path) -> None:
    """Where the probe's logits are small, a cap hardly shows in them."""
    assert load(gemma(tmp_path / "capped", 30.0))._head is None


def test_the_head_alone_is_used_where_it_is_all(saved: Callable[..., Path]) -> None:
    assert all(load(saved(architecture))._head is not None for architecture in ARCHITECTURES)


def test_a_model_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    """transformers would make the head up at random, another one in every process."""
    from transformers import AutoModelForCausalLM

    folder = save_model(tmp_path / "headless", "llama")
    AutoModelForCausalLM.from_pretrained(folder).model.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"headless: its files lack weights \(lm_head"):
        load(folder)


def test_a_damaged_file_of_weights_is_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "cut", "gpt2")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cut: cannot be loaded as a causal LM \(.*header"):
        load(folder)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path / "nan", "gpt2")
    weights = load_file(folder / "model.safetensors")
    name = min(name for name in weights if name.endswith("h.1.mlp.c_fc.bias"))
    weights[name][3] = math.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"nan: its weights hold NaN .*h\.1\.mlp\.c_fc\.bias"):
        load(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """transformers makes an empty one, and every document would have no figures."""
    folder = save_model(tmp_path / "mute", "gpt2")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"mute: has no tokenizer"):
        load(folder)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "mixed", "gpt2")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{i}>" for i in range(10)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"mixed: its tokenizer has the token 4\d\d, but .* 403"):
        load(folder)


def test_a_model_that_sees_what_follows_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    folder = save_model(tmp_path / "bert", "gpt2")
    config = BertConfig(
        vocab_size=403, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=CONTEXT, initializer_range=0.3,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"bert: it isn't causal"):
        load(folder)


def test_numbers_that_run_over_leave_no_figures(
    saved: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """As float16 does: the log-rank of such a token would be 0, the likeliest there is."""
    model = load(saved("gpt2"))

    class Overflowing:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def logits(self, hidden: Any) -> Any:
            return model.logits(hidden) * math.inf

    broken: Any = Overflowing()
    inference = Inference(broken)
    for _ in range(2):
        got = figures(inference, [prose(1)])
        assert all(math.isnan(getattr(got, name)[0]) for name in COMPARED)
    assert caplog.text.count('use `extras.lm.dtype="bfloat16"` or "float32"') == 1


def test_other_tokens_are_refused(saved: Callable[..., Path], tmp_path: Path) -> None:
    observer = load(saved("gpt2"))
    check_same_tokens(observer, load(saved("gpt2", 1)))
    with pytest.raises(
        ConfigError, match=r"`extras\.lm\.performer=llama-0`: its tokens aren't those"
    ):
        check_same_tokens(observer, load(saved("llama")))


def test_hand_computed_figures() -> None:
    """Two tokens of three: p = (1/2, 1/4, 1/4) and (1/8, 3/4, 1/8), q uniform; x = 1, then 1."""
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
    q = torch.ones(2, 3)
    got = reduce_logits(p.log() + 7.0, torch.tensor([1, 1]), q)
    ln2, ln3 = math.log(2), math.log(3)
    entropy = [1.5 * ln2, 0.25 * 3 * ln2 + 0.75 * (2 * ln2 - ln3)]
    squares = [0.5 * ln2**2 + 0.5 * (2 * ln2) ** 2,
               0.25 * (3 * ln2) ** 2 + 0.75 * (2 * ln2 - ln3) ** 2]  # fmt: skip
    surprisal = [2 * ln2, 2 * ln2 - ln3]
    variance = [s - e**2 for s, e in zip(squares, entropy, strict=True)]
    wanted = [surprisal, [math.log(2), 0.0], entropy, variance, [ln3, ln3]]
    np.testing.assert_allclose(got.numpy().T, wanted, atol=1e-6)
    one = sum_up(got.numpy(), np.array([0, 2]), np.array([0, 1]))
    curvature = (sum(entropy) - sum(surprisal)) / math.sqrt(sum(variance))
    assert one.curvature[0] == pytest.approx(curvature, rel=1e-6)
    assert one.binoculars[0] == pytest.approx(sum(surprisal) / (2 * ln3), rel=1e-6)
    assert one.lrr[0] == pytest.approx(sum(surprisal) / ln2, rel=1e-6)
    assert one.surprisal_spread[0] == pytest.approx(abs(surprisal[0] - surprisal[1]) / 2, rel=1e-6)


def test_a_reduction_that_cannot_be_compiled_runs_plain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(*_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
    reduce = _CompiledReduction()
    logits, tokens = torch.randn(4, 9), torch.tensor([0, 1, 2, 3])
    for _ in range(2):
        assert torch.equal(reduce(logits, tokens, logits), reduce_logits(logits, tokens, logits))
    assert caplog.text.count("can't be compiled") == 1


def test_devices_and_types() -> None:
    assert device_of_this_process("cpu") == CPU
    assert dtype_on(CPU, LmDtype.AUTO) is torch.float32
    assert dtype_on(CPU, LmDtype.BFLOAT16) is torch.bfloat16
    with pytest.raises(ConfigError, match=r"`extras\.lm\.device=toaster`"):
        device_of_this_process("toaster")


def test_reading_stops_between_documents(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stoppable: None
) -> None:
    reads: list[Callable[[list[str]], object]] = [Inference(load(saved("llama"))).read]
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda own=threads: own)
        reads.append(StateReader(load(saved("llama")), [1], 40).read)
    STOP.ask(15)
    for read in reads:
        with pytest.raises(StoppedError):
            read(TEXTS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pass_stops_at_the_next_layer(
    architecture: Architecture, saved: Callable[..., Path], stoppable: None
) -> None:
    # A pass over a whole context of 8,192 tokens takes a processor half a minute.
    model = load(saved(architecture))
    layers = model.layer_list(1)
    passed = []

    def ask(module: Any, inputs: Any, output: Any) -> None:
        passed.append(module)
        STOP.ask(15)

    for layer in layers:
        layer.register_forward_hook(ask)
    with pytest.raises(StoppedError):
        Inference(model).read(TEXTS)
    assert passed == [layers[0]]


def test_a_pass_stops_between_two_chunks_of_logits(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stoppable: None
) -> None:
    model = load(saved("llama"))
    inference = Inference(model)
    inference.chunk = 16
    logits, chunks = model.logits, []

    def ask(hidden: Any) -> Any:
        chunks.append(len(hidden))
        STOP.ask(15)
        return logits(hidden)

    monkeypatch.setattr(model, "logits", ask)
    with pytest.raises(StoppedError):
        inference.read([prose(99, 40)])
    assert chunks == [16]
