"""Outputs of runs that shared the shards out → the output that one run would have written.

Files are linked, not copied, where the file system can, and copied within the store where both are
in one: the parts may be removed afterwards. What the parts know of each shard comes along, so that
a later run can go on from there.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from lowbg.amounts import counted
from lowbg.config import Existing, ScoreFormat
from lowbg.errors import ConfigError, OutputError
from lowbg.jobs.filter import LAYOUT as FILTER_LAYOUT
from lowbg.jobs.score import rows_path
from lowbg.report import Report, merge_reports, read_json, write_html, write_json
from lowbg.report.results import RunInfo, ShardResult, left_out_of
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.runs import checkpoints, manifest
from lowbg.runs.checkpoints import FOLDER, RunRecord, key_of
from lowbg.runs.directory import COMMON_ENTRIES, REPORTS, Layout, OutputDirectory
from lowbg.runs.inputs import InputState
from lowbg.runs.manifest import Manifest
from lowbg.runs.publishing import AT_ONCE, NOTES, InStore, published_at, scratch_of
from lowbg.runs.resume import differences
from lowbg.runs.splitting import PARTS, SplitNote
from lowbg.storage.files import file_digest, naming, sync_directory
from lowbg.storage.left_out import all_there
from lowbg.storage.objects import ObjectStore, is_object_url, object_url
from lowbg.storage.typed import to_plain
from lowbg.storage.whole_files import address, store_of, top_names

_NAMED: Final = 5
_OF_RUNS: Final = ("inputs", "places", "targets", "split")
"""What of a run's record may differ between runs whose outputs belong together."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to: the joined report, and how many outputs it was made of.

    `complete`: every input was there and read whole.
    """

    report: Report
    parts: int
    files: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """The output of a finished run, in a directory or at a URL."""

    path: Path
    record: RunRecord
    content: Manifest
    report: Report

    def __str__(self) -> str:
        return address(self.path)

    @property
    def split(self) -> SplitNote | None:
        return None if self.record.split is UNSET else self.record.split

    @property
    def data(self) -> list[manifest.ListedFile]:
        """The files but for its reports."""
        return [file for file in self.content.files if file.path not in REPORTS]


def merge_outputs(
    directories: Sequence[Path],
    output: Path,
    existing: Literal[Existing.REFUSE, Existing.OVERWRITE] = Existing.REFUSE,
    command: str = "",
) -> Merged:
    """Makes one output directory of several, as one run over all of their inputs would have.

    Each of `directories` is the output of a finished run of `filter` or `score`, or holds those of
    parts (`runs.splitting`), all of which must be there. Inputs, outputs and reports are put
    together, files are linked, or copied to another file system. The parts stay as they are. Each
    of them, and the output, may be made of a URL.

    Raises `ConfigError` where one of them isn't whole, where runs differ in what decides their
    results, or where two have a file of the same name; `LockedError` as runs do.
    """
    parts = [_read(path) for path in _outputs(directories)]
    _check_alike(parts)
    _check_all_there(parts)
    _check_names(parts)
    _check_apart(parts, output)
    layout = _layout(parts[0].record)
    if is_object_url(output):
        url = object_url(output)
        with (
            published_at(url, scratch_of(url), existing, layout) as place,
            OutputDirectory(scratch_of(url), layout).held(existing) as directory,
        ):
            return _merged(parts, directory, command, place)
    with OutputDirectory(output, layout).held(existing) as directory:
        return _merged(parts, directory, command)


def _merged(
    parts: Sequence[_Part], directory: OutputDirectory, command: str, place: InStore | None = None
) -> Merged:
    """Puts the whole together in the directory; what is at a URL in its `place` there."""
    output = directory.path
    directory.clear()
    directory.begin(_joined_record(parts, directory.layout))
    files = [(part, file) for part in parts for file in part.data]
    if place is None:
        for part, file in files:
            _place(part.path / file.path, output / file.path, file)
    else:
        place.begin()
        _send(files, place.store, output)
    report = _note_results(parts, output)
    for name, write in zip(REPORTS, (write_json, write_html), strict=True):
        write(report, output / name)
    whole = _joined_manifest(parts, output, command)
    manifest.write(output, whole)
    if place is not None:
        place.note_all()
        place.end()
    complete = whole.absent is UNSET and all(each.complete for each in whole.inputs)
    return Merged(report, len(parts), len(files), complete)


def _outputs(directories: Sequence[Path]) -> Iterator[Path]:
    for directory in directories:
        names = top_names(directory)
        if FOLDER in names or manifest.NAME in names:
            yield directory
            continue
        found = [directory / name for name in sorted(fnmatch.filter(names, PARTS))]
        if not found:
            raise ConfigError(
                f"{address(directory)}: neither the output of a run nor of parts of one ({PARTS})"
            )
        yield from found


def _read(path: Path) -> _Part:
    content, shown = manifest.read(path), address(path)
    if content is None:
        raise ConfigError(
            f"{shown}: its run didn't finish: there is no {manifest.NAME}. Go on with it by "
            '`existing="resume"`, then merge'
        )
    record = checkpoints.read_record(path)
    if not isinstance(record, RunRecord):
        raise ConfigError(
            f"{shown}: no output of lowbg filter or score that says which run it is of; of others "
            "there is nothing to merge"
        )
    _check_files(path, content)
    return _Part(path, record, content, read_json(path / "report.json"))


def _check_files(path: Path, content: Manifest) -> None:
    """Raises `ConfigError` where a listed file isn't there, or has another size."""
    outside = [file.path for file in content.files if not manifest.inside(path, file.path)]
    found = manifest.check_there(path, [file.path for file in content.files if not outside])
    for name in outside:
        where, by = address(path / name), address(path / manifest.NAME)
        raise ConfigError(f"{where}: listed in {by}, but missing")
    for file in content.files:
        if found[file.path] != file.bytes:
            where = address(path / file.path)
            raise ConfigError(
                f"{where}: not what the run wrote; look with lowbg verify {address(path)}"
            )


