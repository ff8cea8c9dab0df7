"""A causal language model that is loaded: its tokenizer, its context, its hidden states and logits.

Importing this module imports torch.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing as mp
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowbg.config import LmDtype
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm import extras, gguf_loading
from lowbg.scorers.lm.store import ModelFolder
from lowbg.stopping import STOP

_log = logging.getLogger(__name__)

_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
UNBOUNDED_CONTEXT = 2048
"""Tokens that a model reads at once that doesn't say how many it can."""

_PROBES = ("Hello, world! 12345", "  Two  spaces\n\nand\ttabs", "Grüße, мир, 世界 🌍")

_SAMPLE = (
    "In 1984 the miller's daughter—Ada—paid £3.50 for 12 kg of flour; \"enough,\" she'd say, "
    "don't waste it! Unbelievably, re-entering wasn't uncharacteristic of him. e.g. x_i = y^2"
)


def gpus() -> int:
    """The GPUs that can be used."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _number_of(process: str) -> int:
    """The number of a worker by multiprocessing's name for it, as in `SpawnProcess-3`; else 1."""
    numbered = re.search(r"-(\d+)", process)
    return int(numbered[1]) if numbered else 1


def device_of_this_process(wanted: str) -> torch.device:
    """The device to use: `auto` is a GPU where there is one, else the CPU.

    With several GPUs each worker process takes the next one. Raises `ConfigError` for a device
    that isn't there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and torch.cuda.device_count() > 1:
        worker = _number_of(mp.current_process().name)
        wanted = f"cuda:{(worker - 1) % torch.cuda.device_count()}"
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).split("\n", 1)[0]
        raise ConfigError(f"`extras.lm.device={wanted}`: can't be used ({why})") from error
    return device


def dtype_on(device: torch.device, wanted: LmDtype) -> torch.dtype:
    """The type of weights and activations: `auto` is bfloat16 or float16 on a GPU, else float32."""
    if wanted is not LmDtype.AUTO:
        dtype: torch.dtype = getattr(torch, wanted.value)
        return dtype
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text's tokens: their ids, and the character of the text after each one's last."""

    ids: NDArray[np.int64]
    ends: NDArray[np.int64]


