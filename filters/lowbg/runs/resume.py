"""What an earlier run left in an output directory to go on with, and how it is noted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

import lowbg
from lowbg.config import NOT_OF_RESULTS, Changed, Existing, RunConfig, as_dict
from lowbg.errors import ConfigError, LowbgError
from lowbg.report import read_json
from lowbg.report.results import RunInfo, ShardResult, left_out_of
from lowbg.report.sections.runs import SECTION as RUNS
from lowbg.report.sections.shards import SECTION as SHARDS
from lowbg.runs import checkpoints
from lowbg.runs.checkpoints import RunRecord, input_digest
from lowbg.runs.directory import REPORTS, Layout, OutputDirectory
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import InputState, Shard
from lowbg.runs.job import Job
from lowbg.runs.manifest import NAME as MANIFEST
from lowbg.storage.files import naming
from lowbg.storage.left_out import LeftOut, LeftOutKind
from lowbg.storage.typed import to_plain

_log = logging.getLogger(__name__)

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier run left: results of finished shards by name, and what to say of them.

    `vanished` are finished shards whose inputs are gone: their outputs stay. `runs` are the entries
    "runs" of the last report. For an incremental run, `reported` are its shards (null for any other
    run); `nothing_new` says that the directory is whole and nothing is to be done.
    """

    finished: Mapping[str, ShardResult] = field(default_factory=dict)
    vanished: tuple[ShardResult, ...] = ()
    notes: tuple[str, ...] = ()
    reported: frozenset[str] | None = None
    runs: tuple[RunInfo, ...] = ()
    nothing_new: bool = False


def take_stock(
    directory: OutputDirectory,
    job: Job,
    engine: Engine,
    size_of: Callable[[str], int | None] | None = None,
) -> Earlier:
    """Clears the directory or takes stock of it, and notes which run it holds from now on.

    `size_of` as in `checkpoints.load_results`.
    Call it under the run's lock. Raises `ConfigError` when an earlier run cannot be gone on with:
    it says what changed.
    """
    inputs = {shard.name: InputState.of(shard) for shard in job.shards}
    new = identity(job.config, engine, directory.layout)
    if job.split is not None:
        new = msgspec.structs.replace(new, split=job.split)
    earlier = Earlier()
    found = directory.record(job.existing)
    old = found if isinstance(found, RunRecord) else None
    if old is None:
        directory.clear()
    else:
        stock = _Stock(job, old, inputs, size_of)
        stock.take(new)
        earlier = stock.to_resume() if job.existing is Existing.RESUME else stock.to_add_to()
        if earlier.nothing_new:
            return earlier
    gone = {result.shard for result in earlier.vanished}
    kept = {name: state for name, state in _noted(old, "inputs").items() if name in gone}
    places = {name: place for name, place in _noted(old, "places").items() if name in gone}
    places.update((shard.name, _place(shard.path)) for shard in job.shards)
    noted = {**kept, **inputs}
    targets = directory.layout.targets([*noted])
    selection = UNSET if old is None else old.selection  # By one rule for all that it holds.
    directory.begin(
        msgspec.structs.replace(
            new, inputs=noted, places=places, targets=targets, selection=selection
        )
    )
    return earlier


def _noted(record: RunRecord | None, name: str) -> dict[str, Any]:
    """What a record notes by shard; nothing where there is no record, or it lacks that."""
    return getattr(record, name, None) or {}


def identity(config: RunConfig, engine: Engine, layout: Layout) -> RunRecord:
    """Everything that decides what the outputs are, beside the inputs."""
    configuration = as_dict(config)
    for name in NOT_OF_RESULTS:  # Nor does the gate.
        del configuration[name]
    if configuration["extras"]["lm"] is not None:
        del configuration["extras"]["lm"]["batch_tokens"]  # Nor does this.
        del configuration["extras"]["lm"]["selection"]  # It follows from the inputs.
    del configuration["policy"]["gate"]
    configuration["policy"].pop("tables", None)  # What is in them counts, not where they lie.
    return RunRecord(
        command=layout.command,
        format=UNSET if layout.format is None else layout.format,
        version=lowbg.__version__,
        configuration=configuration,
        models=engine.model_digests(),
        scorers=engine.scorer_versions(),
    )


class _Reported(Struct, frozen=True):
    """What the last report says: its shards, its runs, and what it says may be data and left out.

    The runs are without what they left out and has been read since, or is no longer there.
    """

    shards: Set[str] = frozenset()
    runs: tuple[RunInfo, ...] = ()
    left_out: Set[tuple[str, LeftOutKind]] = frozenset()


