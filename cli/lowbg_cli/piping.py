"""`filter` as a part of a pipeline: where everything goes that isn't a human line."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.errors import ConfigError, InputError
from lowbg.settings import Heading, setting
from lowbg.storage.files import is_special
from lowbg_cli.outputs import refuse_shared

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard
    from lowbg.runs.job import Outcome


@dataclass(frozen=True, slots=True)
class PipeOptions:
    """What the command line says; null where it says nothing."""

    ai_to: Path | None = setting(
        "AI lines go here, compressed as the name says (.zst, .gz).",
        None,
        unit="FILE",
        heading=Heading.PIPE,
    )
    discard_ai: bool = setting("AI lines are dropped.", False, heading=Heading.PIPE)
    quarantine_to: Path | None = setting(
        "Records that cannot be read go here.",
        None,
        unit="FILE",
        heading=Heading.PIPE,
        shown="<AI file>.quarantine.jsonl, or counted alone beside a pipe or device",
    )
    report: Path | None = setting(
        "The report goes here (.json or .html).", None, unit="FILE", heading=Heading.PIPE
    )

    @property
    def quarantine(self) -> Path | None:
        """Where quarantined records go: as asked, else beside the AI file, else nowhere.

        Nothing can lie beside a pipe or a device: there they are counted alone.
        """
        if self.quarantine_to is not None or self.ai_to is None or is_special(self.ai_to):
            return self.quarantine_to
        return self.ai_to.with_name(f"{self.ai_to.name}.quarantine.jsonl")

    def check(self, shards: Sequence[Shard]) -> None:
        """Raises `ConfigError` where records would be lost or a file be written twice."""
        if self.ai_to is None and not self.discard_ai:
            raise ConfigError(
                "human lines go to stdout; say where AI lines go: --ai-to FILE keeps them, "
                "--discard-ai drops them. Or write everything to a directory with -o DIR."
            )
        if self.ai_to is not None and self.discard_ai:
            raise ConfigError("--ai-to keeps AI lines and --discard-ai drops them; choose one")
        _check_stdout(shards)
        outputs = {
            "--ai-to": self.ai_to,
            "--quarantine-to": self.quarantine,
            "--report": self.report,
        }
        for path in outputs.values():
            if path is not None and str(path) == "-":
                raise ConfigError("stdout carries the human lines; name a file instead of -")
        refuse_shared(outputs, on_stdout="the human lines", inputs=shards)
        _check_formats(shards)

    def write_report(self, outcome: Outcome) -> str | None:
        """Writes the report if one was asked for, as its name says; where it is."""
        if self.report is None:
            return None
        from lowbg.report import write_html, write_json

        write = write_html if self.report.suffix.lower() in (".html", ".htm") else write_json
        write(outcome.report, self.report)
        return str(self.report)


def _check_stdout(shards: Sequence[Shard]) -> None:
    """`lowbg filter a.jsonl … >> a.jsonl` would read what it writes."""
    if sys.stdout is None:
        raise ConfigError("stdout is closed; human lines have nowhere to go")
    try:
        out = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return
    for shard in shards:
        path = Path(shard.path)
        if stat.S_ISREG(out.st_mode) and path.is_file() and os.path.samestat(out, path.stat()):
            raise ConfigError(f"{path} is both input and stdout; send stdout elsewhere")


def _check_formats(shards: Sequence[Shard]) -> None:
    """Before any line is out: what comes later may have no lines."""
    from lowbg.formats import recognise_file

    for shard in shards:
        path = Path(shard.path)
        # A pipe's first bytes could be read only once.
        if not path.is_file():
            continue
        # What cannot be read is told with the rest of its shard.
        with contextlib.suppress(OSError, InputError):
            found, _ = recognise_file(path)
            if not found.takes_stream:
                raise ConfigError(
                    f"{path} is {found.title}, and stdout takes JSONL lines only. "
                    "Write everything to a directory with -o DIR."
                )
