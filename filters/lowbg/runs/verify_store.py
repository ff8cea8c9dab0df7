"""Is what the manifest says still what is there, at a URL of an object store?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from lowbg.errors import ConfigError, InputError
from lowbg.runs.manifest import EXEMPT, NAME, Finding, ListedFile, check_file, compare
from lowbg.storage.objects import ObjectStore, StoreError


def verify_store(url: str, deep: bool = True) -> list[Finding]:
    """Every way in which the output isn't what its manifest says; see `manifest.verify`.

    `deep` fetches one object after the other into the folder of temporary files. Raises
    `ConfigError` where there is no manifest, `InputError` where the store can't be read.
    """
    store = ObjectStore(url)
    try:
        with tempfile.TemporaryDirectory(prefix="lowbg-verify-") as folder:
            return _findings(store, Path(folder), deep=deep)
    except StoreError as error:
        raise InputError(f"{url}: cannot be read ({error.strerror})") from error


def _findings(store: ObjectStore, folder: Path, *, deep: bool) -> list[Finding]:
    listed = store.list()
    if NAME not in listed:
        raise ConfigError(
            f"{store.url}: no {NAME} in it; either its run didn't finish, or it is no output of "
            "lowbg"
        )
    store.download(NAME, folder / NAME)

    def check(file: ListedFile) -> list[Finding]:
        there = listed.get(file.path)
        if there is None:
            return [Finding("missing", file.path, f"{file.path}: missing")]
        if there.size != file.bytes:
            message = f"{file.path}: {there.size:,} bytes; the run wrote {file.bytes:,}"
            return [Finding("changed", file.path, message)]
        if not deep:
            return []
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(file.path, path)
        try:
            return check_file(folder, file, deep)
        finally:
            path.unlink()

    names = sorted(name for name in listed if name.split("/")[0] not in EXEMPT)
    return compare(folder, names, check)
