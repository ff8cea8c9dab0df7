"""The probes that come with lowbg, each for a model that doesn't.

They lie in `models/probes/`, pinned by their SHA-256 in its `digests.json`; a model is known by its
fingerprint, whatever form its weights are in.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path

from lowbg import models
from lowbg.config import NO_PROBE, LmSettings, is_served
from lowbg.errors import ConfigError, LowbgError, ModelError
from lowbg.scorers.lm.probes import Probe, open_probe, open_probes
from lowbg.scorers.lm.store import locate


@functools.cache
def shipped_probes() -> tuple[Probe, ...]:
    """All of them, by name. Raises `ModelError` for one that isn't as it was made."""
    folder = Path(str(resources.files(models))) / "probes"
    pinned = json.loads((folder / "digests.json").read_text(encoding="utf-8"))
    found = tuple(open_probe(folder / f"{name}.safetensors") for name in sorted(pinned))
    for probe in found:
        if pinned[probe.path.stem] != probe.sha256:
            raise ModelError(
                f"{probe.path}: SHA-256 is {probe.sha256}, expected {pinned[probe.path.stem]}: the "
                "file is damaged or was replaced. Reinstall lowbg."
            )
    return found


def probe_for(model: str) -> Path | None:
    """The file of the shipped probe of a model: a folder, or a name on the Hub; null without one.

    A name that isn't on this machine yet is known by itself. A server shows no states.
    """
    if is_served(model):
        return None
    known = {probe.of.fingerprint: probe.path for probe in shipped_probes()}
    try:
        return known.get(locate(model, "`extras.lm.model`").fingerprint())
    except LowbgError:
        # What is wrong with it is said where it is loaded.
        name = model.partition("@")[0].rpartition("/")[2].lower()
        by_name = {probe.of.label.lower(): probe.path for probe in shipped_probes()}
        return by_name.get(name)


def probes_of(settings: LmSettings) -> tuple[Probe, ...]:
    """The probes that the settings name, or the one that comes with lowbg for the model."""
    path = settings.probe if settings.probe is not None else probe_for(settings.model)
    if path is None or path == NO_PROBE:
        return ()
    return open_probes(Path(path).expanduser(), "`extras.lm.probe`")


def serving(settings: LmSettings, language: str) -> Probe:
    """Of these the one that serves a language. Raises `ConfigError` where none does."""
    probes = probes_of(settings)
    probe = next((probe for probe in probes if language in probe.languages), None)
    if probe is None:
        served = sorted({code for each in probes for code in each.languages})
        others = f"; there is one of {', '.join(served)}" if served else ""
        raise ConfigError(
            f"no probe of {settings.model} serves {language!r}{others}: `extras.lm.probe`. lowbg "
            "train with `probe` makes one, of a model that reads the language"
        )
    return probe
