"""What was computed is kept, and holds as long as what it was computed from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lowbg.kernels import places

NAME = "numbers.compiled"


class Made:
    """Counts how often it computes."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.times = 0

    def __call__(self) -> list[NDArray[np.generic]]:
        self.times += 1
        return [np.arange(self.first, self.first + 3, dtype=np.int8), np.ones((2, 2))]


def kept(folder: Path, key: str, made: Made) -> list[list[float]]:
    return [array.ravel().tolist() for array in places.arrays(folder, NAME, key, made)]


def test_arrays_are_computed_once_for_a_key(tmp_path: Path) -> None:
    made = Made(1)
    expected = [[1, 2, 3], [1.0] * 4]
    assert kept(tmp_path, "a", made) == kept(tmp_path, "a", made) == expected
    assert made.times == 1
    assert [a.dtype.str for a in places.arrays(tmp_path, NAME, "a", made)] == ["|i1", "<f8"]
    assert places.arrays(tmp_path, NAME, "a", made)[0].flags.writeable
    other = Made(5)
    assert kept(tmp_path, "b", other)[0] == [5, 6, 7]
    assert other.times == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]\n", None])
def test_what_is_damaged_is_computed_again(tmp_path: Path, damage: bytes | None) -> None:
    made = Made(1)
    kept(tmp_path, "a", made)
    file = tmp_path / "__pycache__" / NAME
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\x01" if damage is None else damage)
    assert kept(tmp_path, "a", made)[0] == [1, 2, 3]
    assert made.times == 2
    assert file.read_bytes() == whole


def test_what_is_kept_is_for_all_who_may_read_the_folder(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        places.write(tmp_path, NAME, b"x")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "__pycache__").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == (NAME, 0o644)


def test_a_place_that_may_not_be_looked_into_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_into = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if "home" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return looked_into(path, follow_symlinks=follow_symlinks)

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Path, "stat", stat)
    assert places.place(tmp_path, NAME) == tmp_path / "__pycache__"
