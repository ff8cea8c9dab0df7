"""Tokens a CPU-second of a probe's reading, against plain transformers in the same process.

`python -m benchmarks.neural.probe_speed MODEL [--layer 18] [--documents 24]`. Plain: the first 192
tokens of the same texts in padded batches of eight through the whole model, in the same type of
numbers and one thread, with the hidden states that a probe could be read from. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.neural.run import make_texts

from lowbg.scorers.lm.models import CausalModel
from lowbg.scorers.lm.states import StateReader, fast_dtype
from lowbg.scorers.lm.store import ModelFolder

TOKENS = 192


def rate(read: Callable[[], int]) -> dict[str, float]:
    """Tokens a second, by the clock and by the processor's time."""
    clock, processor = time.perf_counter(), time.process_time()
    tokens = read()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return {"per_second": round(tokens / clock), "per_cpu_second": round(tokens / processor)}


def main(argv: Sequence[str]) -> int:
    """Prints what either reads."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.probe_speed")
    parser.add_argument("model", type=Path)
    parser.add_argument("--layer", type=int, default=18)
    parser.add_argument("--documents", type=int, default=24)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    texts = make_texts(options.documents, seed=1)
    dtype = fast_dtype(torch.device("cpu"))
    folder = ModelFolder(options.model.resolve(), options.model.name)
    reader = StateReader(CausalModel(folder, torch.device("cpu"), dtype), [options.layer], TOKENS)
    auto: Any = transformers.AutoModelForCausalLM
    plain = auto.from_pretrained(folder.path, dtype=getattr(torch, dtype.value)).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder.path)
    batch = tokenizer(texts, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt")

    def by_probe() -> int:
        return int(reader.read(texts)[1].sum())

    def by_transformers() -> int:
        with torch.inference_mode():
            for at in range(0, len(texts), 8):
                part = {name: values[at : at + 8] for name, values in batch.items()}
                plain(**part, output_hidden_states=True, use_cache=False)
        return int(batch["attention_mask"].sum())

    reader.read(texts[:2])
    found: dict[str, Any] = {
        "model": folder.path.name,
        "dtype": dtype.value,
        "layer": options.layer,
        "documents": len(texts),
        "probe": rate(by_probe),
        "transformers": rate(by_transformers),
    }
    found["ratio"] = round(
        found["probe"]["per_cpu_second"] / found["transformers"]["per_cpu_second"], 2
    )
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
