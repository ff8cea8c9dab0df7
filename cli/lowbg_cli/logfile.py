"""`--log-file`: what a run did, for cron: one JSON object a line, appended.

Every line has `time` (UTC, ISO 8601), `level`, `event` and `message`. `event` is "start", "shard",
"note" or "end"; the last line of a run is its "end" and says all that a mail needs.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.amounts import counted
from lowbg.config import OUTCOMES
from lowbg.errors import ConfigError, LowbgError, ModelError
from lowbg_cli import terminal
from lowbg_cli.exits import ExitCode, Interrupted

if TYPE_CHECKING:
    from lowbg.report.results import ShardResult
    from lowbg.runs.job import Outcome

_LOGGER = "lowbg"
_MESSAGES = 20


class RunLog(logging.Handler):
    """The log of one run; without a path nothing is written.

    As a handler it takes the library's warnings; they are said on stderr without it.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(logging.WARNING)
        self._descriptor = -1
        self._ended = False
        if path is None:
            return
        try:
            # One write a line to a file opened so: lines of several runs don't mix.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise ConfigError(f"--log-file {path}: {error.strerror}") from error

    def write(self, level: str, event: str, message: str, **more: Any) -> None:
        """Appends a line; a log that can't be written (a full disk) doesn't end the run."""
        if self._descriptor < 0:
            return
        time = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        message = terminal.worded(message)
        line = {"time": time, "level": level, "event": event, "message": message, **more}
        try:
            os.write(self._descriptor, json.dumps(line).encode("ascii") + b"\n")
        except OSError as error:
            terminal.warning(f"the log file can't be written ({error.strerror}); going on without")
            self._close()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a warning of the library."""
        self.write(record.levelname.lower(), "note", record.getMessage())

    def shard(self, result: ShardResult) -> None:
        """Notes a shard's end."""
        documents = result.statistics.documents()
        messages = [problem.message for problem in result.problems if not problem.count]
        self.write(
            "info" if result.complete else "error",
            "shard",
            "; ".join(messages) if messages else f"{result.shard}: {result.records:,} records",
            shard=result.shard,
            complete=result.complete,
            records=result.records,
            **documents,
            read_bytes=result.read_bytes,
            seconds=round(result.seconds, 3),
        )

    def end(self, outcome: Outcome, code: ExitCode, report: str) -> None:
        """Writes the last line of a run that came to its end."""
        failed = [shard for shard in outcome.shards if not shard.complete]
        messages = [p.message for s in failed for p in s.problems if not p.count]
        totals = dict.fromkeys(OUTCOMES, 0)
        for shard in outcome.shards:
            for name, count in shard.statistics.documents().items():
                totals[name] += count
        records = sum(shard.records for shard in outcome.shards)
        counts = ", ".join(f"{count:,} {name}" for name, count in totals.items())
        state = f"; {counted(len(failed), 'shard')} not whole" if failed else ""
        resumed = f" ({outcome.resumed} done before)" if outcome.resumed else ""
        shards = counted(len(outcome.shards), "shard")
        self._end(
            "info" if code is ExitCode.FINISHED else "error",
            f"{shards}{resumed}, {records:,} records: {counts}{state}; exit {int(code)}",
            int(code),
            shards=len(outcome.shards),
            resumed=outcome.resumed,
            failed=[shard.shard for shard in failed],
            records=records,
            **totals,
            ai_share=round(outcome.ai_share, 6),
            problems=[terminal.worded(m) for m in (*outcome.notes, *messages)][:_MESSAGES],
            report=report,
        )

    def _end(self, level: str, message: str, code: int, **more: Any) -> None:
        if not self._ended:
            self._ended = True
            self.write(level, "end", message, exit_code=code, **more)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def during(self, command: str, **more: Any) -> Iterator[None]:
        """Within, warnings of the library are taken; how it ends is the log's last line."""
        logger = logging.getLogger(_LOGGER)
        logger.addHandler(self)
        self.write("info", "start", command, pid=os.getpid(), **more)
        try:
            yield
        except Interrupted as error:
            hints = " ".join(getattr(error, "__notes__", []))
            self._end("error", f"interrupted ({error}). {hints}", 128 + error.number)
            raise
        except (ConfigError, ModelError) as error:
            self._end("error", str(error), ExitCode.USAGE)
            raise
        except LowbgError as error:
            self._end("error", str(error), ExitCode.INCOMPLETE)
            raise
        except Exception as error:
            self._end("error", f"internal error: {error!r}", ExitCode.INTERNAL)
            raise
        finally:
            logger.removeHandler(self)
            self._close()
