"""`lowbg explain`: one document, its features, its sentences and the phrases in them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import bytes_text
from lowbg.config import RunConfig
from lowbg.errors import ConfigError
from lowbg.settings import setting
from lowbg_cli import terminal
from lowbg_cli.configure import AsJson, ConfigOptions
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command

if TYPE_CHECKING:
    from lowbg.records import Metadata

CONFIG = (
    *("file", "fields.text", "fields.id", "fields.language"),
    *("decision.target_fpr", "decision.fpr_bound", "decision.rule", "decision.tables"),
    *("fields.url", "fields.date", "trust.before", "sources.table", "sources.whole"),
)
STDIN = "-"


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

    @property
    def is_record(self) -> bool:
        """Whether it is a record of a shard; if not, the file's whole text is the document."""
        from lowbg.formats import is_shard

        if self.record is not None or self.id is not None:
            return True
        if self.file == STDIN or not Path(self.file).is_file():
            return False  # What can be read only once isn't looked into first.
        return is_shard(self.file)


@command
def explain_command(
    *, choice: Choice, options: Annotated[ConfigOptions, Only(CONFIG)], as_json: AsJson = False
) -> ExitCode:
    """Show why a document gets its verdict.

    Its features, the n-grams that weigh most, and its sentences with phrases marked.

    \b
      lowbg explain essay.txt
      lowbg explain dump.jsonl.zst --id doc-17
    """
    if choice.record is not None and choice.id is not None:
        raise ConfigError("--record and --id both choose a record; give one")
    config = options.resolve()
    text, origin = _read(choice, config)

    from lowbg.jobs.explain import explain
    from lowbg.runs.engine import Engine

    own = origin.language[0].as_py() if origin is not None else None
    engine = Engine(config.policy)
    engine.prepare()
    explanation = explain(engine.setup(), text, language=choice.language or own, origin=origin)
    if as_json:
        print(json.dumps(explanation.as_dict(), ensure_ascii=False, indent=2))
        return ExitCode.FINISHED
    from lowbg_cli.explanation import print_explanation

    print_explanation(explanation, sys.stdout)
    return ExitCode.FINISHED


def _read(choice: Choice, config: RunConfig) -> tuple[str, Metadata | None]:
    """The document's text, and what its record says of itself; null where it isn't in one."""
    from lowbg.formats import open_text

    if choice.file != STDIN and not Path(choice.file).exists():
        raise ConfigError(f"{choice.file}: no such file")
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
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        terminal.warning(f"{choice.file}: invalid UTF-8 at byte {error.start}; read as U+FFFD")
        return data.decode("utf-8-sig", "replace"), None
