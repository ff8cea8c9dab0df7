"""The format of docs/extending/format.md, as an installed package and as a file dropped in."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import PERSONAL
from tests.pages import DOCS, blocks, read

import lowbg
import lowbg_cli

pytestmark = pytest.mark.slow

MACHINE = "As an AI language model, I cannot browse the river, but here is a general answer. " * 6
PAGES = [f"Page {i}. {PERSONAL if i % 3 else MACHINE}\f".encode() for i in range(30)]


def module() -> str:
    """The example, as the page has it."""
    (example,) = blocks(read(DOCS / "extending" / "format.md"), "python")
    return example.text


def installed(root: Path) -> list[Path]:
    """A package that brings it, with its entry point."""
    (declared,) = blocks(read(DOCS / "extending" / "format.md"), "toml")
    assert 'pages = "my_package.pages"' in declared.text
    (root / "my_package").mkdir(parents=True)
    (root / "my_package" / "__init__.py").touch()
    (root / "my_package" / "pages.py").write_text(module())
    info = root / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lowbg.formats]\npages = my_package.pages\n")
    return [root]


def dropped_in(root: Path) -> list[Path]:
    """lowbg itself with one file more."""
    library = Path(lowbg.__file__).parent
    (root / "lowbg" / "formats").mkdir(parents=True)
    for folder in (library, library / "formats"):
        for path in folder.iterdir():
            if path.name not in ("formats", "__pycache__"):
                (root / "lowbg" / path.relative_to(library)).symlink_to(path)
    (root / "lowbg" / "formats" / "pages.py").write_text(module())
    return [root]


@pytest.mark.parametrize("add", [installed, dropped_in])
def test_a_format_is_one_file(add, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "in" / "shelf").mkdir(parents=True)
    book = tmp_path / "in" / "shelf" / "book.pages.gz"
    book.write_bytes(gzip.compress(b"".join(PAGES)))
    (tmp_path / "in" / "latin.pages").write_bytes(PAGES[1] + b"caf\xe9\f" + PAGES[2])
    homes = [Path(lowbg.__file__).parents[1], Path(lowbg_cli.__file__).parents[1]]
    paths = [*add(tmp_path / "site"), *homes]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}

    def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "lowbg_cli", *map(str, args)]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert ended.returncode == code, ended.stderr
        return ended

    out = tmp_path / "out"
    run("filter", tmp_path / "in", "-o", out, "--workers", "2", "-q")
    human = gzip.decompress((out / "human" / "shelf" / "book.pages.gz").read_bytes())
    ai = gzip.decompress((out / "ai" / "shelf" / "book.pages.gz").read_bytes())
    assert ai == b"".join(PAGES[::3])
    assert human == b"".join(page for i, page in enumerate(PAGES) if i % 3)
    (row,) = (out / "quarantine" / "latin.pages.jsonl").read_bytes().splitlines()
    assert json.loads(row)["reason"] == "invalid_utf8"
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert {each["format"] for each in manifest["inputs"]} == {"pages"}
    run("verify", out)
    run("score", book, "-o", tmp_path / "rows", "-q")
    rows = (tmp_path / "rows" / "book.jsonl").read_bytes().splitlines()
    assert [json.loads(row)["verdict"] == "ai" for row in rows] == [i % 3 == 0 for i in range(30)]
    refused = run("filter", book, "--discard-ai", code=2)
    assert b"is pages of text, and stdout takes JSONL lines only" in refused.stderr
    assert b"pages, gzip" in run("filter", book, "-o", tmp_path / "dry", "--dry-run").stdout
    run("filter", tmp_path / "in", "-o", out, "--resume", "-q")
    (out / "human" / "latin.pages").write_bytes(b"".join(PAGES[3:6]))
    run("verify", out, code=1)
