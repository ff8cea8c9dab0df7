"""Where outputs may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowbg.errors import OutputError
from lowbg.runs.sinks import check_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a folder in it, and one beside it."""
    (tmp_path / "out" / "human" / "deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "out"


def test_what_lies_below_is_inside_whether_or_not_it_is_there(root: Path) -> None:
    check_inside(root, root / "a.jsonl")
    check_inside(root, root / "human" / "deep" / "a.jsonl")
    check_inside(root, root / "human" / "none" / "here" / "a.jsonl")
    check_inside(Path(), Path("human/a.jsonl"))


@pytest.mark.parametrize("name", ["human", "human/link", "human/link/deeper"])
def test_a_link_that_leads_out_is_refused_at_any_depth(root: Path, name: str) -> None:
    (root / "human" / "link").symlink_to(root.parent / "outside")
    path = root / name / "a.jsonl"
    if "link" not in name:
        check_inside(root, path)
        return
    with pytest.raises(OutputError, match="symbolic link leads out"):
        check_inside(root, path)


def test_a_link_that_stays_inside_and_a_linked_root_are_none_of_these(root: Path) -> None:
    (root / "ai").symlink_to(root / "human")
    check_inside(root, root / "ai" / "deep" / "a.jsonl")
    linked = root.parent / "linked"
    linked.symlink_to(root)
    check_inside(linked, linked / "human" / "a.jsonl")


def test_steps_up_lead_out(root: Path) -> None:
    with pytest.raises(OutputError, match="symbolic link leads out"):
        check_inside(root, root / ".." / "outside" / "a.jsonl")
    with pytest.raises(OutputError, match="symbolic link leads out"):
        check_inside(root, root / "human" / ".." / ".." / "a.jsonl")
