"""Where a run's outputs are to be found: in the directory in which it works, or in a store.

A run whose output is a URL works in a local directory, its scratch, as any other run does. A shard
whose outputs are whole is sent, the data first and then the note of its result, and its local
files go: there are never more of them than shards at work. Reports and, last, the manifest follow
when all is sent. What the store holds decides what a later run has still to do: the scratch may be
lost, and then shards that were at work start over.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Self

import msgspec

from lowbg.config import Durability, Existing
from lowbg.errors import ConfigError, LowbgError, OutputError, ProblemKind
from lowbg.report.results import Problem, ShardResult
from lowbg.runs import checkpoints, manifest
from lowbg.runs.checkpoints import FOLDER, PARTS, AnyRecord, Journal, key_of
from lowbg.runs.directory import GOES_ON, REPORTS, Layout
from lowbg.runs.executors.base import Finished
from lowbg.runs.job import Job
from lowbg.runs.mapping import BundleTask
from lowbg.runs.progress import OnProgress
from lowbg.runs.shards import Piece, Shard
from lowbg.storage.files import WrittenFile, naming, own_folder, size_of_file
from lowbg.storage.objects import ObjectStore, StoreError
from lowbg.storage.store_locks import LOCK, store_lock

_log = logging.getLogger(__name__)

RECORD: Final = f"{FOLDER}/run.json"
NOTES: Final = f"{FOLDER}/shards"
_LOGS: Final = f"{FOLDER}/{PARTS}/"
AT_ONCE: Final = 16
"""Requests for small objects that are under way together."""


class Published(ABC):
    """Where the outputs of a run are, once a shard is whole."""

    @abstractmethod
    def size_of(self, path: str) -> int | None:
        """The size of an output that an earlier run left; None where it isn't there."""

    def begin(self) -> None:  # noqa: B027
        """Called when it is noted which run this is, before anything is done."""

    def task(self, task: BundleTask[ShardResult]) -> BundleTask[ShardResult]:
        """The task that brings a shard's outputs there, too."""
        return task

    def sent(self, result: ShardResult) -> ShardResult:
        """The result of a shard that was put together here, with its outputs brought there."""
        return result

    def fetch_logs(self, logs: Iterable[WrittenFile]) -> None:  # noqa: B027
        """Called before a piece's logs are read here; it may have been read on another machine."""

    def note(self, paths: Iterable[str]) -> None:  # noqa: B027
        """Called when notes (JSON) are new below the directory, by which a later run goes on."""

    def forget(self) -> None:  # noqa: B027
        """Called when the outputs so far were removed: they are to be made anew."""

    def stay(self) -> None:  # noqa: B027
        """Called when there was nothing to do: what is there stays as it is."""

    def end(self) -> None:  # noqa: B027
        """Called when report and manifest are written: with these all is there."""


@dataclass(frozen=True, slots=True)
class InPlace(Published):
    """Outputs stay in the directory in which the run works."""

    root: Path

    def size_of(self, path: str) -> int | None:
        """The size of the file."""
        return checkpoints.local_size(self.root, path)


def scratch_of(url: str, folder: Path | None = None) -> Path:
    """Where a run whose output is this URL works: the same place for the same user and URL.

    `folder` is where such directories lie; null: below the system's folder of temporary files, in
    one that is made for this user alone. Raises `ConfigError` where that is another's.
    """
    return (folder or own_folder()) / hashlib.sha256(url.encode()).hexdigest()[:16]


@contextmanager
def published(job: Job, layout: Layout) -> Iterator[Published]:
    """Where the job's outputs are, while what is there is locked.

    Raises `ConfigError` as `OutputDirectory.check` does, `LockedError` where another run is at
    work there, and `OutputError` where the store can't be reached any more.
    """
    if job.published is None:
        yield InPlace(job.output)
        return
    where = (job.published, job.output, job.existing, layout)
    with published_at(*where, works_elsewhere=job.works_elsewhere) as place:
        yield place


@contextmanager
def published_at(
    url: str, root: Path, existing: Existing, layout: Layout, *, works_elsewhere: bool = False
) -> Iterator[InStore]:
    """The outputs at a URL, locked; the rest as for `InStore`. Raises as `published` does."""
    store = ObjectStore(url)
    with ExitStack() as locked:
        try:
            still_held = locked.enter_context(store_lock(store))
            place = InStore(store, root, layout, still_held, works_elsewhere=works_elsewhere)
            place.check(existing)
            place.fetch(existing)
        except StoreError as error:
            raise ConfigError(f"{url}: cannot be used as `output` ({error.strerror})") from error
        try:
            yield place
        except StoreError as error:
            raise OutputError(f"{url}: cannot be written ({error.strerror})") from error
        if place.ended:
            shutil.rmtree(root, ignore_errors=True)


