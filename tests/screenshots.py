"""Pictures of pages, light and dark, at every width: `python -m tests.screenshots PAGE… -o FOLDER`.

PAGE is a file that lowbg wrote (`report.html`, a page of `explain`, `eval` or `drift`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tests.browser import WIDTHS, chromium, opened

SCHEMES = ("light", "dark")


def take(browser: Any, pages: Sequence[Path], folder: Path) -> list[Path]:
    """Writes `NAME-WIDTH-SCHEME.png` of the whole of every page; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for path, width, scheme in product(pages, WIDTHS, SCHEMES):
        with opened(browser, path.resolve().as_uri(), width, color_scheme=scheme) as page:
            target = folder / f"{path.stem}-{width}-{scheme}.png"
            page.screenshot(path=target, full_page=True)
            found.append(target)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Takes them, and names the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("screenshots"))
    given = parser.parse_args(arguments)
    with chromium() as browser:
        for path in take(browser, given.pages, given.output):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