def _check_alike(parts: Sequence[_Part]) -> None:
    """Raises `ConfigError` where two runs judged differently."""
    first = parts[0]
    for part in parts[1:]:
        own, others = (
            to_plain(msgspec.structs.replace(p.record, **dict.fromkeys(_OF_RUNS, UNSET)))
            for p in (first, part)
        )
        found = list(differences(own, others))
        if found:
            raise ConfigError(
                f"{part} is of another run than {first}, and would make a mixture: "
                f"{'; '.join(found[:_NAMED])}"
            )


def _check_all_there(parts: Sequence[_Part]) -> None:
    """Raises `ConfigError` where a part of the shards is lacking, or they were shared out anew."""
    splits = [(part, part.split) for part in parts]
    known = [(part, split) for part, split in splits if split is not None]
    if not known:
        return
    for part, split in splits:
        if split is None:
            raise ConfigError(
                f"{part} is of a run over all of its inputs, {known[0][0]} over a part "
                "of them; merge the parts first"
            )
    first, of = known[0]
    for part, split in known[1:]:
        if (split.count, split.sha256) != (of.count, of.sha256):
            raise ConfigError(
                f"{part} and {first} are parts of different inputs, or of different "
                "numbers of parts: between their runs files came, went or changed. Run them again "
                "over what is to be read"
            )
    there = [split.index for _, split in known]
    missing = sorted({*range(of.count)} - {*there})
    if missing:
        some = ", ".join(map(str, missing[:_NAMED])) + (", …" if len(missing) > _NAMED else "")
        raise ConfigError(
            f"{counted(len(missing), 'part')} of {of.count} missing: {some}. Run them, then merge"
        )


def _check_names(parts: Sequence[_Part]) -> None:
    taken: dict[str, _Part] = {}
    real = {_real(part.path) for part in parts}
    if len(real) < len(parts):
        raise ConfigError("an output is given twice; give each once")
    for part in parts:
        for name in (*(f.path for f in part.data), *(i.shard for i in part.content.inputs)):
            if taken.setdefault(name, part) is not part:
                raise ConfigError(f"{taken[name]} and {part} both have {name}")


def _check_apart(parts: Sequence[_Part], output: Path) -> None:
    """Raises `ConfigError` where the output would lie in a part, or a part in the output."""
    ours = _real(output)
    for part in parts:
        theirs = _real(part.path)
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            raise ConfigError(
                f"{address(output)}: the merged output can't lie in {part}, nor around it; name "
                "another directory"
            )


def _real(path: Path) -> Path:
    """What tells a directory, or a place in a store, from any other."""
    return path if is_object_url(path) else Path(os.path.realpath(path))


def _layout(record: RunRecord) -> Layout:
    """What the command of the runs makes in a directory."""
    if record.command == FILTER_LAYOUT.command:
        return replace(FILTER_LAYOUT, goes_on=False)
    form = ScoreFormat.JSONL if record.format is UNSET else record.format
    target_of = partial(rows_path, form)
    return Layout(record.command, COMMON_ENTRIES, target_of, format=form, goes_on=False)


