"""The report of a run: collected once, then rendered as JSON, HTML or for a terminal.

To add a section, write one file in `sections/`.
"""

from lowbg.report.collect import Report, collect, merge_reports
from lowbg.report.render_html import render_html, write_html
from lowbg.report.render_json import read_json, render_json, write_json

__all__ = [
    "Report",
    "collect",
    "merge_reports",
    "read_json",
    "render_html",
    "render_json",
    "write_html",
    "write_json",
]
