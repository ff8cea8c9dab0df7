"""A report as one HTML page: no script, nothing loaded from elsewhere, all data escaped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowbg.amounts import bytes_text, count_text, share_text
from lowbg.config import VERDICTS
from lowbg.report.collect import Report
from lowbg.report.sections import sections
from lowbg.report.sections.base import Histogram, visible
from lowbg.storage.files import write_whole

if TYPE_CHECKING:
    import jinja2


def render_html(report: Report) -> str:
    """The page; what comes from the data is escaped, and its control characters written out."""
    shown = [(section.title, section.blocks(report[section])) for section in sections()]
    return render_page("report.html.j2", report=report, sections=shown)


def render_page(template: str, **values: Any) -> str:
    """A page of `templates/` with its values; strings among them are escaped."""
    return _environment().get_template(template).render(values)


def write_html(report: Report, path: Path) -> None:
    """Writes the page atomically. Raises `OutputError` where the system refuses."""
    write_whole(path, render_html(report).encode("utf-8"))


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # Not before there is a page to write.

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lowbg.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        count=lambda value: "–" if value is None else count_text(value),
        bytes=lambda value: "–" if value is None else bytes_text(value),
        share=share_text,
        bars=histogram_bars,
        ticks=histogram_ticks,
    )
    return environment


def _finalize(value: Any) -> Any:
    # Markup, a subclass of str, is what macros return: already escaped.
    return visible(value, keep="\n") if type(value) is str else value


def histogram_bars(
    histogram: Histogram, width: float, height: float
) -> Sequence[tuple[str, float, float, float, float, str]]:
    """Stacked bars as (verdict, x, y, width, height, title) in a box with y downwards."""
    series = [(verdict, histogram.series[verdict]) for verdict in VERDICTS]
    peak = max((sum(bin) for bin in zip(*(counts for _, counts in series), strict=True)), default=0)
    bars = []
    bins = len(histogram.edges) - 1
    for i in range(bins):
        top = height
        span = f"{_tick(histogram.edges[i])} – {_tick(histogram.edges[i + 1])}"
        for verdict, counts in series:
            if counts[i]:
                size = height * counts[i] / peak
                top -= size
                title = f"{span}: {count_text(counts[i])} {verdict}"
                bars.append((verdict, i * width / bins, top, width / bins, size, title))
    return bars


def histogram_ticks(histogram: Histogram, width: float) -> Sequence[tuple[float, str]]:
    """About five places on the axis, (x, label), at bin edges."""
    bins = len(histogram.edges) - 1
    count = next((n for n in (4, 5, 6) if bins % n == 0), 1)
    places = range(0, bins + 1, bins // count)
    return [(i * width / bins, _tick(histogram.edges[i])) for i in places]


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
