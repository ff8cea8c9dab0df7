"""Tokens a second of the causal-LM scorer, against a naive loop over documents in the same run.

The model has random weights: speed doesn't depend on them. The naive loop is what papers' code
does: one document at a time, all logits in float32, log-softmax, softmax and a sort for the ranks.
On a GPU the share of its peak, padding and memory are measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lowbg.config import LmDtype
from lowbg.scorers.lm.figures import sum_up
from lowbg.scorers.lm.inference import Inference
from lowbg.scorers.lm.models import CausalModel, device_of_this_process
from lowbg.scorers.lm.store import ModelFolder

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4,
             "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 32_000},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
             "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936},
}  # fmt: skip
"""Qwen2 configurations; the larger two are those of Qwen2.5-0.5B and -1.5B."""

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bf16, from the makers' data sheets; --peak-tflops for others."""


def make_texts(count: int, seed: int) -> list[str]:
    """Documents of mixed lengths: log-normal about 200 words, 8 to 2,000."""
    own = random.Random(seed)
    words = ["".join(own.choices("abcdefghijklmnopqrstuvwxyz", k=own.randint(2, 9)))
             for _ in range(5000)]  # fmt: skip
    weights = [1 / (i + 3) for i in range(len(words))]
    texts = []
    for _ in range(count):
        length = int(min(2000, max(8, own.lognormvariate(5.3, 1.0))))
        drawn = own.choices(words, weights, k=length)
        texts.append(" ".join(drawn[i] + ("." if i % 12 == 11 else "") for i in range(length)))
    return texts


def make_model(folder: Path, size: str, texts: Sequence[str]) -> None:
    """Saves a random model and a tokenizer trained on the texts."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=["<s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokens.train_from_iterator(texts, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<s>")
    config = transformers.Qwen2Config(
        **SIZES[size], max_position_embeddings=4096, tie_word_embeddings=True
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def naive(model: CausalModel, texts: Sequence[str]) -> list[float]:
    """Curvature of every document, one at a time; likelihood, entropy and ranks on the way."""
    whole: Any = model._model
    curvatures = []
    for text in texts:
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
        with torch.no_grad():
            logits = whole(ids).logits[0, :-1].float()
        own = ids[0, 1:, None]
        ln_p, p = torch.log_softmax(logits, -1), torch.softmax(logits, -1)
        likelihood = ln_p.gather(-1, own)[:, 0]
        mean = (p * ln_p).sum(-1)
        variance = (p * ln_p.square()).sum(-1) - mean.square()
        order = logits.argsort(-1, descending=True)
        rank = (order == own).nonzero()[:, 1] + 1
        (-mean.mean()).item(), likelihood.mean().item(), rank.float().log().mean().item()
        curvatures.append(((likelihood - mean).sum() / variance.sum().sqrt()).item())
    return curvatures


def flops(model: CausalModel, inference: Inference, judged: int) -> float:
    """Of the forward passes: two a weight and token, attention, and the head of judged tokens."""
    config = model._model.config
    head = config.hidden_size * config.vocab_size
    body = model.parameters - head  # tied: the embedding is the head
    tokens = inference.cost.windowed
    length = tokens / max(1, inference.cost.batches)
    attention = 2 * config.num_hidden_layers * config.hidden_size * min(length, 512)
    return float(tokens * (2.0 * body + attention) + judged * 2.0 * head)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured, as plain JSON values."""
    device = device_of_this_process(arguments.device)
    size = arguments.size or ("0.5b" if device.type == "cuda" else "tiny")
    texts = make_texts(arguments.documents, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), size, texts)
        model = CausalModel(ModelFolder(Path(folder), size), device, LmDtype(arguments.dtype))
    inference = Inference(model, budget=arguments.batch_tokens)
    inference.read(texts[:20])  # compiles, allocates
    inference.cost = type(inference.cost)()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: dict[str, list[float]] = {"naive": [], "lowbg": []}
    few = texts[: arguments.naive_documents]
    naive(model, few[:3])
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        expected = naive(model, few)
        times["naive"].append(time.perf_counter() - started)
        started = time.perf_counter()
        read = inference.read(texts)
        times["lowbg"].append(time.perf_counter() - started)
    got = sum_up(read.figures, read.starts, np.zeros(len(read.ends), np.int64)).curvature
    naive_tokens = sum(len(one.ids) for one in model.encode(few))
    tokens = inference.cost.tokens // arguments.rounds
    ours, theirs = tokens / min(times["lowbg"]), naive_tokens / min(times["naive"])
    result = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
                   f"{torch.get_num_threads()} torch threads",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "size": size,
        "parameters": model.parameters,
        "dtype": str(next(model._model.parameters()).dtype),
        "documents": len(texts),
        "tokens": tokens,
        "budget": inference.budget,
        "naive_tokens_per_second": round(theirs, 1),
        "tokens_per_second": round(ours, 1),
        "ratio": round(ours / theirs, 2),
        "padding_share": round(inference.cost.padding_share, 4),
        "largest_difference_of_curvature": float(np.abs(got[: len(few)] - expected).max()),
        "load_average": os.getloadavg()[0],
    }  # fmt: skip
    if device.type == "cuda":
        judged = len(read.figures)
        done = flops(model, inference, judged * arguments.rounds) / arguments.rounds
        peak = arguments.peak_tflops or next(
            (value for name, value in PEAK_TFLOPS.items() if name in str(result["device"])), None
        )
        result["tflops"] = round(done / min(times["lowbg"]) / 1e12, 1)
        result["share_of_peak"] = round(result["tflops"] / peak, 3) if peak else None
        result["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return result


def main() -> None:
    """Prints the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", choices=sorted(SIZES))
    parser.add_argument("--dtype", default="auto", choices=[dtype.value for dtype in LmDtype])
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--naive-documents", type=int, default=200)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-tflops", type=float)
    print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    main()