class CausalModel:
    """One loaded model; `context` is how many tokens it reads at once."""

    def __init__(
        self, folder: ModelFolder, device: torch.device, dtype: LmDtype, context: int | None = None
    ) -> None:
        """Loads the model of `folder`; `context` lowers its own.

        Raises `ModelError` where it can't be loaded, lacks weights, has no fast tokenizer, one
        with more tokens than the model has, or code of its own, and where it isn't causal.
        """
        transformers = extras.load("transformers", extra="lm", wanted_by="`extras.lm.model`")
        safetensors = extras.load("safetensors", extra="lm", wanted_by="`extras.lm.model`")
        transformers.utils.logging.disable_progress_bar()
        common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        weights: dict[str, Any] = {"use_safetensors": True}
        if folder.gguf:
            gguf_loading.check_extra(folder.gguf)
            weights = gguf_loading.weights_as_numbers(transformers)
            common |= folder.loading
        self.label = folder.label
        self.device = device
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder.path, **common)
            model: Any
            model, loading = transformers.AutoModelForCausalLM.from_pretrained(
                folder.path,
                dtype=dtype_on(device, dtype),
                output_loading_info=True,
                **weights,
                **common,
            )
        except (
            *(OSError, ValueError, KeyError, RuntimeError, ImportError),
            safetensors.SafetensorError,
        ) as error:
            why = " ".join(str(error).split())[:300]
            raise ModelError(f"{folder.label}: cannot be loaded as a causal LM ({why})") from error
        if not self.tokenizer.is_fast:
            raise ModelError(f"{folder.label}: has no fast tokenizer (tokenizer.json)")
        if loading["missing_keys"]:
            # transformers makes them up at random, and only warns.
            raise ModelError(
                f"{folder.label}: its files lack weights ({min(loading['missing_keys'])}); "
                "it is no causal LM, or was saved without its head"
            )
        if folder.gguf:
            vocabulary = model.config.get_text_config().vocab_size
            self.tokenizer = gguf_loading.without_additions(
                transformers, self.tokenizer, vocabulary
            )
        self._model = model.to(device).eval().requires_grad_(False)
        self._look_within_passes()
        for name, weight in self._model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ModelError(
                    f"{folder.label}: its weights hold NaN or an infinity ({name}); the files are "
                    "damaged, or their numbers run over in this type: `extras.lm.dtype`"
                )
        own = _context_of(model.config)
        self.context = min(own, context) if context is not None else own
        head = model.get_output_embeddings()
        self._head = head if head is not None and self._is_all_there_is(head) else None
        self._check_tokens()
        self._check_causal()

    def _look_within_passes(self) -> None:
        """A pass over a whole context takes a processor half a minute: what was asked to stop does
        so at the next layer.
        """

        def look(module: Any, inputs: Any) -> None:
            STOP.check()

        for layers in self._model.modules():
            if isinstance(layers, torch.nn.ModuleList):
                for layer in layers:
                    layer.register_forward_pre_hook(look)

    def _check_tokens(self) -> None:
        """An id beyond the embeddings would end the run at the first text that has the token;
        where a folder has no tokenizer, transformers makes one that finds no tokens at all.
        """
        if any(len(one.ids) < 2 for one in self.encode(list(_PROBES))):
            raise ModelError(f"{self.label}: has no tokenizer, or one that finds no tokens")
        most = max(self.tokenizer.get_vocab().values(), default=-1)
        if most >= self.vocabulary:
            raise ModelError(
                f"{self.label}: its tokenizer has the token {most:,}, but the model only "
                f"{self.vocabulary:,} tokens; they don't belong together"
            )

    def _check_causal(self) -> None:
        """A model that sees what follows a token tells nothing of how likely the token was."""
        ids = torch.arange(min(8, self.context), device=self.device)[None]
        other = ids.clone()
        other[0, -1] = 0
        with torch.inference_mode():
            a, b = (self.hidden(one)[0, :-1].float() for one in (ids, other))
        if not torch.allclose(a, b, rtol=1e-2, atol=1e-2):
            raise ModelError(
                f"{self.label}: it isn't causal, its predictions depend on what follows; give a "
                "causal LM, such as gpt2"
            )

    def _is_all_there_is(self, head: Any) -> bool:
        """Whether logits are `head` of the last hidden state, with no scale or cap after it."""
        ids = torch.arange(min(8, self.context), device=self.device)[None]
        with torch.inference_mode():
            whole = self._model(input_ids=ids, use_cache=False).logits
            parts = head(self._body(ids))
        # The same product of the same numbers: anything else is a scale or a cap, however weak.
        alike = bool(torch.equal(whole.float(), parts.float()))
        if not alike:
            _log.info("%s: does more than its head; its logits are made whole", self.label)
        return alike

    def _body(self, ids: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._model.base_model(input_ids=ids, use_cache=False)[0]
        return states

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """What `logits` needs of each token of `ids` (rows × length): rows × length × width.

        Rows may be padded on their right: with causal attention no token sees what follows it, so
        no mask is needed, and the fast attention kernels can be used.
        """
        if self._head is not None:
            return self._body(ids)
        states: torch.Tensor = self._model(input_ids=ids, use_cache=False).logits
        return states

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The logits of the token after each row of `hidden` (tokens × width), in float32."""
        return (self._head(hidden) if self._head is not None else hidden).float()

    def token_digest(self) -> str:
        """SHA-256 (hex) over the tokens of sample text: equal for tokenizers that cut alike."""
        ids = [one.ids.tolist() for one in self.encode([*_PROBES, _SAMPLE])]
        return hashlib.sha256(repr(ids).encode()).hexdigest()

    def layer_list(self, layer: int) -> Any:
        """The layers of the model, of which there is a `layer`.

        Raises `ModelError` where the model has fewer, or keeps them in no list.
        """
        owner, name = self._where_layers_are(layer)
        return getattr(owner, name)

    def cut_after(self, layer: int) -> Any:
        """Drops the layers above `layer`, and returns those that are left.

        From then on `hidden` runs so much of the model alone. Raises as `layer_list`.
        """
        owner, name = self._where_layers_are(layer)
        setattr(owner, name, getattr(owner, name)[:layer])
        self._head = torch.nn.Identity()
        return getattr(owner, name)

    def _where_layers_are(self, layer: int) -> tuple[Any, str]:
        total = self.layers
        lists = [
            (owner, name)
            for owner in self._model.base_model.modules()
            for name, child in owner.named_children()
            if isinstance(child, torch.nn.ModuleList) and len(child) == total
        ]
        if len(lists) != 1:
            raise ModelError(f"{self.label}: keeps its layers in no list that could be cut")
        if not 1 <= layer <= total:
            raise ModelError(f"{self.label}: has {total} layers, and no layer {layer}")
        return lists[0]

    @property
    def layers(self) -> int:
        """The number of layers, as the configuration says it."""
        return int(self._model.config.get_text_config().num_hidden_layers)

    @property
    def width(self) -> int:
        """The entries of a hidden state."""
        return int(self._model.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        """The number of logits."""
        return int(self._model.config.get_text_config().vocab_size)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def encode(self, texts: list[str], most: int | None = None) -> list[Encoded]:
        """The tokens of texts, as the model's own tokenizer makes them, special ones included.

        Of each the first `most`, all without it.
        """
        if not texts:
            return []
        batch = self.tokenizer(
            texts,
            truncation=most is not None,
            max_length=most,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [
            Encoded(
                np.array(one.ids, np.int64),
                np.array(one.offsets, np.int64).reshape(-1, 2)[:, 1],
            )
            for one in batch.encodings
        ]


def check_same_tokens(observer: CausalModel, performer: CausalModel) -> None:
    """Raises `ConfigError` unless both models cut text into the same tokens."""
    same = observer.tokenizer.get_vocab() == performer.tokenizer.get_vocab() and all(
        np.array_equal(a.ids, b.ids)
        for a, b in zip(
            observer.encode(list(_PROBES)), performer.encode(list(_PROBES)), strict=True
        )
    )
    if not same:
        raise ConfigError(
            f"`extras.lm.performer={performer.label}`: its tokens aren't those of "
            f"{observer.label}; Binoculars needs two models with one tokenizer, such "
            "as a base model and its chat model"
        )


def _context_of(config: Any) -> int:
    config = config.get_text_config()
    found = [getattr(config, name, None) for name in _CONTEXT_NAMES]
    return next((int(n) for n in found if isinstance(n, int) and n > 1), UNBOUNDED_CONTEXT)
