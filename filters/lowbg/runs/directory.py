"""An output directory: whose it is, what lies there, and putting a run's files in place.

What is written there is written by one run at a time, under a lock. `report.json`, `report.html`
and, last, the manifest are written when every shard's files are in place.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import UNSET

from lowbg.config import Existing, ScoreFormat
from lowbg.errors import ConfigError, LowbgError, OutputError
from lowbg.lm_budget import LmSelection
from lowbg.report import Report, read_json, write_html, write_json
from lowbg.report.results import RunInfo, ShardResult, left_out_of
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.runs import checkpoints
from lowbg.runs.checkpoints import AnyRecord, RunRecord
from lowbg.runs.inputs import Shard
from lowbg.runs.manifest import NAME as MANIFEST
from lowbg.runs.manifest import inside, listed_files, write_manifest
from lowbg.storage.files import naming, refuse_url
from lowbg.storage.locks import run_lock

REPORTS: Final = ("report.json", "report.html")

COMMON_ENTRIES: Final = ("quarantine", *REPORTS, MANIFEST, checkpoints.FOLDER)
"""What every command makes at the top of an output directory."""

_LOCKS: Final = ("lock", "workers")
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)
"""What `storage.files.AtomicFile` calls a file that has no name yet."""

GOES_ON: Final = (Existing.RESUME, Existing.INCREMENTAL)
"""What keeps a run that the directory holds."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a command makes in an output directory, and what `overwrite` removes there.

    `entries` are names at its top that are lowbg's with all that lies below them. `target_of`
    names the output that a shard has outside of these, relative to the directory; null if it has
    none. `format` is that of scores. `grows`: incremental runs may add to it. `goes_on`: a run
    can go on with what an earlier one began.
    """

    command: str
    entries: tuple[str, ...]
    target_of: Callable[[str], str] | None = None
    format: ScoreFormat | None = None
    grows: bool = False
    goes_on: bool = True

    def targets(self, shards: Sequence[str]) -> list[str]:
        """The shards' outputs outside of `entries`."""
        return [self.target_of(name) for name in shards] if self.target_of is not None else []