def _joined_record(parts: Sequence[_Part], layout: Layout) -> RunRecord:
    inputs: dict[str, InputState] = {}
    places: dict[str, str] = {}
    for part in parts:
        inputs.update(part.record.inputs or {})
        places.update(part.record.places or {})
    return msgspec.structs.replace(
        parts[0].record,
        inputs=inputs,
        places=places,
        targets=layout.targets([*inputs]),
        split=UNSET,
    )


def _place(source: Path, target: Path, file: manifest.ListedFile) -> None:
    """Gives a file its name in the output too. Raises `OutputError`."""
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if is_object_url(source):
                raise OSError(errno.EXDEV, "in a store")
            os.link(source, target)
        except OSError:  # Another file system, or one without links.
            temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
            _fetch(source, temporary, file)
            temporary.replace(target)
        sync_directory(target.parent)


def _fetch(source: Path, target: Path, file: manifest.ListedFile) -> None:
    """Copies a file. Raises `OutputError` where it isn't what was written."""
    if is_object_url(source):
        store, name = store_of(source)
        store.download(name, target)
    else:
        shutil.copyfile(source, target)
    if file_digest(target) != file.sha256:
        target.unlink()
        raise OutputError(f"{address(source)}: not what the run wrote") from None


def _send(
    files: Sequence[tuple[_Part, manifest.ListedFile]], store: ObjectStore, scratch: Path
) -> None:
    """Makes objects of the parts' files. Raises `OutputError` where one isn't what it was."""

    def send(part: _Part, file: manifest.ListedFile) -> None:
        source = part.path / file.path
        if not is_object_url(source):
            store.upload(file.path, source)
        elif not store.copy(address(source), file.path):
            local = scratch / FOLDER / key_of(file.path)
            _fetch(source, local, file)
            store.upload(file.path, local)
            local.unlink()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda each: send(*each), files))
    there = store.list()
    for part, file in files:
        if file.path not in there or there[file.path].size != file.bytes:
            raise OutputError(f"{address(part.path / file.path)}: not what the run wrote")


def _note_results(parts: Sequence[_Part], output: Path) -> Report:
    """Notes what came of every shard, as the run itself would have; the report of all."""
    found: dict[str, ShardResult] = {}
    for part in parts:
        for name, (result, state) in _results(part).items():
            found[name] = result
            checkpoints.note_finished(output, result, state)
    reports = [part.report for part in parts]
    names = [name for _, name in sorted(_named(parts))]
    if found.keys() >= {*names}:
        return merge_reports(reports, [found[name] for name in names])
    # Of shards that failed, and may do better another time, nothing is noted.
    return merge_reports(reports)


def _results(part: _Part) -> dict[str, tuple[ShardResult, InputState]]:
    """What the part notes of its shards."""
    if not is_object_url(part.path):
        return checkpoints.load_results(part.path)
    sizes = {file.path: file.bytes for file in part.content.files}
    store = ObjectStore(address(part.path))
    with tempfile.TemporaryDirectory(prefix="lowbg-") as folder:
        (Path(folder) / NOTES).mkdir(parents=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(
                pool.map(lambda name: store.download(name, Path(folder) / name), store.list(NOTES))
            )
        return checkpoints.load_results(Path(folder), sizes.get)


def _named(parts: Sequence[_Part]) -> Iterator[tuple[tuple[int, int], str]]:
    """Every shard, with its place among all of them."""
    for number, part in enumerate(parts):
        rows = part.report[SHARDS]
        split = part.split
        places = range(len(rows)) if split is None else split.places
        number = number if split is None else 0
        yield from (((number, at), row.shard) for at, row in zip(places, rows, strict=True))


def _joined_manifest(parts: Sequence[_Part], output: Path, command: str) -> Manifest:
    """The manifest of the whole, its reports included."""
    order = {name: at for at, name in _named(parts)}
    inputs = [each for part in parts for each in part.content.inputs]
    inputs.sort(key=lambda each: order[each.shard])
    files = [file for part in parts for file in part.data]
    files.sort(key=lambda file: order[str(file.shard)])
    absent = [each for each in left_out_of(_runs(parts)) if not all_there([each])]
    first = parts[0].content
    return msgspec.structs.replace(
        first,
        command=command or first.command,
        started=min(str(part.content.started) for part in parts),
        finished=max(str(part.content.finished) for part in parts),
        inputs=inputs,
        totals=manifest.totals_of(inputs),
        files=[*files, *(manifest.extra_file(output, name) for name in REPORTS)],
        absent=absent or UNSET,
        content_sha256=UNSET,
    )


def _runs(parts: Sequence[_Part]) -> Iterator[RunInfo]:
    return (run for part in parts for run in part.report[RUNS])
