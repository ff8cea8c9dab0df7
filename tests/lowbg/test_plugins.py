"""Entry points are found as importlib.metadata finds them, and it isn't asked for nothing."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.metadata import entry_points as all_entry_points
from pathlib import Path

import pytest

from lowbg import plugins


@pytest.fixture(autouse=True)
def fresh() -> None:
    plugins._texts.cache_clear()


def install(folder: Path, text: str) -> None:
    info = folder / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(text)


def test_what_is_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "[lowbg.toys]\nbear = toy.bear:Bear\n")
    assert plugins.entry_points("lowbg.toys") == ()
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = plugins.entry_points("lowbg.toys")
    assert (found.name, found.module, found.attr) == ("bear", "toy.bear", "Bear")


@pytest.mark.parametrize("group", ["console_scripts", "pytest11", "lowbg.scorers"])
def test_it_is_what_metadata_says(group: str) -> None:
    assert set(plugins.entry_points(group)) == set(all_entry_points(group=group))


def test_places_that_are_no_folders_are_left_to_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other packages' importers may be there, and know of more.
    importers = [each for each in sys.meta_path if not hasattr(each, "find_distributions")]
    monkeypatch.setattr(sys, "meta_path", [*importers, PathFinder])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert not plugins._may_be("lowbg.toys")
    archive = tmp_path / "packages.zip"
    archive.write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(archive), *sys.path])
    assert plugins._may_be("lowbg.toys")
