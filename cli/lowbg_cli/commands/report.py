"""`lowbg report`: renders the report of a finished run again, or those of several as one."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.errors import ConfigError
from lowbg.settings import Setting, Written
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import command
from lowbg_cli.outcome import summary

if TYPE_CHECKING:
    from lowbg.report import Report


class ReportFormat(StrEnum):
    """How a report is rendered."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


@command
def report_command(
    *,
    directories: Annotated[
        tuple[Path, ...], Setting("Outputs of runs, or their report.json files.", flags="DIR")
    ],
    report_format: Annotated[
        ReportFormat | None,
        Setting("How to render it.", flags="--format", shown="as FILE ends, else text"),
    ] = None,
    output: Annotated[
        Path | None,
        Setting(
            "Write to a file, not to stdout.",
            flags="--output -o",
            unit="FILE",
            written=Written.FILE,
        ),
    ] = None,
) -> ExitCode:
    """Render a finished run's report again, or several as one."""
    from lowbg.report import merge_reports, read_json
    from lowbg.report.repeats import without_repeats

    paths = [path / "report.json" if path.is_dir() else path for path in directories]
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; give the output directory of a finished run")
        if output is not None and os.path.realpath(output) == os.path.realpath(path):
            raise ConfigError(f"{output} is one of the reports to read; name another file")
    reports = without_repeats((str(path), read_json(path)) for path in paths)
    report = reports[0] if len(reports) == 1 else merge_reports(reports)
    _render(report, report_format or _format_of(output), output)
    return ExitCode.FINISHED


def _format_of(output: Path | None) -> ReportFormat:
    ending = output.suffix.lower() if output is not None else ""
    endings = {".json": ReportFormat.JSON, ".html": ReportFormat.HTML, ".htm": ReportFormat.HTML}
    return endings.get(ending, ReportFormat.TEXT)


def _render(report: Report, report_format: ReportFormat, output: Path | None) -> None:
    from lowbg.report import render_html, render_json
    from lowbg.storage.files import write_whole

    if report_format is ReportFormat.JSON:
        data = render_json(report)
    elif report_format is ReportFormat.HTML:
        data = render_html(report).encode("utf-8")
    elif output is None:
        print(summary(report, sys.stdout), end="")
        return
    else:
        data = summary(report, None).encode("utf-8")
    if output is not None:
        write_whole(output, data)
    elif sys.stdout is not None:
        sys.stdout.buffer.write(data)
