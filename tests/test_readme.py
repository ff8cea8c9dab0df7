"""The README's commands are those that CI runs, and its options are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return re.findall(r"^\$ (.+)$", README, flags=re.MULTILINE)


def test_ci_runs_both_set_up_commands() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    set_up = [command for command in commands() if command.startswith("python3 -m venv")]
    assert len(set_up) == 2
    for command in set_up:
        pinned = command.replace("--quiet .", "--quiet --constraint constraints.txt .")
        assert command in ci or pinned in ci


@pytest.mark.parametrize("command", [c for c in commands() if "lowbg " in c])
def test_every_option_in_the_readme_exists(command: str) -> None:
    for name, rest in re.findall(r"lowbg (\w+)([^|#]*)", command):
        if name == "COMMAND":
            continue
        source = ROOT / "cli" / "lowbg_cli" / "commands" / f"{name}.py"
        assert source.exists(), name
        shared = sorted((ROOT / "cli" / "lowbg_cli").glob("*options.py"))
        known = "".join(path.read_text(encoding="utf-8") for path in (source, *shared))
        for option in re.findall(r"--[a-z-]+", rest):
            assert f'"{option}"' in known or f"/{option}" in known, option
