"""Tokens a CPU-second of a probe's reading, by number type, against plain transformers.

`python -m benchmarks.neural.probe_speed MODEL [--layer 18] [--documents 24] [--rounds 3]`. All are
run in turn in one process, one thread, the first 192 tokens of the same texts, and the best round
of each counts. Plain: padded batches of eight, or one document at a time, through the whole model,
with the hidden states that a probe could be read from; ratios are to the faster of both.
`int8 dynamic`: float32 whose linear layers have int8 weights and make int8 of what comes in
(torch's `quantize_dynamic`); `int8 weights`: bfloat16 times int8 weights (torch's
`_weight_int8pack_mm`). `state_difference` is the largest difference of a mean state from
float32's, relative to its norm; `log_odds_difference` the mean one of the shipped probe, where
MODEL has one. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from benchmarks.neural.made import probe_digest, today
from benchmarks.neural.run import make_texts
from numpy.typing import NDArray

from lowbg.config import LmDtype
from lowbg.scorers.lm.models import CausalModel
from lowbg.scorers.lm.probes import open_probe
from lowbg.scorers.lm.shipped import probe_for
from lowbg.scorers.lm.states import StateReader
from lowbg.scorers.lm.store import ModelFolder, locate

TOKENS = 192
CPU = torch.device("cpu")

States = NDArray[np.float32]


def weights_to_int8(model: Any) -> None:
    """Every linear layer's weights become int8 with a scale a row; what comes in stays bfloat16."""
    for linear in model.modules():
        if isinstance(linear, torch.nn.Linear):
            weight = linear.weight.float()
            scale = weight.abs().amax(1) / 127
            whole = torch.round(weight / scale[:, None]).to(torch.int8)
            linear.forward = partial(_by_int8, whole, scale.to(torch.bfloat16), linear.bias)


def _by_int8(weight: Any, scale: Any, bias: Any, states: Any) -> Any:
    flat = states.reshape(-1, states.shape[-1])
    product = torch._weight_int8pack_mm(flat, weight, scale).reshape(*states.shape[:-1], -1)
    return product if bias is None else product + bias


def reader_of(folder: ModelFolder, layer: int, form: str) -> StateReader:
    """What reads states of a layer in numbers of a form."""
    dtype = LmDtype.FLOAT32 if form in ("float32", "int8 dynamic") else LmDtype.BFLOAT16
    model = CausalModel(folder, CPU, dtype)
    reader = StateReader(model, [layer], TOKENS)
    if form == "int8 weights":
        weights_to_int8(model._model)
    elif form == "int8 dynamic":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and what there is without torchao
            quantise: Any = torch.ao.quantization.quantize_dynamic
            quantise(model._model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    return reader


PLAIN = {"transformers": 8, "transformers, one by one": 1}
"""Documents in a batch of each way of plain transformers."""


def plain_reader(folder: ModelFolder, texts: Sequence[str], size: int) -> Callable[[], int]:
    """Reads the texts as transformers does, `size` at a time, in bfloat16; returns the tokens."""
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder.path, dtype=torch.bfloat16, **folder.loading).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder.path, **folder.loading)
    options = {"truncation": True, "max_length": TOKENS, "padding": True, "return_tensors": "pt"}
    batches = [
        tokenizer(list(texts[at : at + size]), **options) for at in range(0, len(texts), size)
    ]

    def read() -> int:
        with torch.inference_mode():
            for batch in batches:
                model(**batch, output_hidden_states=True, use_cache=False)
        return sum(int(batch["attention_mask"].sum()) for batch in batches)

    return read


def main(argv: Sequence[str]) -> int:
    """Prints what each reads."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.probe_speed")
    parser.add_argument("model", type=Path)
    parser.add_argument("--layer", type=int, default=18)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    texts = make_texts(options.documents, seed=1)
    folder = locate(str(options.model), "MODEL")
    forms = ("bfloat16", "float32", "int8 dynamic", "int8 weights")
    readers = {form: reader_of(folder, options.layer, form) for form in forms}
    states: dict[str, States] = {}

    def reading(form: str) -> Callable[[], int]:
        def read() -> int:
            found = readers[form].read(texts)
            states[form] = found.states
            return int(found.tokens.sum())

        return read

    readings = {form: reading(form) for form in forms}
    readings |= {name: plain_reader(folder, texts, size) for name, size in PLAIN.items()}
    rates: dict[str, list[float]] = {name: [] for name in readings}
    for _ in range(options.rounds):
        for name, read in readings.items():
            began = time.process_time()
            tokens = read()
            rates[name].append(tokens / (time.process_time() - began))
    path = probe_for(str(options.model))
    probe = open_probe(path) if path is not None else None
    exact = states["float32"][:, 0]
    plain = max(rate for name in PLAIN for rate in rates[name])
    found: dict[str, Any] = {}
    for name, own in rates.items():
        found[name] = {
            "tokens_per_cpu_second": round(max(own)),
            "to_transformers": round(max(own) / plain, 2),
        }
        if name in states:
            off = np.linalg.norm(states[name][:, 0] - exact, axis=1)
            off = off / np.linalg.norm(exact, axis=1)
            found[name]["state_difference"] = round(float(off.max()), 4)
            if probe is not None and probe.of.layer == options.layer:
                told = probe.log_odds(states[name][:, 0]) - probe.log_odds(exact)
                found[name]["log_odds_difference"] = round(float(np.abs(told).mean()), 3)
    result = {
        "date": today(),
        "probe": probe_digest(),
        "model": folder.label,
        "layer": options.layer,
        "documents": len(texts),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 1),
        "by": found,
    }
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
