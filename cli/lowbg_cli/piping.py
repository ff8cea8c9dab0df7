"""`filter` as a part of a pipeline: where everything goes that isn't a human line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.errors import ConfigError, InputError
from lowbg.settings import Heading, Written, setting
from lowbg.storage.files import identity, is_special
from lowbg_cli.writing import refuse_reading_stdout

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
        written=Written.BESIDE_STDOUT,
        heading=Heading.PIPE,
    )
    discard_ai: bool = setting("AI lines are dropped.", False, heading=Heading.PIPE)
    quarantine_to: Path | None = setting(
        "Records that cannot be read go here.",
        None,
        unit="FILE",
        written=Written.LOCAL,
        heading=Heading.PIPE,
        shown="<AI file>.quarantine.jsonl, or counted alone beside a pipe or device",
    )
    report: Path | None = setting(
        "The report goes here (.json or .html).",
        None,
        unit="FILE",
        heading=Heading.PIPE,
        written=Written.FILE,
    )

    @property
    def quarantine(self) -> Path | None:
        """Where quarantined records go: as asked, else beside the AI file, else nowhere.

        A pipe, a device and stdout have no place beside them.
        """
        if self.quarantine_to is not None or self.ai_to is None:
            return self.quarantine_to
        if is_special(self.ai_to) or identity(self.ai_to) == _stdout():
            return None
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
        from lowbg.formats.naming import codec_of_lines

        for lines in filter(None, (self.ai_to, self.quarantine_to)):
            codec_of_lines(lines.name)
        taken = {identity(shard.path): "an input" for shard in shards}
        for path in (self.ai_to, self.quarantine, self.report):
            if path is None:
                continue
            if path.is_dir():
                raise ConfigError(f"{path} is a directory; name a file")
            key = identity(path)
            if path != self.ai_to and key == _stdout() and not path.is_char_device():
                raise ConfigError(f"{path}: stdout carries the human lines; name a file")
            if key in taken and not path.is_char_device():
                raise ConfigError(f"{path} is {taken[key]} already; name another file")
            taken[key] = "another output"
        if sys.stdout is None:
            raise ConfigError("stdout is closed; human lines have nowhere to go")
        refuse_reading_stdout(shards)
        _check_formats(shards)

    def write_report(self, outcome: Outcome) -> str | None:
        """Writes the report if one was asked for, as its name says; the file, if it is in one."""
        if self.report is None:
            return None
        from lowbg.report import write_html, write_json

        write = write_html if self.report.suffix.lower() in (".html", ".htm") else write_json
        write(outcome.report, self.report)
        return None if is_special(self.report) else str(self.report)


def _stdout() -> tuple[int, int] | str | None:
    """What stdout is open on; null where it is closed, or no file."""
    try:
        return identity(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):
        return None


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
