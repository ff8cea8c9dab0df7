"""What transformers has to be told, and where it has to be corrected, to load a GGUF file."""

from __future__ import annotations

import functools
import importlib
import json
from typing import Any

from lowbg.scorers.lm import extras

MODULES = ("accelerate", "gguf")
"""What transformers needs for GGUF files."""


def check_extra(file: str) -> None:
    """Raises `ConfigError` where the extra isn't installed that the GGUF file needs."""
    for module in MODULES:
        extras.load(module, extra="gguf", wanted_by=f"`extras.lm.model={file}`")


def weights_as_numbers(transformers: Any) -> dict[str, Any]:
    """Arguments for `from_pretrained`: the weights as plain numbers, without a progress bar."""
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    reader.tqdm = functools.partial(reader.tqdm, disable=True)
    # Releases before GgufConfig always made plain numbers of them.
    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def without_additions(transformers: Any, tokenizer: Any, vocabulary: int) -> Any:
    """The tokenizer without tokens from `vocabulary` on, which no file said.

    transformers takes the class of GPT-2 for a byte-level vocabulary, and that adds its own end of
    a text where the file has another: a token that the model doesn't have.
    """
    if max(tokenizer.get_vocab().values(), default=-1) < vocabulary:
        return tokenizer
    made = json.loads(tokenizer.backend_tokenizer.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if token["id"] < vocabulary]
    if made["model"].get("unk_token") not in made["model"]["vocab"]:
        made["model"]["unk_token"] = None
    tokenizers: Any = importlib.import_module("tokenizers")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(made))
    )
