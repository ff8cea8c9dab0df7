"""The probes that come with lowbg, and which model has one; needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lowbg.config import Extras, LmSettings, Policy
from lowbg.errors import ModelError
from lowbg.jobs.train.config import FORBIDDEN_LICENCES
from lowbg.models import open_embedded
from lowbg.scorers import running_scorers
from lowbg.scorers.lm import shipped
from lowbg.scorers.lm.probes import Probe, ProbeOf
from lowbg.scorers.lm.shipped import probe_for, shipped_probes
from lowbg.scorers.lm.store import ModelFolder


def test_what_is_shipped_is_whole_and_says_what_it_is_of() -> None:
    probes = shipped_probes()
    assert [probe.of.label for probe in probes] == ["SmolLM2-135M-Instruct"]
    for probe in probes:
        assert probe.languages == ("en",)
        assert len(probe.weights) == 576
        assert len(probe.of.fingerprint) == 64
        assert sum(probe.card["licences"].values()) == pytest.approx(1.0, abs=0.01)
        assert not [
            name for name in probe.card["licences"] if re.search(FORBIDDEN_LICENCES, name, re.I)
        ]
        assert probe.card["joined"]["thresholds"] == sorted(
            probe.card["joined"]["thresholds"], reverse=True
        )
        card = (probe.path.parents[1] / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"`{probe.sha256[:16]}…`" in card, "run benchmarks.tables.card again"


def folder_of(path: Path, norm: float) -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    vector = np.arange(100, dtype=np.float32) / 128 + norm
    save_file({"norm": vector}, path / "model.safetensors")
    return path


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that has a probe."""
    model = folder_of(tmp_path / "ours", 0.5)
    of = ProbeOf("", "", "Tiny-1M", 1, 8, "float32", ModelFolder(model, "ours").fingerprint())
    ones = np.ones(4, np.float32)
    path = tmp_path / "tiny.safetensors"
    probe = Probe(of, ("en",), ones, ones, ones, 0.0, path=path)
    probe.save(path)
    monkeypatch.setattr(shipped, "shipped_probes", lambda: (probe,))
    return model


def test_a_model_is_known_by_its_weights_or_its_name(ours: Path, tmp_path: Path) -> None:
    assert probe_for(str(ours)) == tmp_path / "tiny.safetensors"
    assert probe_for(str(folder_of(tmp_path / "other", 0.75))) is None
    # One that isn't here yet: what is fetched is checked before it is used.
    assert probe_for("someone/tiny-1m@main") == tmp_path / "tiny.safetensors"
    assert probe_for("someone/else") is None


def test_a_shipped_probe_is_used_unless_told_otherwise(ours: Path, tmp_path: Path) -> None:
    models = {"en": open_embedded("en")}

    def names(lm: LmSettings) -> list[str]:
        return [s.name for s in running_scorers(models, Policy(), Extras(lm))][4:]

    assert names(LmSettings(str(ours))) == ["lm_probe"]
    assert names(LmSettings(str(ours), probe="none")) == ["causal_lm"]
    assert names(LmSettings(str(ours), performer=str(ours))) == ["binoculars"]
    assert names(LmSettings(str(folder_of(tmp_path / "other", 0.75)))) == ["causal_lm"]


def test_a_replaced_probe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = tmp_path / "probes"
    probes.mkdir()
    ones = np.ones(4, np.float32)
    of = ProbeOf("", "", "x", 1, 8, "float32", "ab")
    Probe(of, ("en",), ones, ones, ones, 0.0).save(probes / "x.safetensors")
    (probes / "digests.json").write_text('{"x": "00"}')
    monkeypatch.setattr("lowbg.scorers.lm.shipped.resources.files", lambda package: tmp_path)
    shipped_probes.cache_clear()
    try:
        with pytest.raises(ModelError, match="expected 00: the file is damaged"):
            shipped_probes()
    finally:
        shipped_probes.cache_clear()
