"""Runs that share the shards out, and what `merge` makes of their outputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines
from typer.testing import Result

from lowbg.errors import ConfigError
from lowbg.runs.splitting import Split
from lowbg_cli.splitting import SplitOptions

Run = Callable[..., Result]
SLURM = Path(__file__).parents[2] / "examples" / "slurm"
COUNT = 3


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Two folders of shards of unlike sizes; one holds a line that is no record."""
    for i in range(7):
        folder = tmp_path / "in" / ("b" if i % 2 else "a")
        folder.mkdir(parents=True, exist_ok=True)
        data = lines(*HUMAN[i : 2 * i + 2]) + (lines(AI) if i in (2, 5) else b"")
        (folder / f"{i}.jsonl").write_bytes(data + (b"{broken\n" if i == 3 else b""))
    (tmp_path / "in" / "a" / "README").write_text("No shard.")
    return tmp_path / "in"


def _parts(run: Run, inputs: Path, out: Path, *more: object, command: str = "filter") -> None:
    for index in range(COUNT):
        result = run(
            command, inputs / "b", inputs / "a", "-o", out, "-q",
            "--shard-index", index, "--shard-count", COUNT, *more,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr


def _told(output: Path) -> Any:
    """A report without what is of a run: when, where and how long."""
    report = json.loads((output / "report.json").read_bytes())
    del report["runs"]
    for shard in report["shards"]:
        del shard["seconds"], shard["cpu_seconds"]
    return {
        **report,
        "throughput": {k: v for k, v in report["throughput"].items() if "second" not in k},
    }


def _listed(output: Path) -> Any:
    manifest = json.loads((output / "manifest.json").read_bytes())
    own = [file for file in manifest["files"] if file["kind"] != "report"]
    return manifest["totals"], manifest["inputs"], sorted(own, key=lambda file: str(file["path"]))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["filter", "score"])
def test_a_merge_is_what_one_run_would_have_written(
    command: str, inputs: Path, run: Run, tmp_path: Path
) -> None:
    one, out, whole = tmp_path / "one", tmp_path / "out", tmp_path / "whole"
    given = (inputs / "b", inputs / "a")
    assert run(command, *given, "-o", one, "-q").exit_code == 0
    _parts(run, inputs, out, command=command)
    result = run("merge", out, "-o", whole)
    assert result.exit_code == 0, result.stderr
    assert f"of {COUNT} outputs" in result.stderr
    assert _told(whole) == _told(one)
    assert _listed(whole) == _listed(one)
    for file in _listed(one)[2]:
        assert (whole / file["path"]).read_bytes() == (one / file["path"]).read_bytes()
    shutil.rmtree(out)
    assert run("verify", whole).exit_code == 0
    # It is gone on with as what one run wrote.
    again = run(command, *given, "-o", whole, "--resume")
    assert "7 shards had been finished" in again.stderr
    refused = run("merge", one, "-o", whole)
    assert refused.exit_code == 2
    assert "already holds a run. Use --overwrite to replace it, or" in refused.stderr
    assert run("merge", one, "-o", whole, "--overwrite", "-q").exit_code == 0
    assert run("verify", whole).exit_code == 0


