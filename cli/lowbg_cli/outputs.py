"""Whether what a command writes would go to one file twice."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.errors import ConfigError
from lowbg.storage.files import is_special, place_of

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard


def refuse_shared(
    outputs: Mapping[str, Path | None],
    *,
    on_stdout: str | None = None,
    inputs: Sequence[Shard] = (),
) -> None:
    """Raises `ConfigError` where two outputs, or an input and an output, are one file.

    However it is named: links, /dev/fd/1 and `>> file` count by the file that they lead to.

    `outputs` by their options; `on_stdout` says what stdout carries. One would replace the other,
    or both would write over each other. A pipe or device takes what comes from both.
    """
    seen = {place_of(shard.path): "an input" for shard in inputs}
    if on_stdout is not None and sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):
            out = os.fstat(sys.stdout.fileno())
            if stat.S_ISREG(out.st_mode):
                seen[out.st_dev, out.st_ino] = f"stdout, which carries {on_stdout}"
    for flag, path in outputs.items():
        if path is None or str(path) == "-":
            continue
        if path.is_dir():
            raise ConfigError(f"{path} is a directory; name a file")
        if is_special(path):
            continue
        place = place_of(path)
        if place in seen:
            raise ConfigError(f"{path} is also {seen[place]}; name another file for {flag}")
        seen[place] = f"the file of {flag}"
