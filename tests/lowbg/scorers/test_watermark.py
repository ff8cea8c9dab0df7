"""Text with a watermark is told from text without, by those who have the keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from lowbg.config import WatermarkSettings
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm.synthid import fit, open_bayesian
from lowbg.scorers.watermark import Watermark, read_keys

SCHEMES = {
    "kgw": 'scheme = "kgw"\nhashing_key = {key}\n',
    "synthid": 'scheme = "synthid"\nngram_len = 5\n'
    "keys = [{key}, {key}1, {key}2, {key}3, {key}4]\n",
}


SYNTHID = "scheme = 'synthid'\ntokenizer = 'x'\nngram_len = 5\n"


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
    if scheme == "synthid":
        the_detector_is_that_of_transformers(tmp_path, folder, texts, settings)
    (marked, p), (plain, _) = right[:2]
    assert marked is not None
    assert plain is not None
    assert p is not None
    assert marked > 4.0
    assert abs(plain) < 3.0
    assert p < 1e-4
    assert all(z is not None and abs(z) < 3.5 for z, _ in wrong)
    assert right[2:] == [(None, None), (None, None)]


def the_detector_is_that_of_transformers(
    tmp_path: Path, folder: Path, texts: list[str], settings: Any
) -> None:
    import torch
    import transformers

    torch.manual_seed(2)
    model = transformers.BayesianDetectorModel(
        transformers.BayesianDetectorConfig(watermarking_depth=5, base_rate=0.3)
    )
    with torch.no_grad():
        model.likelihood_model_watermarked.delta.normal_(0.0, 0.4)
        model.likelihood_model_watermarked.beta.add_(torch.linspace(0, 2, 5))
    model.config.set_detector_information("tiny", settings.to_dict())
    model.save_pretrained(tmp_path / "detector")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    processor: Any = settings.construct_processor(vocab_size=403, device="cpu")
    theirs: Any = transformers.SynthIDTextWatermarkDetector(model, processor, tokenizer)
    # Whole texts leave nothing to compare: every posterior is 0 or 1.
    short = [" ".join(text.split()[a : a + 9]) for text in texts for a in range(0, 60, 9)]
    with torch.no_grad():
        expected = [float(theirs(tokenizer(t, return_tensors="pt")["input_ids"])[0]) for t in short]
    path = keys_file(tmp_path, "synthid", folder)
    path.write_text(f"detector = '{tmp_path / 'detector'}'\n" + path.read_text())
    scorer = Watermark(WatermarkSettings(str(path)))
    batch: Any = Texts(short)
    found = scorer.score(batch)["watermark_posterior"].to_pylist()
    assert found == pytest.approx(expected, rel=1e-4)
    assert 0.02 < min(found) < max(found) < 0.98
    assert "watermark-detector detector" in scorer.models


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scheme = 'other'", "scheme is 'other'; it must be kgw or synthid"),
        ("scheme = 'kgw'\ntokenizer = 'x'", "hashing_key is missing"),
        ("scheme = 'kgw'\nhashing_key = 1", "tokenizer is missing"),
        ("scheme = 'synthid'\ntokenizer = 'x'\nkeys = [1]", "ngram_len is missing"),
        ("scheme = 'kgw'\ntokenizer = 'x'\nhashing_key = 1\nkey = 2", "unknown key 'key'"),
        ("scheme = ", "cannot be read as TOML"),
        ("scheme = 'kgw'\ntokenizer = 'x'\nhashing_key = '47114711'", "hashing_key is no number"),
        (f"{SYNTHID}keys = 47114711", "keys is no list of whole numbers"),
        (f"{SYNTHID}keys = ['47114711']", "keys is no list of whole numbers"),
        (f"{SYNTHID}keys = []", "keys is no list of whole numbers"),
        (f"{SYNTHID}keys = [47114711]\ndetector = 5", "detector is no string"),
    ],
)
def test_a_file_that_lacks_something_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
    assert "47114711" not in str(caught.value)


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


def g_values(seed: int, tokens: int, differ: float) -> np.ndarray[Any, Any]:
    """As the tournament gives them where two tokens differ so often; 0: without a watermark."""
    own = np.random.default_rng(seed)
    wins = np.where(own.random((tokens, 5)) < differ, 0.75, 0.5)
    found: np.ndarray[Any, Any] = (own.random((tokens, 5)) < wins).astype(np.float64)
    return found


@pytest.mark.lm
@pytest.mark.slow
def test_a_detector_is_fitted_and_read_by_transformers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
    transformers = pytest.importorskip("transformers", reason="needs the extra lm")
    marked, plain = ([g_values(k + i, 60, p) for i in range(150)] for k, p in ((0, 0.5), (500, 0)))
    detector = fit(marked[:100], plain[:100])
    right = [detector.posterior(g) > 0.5 for g in marked[100:]]
    wrong = [detector.posterior(g) > 0.5 for g in plain[100:]]
    assert sum(right) / 50 > 0.85
    assert sum(wrong) / 50 < 0.15
    detector.save(tmp_path)
    again, digest = open_bayesian(tmp_path)
    assert len(digest) == 64
    config = transformers.BayesianDetectorConfig(watermarking_depth=5)
    model = transformers.BayesianDetectorModel.from_pretrained(tmp_path, config=config)
    told = model(torch.tensor(marked[100][None]).float(), torch.ones(1, 60))[0].item()
    assert again.posterior(marked[100]) == pytest.approx(told, rel=1e-4)
    with pytest.raises(ValueError, match="with the watermark and without it"):
        fit(marked, [])


@pytest.mark.lm
@pytest.mark.slow
def test_the_example_fits_a_detector_for_keys(tmp_path: Path) -> None:
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason="needs the extra lm: pip install 'lowbg[lm]'")
    from tests.tiny_lm import save_model, word_tokenizer

    folder = save_model(tmp_path / "model")
    word_tokenizer().save_pretrained(folder)
    keys = keys_file(tmp_path, "synthid", folder, key=47114711)
    for name in ("marked", "plain"):
        words = [f"w{(7 * i) % 397 + 2}" for i in range(90)]
        if name == "plain":
            words.reverse()
        (tmp_path / name).write_text(json.dumps({"text": " ".join(words)}) + "\n")
    script = Path(__file__).parents[3] / "examples" / "fit_synthid.py"
    command = [sys.executable, script, keys, tmp_path / "marked", tmp_path / "plain"]
    subprocess.run([*map(str, command), "-o", str(tmp_path / "detector")], check=True)
    assert [file.name for file in (tmp_path / "detector").iterdir()] == ["model.safetensors"]
    fitted = keys.read_text()
    keys.write_text(fitted + f"detector = '{tmp_path / 'detector'}'\n")
    scorer = Watermark(WatermarkSettings(str(keys)))
    batch: Any = Texts(json.loads((tmp_path / name).read_text())["text"] for name in ("marked",))
    assert scorer.score(batch)["watermark_posterior"][0].as_py() > 0.7
    keys.write_text(fitted.replace("47114711,", "") + f"detector = '{tmp_path / 'detector'}'\n")
    with pytest.raises(ConfigError, match="detector is of 5 layers, and there are 4 keys"):
        Watermark(WatermarkSettings(str(keys))).setup()


@pytest.mark.lm
@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", ["", "keys = [47114711471147114711471]", "sampling_table_size = 0"]
)
def test_keys_are_in_nothing_that_a_run_says(tmp_path: Path, wrong: str) -> None:
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason="needs the extra lm: pip install 'lowbg[lm]'")
    from tests.tiny_lm import prose, save_model

    folder = save_model(tmp_path / "model")
    keys = keys_file(tmp_path, "synthid", folder, key=47114711)
    if wrong:
        name = wrong.split()[0]
        lines = [line for line in keys.read_text().splitlines() if not line.startswith(name)]
        keys.write_text("\n".join([*lines, wrong]) + "\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": prose(1), "language": "en"}) + "\n")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "lowbg_cli", "filter", tmp_path / "a.jsonl", "-o", out,
         "--watermark", keys],
        capture_output=True, text=True, check=False, env={**os.environ, "LOWBG_TRACEBACK": "1"},
    )  # fmt: skip
    assert (done.returncode == 0) == (not wrong), done.stderr
    said = done.stdout + done.stderr
    said += "".join(f.read_text(errors="replace") for f in out.rglob("*") if f.is_file())
    assert "synthid-47114711.toml" in said  # the file's name is no secret
    assert "4711471" not in said.replace("synthid-47114711.toml", "")


@pytest.mark.lm
@pytest.mark.slow
def test_keys_are_not_in_what_transformers_says_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra lm")
    from tests.tiny_lm import save_model

    def refuse(**given: Any) -> None:
        raise ValueError(f"these keys won't do: {given['keys']}")

    monkeypatch.setattr(transformers, "SynthIDTextWatermarkLogitsProcessor", refuse)
    keys = keys_file(tmp_path, "synthid", save_model(tmp_path / "model"), key=47114711)
    with pytest.raises(ConfigError, match=r"won't do: \[\*\*\*, \*\*\*, ") as caught:
        Watermark(WatermarkSettings(str(keys))).setup()
    # Nor in what a traceback shows before it.
    assert caught.value.__context__ is None


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no parameters of a Bayesian detector"):
        open_bayesian(tmp_path)
    names = ("likelihood_model_watermarked.beta", "likelihood_model_watermarked.delta", "prior")
    for shapes in (((1, 1, 3), (1, 1, 2, 3), (1,)), ((1, 1, 3), (1, 1, 3, 3), (2,))):
        arrays = [np.ones(shape, np.float32) for shape in shapes]
        save_file(dict(zip(names, arrays, strict=True)), tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="fit no Bayesian detector"):
            open_bayesian(tmp_path)
