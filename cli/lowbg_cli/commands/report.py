"""`lowbg report`: renders the report of a finished run again, or those of several as one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.errors import ConfigError
from lowbg.settings import Setting, Written
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import command
from lowbg_cli.loading import report_file
from lowbg_cli.outcome import summary

if TYPE_CHECKING:
    from lowbg.report import Report


class ReportFormat(StrEnum):
    """How a report is rendered."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    MD = "md"
    CSV = "csv"


_COMPARED = (ReportFormat.HTML, ReportFormat.MD)


@command
def report_command(
    *,
    directories: Annotated[
        tuple[Path, ...],
        Setting("Outputs of runs, or their report.json files; URLs too.", flags="DIR"),
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
    card: Annotated[
        bool,
        Setting("The YAML and Markdown that a Hugging Face data set card takes.", flags="--card"),
    ] = False,
    against: Annotated[
        Path | None,
        Setting(
            "An earlier output or report.json: what changed since (html, md).",
            flags="--against",
            unit="DIR",
        ),
    ] = None,
) -> ExitCode:
    """Render a finished run's report again, or several as one.

    \b
      lowbg report OUT -o comment.md
      lowbg report part-1 part-2 --card
    """
    from lowbg.report import merge_reports

    if card and report_format is not None:
        raise ConfigError(f"--card is a format of its own; leave out --format {report_format}")
    wanted = report_format or _format_of(output)
    if against is not None and (card or wanted not in _COMPARED):
        raise ConfigError("--against: only a page or Markdown compares; name --format html or md")
    reports = _read(directories, output)
    report = reports[0] if len(reports) == 1 else merge_reports(reports)
    earlier = None if against is None else _read([against], output)[0]
    _write(_rendered(report, wanted, output, earlier=earlier, card=card), output)
    return ExitCode.FINISHED


def _read(directories: Sequence[Path], output: Path | None) -> list[Report]:
    """The reports, each run of them once."""
    from lowbg.report import read_json
    from lowbg.report.repeats import without_repeats

    paths = [report_file(path) for path in directories]
    for path in paths:
        if is_object_url(path):
            if output is not None and address(output) == address(path):
                raise ConfigError(f"{address(output)} is one of the reports to read")
            continue
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; give the output directory of a finished run")
        if output is not None and os.path.realpath(output) == os.path.realpath(path):
            raise ConfigError(f"{output} is one of the reports to read; name another file")
    return without_repeats((address(path), read_json(path)) for path in paths)


def _format_of(output: Path | None) -> ReportFormat:
    ending = output.suffix.lower() if output is not None else ""
    endings = {"": ReportFormat.TEXT, ".txt": ReportFormat.TEXT, ".htm": ReportFormat.HTML}
    endings |= {f".{each}": each for each in ReportFormat}
    if ending not in endings:
        raise ConfigError(
            f"{output}: {ending} isn't written; end the name with .html, .md, .json, .csv or .txt, "
            "or give --format"
        )
    return endings[ending]


def _rendered(
    report: Report,
    report_format: ReportFormat,
    output: Path | None,
    *,
    earlier: Report | None,
    card: bool,
) -> bytes | str:
    """The report as it was asked for; a string of what may go to a terminal."""
    from lowbg.report import render_html, render_json
    from lowbg.report.render_csv import render_csv
    from lowbg.report.render_markdown import render_card, render_markdown

    if card:
        return render_card(report)
    if report_format is ReportFormat.JSON:
        return render_json(report)
    if report_format is ReportFormat.HTML:
        return render_html(report, earlier).encode("utf-8")
    if report_format is ReportFormat.MD:
        return render_markdown(report, earlier)
    if report_format is ReportFormat.CSV:
        return render_csv(report)
    return summary(report, sys.stdout if output is None else None)


def _write(data: bytes | str, output: Path | None) -> None:
    from lowbg.storage.whole_files import write_whole

    if output is not None:
        write_whole(output, data if isinstance(data, bytes) else data.encode("utf-8"))
    elif isinstance(data, str):
        print(data, end="")
    elif sys.stdout is not None:
        sys.stdout.buffer.write(data)
