"""Model files that are not what they should be: an error that names the file, never a crash."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lowbg import models
from lowbg.decision.calibration import Calibration
from lowbg.errors import ModelError
from lowbg.models import (
    checks,
    embedded_names,
    embedded_path,
    open_embedded,
    open_folder,
    open_model,
    save_arrays,
)
from lowbg.text import ngrams

LM = {
    "order": 3, "log_p_step": -0.1, "backoff_step": 0.1, "backoff_low": -2.0, "log_unknown": -12.0,
    "begin_backoff": 0.0,
}  # fmt: skip
ODDS = {"order": 2, "scales": [0.1, 0.01]}
SLOTS = np.zeros(8, np.uint32)


def write(path: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> Path:
    save_arrays(path, arrays, metadata)
    return path


def sound(path: Path) -> Path:
    return write(path, {"lm_slots": SLOTS, "odds_slots": SLOTS}, {"lm": LM, "odds": ODDS})


def refused(path: Path, sha256: str | None = None) -> str:
    with pytest.raises(ModelError) as refusal:
        open_model(path, sha256)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_sound_file_opens(tmp_path: Path) -> None:
    model = open_model(sound(tmp_path / "xx.safetensors"))
    assert sorted(model.arrays) == ["lm_slots", "odds_slots"]
    assert model.metadata["lm"] == LM


def own(path: Path, **changes: Any) -> Path:
    arrays = {"lm_slots": SLOTS, "odds_slots": SLOTS}
    metadata = {"lm": LM, "odds": ODDS, "language": "it", "format": 1, "calibration": {}, **changes}
    path.parent.mkdir(exist_ok=True)
    return write(path, arrays, metadata)


def test_a_folder_of_own_tables(tmp_path: Path) -> None:
    own(tmp_path / "it.safetensors")
    own(tmp_path / "any.safetensors", language="en")
    (tmp_path / "notes.txt").touch()
    found = open_folder(tmp_path)
    assert {code: model.path.name for code, model in found.items()} == {
        "it": "it.safetensors",
        "en": "any.safetensors",
    }


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: None, "no tables in it; lowbg train writes"),
        (lambda p: shutil.rmtree(p), "no such directory"),
        (lambda p: (p.rmdir(), p.touch()), "a file; name its directory"),
        (lambda p: own(p / "x.safetensors", format=2), "tables of format 2 and language 'it'"),
        (lambda p: own(p / "x.safetensors", language=None), "language None"),
        (lambda p: sound(p / "x.safetensors"), "tables of format None"),
        (
            lambda p: write(p / "x.safetensors", {"lm_slots": SLOTS},
                            {"lm": LM, "format": 1, "language": "it", "calibration": {}}),
            "odds_slots missing",
        ),
        (
            lambda p: (own(p / "a.safetensors"), own(p / "b.safetensors")),
            "are both tables of 'it'",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_is_none(make: Callable[[Path], Any], told: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    make(folder)
    with pytest.raises(ModelError, match=re.escape(told)):
        open_folder(folder)


def test_the_embedded_files_open_and_are_pinned() -> None:
    for name in embedded_names():
        assert open_embedded(name).path == embedded_path(name)
        assert "Reinstall lowbg" in refused(embedded_path(name), "0" * 64)


@pytest.mark.parametrize("code", [name for name in embedded_names() if name != "characters"])
def test_no_single_ngram_convicts(code: str) -> None:
    """Even in the shortest text that is judged, one n-gram is far from the threshold."""
    model = open_embedded(code)
    calibration = Calibration.of(model)
    payload = model.arrays["odds_slots"] & 0xFFFF
    steps = (payload >> 8).astype(np.int64) - 128, (payload & 0xFF).astype(np.int64) - 128
    scales = model.metadata["odds"]["scales"]
    nats = (steps[0] * scales[0] + steps[1] * np.abs(steps[1]) * scales[1]) / 2
    heaviest = nats[model.arrays["odds_slots"] != 0].max()
    words = np.array([calibration.min_words])
    own, other = calibration.standardise(np.array([heaviest / words[0], 0.0]), words.repeat(2))
    assert own - other < calibration.threshold(0.01) / 3


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = sound(tmp_path / "xx.safetensors")
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 33, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "not a whole safetensors file" in refused(path)
    path.write_bytes(whole + b"\0")
    assert "not a whole safetensors file" in refused(path)


def test_a_header_that_lies_is_noticed(tmp_path: Path) -> None:
    path = sound(tmp_path / "xx.safetensors")
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    lies: list[dict[str, object]] = [
        {"data_offsets": [0, 4]}, {"shape": [1 << 40]}, {"dtype": "U128"}, {"shape": None}
    ]  # fmt: skip
    for lie in lies:
        header = json.loads(whole[8 : 8 + size])
        header["lm_slots"] |= lie
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
        assert "not a whole safetensors file" in refused(path)


class Exploit:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_that_name_is_not_loaded(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "xx.safetensors"
    path.write_bytes(pickle.dumps(Exploit(tmp_path / "run"), protocol))
    message = refused(path)
    assert "a pickle" in message if protocol >= 2 else "not a whole" in message
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_too_large_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MAX_BYTES", 1000)
    path = tmp_path / "xx.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "at most 1,000 bytes" in refused(path)
    assert "at most 1,000 bytes" in refused(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("lm_slots", np.zeros(6, np.uint32), "lm_slots is 6 uint32; it must be a power of two"),
        ("lm_slots", np.zeros(0, np.uint32), "lm_slots is 0 uint32"),
        ("lm_slots", np.zeros(2, np.uint32), "lm_slots is 2 uint32"),
        ("lm_slots", np.zeros((2, 4), np.uint32), "lm_slots is 2 × 4 uint32"),
        ("odds_slots", np.zeros(8, np.int32), "odds_slots is 8 int32"),
        ("odds_slots", np.zeros(8, np.float32), "odds_slots is 8 float32"),
        ("foldings", np.zeros((4, 65_535), np.uint32), "foldings is 4 × 65,535 uint32"),
        ("foldings", np.zeros((1, 65_536), np.uint64), "foldings is 1 × 65,536 uint64"),
    ],
)
def test_another_shape_or_type(
    name: str, array: NDArray[Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "xx.safetensors", {name: array}, {"lm": LM, "odds": ODDS})
    assert message in refused(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"odds": ODDS}, "says nothing of lm"),
        ({"lm": LM, "odds": [1]}, "says nothing of odds"),
        ({"lm": {**LM, "order": 5}, "odds": ODDS}, "lm.order is 5; it must be 1 … 4"),
        ({"lm": {**LM, "order": True}, "odds": ODDS}, "lm.order is True"),
        ({"lm": LM, "odds": {**ODDS, "order": 0}}, "odds.order is 0"),
        ({"lm": {**LM, "log_unknown": "-1"}, "odds": ODDS}, "lm.log_unknown is '-1'"),
        ({"lm": {**LM, "backoff_low": float("nan")}, "odds": ODDS}, "lm.backoff_low is nan"),
        ({"lm": LM, "odds": {**ODDS, "scales": [1]}}, "odds.scales is [1]; it must be two"),
        ({"lm": LM, "odds": {**ODDS, "scales": [1, None]}}, "odds.scales is None"),
    ],
)
def test_metadata_that_the_loops_cannot_take(
    metadata: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arrays: dict[str, NDArray[Any]] = {"lm_slots": SLOTS, "odds_slots": SLOTS}
    assert message in refused(write(tmp_path / "xx.safetensors", arrays, metadata))


@pytest.mark.parametrize("text", [None, "[]", "{", "[" * 100_000])
def test_a_file_of_somebody_else(text: str | None, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "xx.safetensors"
    save_file({"lm_slots": SLOTS}, path, None if text is None else {"lowbg": text})
    assert "metadata" in refused(path)


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_cannot_be_read(what: str, tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "xx" if what == "missing" else tmp_path)


def test_the_checks_know_what_the_loops_take() -> None:
    assert checks.MAX_ORDER == ngrams.MAX_ORDER
    # A parameter that the loops take and the checks don't know is a `KeyError`.
    lm = {"order": 1, **dict.fromkeys(checks.LM_PARAMETERS, 1.0)}
    tables = ngrams.LanguageTables.of({"lm_slots": SLOTS}, {"lm": lm})
    assert tables.log_ps[256] == tables.backoffs[257] == 1.0


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An embedded file of the test's own."""
    path = tmp_path / "it.safetensors"
    shutil.copy(embedded_path("it"), path)
    monkeypatch.setattr(models, "embedded_path", lambda name: tmp_path / f"{name}.safetensors")
    open_embedded.cache_clear()
    return path