class _Stock:
    """What an earlier run left in the directory, against the inputs that there are now."""

    def __init__(
        self,
        job: Job,
        old: RunRecord,
        inputs: Mapping[str, InputState],
        size_of: Callable[[str], int | None] | None,
    ) -> None:
        self._output = job.output
        self._size_of = size_of
        self._old = old
        self._shards = {shard.name: shard for shard in job.shards}
        self._inputs = inputs
        self._digests = job.durability.digests
        self._when_changed = job.changed
        self._left_out = job.left_out
        self._finished: dict[str, tuple[ShardResult, InputState]] = {}
        self._before: dict[str, InputState] = _noted(old, "inputs")

    def take(self, new: RunRecord) -> None:
        """Takes stock. Raises `ConfigError` where the run there is another one than `new`."""
        old = msgspec.structs.replace(
            self._old, inputs=UNSET, places=UNSET, targets=UNSET, selection=UNSET
        )
        refuse_changes(self._output, [*differences(to_plain(old), to_plain(new))])
        self._finished = checkpoints.load_results(self._output, self._size_of)

    def to_resume(self) -> Earlier:
        """What to go on with. Raises `ConfigError` where an input isn't what it was."""
        changed = list(self._changed().values())
        for name in sorted(self._before.keys() & self._inputs.keys() - self._finished.keys()):
            begun = checkpoints.has_parts(self._output, name)
            if begun and self._before[name] != self._inputs[name]:
                changed.append(
                    _changed_input(self._shards[name], self._before[name], self._inputs[name])
                )
        refuse_changes(self._output, changed)
        gone = self._forget_gone()
        notes = []
        if gone:
            kept = sum(name in self._finished for name in gone)
            notes.append(
                f"{_some(gone)}: no longer among the inputs; {kept} of {len(gone)} had been "
                "finished, and their outputs stay"
            )
        last = self._last_report()
        whole = not gone and self._is_whole(last)
        return replace(self._earlier(gone, notes), runs=last.runs, nothing_new=whole)

    def to_add_to(self) -> Earlier:
        """What to add to. Raises `ConfigError` as the job says, and for names that clash.

        An input that was begun and is another now starts over: nothing of it was published.
        """
        self._check_names()
        others = self._changed()
        if others and self._when_changed is Changed.REFUSE:
            raise ConfigError(
                f"changed after they were processed: {_some(list(others.values()))}. Give new data "
                'names of their own; or use `changed="redo"` to process these again, '
                '`changed="keep"` to leave what came of them'
            )
        notes = []
        if others and self._when_changed is Changed.REDO:
            # Without these a directory isn't whole, and one with a manifest is.
            with naming(self._output / MANIFEST):
                (self._output / MANIFEST).unlink(missing_ok=True)
            for name in others:
                self._undo(name)
        if others:
            did = "processed again" if self._when_changed is Changed.REDO else "left as they were"
            notes.append(f"{_some(list(others.values()))}: {did}")
        gone = self._forget_gone()
        lost = [name for name in gone if name not in self._finished]
        if lost:
            notes.append(
                f"{_some(lost)}: no longer among the inputs, and what came of them is not whole; "
                "the report is without them"
            )
        last = self._last_report()
        return replace(
            self._earlier(gone, notes),
            # What is done again is new again.
            reported=frozenset(last.shards & self._finished.keys()),
            runs=last.runs,
            nothing_new=not lost and self._is_whole(last),
        )

    def _is_whole(self, last: _Reported) -> bool:
        """Whether all is done and told: the shards, and what else may be data among the inputs."""
        done = self._finished.keys()
        return (
            all((self._output / name).is_file() for name in (MANIFEST, *REPORTS))
            and done >= self._inputs.keys()
            and last.shards >= done
            and last.left_out == _may_be_data([*left_out_of(last.runs), *self._left_out])
        )

    def _changed(self) -> dict[str, str]:
        """Finished shards whose inputs are others now, and how."""
        changed = {}
        for name, (result, then) in self._finished.items():
            now = self._inputs.get(name)
            if now is not None and not _same(self._shards[name], now, then, result, self._digests):
                changed[name] = _changed_input(self._shards[name], then, now)
        return changed

    def _check_names(self) -> None:
        """Raises `ConfigError` where an input has the name of another, or came under another."""
        places = {name: self._place_of(result) for name, (result, _) in self._finished.items()}
        names = {place: name for name, place in places.items()}
        for name, shard in self._shards.items():
            now = _place(shard.path)
            earlier = names.get(now, name)
            if not shard.resumable:
                raise ConfigError(
                    f'`existing="incremental"`: {shard.path} can be read only once, so that what '
                    "is new in it can't be told; write it to a file"
                )
            if earlier != name and name not in self._finished:
                raise ConfigError(
                    f"{shard.path} was processed as {earlier} and would be {name} now; give the "
                    "inputs in the same way as before. Of several folders, names are told apart "
                    "by the folder's only where they clash: give the folder above them instead"
                )
            if name not in self._finished:
                continue
            # A file that was moved here is the same one; one that is still there isn't.
            then = places[name]
            if then != now and Path(then).is_file():
                raise ConfigError(
                    f"{shard.path} would be written over what came of {then}: both are {name} in "
                    "the output. Give the folder above them as input, or rename one"
                )

    def _place_of(self, result: ShardResult) -> str:
        """Where a finished shard's input was: its path may be relative to another directory."""
        place = _noted(self._old, "places").get(result.shard)
        return _place(result.source) if place is None else str(place)

    def _undo(self, name: str) -> None:
        """Removes what came of a shard, so that it is done again."""
        result, _ = self._finished.pop(name)
        for file in result.outputs:
            with naming(self._output / file.path):
                (self._output / file.path).unlink(missing_ok=True)
        checkpoints.forget(self._output, name)

    def _forget_gone(self) -> list[str]:
        """Names of inputs that are no longer there; what was not finished of them is removed."""
        gone = sorted(self._before.keys() - self._inputs.keys())
        for name in gone:
            if name not in self._finished:
                checkpoints.forget(self._output, name)
        return gone

    def _earlier(self, gone: Sequence[str], notes: Sequence[str]) -> Earlier:
        finished = {
            name: msgspec.structs.replace(
                result, earlier_records=result.records, earlier_text_bytes=result.text_bytes
            )
            for name, (result, _) in self._finished.items()
        }
        return Earlier(
            {name: result for name, result in finished.items() if name in self._inputs},
            tuple(finished[name] for name in gone if name in finished),
            tuple(notes),
        )

    def _last_report(self) -> _Reported:
        """What the last report says; nothing where there is none that can be read."""
        path = self._output / "report.json"
        if not path.is_file():
            return _Reported()
        try:
            report = read_json(path)
        except LowbgError as error:
            _log.warning("%s; the report goes on without its runs", error)
            return _Reported()
        read = {Path(shard.path).absolute() for shard in self._shards.values()}
        told = report[RUNS]
        runs = [
            msgspec.structs.replace(
                run, skipped=tuple(each for each in run.left_out if _is_out(each.path, read))
            )
            for run in told
        ]
        return _Reported(
            {shard.shard for shard in report[SHARDS]},
            tuple(runs),
            _may_be_data(left_out_of(told)),
        )


