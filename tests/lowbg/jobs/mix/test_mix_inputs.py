"""Which files an input of a mix stands for: never the other half of an output of lowbg."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lowbg.config import ExecutorName, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.mix.inputs import find
from lowbg.runs.inputs import discover

RECORD = '{"text": "too short to be judged"}\n'


def filtered(root: Path, names: list[str]) -> Path:
    """The output of a run over shards of these names; every shard has both halves."""
    for name in names:
        path = root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORD)
    out = root / "out"
    shards = tuple(discover([str(root / "in")]))
    filter_shards(FilterJob(shards, out, RunConfig(), executor=ExecutorName.SERIAL))
    assert (out / "ai" / names[0]).exists()
    return out


def names_of(human: list[Path | str], out: Path) -> list[str]:
    shards = find([str(path) for path in human], [], out).shards
    return [shard.name for shard in shards]


def test_an_output_keeps_its_tree(tmp_path: Path) -> None:
    out = filtered(tmp_path, ["a/wet/0.jsonl", "b/wet/0.jsonl"])
    assert names_of([out], tmp_path / "o") == ["human/a/wet/0.jsonl", "human/b/wet/0.jsonl"]


def test_outputs_with_shards_of_one_name_are_told_apart(tmp_path: Path) -> None:
    nights = [filtered(tmp_path / night, ["0.jsonl"]) for night in ("mon", "tue")]
    names = ["human/mon/out/0.jsonl", "human/tue/out/0.jsonl"]
    assert names_of([*nights], tmp_path / "o") == names
    assert names_of([tmp_path / "*" / "out"], tmp_path / "o") == names


@pytest.mark.parametrize("given", [".", "**/*.jsonl", "out/*", "file"])
def test_no_other_half_comes_along(tmp_path: Path, given: str) -> None:
    """Of a directory above an output, of a glob into it, and of an unfinished one."""
    out = filtered(tmp_path / "run", ["0.jsonl"])
    path = tmp_path / "run" / given
    spelled = {".": str(tmp_path), "file": f"file://{out}"}.get(given, str(path))
    if given == "file":
        (out / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"out: (an output of lowbg|its run isn't finished)"):
        find([spelled], [], tmp_path / "o")


def test_a_part_that_is_named_is_taken(tmp_path: Path) -> None:
    out = filtered(tmp_path / "run", ["0.jsonl"])
    for given in (out / "human", out / "human" / "*.jsonl", tmp_path / "*" / "out" / "human"):
        (shard,) = find([str(given)], [], tmp_path / "o").shards
        assert Path(shard.path) == out / "human" / "0.jsonl"


def test_a_manifest_of_others_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "a.jsonl").write_text(RECORD)
    (tmp_path / "h" / "manifest.json").write_text('{"files": []}\n')
    assert "human/a.jsonl" in names_of([tmp_path / "h"], tmp_path / "o")


def test_two_names_of_a_file_have_one_role(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(RECORD)
    os.link(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    for other in (str(tmp_path / "b.jsonl"), f"file://{tmp_path}/a.jsonl"):
        with pytest.raises(ConfigError, match="both as human and as synthetic"):
            find([str(tmp_path / "a.jsonl")], [other], tmp_path / "o")