class InStore(Published):
    """Outputs at a URL; `ended` when they are whole. `root` is the scratch.

    `works_elsewhere`: workers may be on other machines, each with a scratch of its own. Then the
    logs of pieces go through the store; those that nobody took are removed in the end.
    """

    def __init__(
        self,
        store: ObjectStore,
        root: Path,
        layout: Layout,
        still_held: Callable[[], bool],
        *,
        works_elsewhere: bool = False,
    ) -> None:
        self.ended = False
        self._works_elsewhere = works_elsewhere
        self.store = store
        self._root = root
        self._layout = layout
        self._still_held = still_held
        listed = store.list()
        self._sizes = {name: each.size for name, each in listed.items() if name != LOCK}
        self._before = self._manifest()

    def _manifest(self) -> manifest.Manifest | None:
        data = self.store.read(manifest.NAME) if manifest.NAME in self._sizes else None
        if data is None:
            return None
        return manifest.MANIFEST.decode(data, f"{self.store.url}/{manifest.NAME}")

    def _record(self) -> AnyRecord | None:
        data = self.store.read(RECORD) if RECORD in self._sizes else None
        if data is None:
            return None
        return checkpoints.RECORD.decode(data, f"{self.store.url}/{RECORD}")

    def check(self, existing: Existing) -> None:
        """Raises `ConfigError` where it isn't this command's, or `existing` refuses a run there."""
        url, record = self.store.url, self._record()
        if record is not None and record.command != self._layout.command:
            raise ConfigError(
                f"{url} holds a run of lowbg {record.command}. Choose another `output`."
            )
        foreign = sorted(name for name in self._sizes if not self._is_own(name, record))
        if foreign:
            some = ", ".join(foreign[:3]) + ("…" if len(foreign) > 3 else "")
            raise ConfigError(
                f"{url} holds objects that lowbg did not make ({some}). "
                "Choose an empty place for `output`."
            )
        if self._sizes and existing is Existing.REFUSE:
            what = "a run" if self._before is not None else "an unfinished run"
            more = '`existing="incremental"` to add what is new, ' if self._layout.grows else ""
            raise ConfigError(
                f'{url} already holds {what}. Use `existing="resume"` to go on with it, '
                f'{more}`existing="overwrite"` to replace it, or choose another `output`.'
            )
        if self._sizes and existing in GOES_ON and record is None:
            raise ConfigError(
                f"{url} holds a run that notes nothing to go on with. "
                'Use `existing="overwrite"` to replace it, or choose another `output`.'
            )

    def _is_own(self, name: str, record: AnyRecord | None) -> bool:
        listed = [] if self._before is None else self._before.files
        targets = getattr(record, "targets", None) or []
        return (
            PurePosixPath(name).parts[0] in self._layout.entries
            or name in targets
            or any(name == file.path for file in listed)
        )

    def fetch(self, existing: Existing) -> None:
        """Makes the scratch what it would be had the run that is there been made in it."""
        self.store.delete(name for name in self._sizes if name.startswith(_LOGS))
        if existing not in GOES_ON or not self._sizes:
            self.store.delete(self._sizes)
            self._sizes, self._before = {}, None
            shutil.rmtree(self._root, ignore_errors=True)
            return
        record = self.store.read(RECORD)
        assert record is not None  # `check` has seen to it.
        with naming(self._root):
            own = self._root / RECORD
            if not own.is_file() or own.read_bytes() != record:
                # What is there is of another run, or isn't known to be of this one.
                shutil.rmtree(self._root, ignore_errors=True)
            names = [name for name in self._sizes if _is_note(name)]
            for folder in {NOTES, *(name.rpartition("/")[0] for name in names)}:
                (self._root / folder).mkdir(parents=True, exist_ok=True)
            own.write_bytes(record)
            wanted = [n for n in names if size_of_file(self._root / n) != self._sizes[n]]
            for name in (manifest.NAME, *REPORTS):
                (self._root / name).unlink(missing_ok=True)
                wanted += [name] if name in self._sizes else []
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._download, wanted))
            if self._has_work():  # With what is sent now, the output is another than it says.
                (self._root / manifest.NAME).unlink(missing_ok=True)

    def _download(self, name: str) -> None:
        self.store.download(name, self._root / name)

    def size_of(self, path: str) -> int | None:
        """The size of an object; a file that wasn't sent yet is sent now."""
        local = checkpoints.local_size(self._root, path)
        if local is not None and self._sizes.get(path) != local:
            self.store.upload(path, self._root / path)
            self._sizes[path] = local
        if local is not None:
            (self._root / path).unlink()
        return self._sizes.get(path)

    def begin(self) -> None:
        """Notes which run it is; from now on the output isn't whole."""
        self.store.upload(RECORD, self._root / RECORD)
        self.store.delete([manifest.NAME])
        notes = (f"{NOTES}/{path.name}" for path in sorted((self._root / NOTES).glob("*.json")))
        self.note(n for n in notes if self._sizes.get(n) != size_of_file(self._root / n))

    def note(self, paths: Iterable[str]) -> None:
        """Sends notes."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: self.store.upload(name, self._root / name), paths))

    def note_all(self) -> None:
        """Sends what is noted of all shards."""
        self.note([f"{NOTES}/{path.name}" for path in sorted((self._root / NOTES).glob("*.json"))])

    def forget(self) -> None:
        """Removes outputs, and what is noted of them."""
        kept = (RECORD, LOCK, manifest.NAME)
        listed = [name for name in self.store.list() if name not in kept]
        gone = [n for n in listed if n.startswith(f"{NOTES}/") or not n.startswith(f"{FOLDER}/")]
        self.store.delete(gone)
        for name in gone:
            self._sizes.pop(name, None)

    def task(self, task: BundleTask[ShardResult]) -> BundleTask[ShardResult]:
        """The task that sends a shard's outputs."""
        return SendingTask(task, self._root, self.store, self._works_elsewhere)

    def fetch_logs(self, logs: Iterable[WrittenFile]) -> None:
        """Moves them from the store into the scratch."""
        if not self._works_elsewhere:
            return
        paths = [log.path for log in logs]
        for path in paths:
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            self._download(path)
        self.store.delete(paths)

    def sent(self, result: ShardResult) -> ShardResult:
        """The result of a shard, once its outputs are in the store."""
        return sent(result, self._root, self.store)

    def stay(self) -> None:
        """Leaves nothing in the scratch either, unless there is something to go on with."""
        self.ended = not self._has_work()

    def end(self) -> None:
        """Sends reports and manifest; removes what isn't a part of the output any more."""
        if not self._still_held():
            raise OutputError(
                f"{self.store.url}: another run took the lock, since this one couldn't renew it; "
                "nothing more was written"
            )
        whole = manifest.read(self._root)
        assert whole is not None
        for name in REPORTS:
            if any(file.path == name for file in whole.files):
                self.store.upload(name, self._root / name)
        if self._works_elsewhere:
            self.store.delete(self.store.list(_LOGS))
        kept = {file.path for file in whole.files}
        before = [] if self._before is None else self._before.files
        self.store.delete(file.path for file in before if file.path not in kept)
        self.store.upload(manifest.NAME, self._root / manifest.NAME)
        self.ended = not self._has_work()

    def _has_work(self) -> bool:
        """Whether the scratch has what a later run can go on with: what wasn't sent, or parts."""
        kept = {manifest.NAME, *REPORTS, FOLDER}
        if any((self._root / FOLDER / checkpoints.PARTS).glob("*")):
            return True
        others = (path for path in self._root.iterdir() if path.name not in kept)
        return any(each.is_file() for path in others for each in (path, *path.rglob("*")))


