"""The recipes for provenance, the reserve and mixes, run as the pages have them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pages import DOCS, recipe_commands

pytestmark = pytest.mark.slow

PROSE = "We walked across the river on the stones, and the dogs ran ahead of us. " * 8


def write(path: Path, count: int, date: str, host: str) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [
        {
            "text": f"{path.stem} {i}. {PROSE}",
            "date": date,
            "url": f"https://{host}/{i}",
            "metadata": {"license": "CC-BY-4.0"},
            "c2pa": {"claim_generator": "camera"},
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_every_recipe_runs(tmp_path: Path) -> None:
    write(tmp_path / "crawl" / "old.jsonl", 8, "2019-05-05", "data.gov")
    write(tmp_path / "crawl" / "new.jsonl", 4, "2024-05-05", "farm.example")
    write(tmp_path / "generated" / "made.jsonl", 40, "2024-05-05", "maker.example")
    (tmp_path / "farms.txt").write_text("farm.example\n")
    (tmp_path / "letter.txt").write_text(f"old 3. {PROSE}")
    pages = (DOCS / "provenance.md", DOCS / "commands" / "mix.md")
    commands = [command for page in pages for command in recipe_commands(page)]
    assert len(commands) == 9
    shell = f'lowbg() {{ "{sys.executable}" -m lowbg_cli "$@"; }}\n'
    for command in commands:
        ended = subprocess.run(
            ["bash", "-c", shell + command], cwd=tmp_path, capture_output=True, check=False
        )
        assert ended.returncode == 0, (command, ended.stderr.decode())
    report = json.loads((tmp_path / "known" / "report.json").read_bytes())
    rules = {row["name"]: row["documents"] for row in report["provenance"]["rules"]}
    assert rules == {"metadata.license=CC-BY-*": 8, "denied source: farm.example": 4}
    manifests = {
        name: json.loads((tmp_path / name / "manifest.json").read_bytes())
        for name in ("reserve", "mix", "novel")
    }
    # Eight of the crawl's documents are old enough, and one was removed by name.
    assert manifests["reserve"]["totals"]["records"] == 7
    assert manifests["mix"]["mix"]["human_share"] >= 0.5
    assert manifests["mix"]["mix"]["synthetic"]["mixed_documents"] > 0
    assert manifests["novel"]["mix"]["human"]["mixed_documents"] == 7
    assert (tmp_path / "weights" / "weights" / "synthetic" / "made.jsonl").exists()
