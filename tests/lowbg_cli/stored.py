"""What tests of runs in an object store look at: its objects as local files."""

from __future__ import annotations

from pathlib import Path

from lowbg.storage.objects import ObjectStore


def fetched(url: str, folder: Path) -> Path:
    """A copy of all objects below a URL."""
    store = ObjectStore(url)
    for name in store.list():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        store.download(name, folder / name)
    return folder


def data_of(folder: Path) -> dict[str, bytes]:
    """Every file of data, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lowbg" not in path.parts and path.parent != folder
    }
