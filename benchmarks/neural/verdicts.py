"""A probe's verdicts on texts, kept on disk: reading is what takes the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.config import LmSettings
from lowbg.scorers.lm.reading import LogOddsReader, reader_of

PORTION = 25
"""Documents whose verdicts are kept at a time."""


class KeptVerdicts:
    """Log-odds of English texts, as the shipped probe of `model` gives them; those in `file` aren't
    read again."""

    def __init__(self, model: str, file: Path) -> None:
        self._settings = LmSettings(model)
        self._file = file
        self._judge: LogOddsReader | None = None
        self._known: dict[str, float] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, value = line.split()
                self._known[key] = float(value)

    @property
    def tokens(self) -> int:
        """What was read and not known before."""
        return 0 if self._judge is None else self._judge.tokens

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of each text, in nats; NaN without any token."""
        keys = [
            blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest() for text in texts
        ]
        missing = [i for i, key in enumerate(keys) if key not in self._known]
        started, before = time.monotonic(), self.tokens
        self._file.parent.mkdir(parents=True, exist_ok=True)
        for at in range(0, len(missing), PORTION):
            own = missing[at : at + PORTION]
            if self._judge is None:
                self._judge = reader_of(self._settings, "en")
            found = self._judge([texts[i] for i in own])
            with self._file.open("a", encoding="utf-8") as out:
                for i, value in zip(own, found.tolist(), strict=True):
                    self._known[keys[i]] = value
                    out.write(f"{keys[i]} {value!r}\n")
            speed = (self._judge.tokens - before) / (time.monotonic() - started)
            done = at + len(own)
            print(f"{done} of {len(missing)}: {speed:.0f} tokens/s", file=sys.stderr, flush=True)
        return np.array([self._known[key] for key in keys])
