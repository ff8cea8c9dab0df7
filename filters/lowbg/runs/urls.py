"""What a URL stands for: a file, a directory or a glob of an object store or web server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from typing import Any
from urllib.parse import urlsplit

from lowbg.errors import ConfigError
from lowbg.formats import has_known_ending
from lowbg.runs import left_out
from lowbg.runs.shards import MAGIC, NO_DATA, RUN_FOLDER, Found, Shard, in_order, safe_name
from lowbg.storage.left_out import LeftOut


def expand_url(url: str) -> Found:
    """The shards at a URL. Raises `ConfigError` where there is nothing, or it can't be listed."""
    if url.startswith(("http://", "https://")):
        # A web server lists nothing; a query string would look like a glob.
        path = urlsplit(url).path
        folder, _, name = path.rpartition("/")
        return Found(folder.rpartition("/")[2] or "web", [Shard(url, safe_name(name), 0)])
    from lowbg.storage.compression import why_not_opened
    from lowbg.storage.objects import file_system, in_words, is_object_url

    try:
        if is_object_url(url):
            system, root = file_system(url)
        else:
            import fsspec

            system, root = fsspec.core.url_to_fs(url)
        return _list_url(url, system, root.rstrip("/"))
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"{url}: {error}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{url}: no such file or directory") from error
    except Exception as error:
        # Every fsspec backend brings its own errors (botocore, aiohttp, …).
        why = in_words(error) if is_object_url(url) else why_not_opened(error)
        raise ConfigError(f"{url}: cannot be listed ({why})") from error


def _list_url(url: str, system: Any, root: str) -> Found:
    if "/" in root and system.isfile(root):  # obstore takes a bucket for a file.
        folder, _, name = root.rpartition("/")
        size = int(system.info(root).get("size") or 0)
        return Found(folder.rpartition("/")[2], [Shard(url, safe_name(name), size)])
    if MAGIC & set(root) and not system.exists(root):
        base = root[: min(root.index(c) for c in MAGIC if c in root)].rpartition("/")[0]
        listed = system.glob(root, detail=True)
    else:
        base, listed = root, system.find(root, detail=True)
    files = [file for file, info in sorted(listed.items()) if info["type"] == "file"]
    if not files:
        system.info(root)  # Raises where nothing is there at all.
    found = Found(base.rpartition("/")[2], root=system.unstrip_protocol(base))
    names = {file: file[len(base) :].lstrip("/") for file in files}
    shown = [f for f in files if not any(part.startswith(".") for part in names[f].split("/"))]
    metadata = _metadata_of({names[file] for file in shown})
    if base != root and metadata.issuperset(names[file] for file in shown):
        metadata = set()  # As for local paths: a glob that matches nothing else means it.
    wanted = _without_reports(names.values())
    data = [f for f in shown if names[f] in wanted and names[f] not in metadata]
    known = [file for file in data if has_known_ending(file)]
    # As for local paths: a glob may match files without a known ending, a directory may not.
    taken = set(known if known or base == root else data)
    for file in shown:
        address = system.unstrip_protocol(file)
        if file in taken:
            size = int(listed[file].get("size") or 0)
            found.shards.append(Shard(address, safe_name(names[file]), size))
        else:
            found.left_out.append(_of_url(address, names[file], metadata, wanted))
    found.shards.sort(key=in_order)
    return found


def _of_url(address: str, name: str, metadata: Set[str], wanted: Set[str]) -> LeftOut:
    """Why a file at a URL isn't read; it isn't opened to find out."""
    if name in metadata:
        return left_out.metadata(address)
    if name not in wanted:
        return left_out.written(address)
    return left_out.by_name(address) or left_out.by_ending(address)


def _metadata_of(names: Collection[str]) -> set[str]:
    """The names that are metadata, or lie in a directory that is."""
    found: set[str] = set()
    for name in names:
        *above, own = name.split("/")
        folder = "/".join([*above, ""])
        beside = [left_out.DATASET_INFO] if f"{folder}{left_out.DATASET_INFO}" in names else []
        if any(left_out.is_metadata(part, ()) for part in above) or (
            left_out.is_metadata(own, beside)
        ):
            found.add(name)
    return found


def _without_reports(names: Iterable[str]) -> set[str]:
    """The names but for reports and quarantines in output directories of lowbg."""
    paths = [f"/{name}" for name in names]
    mark = f"/{RUN_FOLDER}/"
    roots = {path.partition(mark)[0] for path in paths if mark in path}
    no_data = tuple(f"{root}/{name}/" for root in roots for name in NO_DATA)
    return {path[1:] for path in paths if not f"{path}/".startswith(no_data)}
