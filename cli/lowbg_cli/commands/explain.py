"""`lowbg explain`: one document, its features, its sentences and the phrases in them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import bytes_text
from lowbg.config import RunConfig
from lowbg.errors import ConfigError, InputError, cause
from lowbg.settings import Setting, Written, setting
from lowbg.storage.whole_files import is_there, write_whole
from lowbg_cli import terminal
from lowbg_cli.configure import AsJson, ConfigOptions
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command
from lowbg_cli.loading import report_file
from lowbg_cli.outcome import tell_silent

if TYPE_CHECKING:
    from lowbg.jobs.explain import Explanation
    from lowbg.records import Metadata

CONFIG = (
    *("file", "fields.text", "fields.id", "fields.language"),
    *("decision.target_fpr", "decision.fpr_bound", "decision.rule", "decision.tables"),
    *("fields.url", "fields.date", "trust.before", "sources.table", "sources.whole", "extras.lm"),
)
STDIN = "-"
NO_TEXT = ("\ufffd", "\0")
"""Where more than a tenth of a file is these, it isn't text."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which document of a file is looked at; nulls where the command line says nothing."""

    file: str = setting(
        "A text, or a shard of which one record is taken; - is stdin.", flags="FILE"
    )
    record: int | None = setting(
        "The record at this place of a shard, from 0.", None, unit="N", least=0
    )
    id: str | None = setting("The record with this identifier.", None, unit="ID")
    language: str | None = setting(
        "Its language; else it is recognised.", None, flags="--lang", unit="CODE"
    )

    def split(self) -> Choice:
        """The choice with the record's number apart, where FILE ends in one and is no file."""
        path, _, number = self.file.rpartition(":")
        digits = number.replace(",", "")
        if not path or not digits.isascii() or not digits.isdecimal() or _exists(self.file):
            return self
        if not _exists(path):
            return self
        if self.record is not None or self.id is not None:
            raise ConfigError(f"{self.file} chooses a record; leave out --record and --id")
        return replace(self, file=path, record=int(digits))

    @property
    def name(self) -> str:
        """What to call the document."""
        name = "standard input" if self.file == STDIN else Path(self.file).name
        if self.id is not None:
            return f"{name}, {self.id}"
        return name if self.record is None else f"{name}:{self.record}"

    @property
    def is_record(self) -> bool:
        """Whether it is a record of a shard; if not, the file's whole text is the document."""
        from lowbg.formats import is_shard

        if self.record is not None or self.id is not None:
            return True
        if self.file == STDIN or not is_there(Path(self.file)):
            return False  # What can be read only once isn't looked into first.
        return is_shard(self.file)


@command
def explain_command(
    *,
    choice: Choice,
    options: Annotated[ConfigOptions, Only(CONFIG, without=("extras.lm.budget",))],
    as_json: AsJson = False,
    html: Annotated[
        Path | None,
        Setting("Write a page with the text shaded.", unit="FILE", written=Written.FILE),
    ] = None,
    report: Annotated[
        Path | None,
        Setting(
            "An output or report.json: where the features lie among its documents (page).",
            unit="DIR",
        ),
    ] = None,
) -> ExitCode:
    """Show why a document gets its verdict.

    Its features, the n-grams that weigh most, and its sentences with phrases marked. FILE may end
    in a record's number, as reports write it.

    \b
      lowbg explain essay.txt --html essay.html
      lowbg explain dump.jsonl.zst:17
      lowbg explain dump.jsonl.zst --id doc-17
    """
    choice = choice.split()
    if report is not None and html is None:
        raise ConfigError("--report: only with --html FILE")
    if choice.record is not None and choice.id is not None:
        raise ConfigError("--record and --id both choose a record; give one")
    config = options.resolve()
    text, origin = _read(choice, config)

    from lowbg.jobs.explain import explain
    from lowbg.runs.engine import Engine

    own = origin.language[0].as_py() if origin is not None else None
    engine = Engine(config.policy, config.extras)
    engine.prepare()
    explanation = explain(engine.setup(), text, language=choice.language or own, origin=origin)
    tell_silent(engine)
    if html is not None:
        _write_page(explanation, choice, html, report)
        if not as_json:
            return ExitCode.FINISHED
    if as_json:
        print(json.dumps(explanation.as_dict(), ensure_ascii=False, indent=2))
        return ExitCode.FINISHED
    from lowbg_cli.explanation import print_explanation

    print_explanation(explanation, sys.stdout)
    return ExitCode.FINISHED


def _exists(file: str) -> bool:
    """Whether there is such a file, folder or object."""
    try:
        return is_there(Path(file)) or Path(file).exists()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({cause(error)})") from error


def _write_page(explanation: Explanation, choice: Choice, page: Path, report: Path | None) -> None:
    from lowbg.jobs.explain_page import percentiles, render_explanation
    from lowbg.report import read_json

    among = None
    if report is not None:
        among = percentiles(explanation, read_json(report_file(report)))
    write_whole(page, render_explanation(explanation, choice.name, among).encode("utf-8"))


def _read(choice: Choice, config: RunConfig) -> tuple[str, Metadata | None]:
    """The document's text, and what its record says of itself; null where it isn't in one."""
    from lowbg.formats import open_text

    if choice.file != STDIN and not _exists(choice.file):
        raise ConfigError(f"{choice.file}: no such file")
    if not choice.file:
        raise ConfigError("the document's file has no name")
    if Path(choice.file).is_dir():
        raise ConfigError(f"{choice.file}: is a directory; give one file of it")
    if choice.is_record:
        from lowbg.jobs.explain import find_record

        if choice.file == STDIN:
            raise ConfigError("a record is taken from a file, not from stdin")
        return find_record(choice.file, config, record=choice.record, id=choice.id)
    if choice.file == STDIN and sys.stdin is None:
        raise ConfigError("stdin is closed; there is nothing to read from -")
    source = sys.stdin.buffer if choice.file == STDIN else choice.file
    name = "stdin" if choice.file == STDIN else choice.file
    with open_text(source, name) as stream:
        data = stream.read(config.max_record_bytes + 1)
    if len(data) > config.max_record_bytes:
        raise ConfigError(
            f"{choice.file}: above {bytes_text(config.max_record_bytes, three_digits=True)}"
        )
    text = data.decode("utf-8-sig", "replace")
    if 10 * sum(map(text.count, NO_TEXT)) > len(text):
        raise InputError(f"{name}: is no text in UTF-8")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        terminal.warning(f"{choice.file}: invalid UTF-8 at byte {error.start}; read as U+FFFD")
    return text, None
