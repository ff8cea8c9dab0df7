"""The gate's recipes, run as `docs/commands/gate.md` has them: on clean data, and with AI text."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from examples.make_sample import ai_documents, human_documents
from tests.pages import DOCS, ROOT, blocks, read

pytestmark = pytest.mark.slow

PAGE = read(DOCS / "commands" / "gate.md")


def block(language: str, mark: str) -> str:
    """The page's one block of a language that holds `mark`."""
    (text,) = [found.text for found in blocks(PAGE, language) if mark in found.text]
    return text


def write_data(folder: Path, *, clean: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    documents = human_documents() + ([] if clean else ai_documents())
    text = "".join(json.dumps(document) + "\n" for document in documents)
    (folder / "part.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the page's policy; `bin/` has the commands that a recipe calls."""
    root = tmp_path / "project"
    (root / "bin").mkdir(parents=True)
    (root / "policy.toml").write_text(block("toml", "[gate]"), encoding="utf-8")
    # Installing is what the README's first commands are tried for.
    pip = '#!/bin/sh\n[ "$1" = install ] && [ -f "$2/pyproject.toml" ]\n'
    for name, script in (
        ("lowbg", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lowbg_cli "$@"\n'),
        ("pip", pip),
    ):
        (root / "bin" / name).write_text(script)
        (root / "bin" / name).chmod(0o755)
    (root / "lowbg").symlink_to(ROOT)
    return root


def environment(root: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "GIT_"))}
    return {**kept, "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}", **more}


@pytest.mark.parametrize("clean", [True, False])
def test_the_workflow(clean: bool, project: Path) -> None:
    text = block("yaml", "# .github/workflows/gate.yml")
    workflow = yaml.safe_load(text)
    # A key of its own in YAML 1.1: "on" is true.
    assert set(workflow) == {"name", True, "permissions", "jobs"}
    (job,) = workflow["jobs"].values()
    write_data(project / "data", clean=clean)
    summary = project / "summary.md"
    env = environment(project, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    codes, out = [], ""
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        if "run" in step:
            # How the runner starts a step of `run` on Linux.
            command = ["bash", "-e", "-c", step["run"]]
            ended = subprocess.run(
                command, cwd=project, env=env, capture_output=True, text=True, check=False
            )
            codes.append(ended.returncode)
            out += ended.stdout
    assert codes == [0, 0 if clean else 1]
    assert ("::error " in out) is not clean
    assert f"lowbg gate {'passed' if clean else 'failed'}" in summary.read_text(encoding="utf-8")
    uploads = [s for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
    assert uploads[0]["if"] == "always()"
    assert (project / uploads[0]["with"]["path"]).is_file()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_pre_commit_hook(project: Path, tmp_path: Path) -> None:
    config = block("yaml", "# .pre-commit-config.yaml")
    (project / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    env = environment(project, PRE_COMMIT_HOME=str(tmp_path / "cache"))

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            args, cwd=project, env=env, capture_output=True, text=True, check=False
        )

    assert call("git", "init", "-q").returncode == 0
    (project / ".gitignore").write_text("bin/\nlowbg\n")
    for clean in (True, False):
        write_data(project / "data", clean=clean)
        assert call("git", "add", ".").returncode == 0
        ended = call(sys.executable, "-m", "pre_commit", "run")
        assert (ended.returncode == 0) is clean, ended.stdout + ended.stderr
        assert ("Passed" if clean else "max_ai_share") in ended.stdout


def test_the_cron_lines(project: Path, tmp_path: Path) -> None:
    lines = block("crontab", "lowbg gate").splitlines()
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(project / "policy.toml", data / "policy.toml")

    def here(text: str) -> str:
        return text.replace("/opt/lowbg/bin", str(project / "bin")).replace("/data/", f"{data}/")

    env = {"HOME": str(tmp_path), "SHELL": "/bin/sh", "LANG": "C"}
    commands = []
    for line in lines:
        if re.fullmatch(r"[A-Z]+=\S*", line):
            name, _, value = line.partition("=")
            env[name] = here(value)
            continue
        *when, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"\*|\d+", field) for field in when)
        assert "%" not in command  # cron makes a line end of it.
        commands.append(here(command))
    assert len(commands) == 2

    def call(command: str) -> tuple[int, str]:
        ended = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    write_data(data / "incoming" / "monday", clean=True)
    # Nothing is printed, so that cron mails nothing.
    assert [call(command) for command in commands] == [(0, ""), (0, "")]
    write_data(data / "incoming" / "tuesday", clean=False)
    assert [call(command) for command in commands] == [(0, ""), (0, "")]
    # What is released is what passed as human; what came in is another matter.
    assert json.loads((data / "gate.json").read_bytes())["status"] == "pass"
    assert json.loads((data / "clean" / "report.json").read_bytes())["totals"]["records"] == 110
    for day in ("monday", "tuesday"):
        write_data(data / "clean" / "human" / day, clean=False)
    code, mail = call(commands[1])
    assert code == 1
    assert mail.startswith("lowbg: error: gate failed")
    assert mail.count("\n") == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_makefile(project: Path) -> None:
    (project / "Makefile").write_text(block("make", "lowbg gate"), encoding="utf-8")
    for clean in (False, True):
        write_data(project / "data", clean=clean)
        ended = subprocess.run(
            ["make", "release"], cwd=project, env=environment(project), capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert (ended.returncode == 0) is clean, ended.stdout + ended.stderr
        assert (project / "gate.xml").is_file()
        assert (project / "release.tar.gz").is_file() is clean
