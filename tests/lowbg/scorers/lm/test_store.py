"""Where models lie, and which are refused; needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm.store import ModelFolder, locate

LM = "`extras.lm.model`"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_a_folder_is_digested_by_what_it_says(folder: Path, tmp_path: Path) -> None:
    found = locate(str(folder), LM)
    assert found.label == "tiny"
    first = found.sha256()
    (folder / "README.md").write_text("no part of the model")
    assert found.sha256() == first
    (folder / "model.safetensors").write_bytes(b"other weights")
    changed = found.sha256()
    assert changed != first
    (folder / "tokenizer.json").rename(folder / "tokenizer_config.json")
    assert found.sha256() not in (first, changed)


@pytest.mark.parametrize("name", ["./no/folder", "/no/folder", "~/nothing", "a/b/c", "", "a b"])
def test_what_is_no_folder_and_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"`extras\.lm\.model` .*no such folder"):
        locate(name, LM)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin.*no pickled weights"):
        locate(str(folder), LM)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        locate(str(folder), LM)


def test_a_name_is_resolved_to_a_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = folder.rename(folder.with_name("0123abc"))
    asked: list[Any] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"], options["local_files_only"]))
        assert "*.bin" not in options["allow_patterns"]
        return str(commit)

    hub = SimpleNamespace(
        snapshot_download=snapshot_download, errors=SimpleNamespace(HfHubHTTPError=OSError)
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert locate("org/name@main", LM).label == "org/name@0123abc"
    locate("name", LM, fetch=True)
    assert asked == [("org/name", "main", True), ("name", None, False)]


def test_a_model_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise OSError("Cannot find the requested files in the disk cache\nand more")

    hub = SimpleNamespace(
        snapshot_download=snapshot_download, errors=SimpleNamespace(HfHubHTTPError=OSError)
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(ModelError, match=r"hf download org/name --revision v1; or give a local"):
        locate("org/name@v1", LM)


def test_a_folder_needs_no_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert locate(str(folder), LM, fetch=True).path == folder
    with pytest.raises(ConfigError, match=r"pip install 'lowbg\[lm\]'"):
        locate("gpt2", LM)


def weights(path: Path, *, dtype: str = "float32", norm: float = 0.5, name: str = "norm") -> None:
    """A file of one matrix, and of a vector of 100 values that bfloat16 has."""
    ml = np.arange(100, dtype=np.float32) / 128 + norm
    save_file(
        {name: ml.astype(dtype), "matrix": np.full((3, 3), norm, np.float32)},
        path / "model.safetensors",
    )


def test_a_fingerprint_is_of_the_model_and_not_of_its_form(folder: Path) -> None:
    weights(folder)
    model = ModelFolder(folder, "m")
    first = model.fingerprint()
    assert len(first) == 64
    before = model.sha256()
    for changed in ({"dtype": "float16"}, {"name": "blk.0.norm"}):
        weights(folder, **changed)  # type: ignore[arg-type]
        assert model.sha256() != before
        assert model.fingerprint() == first
    weights(folder, norm=0.75)
    assert model.fingerprint() not in (first, "")


def test_what_tells_no_model_apart_has_no_fingerprint(folder: Path) -> None:
    save_file({"norm": np.ones(900, np.float32)}, folder / "model.safetensors")
    assert ModelFolder(folder, "m").fingerprint() == ""
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert ModelFolder(folder, "m").fingerprint() == ""


def test_what_is_no_whole_model_says_what_it_is(folder: Path) -> None:
    save_file({"norm": np.ones(9, np.float32)}, folder / "model.safetensors")
    assert locate(str(folder), LM).path == folder.resolve()
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\nx")
    with pytest.raises(ModelError, match=r"a pointer of Git LFS.*git lfs pull"):
        locate(str(folder), LM)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json in .*tokenizer\.save_pretrained"):
        locate(str(folder), LM)
    (folder / "config.json").rename(folder / "adapter_config.json")
    with pytest.raises(ModelError, match="an adapter, no whole model"):
        locate(str(folder), LM)


def test_a_mistyped_folder_is_not_looked_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    parent = folder.parent.name
    for name in (f"{parent}/tinyy", f"{parent}/Tiny"):
        with pytest.raises(ConfigError, match=f"no such folder; did you mean {parent}/tiny"):
            locate(name, LM)
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ConfigError, match="did you mean tiny"):
        locate("Tiny", LM)
    with pytest.raises(ConfigError, match="needs the extra"):
        locate("tinyy", LM)  # It may be a name of the Hub's.
