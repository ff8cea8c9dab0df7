"""Text with a watermark is told from text without, by those who have the keys."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from lowbg.config import WatermarkSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.watermark import Watermark, read_keys

SCHEMES = {
    "kgw": 'scheme = "kgw"\nhashing_key = {key}\n',
    "synthid": 'scheme = "synthid"\nngram_len = 5\n'
    "keys = [{key}, {key}1, {key}2, {key}3, {key}4]\n",
}


class Texts(list[str]):
    """As much of a batch as the scorer looks at."""

    @property
    def text(self) -> pa.LargeStringArray:
        return pa.array(list(self), pa.large_string())


def keys_file(folder: Path, scheme: str, tokenizer: object, key: int = 15485863) -> Path:
    path = folder / f"{scheme}-{key}.toml"
    path.write_text(SCHEMES[scheme].format(key=key) + f"tokenizer = '{tokenizer}'\n")
    return path


def scored(path: Path, *texts: str) -> list[tuple[float | None, float | None]]:
    scorer = Watermark(WatermarkSettings(str(path)))
    scorer.prepare()
    batch: Any = Texts(texts)
    columns = scorer.score(batch)
    return list(
        zip(columns["watermark_z"].to_pylist(), columns["watermark_p"].to_pylist(), strict=True)
    )


@pytest.mark.lm
@pytest.mark.slow
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_only_the_right_keys_find_it(scheme: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
    transformers = pytest.importorskip("transformers", reason="needs the extra lm")
    from tests.tiny_lm import save_model, word_tokenizer

    folder = save_model(tmp_path / "model", context=512)
    word_tokenizer().save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    settings = (
        transformers.WatermarkingConfig(hashing_key=15485863, bias=6.0)
        if scheme == "kgw"
        else transformers.SynthIDTextWatermarkingConfig(
            ngram_len=5, keys=[15485863, *range(154858631, 154858635)]
        )
    )
    start = tokenizer("w7 w8", return_tensors="pt")["input_ids"]
    texts = []
    for watermark in (settings, None):
        torch.manual_seed(1)
        ids = model.generate(
            start, do_sample=True, top_k=0, temperature=2.0, max_new_tokens=400,
            pad_token_id=1, watermarking_config=watermark, min_new_tokens=400,
            attention_mask=torch.ones_like(start),
        )  # fmt: skip
        texts.append(tokenizer.decode(ids[0, 2:]))
    right = scored(keys_file(tmp_path, scheme, folder), *texts, "", "w1")
    wrong = scored(keys_file(tmp_path, scheme, folder, key=99), *texts)
    (marked, p), (plain, _) = right[:2]
    assert marked is not None
    assert plain is not None
    assert p is not None
    assert marked > 4.0
    assert abs(plain) < 3.0
    assert p < 1e-4
    assert all(z is not None and abs(z) < 3.5 for z, _ in wrong)
    assert right[2:] == [(None, None), (None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scheme = 'other'", "scheme is 'other'; it must be kgw or synthid"),
        ("scheme = 'kgw'\ntokenizer = 'x'", "hashing_key is missing"),
        ("scheme = 'kgw'\nhashing_key = 1", "tokenizer is missing"),
        ("scheme = 'synthid'\ntokenizer = 'x'\nkeys = [1]", "ngram_len is missing"),
        ("scheme = 'kgw'\ntokenizer = 'x'\nhashing_key = 1\nkey = 2", "unknown key 'key'"),
        ("scheme = ", "cannot be read as TOML"),
    ],
)
def test_a_file_that_lacks_something_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)


def tokenizer_folder(root: Path) -> Path:
    folder = root / "writer"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_tokenizer_that_is_not_there_is_not_asked_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up once, for tokenizer and configuration alone; a path never."""
    asked: list[Any] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"], options["local_files_only"]))
        assert "*.safetensors" not in options["allow_patterns"]
        return str(tokenizer_folder(tmp_path))

    hub = SimpleNamespace(
        snapshot_download=snapshot_download, errors=SimpleNamespace(HfHubHTTPError=OSError)
    )
    modules = {"huggingface_hub": hub, "torch": hub, "transformers": hub}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ConfigError, match=r"tokenizer \./models/mine: no such folder"):
        Watermark(WatermarkSettings(str(keys_file(tmp_path, "kgw", "./models/mine")))).prepare()
    assert asked == []
    Watermark(WatermarkSettings(str(keys_file(tmp_path, "kgw", "org/mine@v1")))).prepare()
    assert asked == [("org/mine", "v1", False)]


@pytest.mark.lm
@pytest.mark.slow
def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
    pytest.importorskip("transformers", reason="needs the extra lm")
    from tests.tiny_lm import save_model

    folder = save_model(tmp_path / "mute")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    scorer = Watermark(WatermarkSettings(str(keys_file(tmp_path, "kgw", folder))))
    with pytest.raises(ModelError, match=r"mute: no tokenizer\.json in"):
        scorer.setup()


def test_the_digest_changes_with_the_keys_and_does_not_hold_them(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path)
    one, other = (keys_file(tmp_path, "kgw", folder, key) for key in (123456, 654321))
    digests = [Watermark(WatermarkSettings(str(p))).models for p in (one, other)]
    assert list(digests[0]) == ["watermark kgw-123456.toml", "watermark-tokenizer writer"]
    assert digests[0]["watermark kgw-123456.toml"] != digests[1]["watermark kgw-654321.toml"]
    (folder / "tokenizer.json").write_text('{"other": 1}')
    after = Watermark(WatermarkSettings(str(one))).models
    changed = [name for name in after if after[name] != digests[0][name]]
    assert changed == ["watermark-tokenizer writer"]
    with pytest.raises(ConfigError, match=r"`extras\.watermark=…`"):
        Watermark(None).prepare()