def test_an_embedded_file_is_checked_when_its_arrays_are_asked_for(embedded: Path) -> None:
    whole = embedded.read_bytes()
    embedded.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    model = open_embedded("it")
    assert set(model.arrays) == {"lm_slots", "odds_slots"}
    with pytest.raises(KeyError):
        model.arrays["others"]
    with pytest.raises(ModelError, match="damaged or was replaced"):
        model.arrays["odds_slots"]
    open_embedded.cache_clear()


def test_what_an_embedded_file_holds_is_known_without_reading_it(embedded: Path) -> None:
    whole = embedded.read_bytes()
    embedded.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    arrays = open_embedded("it").arrays
    assert "lm_slots" in arrays
    assert "characters" not in arrays
    with pytest.raises(ModelError, match="SHA-256"):
        arrays["lm_slots"]
    open_embedded.cache_clear()


def test_an_embedded_file_that_is_cut_is_noticed_at_once(embedded: Path) -> None:
    embedded.write_bytes(embedded.read_bytes()[:-1])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        open_embedded("it")
    embedded.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_embedded("it")


def test_embedded_arrays_are_those_of_the_file_and_travel(embedded: Path) -> None:
    whole = open_model(embedded)
    mapped = open_embedded("it")
    assert mapped.sha256 == whole.sha256
    for name in whole.arrays:
        again = pickle.loads(pickle.dumps(mapped)).arrays[name]
        assert (whole.arrays[name] == again).all()
        assert again.dtype == whole.arrays[name].dtype
    open_embedded.cache_clear()
