"""Small causal LMs of real architectures, made and saved by the tests that need them.

Needs torch and transformers; import it after `pytest.importorskip`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

Architecture = Literal["gpt2", "llama", "qwen2"]
ARCHITECTURES: tuple[Architecture, ...] = ("gpt2", "llama", "qwen2")

ENGLISH = "The old mill by the river had been closed for years, and nobody in the village could say"

NOUNS = ["river", "bridge", "mill", "teacher", "letter", "garden", "kitchen", "winter", "road"]
VERBS = ["carried", "found", "lost", "painted", "kept", "sold", "watched", "mended", "followed"]


def prose(seed: int, sentences: int = 14) -> str:
    """Plain English sentences, the same for a seed."""
    own = random.Random(seed)
    return " ".join(
        f"In {seed + i} the {own.choice(NOUNS)} {own.choice(VERBS)} the {own.choice(NOUNS)}."
        for i in range(sentences)
    )


def tokenizer(*, begin: bool) -> Any:
    """A byte-level BPE tokenizer of 400 tokens; with `begin` it adds a start token, as Llama's."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokens.train_from_iterator([prose(i) for i in range(40)], trainer)
    if begin:
        tokens.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>"
    )


def word_tokenizer() -> Any:
    """A tokenizer of 403 words w0, w1, …, so that any tokens can be written and read again."""
    words = {f"w{i}": i for i in range(403)}
    tokens = Tokenizer(models.WordLevel(words, unk_token="w2"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Whole words alone: w1 is no part of w12.
    begin, end = (AddedToken(word, single_word=True, special=True) for word in ("w0", "w1"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token=begin, eos_token=end
    )


def save_model(
    folder: Path,
    architecture: Architecture = "gpt2",
    *,
    seed: int = 0,
    context: int = 64,
    steps: int = 8,
) -> Path:
    """A model of two layers in `folder` that has learnt a little; its predictions are far from
    uniform, and of plain English better than a guess, without which it would be refused.
    """
    tokens = tokenizer(begin=architecture == "llama")
    torch.manual_seed(seed)
    shared: dict[str, Any] = {
        "vocab_size": 403,  # larger than the tokenizer's, as often
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.3,
    }
    config: Any
    if architecture == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=2, n_positions=context, **shared
        )
    else:
        kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[architecture]
        config = kind(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=context,
            **shared,
        )
    model: Any = transformers.AutoModelForCausalLM.from_config(config)
    _teach(model, tokens, steps)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def _teach(model: Any, tokens: Any, steps: int) -> None:
    """Some steps on plain English."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    text = " ".join([ENGLISH, *(prose(i, 3) for i in range(5))])
    ids = torch.tensor([tokens(text)["input_ids"][:128]]).reshape(-1, 32)
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(steps):
        optimiser.zero_grad()
        logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()).backward()
        optimiser.step()
    model.eval()
    torch.set_num_threads(threads)


def save_gguf(folder: Path, path: Path, *, quantised: bool = False) -> Path:
    """The Llama of `folder` as a GGUF file, as llama.cpp writes it; with `quantised` in Q8_0.

    Needs the package gguf.
    """
    import gguf

    config = transformers.AutoConfig.from_pretrained(folder)
    tokens: Any = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    known = {number: token for token, number in tokens.get_vocab().items()}
    every = [known.get(number, f"<unused{number}>") for number in range(config.vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(every)
    # 3: special tokens, 5: none that is ever used.
    writer.add_token_types([3 if n < 2 else 1 if n in known else 5 for n in range(len(every))])
    merges = json.loads(tokens.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(True)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        values = weight.float().numpy()
        for part, count in heads.items():
            if part in name:  # llama.cpp keeps the pairs that rotate together side by side
                shape = (count, 2, values.shape[0] // count // 2, *values.shape[1:])
                values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        own = names.get_name(name, try_suffixes=(".weight",))
        if quantised and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(own, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(own, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
