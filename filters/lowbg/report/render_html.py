"""Pages: a report, and what other commands draw alike. Nothing is loaded, all data is escaped.

A page allows exactly its own style and script, by their SHA-256; without the script it is whole.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lowbg.amounts import bytes_text, count_text, share_text
from lowbg.report import drawing
from lowbg.report.collect import Report
from lowbg.report.compare import compared
from lowbg.report.headline import headline
from lowbg.report.sections import sections
from lowbg.report.sections.base import Block, Section, visible
from lowbg.storage.whole_files import write_whole

if TYPE_CHECKING:
    import jinja2


def render_html(report: Report, earlier: Report | None = None) -> str:
    """The page; what comes from the data is escaped, and its control characters written out.

    With an `earlier` report it says what changed since.
    """
    shown: list[tuple[Section[Any] | _Heading, Sequence[Block]]] = [
        (section, section.blocks(report[section])) for section in sections()
    ]
    if earlier is not None:
        shown.insert(1, (_COMPARED, (compared(report, earlier),)))
    return render_page("report", report=report, sections=shown, top=headline(report))


class _Heading(Struct, frozen=True):
    """A part of a page that is no section of the report."""

    key: str
    title: str
    weak: str = ""


_COMPARED = _Heading("compared", "Since the earlier report")


def render_page(name: str, /, *, forms: bool = False, **values: Any) -> str:
    """The page `templates/NAME.html.j2` with its values; strings among them are escaped.

    Its style is `report.css` and `NAME.css`, its script `page.js` and `NAME.js`, where there are
    such. With `forms` it may send some to where it came from.
    """
    from markupsafe import Markup

    style, script = _parts(name)
    policy = page_policy(name, forms=forms)
    template = _environment().get_template(f"{name}.html.j2")
    whole = {"policy": Markup(policy), "style": Markup(style), "script": Markup(script)}
    return template.render({**values, **whole, "forms": forms}) + "\n"


def page_policy(name: str, *, forms: bool = False) -> str:
    """The policy (CSP) of a page: nothing but its own style and script."""
    style, script = _parts(name)
    target = "'self'" if forms else "'none'"
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        f"base-uri 'none'; form-action {target}"
    )


@functools.cache
def _parts(name: str) -> tuple[str, str]:
    """The style and the script of a page."""
    folder = files("lowbg.report") / "templates"
    own = {end: f"{name}.{end}" for end in ("css", "js")}
    style, script = (
        _file(shared)
        + (_file(own[end]) if own[end] != shared and (folder / own[end]).is_file() else "")
        for shared, end in (("report.css", "css"), ("page.js", "js"))
    )
    return style, script


def write_html(report: Report, path: Path, earlier: Report | None = None) -> None:
    """Writes the page atomically. Raises `OutputError` where the system refuses."""
    write_whole(path, render_html(report, earlier).encode("utf-8"))


@functools.cache
def _file(name: str) -> str:
    return (files("lowbg.report") / "templates" / name).read_text("utf-8")


def _digest(text: str) -> str:
    """A part of a page as its policy allows it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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
        bars=drawing.histogram_bars,
        ticks=drawing.histogram_ticks,
        marks=drawing.histogram_marks,
        points=drawing.share_points,
        planes=drawing.density_planes,
        heat=drawing.heat,
        shading=drawing.shading,
    )
    return environment


def _finalize(value: Any) -> Any:
    # Markup, a subclass of str, is what macros return: already escaped.
    return visible(value, keep="\n") if type(value) is str else value