class OutputDirectory:
    """The directory `path`, into which a command writes what `layout` says."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout

    def check(self, existing: Existing) -> None:
        """Makes the directory if it is missing.

        Raises `ConfigError` when it cannot be used, holds files of others or a run of another
        command, or holds a run and `existing` says to refuse it.
        """
        output, layout = self.path, self.layout
        refuse_url(output)
        if output.exists() and not output.is_dir():
            raise ConfigError(f"{output} is a file; `output` takes a directory")
        try:
            output.mkdir(parents=True, exist_ok=True)
            present = sorted(entry.name for entry in output.iterdir())
        except OSError as error:
            raise ConfigError(f"{output}: {error.strerror}. Choose another `output`.") from error
        present = [name for name in present if not _LEFTOVER.fullmatch(name)]
        self._check_command()
        foreign = _foreign(output, present, layout)
        if foreign:
            some = ", ".join(foreign[:3]) + ("…" if len(foreign) > 3 else "")
            raise ConfigError(
                f"{output} holds files that lowbg did not make ({some}). "
                "Choose an empty directory for `output`."
            )
        if _is_occupied(output, present) and existing is Existing.REFUSE:
            what = "a run" if MANIFEST in present else "an unfinished run"
            ways = '`existing="resume"` to go on with it, ' if layout.goes_on else ""
            if layout.goes_on and layout.grows:
                ways += '`existing="incremental"` to add what is new, '
            raise ConfigError(
                f"{output} already holds {what}. Use {ways}"
                '`existing="overwrite"` to replace it, or choose another `output`.'
            )
        links = [name for name in present if (output / name).is_symlink()]
        if links and existing in GOES_ON:
            raise ConfigError(
                f"{output / links[0]} is a symbolic link; lowbg doesn't write through it. "
                "Choose another `output`."
            )

    @contextmanager
    def held(self, existing: Existing) -> Iterator[Self]:
        """Checks the directory and holds its lock; files that killed runs left are removed.

        Raises `ConfigError` as `check` does, `LockedError` when another run is at work there.
        """
        self.check(existing)
        with run_lock(self.path):
            self.check(existing)
            self._remove_leftovers()
            yield self

    def record(self, existing: Existing) -> AnyRecord | None:
        """What the run noted that is to be gone on with; null where there is none.

        Raises `ConfigError` where there are outputs, but no notes to go on by.
        """
        found = checkpoints.read_record(self.path) if existing in GOES_ON else None
        if found is None and existing in GOES_ON:
            if _is_occupied(self.path, [entry.name for entry in self.path.iterdir()]):
                raise ConfigError(
                    f"{self.path} holds a run that notes nothing to go on with. "
                    'Use `existing="overwrite"` to replace it, or choose another `output`.'
                )
        return found

    def last_report(self) -> Report | None:
        """The report of the run that the directory holds; null where there is none to read."""
        path = self.path / REPORTS[0]
        if not path.is_file():
            return None
        try:
            return read_json(path)
        except LowbgError:  # Of another version, or cut: there is nothing to compare with.
            return None

    def begin(self, record: AnyRecord) -> None:
        """Notes which run the directory holds from now on."""
        checkpoints.write_record(self.path, record)
        # A directory that has a manifest is whole: from now on this one isn't.
        with naming(self.path / MANIFEST):
            (self.path / MANIFEST).unlink(missing_ok=True)

    @property
    def selection(self) -> LmSelection | None:
        """What the LM of the run that the directory holds reads; null where that isn't noted."""
        record = checkpoints.read_record(self.path)
        found = record.selection if isinstance(record, RunRecord) else UNSET
        return None if found is UNSET else found

    def note_selection(self, selection: LmSelection) -> None:
        """Notes what the run's LM reads, once it is known which run that is."""
        record = checkpoints.read_record(self.path)
        assert isinstance(record, RunRecord)
        noted = msgspec.structs.replace(record, selection=selection)
        checkpoints.write_record(self.path, noted)

    def commit(
        self,
        info: RunInfo,
        shards: Sequence[ShardResult],
        report: Report | None = None,
        mix: Any = UNSET,
        earlier: Report | None = None,
    ) -> None:
        """Writes the report, if there is one, and the manifest: the directory is whole then.

        `mix` says what a mix is made of; with an `earlier` report the page says what changed
        since. Raises `OutputError`.
        """
        if report is not None:
            data, page = (self.path / name for name in REPORTS)
            write_json(report, data)
            write_html(report, page, earlier)
        reports = REPORTS if report is not None else ()
        runs = [info] if report is None else report[RUNS]
        with suppress(OSError):  # There may be more to go on with.
            (self.path / checkpoints.FOLDER / checkpoints.PARTS).rmdir()
        write_manifest(self.path, info, shards, reports, mix=mix, left_out=left_out_of(runs))

    def clear(self) -> None:
        """Removes what a run made, but for its locks. Raises `OutputError` where it can't."""
        output = self.path
        folder = output / checkpoints.FOLDER
        noted = _noted(output)
        entries = [name for name in self.layout.entries if name != checkpoints.FOLDER]
        paths = [*noted, *(output / name for name in entries)]
        if folder.is_dir():
            paths += [entry for entry in folder.iterdir() if entry.name not in _LOCKS]
        for path in paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{path}: cannot be removed ({error.strerror})") from error
        for path in noted:
            _remove_empty(path.parent, output)

    def _check_command(self) -> None:
        try:
            record = checkpoints.read_record(self.path)
        except OutputError:
            return  # Said where it is needed; overwriting does without.
        if record is not None and record.command != self.layout.command:
            raise ConfigError(
                f"{self.path} holds a run of lowbg {record.command}. Choose another `output`."
            )

    def _remove_leftovers(self) -> None:
        entries = [e for e in sorted(self.path.iterdir()) if e.name != checkpoints.FOLDER]
        for path in (path for entry in entries for path in _files_at(entry)):
            if _LEFTOVER.fullmatch(path.name):
                with naming(path):
                    path.unlink(missing_ok=True)


def check_names(shards: Sequence[Shard], name_of: Callable[[str], str]) -> None:
    """Raises `ConfigError` when two shards would be written under one name."""
    taken: dict[str, str] = {}
    for shard in shards:
        name = name_of(shard.name)
        if name in taken:
            raise ConfigError(
                f"{taken[name]} and {shard.name} would both be written as {name}. "
                "Process them in runs of their own."
            )
        taken[name] = shard.name


def _foreign(output: Path, present: Sequence[str], layout: Layout) -> list[str]:
    """What lies in the directory and no run of this command made."""
    others = [name for name in present if name not in layout.entries]
    if not others or layout.target_of is None:
        return others
    own = {path.relative_to(output).as_posix() for path in _noted(output)}
    found = [path for name in others for path in _files_at(output / name)]
    names = [path.relative_to(output).as_posix() for path in found]
    return [name for name in names if name not in own and not _LEFTOVER.fullmatch(Path(name).name)]


def _files_at(path: Path) -> Iterator[Path]:
    """Every file at or below `path`; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        yield from (here / name for name in sorted(names))
        yield from (here / name for name in folders if (here / name).is_symlink())


def _noted(output: Path) -> list[Path]:
    """The files that an earlier run says are its own, whether or not they are there."""
    try:
        record = checkpoints.read_record(output)
    except OutputError:
        record = None
    targets = getattr(record, "targets", None) or []
    return [*(output / path for path in targets if inside(output, path)), *listed_files(output)]


def _is_occupied(output: Path, present: Sequence[str]) -> bool:
    if any(name != checkpoints.FOLDER for name in present):
        return True
    # A run that was killed before it noted what it is leaves locks, and `run.json.new`.
    folder = output / checkpoints.FOLDER
    return any((folder / name).exists() for name in ("run.json", "shards", "parts"))


def _remove_empty(folder: Path, root: Path) -> None:
    """Removes `folder` and those above it, up to `root`, as far as nothing is in them."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # There is something in it, or it is gone.
            if folder.exists():
                return
        folder = folder.parent
