"""The README's two set-up commands are those that CI runs."""

from __future__ import annotations

from tests.pages import README, ROOT, blocks, commands, read


def test_ci_runs_both_set_up_commands() -> None:
    ci = read(ROOT / ".ci" / "run")
    shown = [each.command for block in blocks(read(README), "console") for each in commands(block)]
    set_up = [command for command in shown if command.startswith("python3 -m venv")]
    assert len(set_up) == 2
    for command in set_up:
        pinned = command.replace("--quiet .", "--quiet --constraint constraints.txt .")
        assert command in ci or pinned in ci