@pytest.mark.slow
def test_a_part_is_gone_on_with_and_parts_must_all_be_there(
    inputs: Path, run: Run, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    _parts(run, inputs, out)
    _parts(run, inputs, out, "--resume")
    part = out / "part-00001-of-00003"
    shutil.move(part, tmp_path / "aside")
    missing = run("merge", out, "-o", whole)
    assert missing.exit_code == 2
    assert "1 part of 3 missing: 1" in missing.stderr
    shutil.move(tmp_path / "aside", part)
    (part / "manifest.json").rename(tmp_path / "manifest.json")
    assert "--resume" in run("merge", out, "-o", whole).stderr
    (tmp_path / "manifest.json").rename(part / "manifest.json")
    inside = run("merge", out, "-o", part / "whole")
    assert "can't lie in" in inside.stderr
    # What came meanwhile would be shared out otherwise.
    (inputs / "a" / "8.jsonl").write_bytes(lines(*HUMAN))
    changed = run(
        "filter", inputs / "b", inputs / "a", "-o", out, "-q", "--resume",
        "--shard-index", 1, "--shard-count", COUNT,
    )  # fmt: skip
    assert changed.exit_code == 2
    assert "split" in changed.stderr
    (listed,) = [f for f in _listed(part)[2] if f["kind"] == "human"][:1]
    (part / listed["path"]).unlink()
    assert "but missing" in run("merge", out, "-o", whole).stderr
    assert not whole.exists()


@pytest.mark.slow
def test_runs_that_judged_differently_are_no_whole(inputs: Path, run: Run, tmp_path: Path) -> None:
    for name, more in (("a", ()), ("b", ("--target-fpr", "0.02"))):
        assert run("filter", inputs / name, "-o", tmp_path / name, "-q", *more).exit_code == 0
    result = run("merge", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "whole")
    assert result.exit_code == 2
    assert "target_fpr was 0.01, is 0.02" in result.stderr
    twice = run("merge", tmp_path / "a", tmp_path / "a", "-o", tmp_path / "whole")
    assert "given twice" in twice.stderr
    none = run("merge", inputs, "-o", tmp_path / "whole")
    assert "neither the output of a run" in none.stderr


def test_a_part_without_shards_is_whole(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("Good morning."))
    for index in range(2):
        result = run(
            "filter", tmp_path / "a.jsonl", "-o", tmp_path / "out", "-q",
            "--shard-index", index, "--shard-count", 2,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
    assert run("merge", tmp_path / "out", "-o", tmp_path / "whole", "-q").exit_code == 0
    assert _told(tmp_path / "whole")["totals"]["records"] == 1


@pytest.mark.slow
def test_what_could_not_be_read_whole_is_told_of_the_whole(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(lines("Good morning."))
    (tmp_path / "in" / "b.jsonl").write_bytes(b"PAR1 no Parquet PAR1")
    codes = [
        run(
            "filter", tmp_path / "in", "-o", tmp_path / "out", "-q",
            "--shard-index", index, "--shard-count", 2,
        ).exit_code
        for index in range(2)
    ]  # fmt: skip
    assert sorted(codes) == [0, 3]
    merged = run("merge", tmp_path / "out", "-o", tmp_path / "whole", "-q")
    assert (merged.exit_code, merged.stdout) == (3, "")
    assert run("verify", tmp_path / "whole").stdout.startswith("incomplete: b.jsonl")
    shards = _told(tmp_path / "whole")["shards"]
    assert {shard["shard"]: shard["complete"] for shard in shards} == {
        "a.jsonl": True,
        "b.jsonl": False,
    }


def _task(task: int, first: int, last: int, count: int, step: int = 1) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("index", "count", "environment", "part"),
    [
        (None, None, {}, None),
        ("2", 4, {}, Split(2, 4)),
        ("slurm", None, _task(2, 0, 3, 4), Split(2, 4)),
        ("slurm", None, _task(4, 1, 4, 4), Split(3, 4)),
        ("slurm", None, _task(8, 0, 12, 4, step=4), Split(2, 4)),
        # A single task that is submitted again.
        ("slurm", 4, _task(2, 2, 2, 1), Split(2, 4)),
    ],
)
def test_which_part_it_is(
    index: str | None, count: int | None, environment: Mapping[str, str], part: Split | None
) -> None:
    assert SplitOptions(index, count).resolve(environment) == part


@pytest.mark.parametrize(
    ("index", "count", "environment", "message"),
    [
        ("2", None, {}, "only with --shard-count"),
        (None, 2, {}, "only with --shard-index"),
        ("two", 2, {}, "no whole number"),
        ("2", 2, {}, "no part 2 of 2"),
        ("slurm", None, {}, "SLURM_ARRAY_TASK_ID is ''"),
        ("slurm", None, {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT is ''"),
        ("slurm", 3, {}, "SLURM_ARRAY_TASK_ID is ''"),
        ("slurm", None, _task(7, 1, 9, 3), "aren't numbered in even steps"),
    ],
)
def test_which_part_it_can_t_be(
    index: str | None, count: int | None, environment: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SplitOptions(index, count).resolve(environment)


def test_parts_need_a_directory_and_are_not_added_to(run: Run, inputs: Path) -> None:
    split = ("--shard-index", 0, "--shard-count", 2)
    assert "only with -o DIR" in run("filter", inputs, "--discard-ai", *split).stderr
    added = run("filter", inputs, "-o", inputs.parent / "out", "--incremental", *split)
    assert added.exit_code == 2
    assert "--incremental: not with --shard-index" in added.stderr
    pooled = run("filter", inputs, "-o", inputs.parent / "out", "--sources", "auto", *split)
    assert pooled.exit_code == 2
    assert "only a part of each source" in pooled.stderr


SBATCH = """\
#!/usr/bin/env python3
# Runs what is submitted at once, a task after the other, as Slurm would.
import os, re, subprocess, sys
options = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:] if a.startswith("--"))
if "wrap" in options:
    wanted = options["dependency"].removeprefix("afterok:")
    assert open(os.environ["QUEUE"]).read().split() == [wanted], "the array isn't done"
    sys.exit(subprocess.run(["sh", "-c", sys.argv[-1]]).returncode)
script, *arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
first, last = map(int, options["array"].split("-"))
cpus = re.search(r"^#SBATCH --cpus-per-task=(\\d+)$", open(script).read(), re.M)[1]
for task in range(first, last + 1):
    own = {"ID": task, "MIN": first, "MAX": last, "COUNT": last - first + 1, "STEP": 1}
    slurm = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in own.items()}
    subprocess.run(
        ["bash", script, *arguments], check=True, stdout=sys.stderr,
        env={**os.environ, **slurm, "SLURM_CPUS_PER_TASK": cpus},
    )
open(os.environ["QUEUE"], "w").write("4711")
print("4711;cluster")
"""


@pytest.mark.slow
def test_the_slurm_example(inputs: Path, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "lowbg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowbg_cli "$@"\n')
    (commands / "sbatch").write_text(SBATCH.replace("/usr/bin/env python3", sys.executable))
    for name in ("lowbg", "sbatch"):
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "QUEUE": str(tmp_path / "queue"),
    }
    ended = subprocess.run(
        [SLURM / "submit.sh", inputs, tmp_path / "out", tmp_path / "whole", "2"],
        env=environment, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert len(_told(tmp_path / "whole")["shards"]) == 7
    assert (tmp_path / "out" / "part-00001-of-00002" / "manifest.json").is_file()


def test_a_part_without_shards_is_done_and_nothing_is_said_against_it(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(*HUMAN[:2]))
    split = ("--shard-index", 1, "--shard-count", 2)
    result = run("filter", tmp_path / "a.jsonl", "-o", tmp_path / "out", *split)
    assert result.exit_code == 0
    assert "warning" not in result.stderr


def test_no_way_is_offered_that_a_part_cant_take(run: Run, inputs: Path, tmp_path: Path) -> None:
    command = ("filter", inputs, "-o", tmp_path / "out", "--shard-index", 0, "--shard-count", 2)
    assert run(*command, "-q").exit_code == 0
    for more in ((), ("--dry-run",)):
        refused = run(*command, *more)
        assert refused.exit_code == 2
        assert "--resume" in refused.stderr
        assert "--incremental" not in refused.stderr
    assert not (tmp_path / "out" / "part-00000-of-00002" / ".lowbg" / "parts").exists()
