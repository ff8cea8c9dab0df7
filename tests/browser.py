"""A real Chromium for tests of pages; tests that take it are left out where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (360, 768, 1440)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """Where Chromium is, if anywhere."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's handle on a Chromium of the system; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = executable()
    if path is None:
        pytest.skip("there is no Chromium")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium refuses root in a sandbox.
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


def axe_script() -> str:
    """axe-core, as a script to run in a page."""
    package = pytest.importorskip("axe_playwright_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")


@contextmanager
def opened(browser: Any, url: str, width: int = 1440, **options: Any) -> Iterator[Any]:
    """A page; at its end nothing may have been complained of in the console, or asked for.

    `complaints` of the page are the list of what was.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    origin = url if url.startswith("file:") else "/".join(url.split("/", 3)[:3])
    page.on(
        "request",
        lambda r: None if r.url.startswith(origin) else complaints.append(f"request: {r.url}"),
    )
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    try:
        page.goto(url)
        yield page
        assert complaints == []
    finally:
        context.close()


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def violations(browser: Any, url: str, width: int = 1440, **options: Any) -> list[str]:
    """What axe-core finds wrong with a page: rule, and the first element."""
    # The page's own policy lets no other script in.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, bypass_csp=True, **options
    )
    try:
        page = context.new_page()
        page.goto(url)
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        page.evaluate(axe_script())
        found = page.evaluate("axe.run().then((result) => result.violations)")
        return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]
    finally:
        context.close()
