"""Compiled kernels are kept where there is a place for them; lowbg runs where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowbg.kernels import choose_cache


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A path below which nothing can be made, not even by root."""
    file = tmp_path / "file"
    file.write_text("")
    return file / "below"


def test_numba_chooses_where_it_can(
    tmp_path: Path, blocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_cache(tmp_path, blocked, blocked) is True
    assert choose_cache(blocked, tmp_path / "cache", blocked) is True
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/x")
    assert choose_cache(blocked, blocked, blocked) is True


def test_a_private_temporary_folder_else(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    assert chosen.parent == tmp_path
    assert chosen.stat().st_mode & 0o077 == 0
    assert choose_cache(blocked, blocked, tmp_path) == chosen


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    chosen.chmod(0o777)
    assert choose_cache(blocked, blocked, tmp_path) is False


def test_a_link_is_not_trusted(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_cache(blocked, blocked, tmp_path)
    assert isinstance(chosen, Path)
    chosen.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    assert choose_cache(blocked, blocked, tmp_path) is False


def test_nowhere(blocked: Path) -> None:
    assert choose_cache(blocked, blocked, blocked) is False