def _is_note(name: str) -> bool:
    """Whether an object is a small one by which a run is gone on with, beside its record."""
    is_json = name.startswith(f"{FOLDER}/") and name.endswith(".json")
    return is_json and name not in (RECORD, LOCK)


@dataclass(frozen=True, slots=True)
class SendingTask:
    """What is done with each shard, and then its outputs are sent."""

    inner: BundleTask[ShardResult]
    root: Path
    store: ObjectStore
    sends_logs: bool

    def start(self) -> Self:
        """The task in a worker."""
        return replace(self, inner=self.inner.start())

    def __call__(self, shard: Shard, on_progress: OnProgress | None) -> ShardResult:
        """Does a shard, and sends what came of it.

        A piece's logs stay here, unless they are put together on another machine.
        """
        result = self.inner(shard, on_progress)
        if isinstance(shard, Piece) and not self.sends_logs:
            return result
        result = sent(result, self.root, self.store)
        if isinstance(shard, Piece) and result.complete:
            Journal(self.root, shard, Durability()).discard()
        return result

    def together(
        self, shards: Sequence[Shard], on_progress: OnProgress | None
    ) -> Iterator[Finished[ShardResult]]:
        """Does small shards, and sends what came of them."""
        for end in self.inner.together(shards, on_progress):
            yield (
                end
                if end.result is None
                else replace(end, result=sent(end.result, self.root, self.store))
            )


def sent(result: ShardResult, root: Path, store: ObjectStore) -> ShardResult:
    """The result, once it is in the store; without outputs where they couldn't be sent."""
    paths = [file.path for file in result.outputs]
    try:
        for path in paths:
            store.upload(path, root / path)
        note = f"{NOTES}/{key_of(result.shard)}.json"
        if (root / note).is_file():
            store.upload(note, root / note)
        for path in paths:
            (root / path).unlink()
    except (OSError, LowbgError) as error:
        why = getattr(error, "strerror", None) or str(error)
        message = (
            f"{result.shard}: cannot be sent to {store.url} ({why}). What came of it is "
            f'in {root}; `existing="resume"` sends it'
        )
        problem = Problem(ProblemKind.OUTPUT, message, 0)
        return msgspec.structs.replace(
            result, outputs=(), complete=False, problems=(*result.problems, problem)
        )
    return result