def _may_be_data(left_out: Iterable[LeftOut]) -> set[tuple[str, LeftOutKind]]:
    """Of what was left out what may be data, wherever the run was started; the last says why."""
    kinds = {
        each.path if "://" in each.path else str(Path(each.path).absolute()): each.kind
        for each in left_out
    }
    return {(path, kind) for path, kind in kinds.items() if kind.may_be_data}


def _place(path: str) -> str:
    """What a path stands for, whatever the directory is that a later run starts in."""
    return path if "://" in path else os.path.realpath(path)


def _is_out(path: str, read: Collection[Path]) -> bool:
    """Whether what a run left out still is: it isn't read now, nor gone from its folder."""
    if Path(path).absolute() in read:
        return False
    return "://" in path or os.path.lexists(path) or not Path(path).parent.is_dir()


def _same(
    shard: Shard, now: InputState, then: InputState, result: ShardResult, digests: bool
) -> bool:
    """Whether a finished shard's input is what it was; a digest, where asked for, decides."""
    if now.size != then.size:
        return False
    if digests and result.input_sha256 is not None:
        return input_digest(shard) == result.input_sha256
    return now.mtime_ns == then.mtime_ns


def _changed_input(shard: Shard, then: InputState, now: InputState) -> str:
    if then.size != now.size:
        return f"{shard.path} had {then.size:,} bytes, has {now.size:,}"
    return f"{shard.path} was written to"


def refuse_changes(output: Path, changed: Sequence[str]) -> None:
    """Raises `ConfigError` where anything changed since the run that the directory holds."""
    if changed:
        raise ConfigError(
            f"{output} holds a run that can't be gone on with, since it would come out mixed: "
            f'{_some(changed)}. Use `existing="overwrite"` to start again, or choose another '
            "`output`."
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """What differs between two trees of JSON values, a line a leaf."""
    trees = [isinstance(each, Mapping) for each in (old, new)]
    if all(trees) or (any(trees) and (old is None or new is None)):
        old, new = old or {}, new or {}
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{path} was {_spelled(old)}, is {_spelled(new)}"


def _spelled(value: Any) -> str:
    text = _in_words(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _in_words(value: Any) -> str:
    """A JSON value as people write it: no brackets, braces or quotes."""
    if value is None:
        return "absent"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_in_words(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value)) or "empty"
    return str(value)
